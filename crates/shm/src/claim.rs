//! The claim: which item a worker is at, told before it touches it.
//!
//! # Protocol
//! 1. The worker stores when the item begins, then *releases* how many it has begun, then begins.
//! 2. The host *acquires* the count, then loads the time: that of the item, or of one begun meanwhile; never earlier.
//!
//! # If the worker dies
//! Killed before the release it has not begun the item, whatever the time says. Killed after it the item counts as
//! begun, though perhaps nothing of it was done.

use crate::sync::{AtomicU64, Ordering, compiler_fence};

/// Which item a worker says it is at. Not checked: it is for the host to know how many it has posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Claim {
    /// How many items the worker has begun in its life.
    pub begun: u64,
    /// When the last of them began, on the monotonic clock, if items are timed. While the worker goes from one item to
    /// the next it may be when the next one begins: later than the truth, never earlier.
    pub started_ns: u64,
}

/// Step 1.
#[inline]
pub(crate) fn begin(begun_word: &AtomicU64, started_word: &AtomicU64, begun: u64, started_ns: Option<u64>) {
    if let Some(started_ns) = started_ns {
        started_word.store(started_ns, Ordering::Relaxed);
    }
    // Release: whoever sees the count sees the time.
    begun_word.store(begun, Ordering::Release);
    // What the item does stays behind the claim. That it does so in the program is enough: a process dies between two
    // instructions, and what it stored before is in memory then.
    compiler_fence(Ordering::SeqCst);
}

/// Step 2.
#[inline]
pub(crate) fn read(begun_word: &AtomicU64, started_word: &AtomicU64) -> Claim {
    let begun = begun_word.load(Ordering::Acquire);
    let started_ns = started_word.load(Ordering::Relaxed);
    Claim { begun, started_ns }
}
