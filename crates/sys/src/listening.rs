//! Stream sockets that are found by a path (`AF_UNIX`, unix(7)).
//!
//! A path outlives who listened at it. Whether somebody listens there now is asked of the kernel by connecting ([`look`]).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, sockopt};

use crate::named::{Peer, peer};

/// The longest path of a socket, in bytes.
pub const MAX_PATH_BYTES: usize = 107;

/// Opens a directory and nothing else, as flags of open(2).
pub const DIRECTORY_ITSELF: i32 = libc::O_DIRECTORY;

/// Opens what is there, and not what a symbolic link leads to, as flags of open(2).
pub const NO_LINK: i32 = libc::O_NOFOLLOW;

/// How many connections may wait to be accepted; more than `somaxconn` are that many.
const BACKLOG: i32 = 4096;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Something that is no socket.
    NoSocket,
    /// A socket at which nobody listens any more.
    Stale,
    /// Somebody listens; who that is where the kernel tells (it does not over the border of a pid namespace, or while
    /// too many wait to be accepted).
    Live(Option<Peer>),
}

/// Listens at `path`, which nothing may be at. From the first moment on only this user may connect.
///
/// # Errors
/// Something is at the path (`AddrInUse`); it is too long (`InvalidInput`); its directory is not there.
pub fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let fd = socket()?;
    // The file that bind makes has the mode that its socket has by then.
    fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    bind(&fd, &address(path)?)?;
    listen(&fd, BACKLOG)?;
    Ok(fd.into())
}

/// What is at `path`.
///
/// # Errors
/// It cannot be looked at; it is too long (`InvalidInput`).
pub fn look(path: &Path) -> io::Result<Found> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Ok(Found::NoSocket),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    }
    let fd = socket()?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    match connect(&fd, &address(path)?) {
        Ok(()) => Ok(Found::Live(peer(fd.as_fd()).ok())),
        // Too many wait already.
        Err(Errno::AGAIN) => Ok(Found::Live(None)),
        Err(Errno::CONNREFUSED) => Ok(Found::Stale),
        Err(Errno::NOENT) => Ok(Found::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// Whether it is a stream socket of this machine that others connect to.
///
/// # Errors
/// It is no socket at all.
pub fn is_listener(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let is_listening = sockopt::socket_acceptconn(fd)?;
    let domain = sockopt::socket_domain(fd)?;
    let kind = sockopt::socket_type(fd)?;
    Ok(is_listening && domain == AddressFamily::UNIX && kind == SocketType::STREAM)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// One byte less than the kernel would take: the path is told with a NUL behind it, as every other program expects.
fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(SocketAddrUnix::new(path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_at_a_path_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let before = look(&path).unwrap();
        let listener = bind_private(&path).unwrap();

        let live = look(&path).unwrap();
        drop(listener);
        let stale = look(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();

        assert_eq!(before, Found::Nothing);
        assert!(matches!(live, Found::Live(Some(peer)) if peer.pid == std::process::id()), "{live:?}");
        assert_eq!(stale, Found::Stale);
        assert_eq!(look(&path).unwrap(), Found::NoSocket);
        assert_eq!(bind_private(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn only_the_owner_may_connect() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");

        let listener = bind_private(&path).unwrap();

        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(is_listener(listener.as_fd()).unwrap());
        let near = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(!is_listener(near.as_fd()).unwrap());
        assert!(is_listener(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }

    #[test]
    fn paths_have_a_length() {
        let directory = tempfile::tempdir().unwrap();
        let room = MAX_PATH_BYTES - directory.path().as_os_str().len() - 1;

        assert!(bind_private(&directory.path().join("x".repeat(room))).is_ok());
        assert!(bind_private(&directory.path().join("x".repeat(room + 1))).is_err());
    }
}
