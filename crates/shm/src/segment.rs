//! One piece of shared memory: a page of words, and a ring that is mapped twice in a row.
//!
//! The host makes a segment as a file in memory that nobody can shorten, and takes its memory at once, so that no access
//! faults later. Since the ring follows itself, whatever begins in it can be read and written in one piece.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use poolctl_sys::mapping::{Mapping, page_size};

use crate::page::{HostPage, Place, WorkerPage};
use crate::sync::FutexWord;

/// How long a ring is where nothing else is asked for.
pub const RING_BYTES: usize = 256 * 1024;

/// Why a worker could not attach to its segments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The descriptor cannot be asked for its size.
    #[error("failed to measure a segment")]
    Measure {
        /// What the kernel answered.
        source: io::Error,
    },
    /// It is not a page and a ring.
    #[error("a segment of {bytes} bytes is not one of a page and a ring")]
    Size {
        /// How long it is.
        bytes: u64,
    },
    /// The kernel refused to map it.
    #[error("failed to map a segment")]
    Map {
        /// What the kernel answered.
        source: io::Error,
    },
}

/// A segment that begins with the page `P`, mapped into this process and left out of its children.
#[derive(Debug)]
pub(crate) struct Segment<P> {
    mapping: Mapping,
    ring: usize,
    page: PhantomData<fn() -> P>,
}

/// Types that stay sound while another process writes the same bytes: atomics, for which every value is valid.
///
/// # Safety
/// All bytes of the type are atomics.
pub(crate) unsafe trait Word {}

// SAFETY: it is one.
unsafe impl Word for AtomicU32 {}
// SAFETY: it is one.
unsafe impl Word for AtomicU64 {}
// SAFETY: it is an `AtomicU32` and nothing else (`repr(transparent)`).
unsafe impl Word for FutexWord {}

impl<P> Segment<P> {
    /// The host maps the first one here; `ring` is a power of two and a multiple of the page size.
    fn map_file(file: BorrowedFd<'_>, ring: usize, access: Access) -> io::Result<Self> {
        let mapping = match access {
            Access::Read => Mapping::read_only_mirrored(file, page_size(), ring)?,
            Access::ReadWrite => Mapping::read_write_mirrored(file, page_size(), ring)?,
        };
        // A child forked by a task, or by the host's program, would write on behalf of this process.
        mapping.leave_out_of_children()?;
        Ok(Self { mapping, ring, page: PhantomData })
    }

    /// How long the ring is.
    #[inline]
    pub(crate) fn ring(&self) -> usize {
        self.ring
    }

    /// A word of the page.
    #[inline]
    pub(crate) fn word<W: Word>(&self, place: Place<P, W>) -> &W {
        let word = self.mapping.as_ptr().as_ptr().wrapping_add(place.offset()).cast::<W>();
        // SAFETY: in bounds and aligned by `Place::at`, since a mapping begins on a page and is longer than one; mapped
        // for as long as `&self`. Other processes write here at any moment, but `W` is made of atomics, for which that
        // is no data race and every value is valid. Where the page is mapped for reading, nobody here stores: the host
        // stores to places of `HostPage` alone and a worker to those of `WorkerPage`, and each maps those read-write.
        unsafe { &*word }
    }

    /// Where position `at` of the ring lies; the whole length of the ring follows.
    #[inline]
    pub(crate) fn ring_at(&self, at: u64) -> NonNull<u8> {
        #[expect(clippy::cast_possible_truncation, reason = "positions in a ring are below its length")]
        let at = at as usize;
        debug_assert!(at < self.ring);
        let offset = self.mapping.len() - 2 * self.ring + at;
        // SAFETY: the mapping is a page and twice the ring, and `at` is inside the first of the two, so `offset` is in
        // bounds with `ring` bytes behind it.
        unsafe { self.mapping.as_ptr().add(offset) }
    }
}

/// How a side maps a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

impl Segment<HostPage> {
    /// Makes a task segment, which nobody but its maker can write from then on, and its descriptor for the worker.
    pub(crate) fn create(ring: usize) -> io::Result<(Self, OwnedFd)> {
        let file = poolctl_sys::memfd::fixed("poolctl-tasks", file_bytes(ring)?)?;
        let segment = Self::map_file(file.as_fd(), ring, Access::ReadWrite)?;
        poolctl_sys::memfd::seal_future_write(file.as_fd())?;
        Ok((segment, file))
    }

    /// The worker's side of it.
    pub(crate) fn attach(file: OwnedFd) -> Result<Self, AttachError> {
        attach(file, Access::Read)
    }
}

impl Segment<WorkerPage> {
    /// Makes a result segment, and its descriptor for the worker.
    pub(crate) fn create(ring: usize) -> io::Result<(Self, OwnedFd)> {
        let file = poolctl_sys::memfd::sealed("poolctl-results", file_bytes(ring)?)?;
        Ok((Self::map_file(file.as_fd(), ring, Access::Read)?, file))
    }

    /// The worker's side of it.
    pub(crate) fn attach(file: OwnedFd) -> Result<Self, AttachError> {
        attach(file, Access::ReadWrite)
    }

    /// Appends `bytes` bytes (a multiple of 8, at most the ring) from position `at` on (a multiple of 8) to `into`.
    #[inline]
    pub(crate) fn copy_out(&self, at: u64, bytes: usize, into: &mut Vec<u8>) {
        assert!(bytes <= self.ring && bytes.is_multiple_of(8) && at.is_multiple_of(8));
        into.reserve(bytes);
        let from = self.ring_at(at).cast::<AtomicU64>();
        let to = into.spare_capacity_mut().as_mut_ptr().cast::<u64>();
        for index in 0..bytes / 8 {
            // SAFETY: in bounds by the assertion, since the whole ring follows `at`.
            let word = unsafe { from.add(index) };
            // SAFETY: aligned, since pages are, the ring begins on one and `at` is a multiple of 8; mapped for as long
            // as `&self`. The worker may write these bytes at any moment: the reference is to an atomic, for which that
            // is no data race, and whatever comes out is only copied.
            let value = unsafe { word.as_ref() }.load(Ordering::Relaxed);
            // SAFETY: `reserve` made room for `bytes` bytes from `to` on.
            let slot = unsafe { to.add(index) };
            // SAFETY: as above, and it need not be aligned.
            unsafe { slot.write_unaligned(value) };
        }
        // SAFETY: the loop has written the `bytes` bytes behind the old length, for which there is room.
        unsafe { into.set_len(into.len() + bytes) };
    }
}

/// The length of a segment's file.
fn file_bytes(ring: usize) -> io::Result<u64> {
    if !is_ring(ring as u64) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((page_size() + ring) as u64)
}

/// Rings are powers of two and multiples of the page size, and short enough that twice as much can be counted.
fn is_ring(bytes: u64) -> bool {
    bytes.is_power_of_two() && bytes >= page_size() as u64 && bytes <= 1 << 30
}

fn attach<P>(file: OwnedFd, access: Access) -> Result<Segment<P>, AttachError> {
    let file = File::from(file);
    let bytes = file.metadata().map_err(|source| AttachError::Measure { source })?.len();
    let ring = bytes.saturating_sub(page_size() as u64);
    let Some(ring) = is_ring(ring).then_some(ring).and_then(|ring| usize::try_from(ring).ok()) else {
        return Err(AttachError::Size { bytes });
    };
    Segment::map_file(file.as_fd(), ring, access).map_err(|source| AttachError::Map { source })
}
