//! Memory that any number of processes map and write at the same time: cells of one size, each read and written whole.
//!
//! What: a sealed file in memory and its mapping, seen as a slice of atomics. Why: plain references would promise the
//! compiler that nobody else writes; atomics promise only that no cell is ever half of one value and half of another.
//! Border: what cells mean, and in which order several become visible, is the user's; access here is relaxed.
//!
//! # If a process dies
//! Every cell holds the value of some store to it, before and after. Nothing else is kept here that a death could leave
//! half done.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use poolctl_sys::mapping::Mapping;
use poolctl_sys::memfd;

use crate::budget::{Charge, OverLimit};

/// A cell of shared memory: one of the unsigned atomics.
pub trait Cell: sealed::Cell {}

mod sealed {
    /// Types that are one atomic of their size, aligned to it, for which every value is valid.
    pub trait Cell: Sync + 'static {}
    impl Cell for super::AtomicU8 {}
    impl Cell for super::AtomicU16 {}
    impl Cell for super::AtomicU32 {}
    impl Cell for super::AtomicU64 {}
}

impl Cell for AtomicU8 {}
impl Cell for AtomicU16 {}
impl Cell for AtomicU32 {}
impl Cell for AtomicU64 {}

/// Shared cells. Clones are the same memory.
#[derive(Debug)]
pub struct SharedCells<C> {
    file: Arc<OwnedFd>,
    /// `None` if there is no cell, since nothing cannot be mapped.
    mapping: Option<Arc<Mapping>>,
    count: usize,
    cells: PhantomData<fn() -> C>,
    /// Where it was made, until the last clone there is dropped.
    charge: Option<Arc<Charge>>,
}

/// Why there is no shared memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// More than this process can address.
    #[error("{count} elements of {size} bytes are more than can be addressed")]
    TooLarge {
        /// How many.
        count: usize,
        /// How long each is, in bytes.
        size: usize,
    },
    /// The limit that was set for this process.
    #[error(
        "{bytes} bytes of shared memory are over the limit of {limit}, {used} of which are in use; raise it with \
         `set_shm_limit`, or drop handles"
    )]
    OverLimit {
        /// How much was asked for.
        bytes: usize,
        /// The limit, in bytes.
        limit: u64,
        /// How much is in use.
        used: u64,
    },
    /// The kernel has none left.
    #[error("no shared memory of {bytes} bytes")]
    NoMemory {
        /// How much was asked for.
        bytes: usize,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The file is shorter than what it should hold.
    #[error("a segment of {found} bytes where {wanted} should be")]
    TooShort {
        /// How long it is.
        found: u64,
        /// How long it should be.
        wanted: usize,
    },
    /// The kernel refused to map it.
    #[error("failed to map {bytes} bytes of shared memory")]
    Map {
        /// How much.
        bytes: usize,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl<C: Cell> SharedCells<C> {
    /// `count` cells of 0. Their memory is taken here, so that a lack of it, or of what [`crate::set_limit`] allows, is
    /// an error and not a SIGBUS later.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn new(count: usize) -> Result<Self, SharedError> {
        let bytes = bytes_of::<C>(count)?;
        let charge = Charge::take(bytes as u64)
            .map_err(|OverLimit { limit, used }| SharedError::OverLimit { bytes, limit, used })?;
        let file = memfd::sealed("poolctl-shared", bytes as u64)
            .map_err(|source| SharedError::NoMemory { bytes, source })?;
        Ok(Self { charge: Some(Arc::new(charge)), ..Self::map(file, count)? })
    }

    /// `count` cells of 0, for tables that are mostly empty: memory is taken where something is stored, and where there is
    /// none left the kernel makes room by killing.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn sparse(count: usize) -> Result<Self, SharedError> {
        let bytes = bytes_of::<C>(count)?;
        let file = memfd::sparse("poolctl-shared", bytes as u64)
            .map_err(|source| SharedError::NoMemory { bytes, source })?;
        Self::map(file, count)
    }

    /// The `count` cells that another process has, or this one, and of which this is the file. The file is to be one of
    /// [`SharedCells::file`], which nobody can shorten.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn attach(file: OwnedFd, count: usize) -> Result<Self, SharedError> {
        let wanted = bytes_of::<C>(count)?;
        let file = File::from(file);
        let found = file.metadata().map_err(|source| SharedError::Map { bytes: wanted, source })?.len();
        if found < wanted as u64 {
            return Err(SharedError::TooShort { found, wanted });
        }
        Self::map(file.into(), count)
    }

    fn map(file: OwnedFd, count: usize) -> Result<Self, SharedError> {
        let bytes = bytes_of::<C>(count)?;
        let mapping = match bytes {
            0 => None,
            _ => {
                let mapping = Mapping::read_write(file.as_fd(), bytes);
                Some(Arc::new(mapping.map_err(|source| SharedError::Map { bytes, source })?))
            }
        };
        Ok(Self { file: Arc::new(file), mapping, count, cells: PhantomData, charge: None })
    }

    /// What other processes attach.
    #[must_use]
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// The cells. Other processes may store into them at any moment.
    #[must_use]
    #[inline]
    pub fn cells(&self) -> &[C] {
        let Some(mapping) = &self.mapping else { return &[] };
        let first = mapping.as_ptr().cast::<C>();
        debug_assert!(mapping.len() >= self.count * size_of::<C>());
        // SAFETY: `count` cells are mapped, for `map` mapped exactly so many bytes, for as long as `self.mapping`, which
        // `&self` keeps; they begin at a page, so they are aligned. The file behind them cannot become shorter: it is
        // sealed by `new`, and `attach` asks for such a one (else the access ends this process, by SIGBUS, and reads
        // nothing). Any bytes are a valid `C`, an atomic, and every process reaches them through atomics of this size
        // alone or through the kernel, so a foreign write is no data race.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), self.count) }
    }
}

impl<C> Clone for SharedCells<C> {
    fn clone(&self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            mapping: self.mapping.clone(),
            count: self.count,
            cells: PhantomData,
            charge: self.charge.clone(),
        }
    }
}

fn bytes_of<C>(count: usize) -> Result<usize, SharedError> {
    let size = size_of::<C>();
    let bytes = count.checked_mul(size).filter(|bytes| isize::try_from(*bytes).is_ok());
    bytes.ok_or(SharedError::TooLarge { count, size })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn cells_begin_as_zeroes_and_are_the_same_wherever_they_are_attached() {
        let here = SharedCells::<AtomicU16>::new(5000).unwrap();
        let there = SharedCells::<AtomicU16>::attach(here.file().try_clone().unwrap(), 5000).unwrap();
        assert!(there.cells().iter().all(|cell| cell.load(Relaxed) == 0));

        here.cells()[4999].store(7, Relaxed);

        assert_eq!(there.cells()[4999].load(Relaxed), 7);
        assert_eq!(there.clone().cells().len(), 5000);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let small = SharedCells::<AtomicU64>::new(3).unwrap();

        let attached = SharedCells::<AtomicU64>::attach(small.file().try_clone().unwrap(), 4);
        let endless = SharedCells::<AtomicU64>::new(usize::MAX);

        assert!(matches!(attached, Err(SharedError::TooShort { found: 24, wanted: 32 })));
        assert!(matches!(endless, Err(SharedError::TooLarge { .. })));
    }

    #[test]
    fn no_cells_are_no_cells() {
        assert!(SharedCells::<AtomicU8>::new(0).unwrap().cells().is_empty());
    }

    #[test]
    fn nobody_can_shorten_what_is_shared() {
        let shared = SharedCells::<AtomicU8>::new(4096).unwrap();
        let file = File::from(shared.file().try_clone().unwrap());

        assert!(file.set_len(0).is_err());
    }
}
