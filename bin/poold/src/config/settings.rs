//! The settings of the service itself, and their defaults.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::User;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// How the service runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where clients connect; none: in the runtime directory.
    pub(crate) socket: Option<PathBuf>,
    /// Who may connect besides this user.
    pub(crate) allow_users: Vec<UserId>,
    /// Most clients at once.
    pub(crate) max_clients: usize,
    /// Whether clients may open pools of their own.
    pub(crate) may_open: bool,
    /// Most bytes of objects that clients share; 0: no limit.
    pub(crate) shm_limit: u64,
    /// From the first request to end to stopping what still runs.
    pub(crate) drain_timeout_ms: u64,
    /// Where the log goes; none: stderr.
    pub(crate) log: Option<PathBuf>,
    /// The form of the log.
    pub(crate) log_format: LogFormat,
    /// What is logged, as in `info` or `poolctl_service=debug`.
    pub(crate) log_level: String,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// A user, written as a number or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserId(pub(crate) u32);

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: None,
            allow_users: Vec::new(),
            max_clients: 1024,
            may_open: true,
            shm_limit: 0,
            drain_timeout_ms: 30_000,
            log: None,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
        }
    }
}

impl Settings {
    /// From the first request to end to stopping what still runs.
    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// Most bytes of objects that clients share.
    pub(crate) fn shm_limit(&self) -> Option<u64> {
        (self.shm_limit > 0).then_some(self.shm_limit)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct UserVisitor;

        impl Visitor<'_> for UserVisitor {
            type Value = UserId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or the number of a user")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<UserId, E> {
                let uid = u32::try_from(number);
                uid.map(UserId).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<UserId, E> {
                match User::from_name(name) {
                    Ok(Some(user)) => Ok(UserId(user.uid.as_raw())),
                    Ok(None) => Err(E::custom(format_args!("there is no user `{name}`"))),
                    Err(error) => Err(E::custom(format_args!("users cannot be looked up: {error}"))),
                }
            }
        }

        from.deserialize_any(UserVisitor)
    }
}
