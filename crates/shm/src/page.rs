//! The first page of each segment: which words there are, and where.
//!
//! Each page is written by one side and mapped for reading by the other. Nobody ever has a reference to a whole page,
//! since all but its words is anybody's guess: a [`Place`] leads to one word. Words that are written at different times,
//! or that the other side looks at while this one writes another, lie in different lines (128 bytes: processors fetch
//! lines in pairs).

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::sync::FutexWord;

/// The bytes of a page that places may use, whatever the machine's page size.
const PAGE_BYTES: usize = 4096;

/// The page that the host writes, at the beginning of the task segment.
#[derive(Debug)]
pub(crate) enum HostPage {}

/// The page that the worker writes, at the beginning of the result segment.
#[derive(Debug)]
pub(crate) enum WorkerPage {}

/// Where a word of type `W` lies in the page `P`: in bounds and aligned.
#[derive(Debug)]
pub(crate) struct Place<P, W> {
    offset: usize,
    kind: PhantomData<fn(P) -> W>,
}

/// Bytes posted into the task ring.
pub(crate) const POSTED: Place<HostPage, AtomicU64> = Place::at(0);
/// Counts up when the host has changed something that the worker may be asleep for.
pub(crate) const BELL: Place<HostPage, FutexWord> = Place::at(128);
/// Bytes of the result ring that the host has drained.
pub(crate) const DRAINED: Place<HostPage, AtomicU64> = Place::at(256);
/// Whether the host sleeps and must be kicked.
pub(crate) const HOST_SLEEPS: Place<HostPage, AtomicU32> = Place::at(384);
/// How the worker should work: [`TIMED`].
pub(crate) const FLAGS: Place<HostPage, AtomicU32> = Place::at(512);
/// For how many nanoseconds the worker should look for a message before it sleeps.
pub(crate) const SPIN_NS: Place<HostPage, AtomicU32> = Place::at(516);

/// Whether the host reads what the worker prints just now.
pub(crate) const HOST_READS: Place<HostPage, AtomicU32> = Place::at(640);

/// The flag that asks for items to be timed.
pub(crate) const TIMED: u32 = 1;

/// Bytes published in the result ring.
pub(crate) const PUBLISHED: Place<WorkerPage, AtomicU64> = Place::at(0);
/// Bytes of the task ring that the worker has done with.
pub(crate) const CONSUMED: Place<WorkerPage, AtomicU64> = Place::at(128);
/// Items begun in this life.
pub(crate) const BEGUN: Place<WorkerPage, AtomicU64> = Place::at(256);
/// When the last of them began, on the monotonic clock.
pub(crate) const STARTED_NS: Place<WorkerPage, AtomicU64> = Place::at(264);
/// Whether, and for what, the worker sleeps.
pub(crate) const WORKER_SLEEPS: Place<WorkerPage, AtomicU32> = Place::at(384);

impl<P, W> Place<P, W> {
    const fn at(offset: usize) -> Self {
        assert!(offset + size_of::<W>() <= PAGE_BYTES, "out of bounds");
        assert!(offset.is_multiple_of(align_of::<W>()), "not aligned");
        Self { offset, kind: PhantomData }
    }

    /// From the beginning of the page.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }
}
