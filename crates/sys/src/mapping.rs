//! Memory files mapped into this process.
//!
//! A [`Mapping`] gives out a pointer and a length, and never a reference: another process may write the same memory at
//! any moment, and only the caller knows which bytes that can be. What it guarantees is that the addresses stay mapped
//! until it is dropped.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// A range of addresses of this process, mapped until this is dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the range belongs to the process and not to a thread, and the value does nothing with what lies in it.
unsafe impl Send for Mapping {}
// SAFETY: as above; through a shared reference nothing can be asked but where the range is.
unsafe impl Sync for Mapping {}

/// Whether bytes of a mapping can be written through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    ReadWrite,
}

impl Access {
    fn protection(self) -> ProtFlags {
        match self {
            Access::Read => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        }
    }
}

impl Mapping {
    /// The first `len` bytes of `file`, for reading. Those behind its end fault (SIGBUS): map sealed files only.
    ///
    /// # Errors
    /// What mmap(2) answers; `EINVAL` for a `len` of 0.
    pub fn read_only(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::plain(file, len, Access::Read)
    }

    /// The first `len` bytes of `file`, for reading and writing.
    ///
    /// # Errors
    /// As [`Mapping::read_only`]; `EPERM` if the file is sealed against writing, `EACCES` if it was opened for reading.
    pub fn read_write(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::plain(file, len, Access::ReadWrite)
    }

    /// `head` bytes and then `ring` bytes of `file`, and then the same `ring` bytes once more, for reading: what begins
    /// near the end of the ring goes on behind it. Both are multiples of the page size.
    ///
    /// # Errors
    /// As [`Mapping::read_only`].
    pub fn read_only_mirrored(file: BorrowedFd<'_>, head: usize, ring: usize) -> io::Result<Self> {
        Self::mirrored(file, head, ring, Access::Read)
    }

    /// [`Mapping::read_only_mirrored`] for reading and writing.
    ///
    /// # Errors
    /// As [`Mapping::read_write`].
    pub fn read_write_mirrored(file: BorrowedFd<'_>, head: usize, ring: usize) -> io::Result<Self> {
        Self::mirrored(file, head, ring, Access::ReadWrite)
    }

    /// Leaves the range out of every child that this process forks from now on.
    ///
    /// # Errors
    /// What madvise(2) answers.
    pub fn leave_out_of_children(&self) -> io::Result<()> {
        // SAFETY: the range is mapped for as long as `&self`; the advice changes nothing in this process.
        unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontFork)? };
        Ok(())
    }

    /// Where it begins; aligned to a page.
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes are mapped, the second copy of a mirrored ring included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    fn plain(file: BorrowedFd<'_>, len: usize, access: Access) -> io::Result<Self> {
        // SAFETY: the kernel chooses addresses that nothing of this process uses.
        let start = unsafe { mmap(ptr::null_mut(), len, access.protection(), MapFlags::SHARED, file, 0)? };
        Ok(Self { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, len })
    }

    fn mirrored(file: BorrowedFd<'_>, head: usize, ring: usize, access: Access) -> io::Result<Self> {
        let overflow = || io::Error::from(io::ErrorKind::InvalidInput);
        let once = head.checked_add(ring).ok_or_else(overflow)?;
        let len = once.checked_add(ring).ok_or_else(overflow)?;
        let none = ProtFlags::empty();
        // SAFETY: the kernel chooses addresses that nothing of this process uses.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, none, MapFlags::PRIVATE)? };
        // From here on dropping it unmaps the whole range, however much of it has been filled.
        let mapping = Self { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, len };
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: replaces the first `once` bytes of the range reserved above, which nobody else knows of yet.
        unsafe { mmap(start, once, access.protection(), flags, file, 0)? };
        // SAFETY: `once` is inside the reservation of `once + ring` bytes.
        let second = unsafe { start.byte_add(once) };
        // SAFETY: replaces the last `ring` bytes of the reservation.
        unsafe { mmap(second, ring, access.protection(), flags, file, head as u64)? };
        Ok(mapping)
    }
}

/// The unit in which memory is mapped, in bytes: a power of two.
#[must_use]
pub fn page_size() -> usize {
    rustix::param::page_size()
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this value's own, and whoever uses its addresses keeps this value.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "a range that was mapped can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::{memfd, transfer};

    const PAGE: usize = 4096;

    fn read(mapping: &Mapping, at: usize) -> u8 {
        assert!(at < mapping.len());
        // SAFETY: in bounds by the line above, and mapped for as long as `&mapping`; nobody writes meanwhile.
        unsafe { mapping.as_ptr().as_ptr().wrapping_add(at).read_volatile() }
    }

    fn write(mapping: &Mapping, at: usize, byte: u8) {
        assert!(at < mapping.len());
        // SAFETY: as in `read`; only called for mappings that can be written.
        unsafe { mapping.as_ptr().as_ptr().wrapping_add(at).write_volatile(byte) }
    }

    #[test]
    fn two_mappings_of_one_file_are_one_memory() {
        let file = memfd::sealed("test", PAGE as u64).unwrap();
        let writer = Mapping::read_write(file.as_fd(), PAGE).unwrap();
        let reader = Mapping::read_only(file.as_fd(), PAGE).unwrap();

        write(&writer, 17, 5);

        assert_eq!(read(&reader, 17), 5);
        assert_eq!((reader.len(), writer.len()), (PAGE, PAGE));
    }

    #[test]
    fn a_mirrored_ring_goes_on_where_it_begins() {
        let file = memfd::sealed("test", 3 * PAGE as u64).unwrap();
        let mapping = Mapping::read_write_mirrored(file.as_fd(), PAGE, 2 * PAGE).unwrap();

        write(&mapping, 3 * PAGE, 1);
        write(&mapping, 3 * PAGE - 1, 2);

        assert_eq!(mapping.len(), 5 * PAGE);
        assert_eq!(read(&mapping, PAGE), 1);
        assert_eq!(read(&mapping, 5 * PAGE - 1), 2);
        let mut file_bytes = [0; 3 * PAGE];
        transfer::read_exactly_at(file.as_fd(), &mut file_bytes, 0).unwrap();
        assert_eq!((file_bytes[PAGE], file_bytes[3 * PAGE - 1]), (1, 2));
        assert_eq!(file_bytes.iter().filter(|byte| **byte != 0).count(), 2);
    }

    #[test]
    fn a_file_sealed_against_later_writers_can_be_mapped_for_reading_alone() {
        let file = memfd::fixed("test", 2 * PAGE as u64).unwrap();
        let early = Mapping::read_write(file.as_fd(), PAGE).unwrap();
        memfd::seal_future_write(file.as_fd()).unwrap();

        let late = Mapping::read_write(file.as_fd(), PAGE).unwrap_err();
        let mirrored = Mapping::read_write_mirrored(file.as_fd(), PAGE, PAGE).unwrap_err();

        assert_eq!(late.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(mirrored.kind(), io::ErrorKind::PermissionDenied);
        write(&early, 0, 9);
        assert_eq!(read(&Mapping::read_only(file.as_fd(), PAGE).unwrap(), 0), 9);
    }

    #[test]
    fn what_is_left_out_of_children_is_still_here() {
        let file = memfd::sealed("test", PAGE as u64).unwrap();
        let mapping = Mapping::read_write(file.as_fd(), PAGE).unwrap();

        mapping.leave_out_of_children().unwrap();

        write(&mapping, 0, 3);
        assert_eq!(read(&mapping, 0), 3);
        let flags = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let range = format!("{:x}-", mapping.as_ptr().as_ptr() as usize);
        let of_it = flags.split_once(&range).unwrap().1;
        let line = of_it.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(line.contains(" dc"), "{line}");
    }
}
