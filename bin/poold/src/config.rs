//! The configuration: settings of the service, and the pools it holds.
//!
//! One file, `poold.toml`; `config/poold.toml` is the published form, with every setting and its default.

mod place;
mod read;
mod settings;

use std::env;
use std::path::{Path, PathBuf};

use poolctl_service::PoolSpec;
use poolctl_types::ExitCode;

use crate::failure::Failure;

pub(crate) use read::{ConfigError, load};
pub(crate) use settings::{LogFormat, Settings};

/// Everything a configuration says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Config {
    /// How the service runs.
    pub(crate) service: Settings,
    /// The pools by name, in alphabetical order.
    pub(crate) pools: Vec<(String, PoolSpec)>,
}

/// The file that holds: the named one, else the nearest that is there; none: the defaults, and no pools.
pub(crate) fn find(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = named {
        // So that reading it again finds it, wherever this process is by then.
        return Some(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
    }
    let home = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    let near = home.map(|home| home.join("poolctl/poold.toml"));
    let far = PathBuf::from("/etc/poolctl/poold.toml");
    near.into_iter().chain([far]).find(|path| path.exists())
}

/// How a configuration that cannot be used ends the service.
pub(crate) fn failure(error: ConfigError) -> Failure {
    let hint = error.hint();
    let failure = Failure::new(ExitCode::BadConfig, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
