//! Pipes and stream sockets between two processes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// A pipe: (read end, write end), both blocking.
///
/// # Errors
/// No descriptors or memory left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// Two ends of a stream that goes both ways (`AF_UNIX`), both blocking.
///
/// # Errors
/// No descriptors or memory left.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Makes reads and writes through this end of a pipe or socket answer `WouldBlock` instead of waiting. The other end
/// is unaffected; every copy of this end, in any process, is affected too.
///
/// # Errors
/// None is known for an open descriptor.
pub fn set_nonblocking(end: &impl AsFd) -> io::Result<()> {
    // The flags that this clears (append, direct, async) are not set on what is made here, so they need no reading.
    Ok(fcntl_setfl(end, OFlags::NONBLOCK)?)
}

/// Makes a pipe hold at least `bytes`.
///
/// # Errors
/// Over `/proc/sys/fs/pipe-max-size`, or over what this user may have in all: the pipe works on at its old size.
pub fn widen(end: &impl AsFd, bytes: usize) -> io::Result<()> {
    fcntl_setpipe_size(end, bytes)?;
    Ok(())
}

/// How many bytes lie in a pipe and nobody has read, asked at either end.
///
/// # Errors
/// `end` is no pipe.
pub fn unread(end: &impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer;

    #[test]
    fn a_nonblocking_end_answers_would_block() {
        let (read, write) = pair().unwrap();
        set_nonblocking(&read).unwrap();
        let mut buffer = [0; 4];

        let error = transfer::read(read.as_fd(), &mut buffer).unwrap_err();
        transfer::write(write.as_fd(), b"ab").unwrap();

        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(transfer::read(read.as_fd(), &mut buffer).unwrap(), 2);
    }

    #[test]
    fn what_nobody_has_read_is_counted_at_the_writing_end_even_when_no_reader_is_left() {
        let (read, write) = pair().unwrap();
        transfer::write(write.as_fd(), b"abcdef").unwrap();
        let mut buffer = [0; 4];
        transfer::read(read.as_fd(), &mut buffer).unwrap();

        drop(read);

        assert_eq!(unread(&write).unwrap(), 2);
    }

    #[test]
    fn a_widened_pipe_takes_more() {
        let (_read, write) = pair().unwrap();
        widen(&write, 256 * 1024).unwrap();
        set_nonblocking(&write).unwrap();

        let written = transfer::write(write.as_fd(), &vec![0; 300_000]).unwrap();

        assert_eq!(written, 256 * 1024);
    }

    #[test]
    fn a_stream_goes_both_ways() {
        let (one, other) = stream_pair().unwrap();
        let mut buffer = [0; 4];

        transfer::send(one.as_fd(), b"to").unwrap();
        transfer::send(other.as_fd(), b"fro").unwrap();

        assert_eq!(transfer::read(other.as_fd(), &mut buffer).unwrap(), 2);
        assert_eq!(transfer::read(one.as_fd(), &mut buffer).unwrap(), 3);
    }
}
