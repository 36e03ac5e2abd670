//! What a service and systemd say to each other: sockets that are there already (sd_listen_fds(3)), and how the service is
//! (sd_notify(3)).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use poolctl_sys::inherited::{self, ForgetError};
use poolctl_sys::{clock, listening};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;

/// More sockets than anybody has.
const MOST: RawFd = 256;

/// Says how the service is.
const NOTIFY: &str = "NOTIFY_SOCKET";

/// For which process the sockets are, how many, and what they are called.
const LISTEN: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// A socket at which this process was started to serve.
#[derive(Debug)]
pub struct Passed {
    /// What the unit calls it; empty if it does not.
    pub name: String,
    /// The socket.
    pub listener: UnixListener,
}

/// Why the sockets that were passed cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassedError {
    /// The variable says something that is no such number.
    #[error("LISTEN_FDS is `{}`, which is no number of sockets", .value.display())]
    Count {
        /// Its value.
        value: OsString,
    },
    /// A descriptor that should be there is not.
    #[error("descriptor {number} was announced by LISTEN_FDS and is not there")]
    Missing {
        /// Which.
        number: RawFd,
        /// Why.
        source: io::Error,
    },
    /// One that nobody can connect to, or that is not of this machine.
    #[error("descriptor {number} is no listening stream socket of this machine (AF_UNIX)")]
    NoListener {
        /// Which.
        number: RawFd,
    },
    /// The variables would be inherited.
    #[error("failed to forget the variables of systemd")]
    Forget(#[from] ForgetError),
}

/// Takes the sockets that this process was started with, if it was; workers will not inherit what says so.
///
/// To be called first thing in `main`, once.
///
/// # Errors
/// [`PassedError`].
pub fn passed_sockets() -> Result<Vec<Passed>, PassedError> {
    let [pid, count, names] = LISTEN.map(env::var_os);
    let is_for_us = pid.is_some_and(|pid| pid == *std::process::id().to_string());
    let Some(count) = count.filter(|_| is_for_us) else {
        return Ok(Vec::new());
    };
    inherited::forget(&LISTEN)?;
    let announced =
        count.to_str().and_then(|count| count.parse().ok()).filter(|count| (0..=MOST).contains(count));
    let announced: RawFd = announced.ok_or(PassedError::Count { value: count })?;
    let names = names.unwrap_or_default().to_string_lossy().into_owned();
    let mut names = names.split(':').map(str::to_owned);
    (FIRST..FIRST + announced)
        .map(|number| {
            let fd = inherited::take(number).map_err(|source| PassedError::Missing { number, source })?;
            let listener = listener(fd).ok_or(PassedError::NoListener { number })?;
            Ok(Passed { name: names.next().unwrap_or_default(), listener })
        })
        .collect()
}

fn listener(fd: OwnedFd) -> Option<UnixListener> {
    listening::is_listener(fd.as_fd()).is_ok_and(|is| is).then(|| UnixListener::from(fd))
}

/// Tells whoever started this process how it is; nobody, if nobody wants to know.
#[derive(Debug, Default)]
pub struct Readiness {
    to: Option<(UnixDatagram, SocketAddr)>,
}

impl Readiness {
    /// Takes over whom to tell; workers will not inherit it.
    ///
    /// To be called first thing in `main`.
    ///
    /// # Errors
    /// There is somebody, and there is no way to tell them.
    pub fn from_environment() -> io::Result<Self> {
        let Some(to) = env::var_os(NOTIFY).filter(|to| !to.is_empty()) else {
            return Ok(Self::default());
        };
        inherited::forget(&[NOTIFY]).map_err(io::Error::other)?;
        Ok(Self { to: Some((UnixDatagram::unbound()?, address(&to)?)) })
    }

    /// It serves, as `status` says.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nMAINPID={}\nSTATUS={status}", std::process::id()));
    }

    /// It reads its configuration again; [`Readiness::ready`] follows.
    pub fn reloading(&self) {
        let micros = clock::now().0 / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It will end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, text: &str) {
        if let Some((socket, to)) = &self.to
            && let Err(error) = socket.send_to_addr(text.as_bytes(), to)
        {
            tracing::warn!(%error, "who started this service cannot be told how it is");
        }
    }
}

/// A path, or a name in the abstract namespace behind `@`.
fn address(to: &OsStr) -> io::Result<SocketAddr> {
    match to.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(by: impl Fn(&Readiness)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let to = Some((UnixDatagram::unbound().unwrap(), address(path.as_os_str()).unwrap()));
        by(&Readiness { to });
        let mut text = [0; 200];
        let length = listener.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn what_is_told_is_what_systemd_reads() {
        let pid = std::process::id();

        assert_eq!(told(|to| to.ready("2 pools")), format!("READY=1\nMAINPID={pid}\nSTATUS=2 pools"));
        assert_eq!(told(Readiness::stopping), "STOPPING=1");
        let reloading = told(Readiness::reloading);
        let micros: u64 = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(micros <= clock::now().0 / 1000);
    }

    #[test]
    fn nobody_need_be_told() {
        Readiness::default().ready("");
    }
}
