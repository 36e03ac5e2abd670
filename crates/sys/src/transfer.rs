//! Bytes in and out of descriptors, made again when a signal interrupts.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use bytemuck::AnyBitPattern;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::retry_on_intr;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::advice;

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

/// Fills `buffer` from `offset` on, without moving the descriptor's position.
///
/// # Errors
/// As [`read_at`]; `UnexpectedEof` if the file ends before.
pub fn read_exactly_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match read_at(fd, &mut buffer[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => done += bytes,
        }
    }
    Ok(())
}

/// Writes all of `bytes` at `offset` without moving the descriptor's position.
///
/// # Errors
/// As [`write_at`]; `WriteZero` if nothing more fits.
pub fn write_all_at(fd: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match write_at(fd, &bytes[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            more => done += more,
        }
    }
    Ok(())
}

/// Reads `count` elements from the bytes at `offset`, without moving the descriptor's position. The vector's memory is
/// written once, by the kernel.
///
/// # Errors
/// As [`read_exactly_at`]; `OutOfMemory` if there is no room for so many.
pub fn read_vec_at<T: AnyBitPattern>(fd: BorrowedFd<'_>, count: usize, offset: u64) -> io::Result<Vec<T>> {
    let mut elements = Vec::<T>::new();
    elements.try_reserve_exact(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
    advice::fill_soon(elements.spare_capacity_mut());
    // Cannot overflow: so much has just been reserved.
    let bytes = count * size_of::<T>();
    let room = elements.as_mut_ptr().cast::<MaybeUninit<u8>>();
    // SAFETY: the allocation holds `count` elements, hence `bytes` bytes, is this function's own and outlives `room`;
    // bytes that may be uninitialized are what `MaybeUninit<u8>` is for. (For no bytes the pointer is aligned.)
    let room = unsafe { std::slice::from_raw_parts_mut(room, bytes) };
    let mut done = 0;
    while done < bytes {
        let at = offset + done as u64;
        match retry_on_intr(|| Ok(rustix::io::pread(fd, &mut room[done..], at)?.0.len()))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => done += more,
        }
    }
    // SAFETY: all `bytes` of the first `count` elements have been written by the kernel, which is to say that `done`
    // has reached them, and any bytes make a `T`.
    unsafe { elements.set_len(count) };
    Ok(elements)
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

    #[test]
    fn elements_are_read_whole_or_not_at_all() {
        let file = memfd::sealed("test", 64).unwrap();
        write_all_at(file.as_fd(), &[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0], 4).unwrap();

        assert_eq!(read_vec_at::<u32>(file.as_fd(), 3, 4).unwrap(), [1, 2, 3].map(u32::to_le));
        assert_eq!(read_vec_at::<u32>(file.as_fd(), 0, 4).unwrap(), []);
        let short = read_vec_at::<u64>(file.as_fd(), 8, 8).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        let huge = read_vec_at::<u64>(file.as_fd(), usize::MAX / 2, 0).unwrap_err();
        assert_eq!(huge.kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn exact_reads_and_writes_say_when_the_file_is_too_short() {
        let file = memfd::sealed("test", 8).unwrap();
        write_all_at(file.as_fd(), b"abcd", 4).unwrap();
        let mut buffer = [0; 4];

        read_exactly_at(file.as_fd(), &mut buffer, 4).unwrap();

        assert_eq!(&buffer, b"abcd");
        let short = read_exactly_at(file.as_fd(), &mut buffer, 6).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        assert!(write_all_at(file.as_fd(), b"abcd", 6).is_err());
    }
}
