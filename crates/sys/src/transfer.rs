//! Bytes in and out of descriptors, made again when a signal interrupts.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::retry_on_intr;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

/// The most pieces one vectored call takes (`IOV_MAX`); further ones are left to the next call.
const MAX_PIECES: usize = 1024;

/// Reads what is there, at most the buffer's length; 0 is the end of the file.
///
/// # Errors
/// What read(2) answers; `WouldBlock` for a non-blocking descriptor with nothing to read.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::read(fd, &mut *buffer))?)
}

/// Reads at `offset` without moving the descriptor's position; 0 is the end of the file.
///
/// # Errors
/// What pread(2) answers.
pub fn read_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::pread(fd, &mut *buffer, offset))?)
}

/// Writes as much as fits, and says how much that was.
///
/// # Errors
/// What write(2) answers; `WouldBlock` for a full non-blocking descriptor. Raises SIGPIPE like write(2).
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::write(fd, bytes))?)
}

/// Writes at `offset` without moving the descriptor's position, and says how much that was.
///
/// # Errors
/// What pwrite(2) answers.
pub fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::pwrite(fd, bytes, offset))?)
}

/// Writes several pieces one after another, as much as fits, and says how much that was.
///
/// # Errors
/// As [`write`].
pub fn write_vectored(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let pieces = &pieces[..pieces.len().min(MAX_PIECES)];
    Ok(retry_on_intr(|| rustix::io::writev(fd, pieces))?)
}

/// [`write`] for a socket: a peer that has gone is `BrokenPipe` and never SIGPIPE; never blocks.
///
/// # Errors
/// As [`write`].
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(retry_on_intr(|| rustix::net::send(socket, bytes, flags))?)
}

/// [`write_vectored`] for a socket: a peer that has gone is `BrokenPipe` and never SIGPIPE; never blocks.
///
/// # Errors
/// As [`write`].
pub fn send_vectored(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let pieces = &pieces[..pieces.len().min(MAX_PIECES)];
    Ok(retry_on_intr(|| sendmsg(socket, pieces, &mut SendAncillaryBuffer::default(), flags))?)
}

/// Gives the disk room of `len` bytes from `offset` on back to the file system; they read as zeroes from then on.
///
/// # Errors
/// The file system knows no holes, or `fd` is no file.
pub fn punch_hole(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(retry_on_intr(|| fallocate(fd, flags, offset, len))?)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::{memfd, pipe};

    #[test]
    fn pieces_arrive_in_order() {
        let (read_end, write_end) = pipe::pair().unwrap();
        let (near, far) = pipe::stream_pair().unwrap();
        let pieces = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
        let mut buffer = [0; 8];

        assert_eq!(write_vectored(write_end.as_fd(), &pieces).unwrap(), 4);
        assert_eq!(send_vectored(near.as_fd(), &pieces).unwrap(), 4);

        assert_eq!(read(read_end.as_fd(), &mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"abcd");
        assert_eq!(read(far.as_fd(), &mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"abcd");
    }

    #[test]
    fn a_gone_peer_is_an_error_and_no_signal() {
        let (near, far) = pipe::stream_pair().unwrap();
        drop(far);

        let error = send(near.as_fd(), b"x").unwrap_err();
        let error_of_pieces = send_vectored(near.as_fd(), &[IoSlice::new(b"x")]).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(error_of_pieces.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_hole_reads_as_zeroes_and_leaves_the_rest() {
        let file = memfd::sealed("test", 3 * 4096).unwrap();
        write_at(file.as_fd(), &[7; 3 * 4096], 0).unwrap();

        punch_hole(file.as_fd(), 4096, 4096).unwrap();

        let mut buffer = [1; 3 * 4096];
        assert_eq!(read_at(file.as_fd(), &mut buffer, 0).unwrap(), buffer.len());
        assert!(buffer[..4096].iter().chain(&buffer[8192..]).all(|byte| *byte == 7));
        assert!(buffer[4096..8192].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn reading_at_an_offset_leaves_the_position() {
        let file = memfd::with_contents("test", b"hello").unwrap();
        let mut buffer = [0; 8];

        assert_eq!(read_at(file.as_fd(), &mut buffer, 3).unwrap(), 2);
        assert_eq!(&buffer[..2], b"lo");
        assert_eq!(read(file.as_fd(), &mut buffer).unwrap(), 5);
    }
}
