//! Large payloads on their way: segments of memory that are written and read by `pwrite` and `pread`, never mapped, so
//! that nothing another process does to them can fault this one.
//!
//! A parcel is used again when its user drops it: its memory is there already then, which is most of what a first use
//! costs. Freed parcels are kept up to [`KEEP_BYTES`] and [`KEEP`] of them, since each is a descriptor; when the process
//! has no descriptor left they give way.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use poolctl_sys::{limits, memfd, transfer};

/// How much memory freed parcels keep, in bytes.
const KEEP_BYTES: u64 = 256 << 20;

/// How many freed parcels are kept.
const KEEP: usize = 32;

/// Parcels are a multiple of this long, in bytes.
const STEP_BYTES: u64 = 64 << 10;

/// Where parcels come from and go back to. Clones share them.
#[derive(Debug, Clone)]
pub struct Parcels {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: Option<u64>,
    stock: Mutex<Stock>,
}

#[derive(Debug, Default)]
struct Stock {
    free: Vec<Segment>,
    free_bytes: u64,
    /// All there are, in use and free.
    all_bytes: u64,
    /// How many there are, in use and free.
    all: u64,
}

#[derive(Debug)]
struct Segment {
    memfd: OwnedFd,
    bytes: u64,
}

/// A segment of memory in use by one payload; it goes back on drop.
#[derive(Debug)]
pub struct Parcel {
    /// `None` only while it is dropped.
    segment: Option<Segment>,
    shared: Arc<Shared>,
}

/// Why there is no parcel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParcelError {
    /// The pool's limit of shared memory.
    #[error("{wanted} bytes of shared memory are over the limit of {limit}, {used} of which are in use")]
    OverLimit {
        /// How much was asked for.
        wanted: u64,
        /// The limit.
        limit: u64,
        /// How much is in use.
        used: u64,
    },
    /// The process has as many descriptors open as it may.
    #[error(
        "no descriptor left for {wanted} bytes of shared memory; allow more with `ulimit -n`, or have fewer large \
             values in flight"
    )]
    NoDescriptor {
        /// How much was asked for.
        wanted: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has none.
    #[error("no shared memory of {wanted} bytes")]
    NoMemory {
        /// How much was asked for.
        wanted: u64,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Default for Parcels {
    /// Without a limit.
    fn default() -> Self {
        Self::new(None)
    }
}

impl Parcels {
    /// A source of parcels that hold `limit` bytes in all at most.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self { shared: Arc::new(Shared { limit, stock: Mutex::default() }) }
    }

    /// A parcel of at least `bytes` bytes, with whatever in it.
    ///
    /// # Errors
    /// [`ParcelError`]; the memory is taken here, not at its first use.
    pub fn take(&self, bytes: u64) -> Result<Parcel, ParcelError> {
        let wanted = bytes.max(1).next_multiple_of(STEP_BYTES);
        let mut stock = self.shared.stock();
        let fits = |segment: &Segment| segment.bytes >= wanted && segment.bytes / 2 <= wanted;
        if let Some(at) = stock.free.iter().rposition(fits) {
            let segment = stock.free.swap_remove(at);
            stock.free_bytes -= segment.bytes;
            return Ok(self.parcel(segment));
        }
        if let Some(limit) = self.shared.limit
            && stock.all_bytes + wanted > limit
        {
            let used = stock.all_bytes - stock.free_bytes;
            if used + wanted > limit {
                return Err(ParcelError::OverLimit { wanted: bytes, limit, used });
            }
            stock.clear();
        }
        stock.all_bytes += wanted;
        stock.all += 1;
        drop(stock);
        let made = Segment::new(wanted).or_else(|_| {
            self.shared.stock().clear();
            Segment::new(wanted)
        });
        match made {
            Ok(segment) => Ok(self.parcel(segment)),
            Err(source) => {
                self.shared.stock().forget(wanted);
                Err(if limits::ran_out_of_descriptors(&source) {
                    ParcelError::NoDescriptor { wanted: bytes, source }
                } else {
                    ParcelError::NoMemory { wanted: bytes, source }
                })
            }
        }
    }

    /// Whether more than [`Parcels::most`] are in use: what can lie elsewhere should.
    #[must_use]
    pub fn are_many(&self) -> bool {
        let stock = self.shared.stock();
        let in_use = stock.all - stock.free.len() as u64;
        in_use > Self::most() as u64
    }

    /// How many may be in flight: a quarter of the descriptors that this process may have.
    #[must_use]
    pub fn most() -> usize {
        limits::open_files()
            .map_or(usize::MAX, |limit| usize::try_from(limit / 4).unwrap_or(usize::MAX).max(1))
    }

    fn parcel(&self, segment: Segment) -> Parcel {
        Parcel { segment: Some(segment), shared: Arc::clone(&self.shared) }
    }
}

impl Shared {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    fn clear(&mut self) {
        self.all -= self.free.len() as u64;
        self.free.clear();
        self.all_bytes -= std::mem::take(&mut self.free_bytes);
    }

    /// One less of so many bytes.
    fn forget(&mut self, bytes: u64) {
        self.all -= 1;
        self.all_bytes -= bytes;
    }
}

impl Segment {
    fn new(bytes: u64) -> io::Result<Self> {
        Ok(Self { memfd: memfd::sealed("poolctl-parcel", bytes)?, bytes })
    }
}

impl Parcel {
    /// Its length, which may be more than was asked for, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segment().bytes
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// It would go beyond the end.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        transfer::write_all_at(self.writer(), bytes, offset)
    }

    /// Reads as many bytes as `bytes` has from `offset` on.
    ///
    /// # Errors
    /// It would go beyond the end.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        transfer::read_exactly_at(self.writer(), bytes, offset)
    }

    /// What writes it and reads it.
    #[must_use]
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.segment().memfd.as_fd()
    }

    /// A new descriptor that can only read it.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn reader(&self) -> io::Result<OwnedFd> {
        memfd::read_only(self.writer())
    }

    fn segment(&self) -> &Segment {
        self.segment.as_ref().expect("a parcel has its segment until it is dropped")
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        let mut stock = self.shared.stock();
        if stock.free_bytes + segment.bytes <= KEEP_BYTES && stock.free.len() < KEEP {
            stock.free_bytes += segment.bytes;
            stock.free.push(segment);
        } else {
            stock.forget(segment.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_parcel_is_used_again_for_what_fits() {
        let parcels = Parcels::new(None);
        let parcel = parcels.take(100_000).unwrap();
        parcel.write_at(b"hello", 70_000).unwrap();
        drop(parcel);

        let again = parcels.take(90_000).unwrap();
        let mut bytes = [0; 5];
        again.read_at(&mut bytes, 70_000).unwrap();

        assert_eq!((&bytes, again.bytes()), (b"hello", 131_072), "it is the same one");
        assert!(again.write_at(b"x", again.bytes()).is_err(), "it cannot grow");
        assert_eq!(parcels.take(1).unwrap().bytes(), 65_536);
    }

    #[test]
    fn the_limit_holds_for_parcels_in_use() {
        let parcels = Parcels::new(Some(300_000));
        let first = parcels.take(130_000).unwrap();

        let refused = parcels.take(200_000).unwrap_err();
        assert!(matches!(refused, ParcelError::OverLimit { wanted: 200_000, limit: 300_000, used: 131_072 }));

        drop(first);
        assert!(parcels.take(200_000).is_ok(), "what is kept for later gives way");
    }

    #[test]
    fn few_freed_parcels_are_kept_since_each_is_a_descriptor() {
        let parcels = Parcels::new(None);

        let many: Vec<_> = (0..3 * KEEP).map(|_| parcels.take(1).unwrap()).collect();
        drop(many);

        let stock = parcels.shared.stock();
        assert_eq!((stock.free.len(), stock.all_bytes), (KEEP, KEEP as u64 * STEP_BYTES));
    }
}
