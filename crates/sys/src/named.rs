//! Packet sockets that are found by a name (`AF_UNIX` in the abstract namespace, unix(7)).
//!
//! The kernel keeps such a name as long as somebody has the listening socket, and not longer: nothing stays behind in
//! a directory, whoever dies. Anybody in the network namespace may take or look up a name, so who is at the other end is
//! asked of the kernel ([`peer`]).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
    sockopt,
};

use crate::packet::Socket;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 107;

/// How many connections may wait to be accepted; more than `somaxconn` are that many.
const BACKLOG: i32 = 4096;

/// Who was at the other end when it connected, or began to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The process.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
}

/// A socket that others connect to by name. Never blocks.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

impl Listener {
    /// Takes a name.
    ///
    /// # Errors
    /// Somebody has it (`AddrInUse`); it is too long (`InvalidInput`); no descriptors or memory left.
    pub fn bind(name: &[u8]) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        bind(&fd, &address(name)?)?;
        listen(&fd, BACKLOG)?;
        Ok(Self { fd })
    }

    /// The next that has connected, if there is one.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub fn accept(&self) -> io::Result<Option<Socket>> {
        loop {
            match accept_with(&self.fd, SocketFlags::CLOEXEC) {
                Ok(fd) => return Ok(Some(Socket::from(fd))),
                Err(Errno::AGAIN) => return Ok(None),
                // It has gone already.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Connects to whoever has a name.
///
/// # Errors
/// Nobody has it (`ConnectionRefused`); too many wait to be accepted (`WouldBlock`); it is too long (`InvalidInput`).
pub fn find(name: &[u8]) -> io::Result<Socket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&fd, &address(name)?)?;
    rustix::io::ioctl_fionbio(&fd, false)?;
    Ok(Socket::from(fd))
}

/// Who is at the other end.
///
/// # Errors
/// None is known for a connected socket.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    // From another pid namespace the kernel tells the pid 0.
    let peer = sockopt::socket_peercred(socket).map_err(|error| match io::Error::from(error) {
        error if error.raw_os_error() == Some(0) => {
            io::Error::other("the other end is in another pid namespace")
        }
        error => error,
    })?;
    Ok(Peer { pid: peer.pid.as_raw_nonzero().get().unsigned_abs(), uid: peer.uid.as_raw() })
}

fn address(name: &[u8]) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(name)?)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::packet::{Received, Sent};

    fn name(what: &str) -> Vec<u8> {
        format!("poolctl-test-{what}-{}", std::process::id()).into_bytes()
    }

    #[test]
    fn who_has_a_name_is_found_by_it_and_knows_who_comes() {
        let listener = Listener::bind(&name("found")).unwrap();
        assert!(listener.accept().unwrap().is_none());

        let near = find(&name("found")).unwrap();
        let far = listener.accept().unwrap().unwrap();
        let sent = near.send(&[IoSlice::new(b"hello")], &[]).unwrap();
        let mut bytes = [0; 8];

        assert_eq!(sent, Sent::Whole);
        assert_eq!(far.receive(&mut bytes, &mut Vec::<OwnedFd>::new()).unwrap(), Received::Packet(5));
        assert_eq!(peer(far.as_fd()).unwrap().pid, std::process::id());
        assert_eq!(peer(near.as_fd()).unwrap(), peer(far.as_fd()).unwrap());
    }

    #[test]
    fn a_name_is_anothers_until_that_one_is_gone() {
        let first = Listener::bind(&name("taken")).unwrap();
        assert_eq!(Listener::bind(&name("taken")).unwrap_err().kind(), io::ErrorKind::AddrInUse);

        drop(first);

        assert_eq!(find(&name("taken")).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(Listener::bind(&name("taken")).is_ok());
    }

    #[test]
    fn names_have_a_length() {
        assert!(Listener::bind(&[b'x'; MAX_NAME_BYTES]).is_ok());
        assert!(Listener::bind(&[b'x'; MAX_NAME_BYTES + 1]).is_err());
    }
}
