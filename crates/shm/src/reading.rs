//! Whose are the bytes that a worker printed: how the host reads them while the worker may go on to its next item.
//!
//! The pipe says nothing of items. So the host reads it between two words: it says that it reads, *then* looks which item
//! is begun, reads, and says that it has read. A worker says which item it begins, *then* looks whether the host reads,
//! and waits while it does. With a full fence between the two steps on either side at least one of them sees the
//! other: either the host finds the new item, or the new item prints nothing before the host has read.
//!
//! That holds for a worker which begins no item while bytes of the one before lie in the pipe.
//!
//! # If a side dies
//! A host that is killed while it reads leaves a worker asleep, and the keeper kills that one. A dead worker's pipe is
//! read as it is.

use crate::sync::{AtomicU32, Ordering, fence};

/// What the host's word says while it reads.
const READS: u32 = 1;

/// The host's first step, before it looks which item is begun.
#[inline]
pub(crate) fn begin(host_reads: &AtomicU32) {
    host_reads.store(READS, Ordering::Relaxed);
    // Against the fence in `must_wait`.
    fence(Ordering::SeqCst);
}

/// Its last one. The worker may sleep until then: the bell is rung after it.
#[inline]
pub(crate) fn end(host_reads: &AtomicU32) {
    // Release: it has read before another item prints.
    host_reads.store(0, Ordering::Release);
}

/// Whether a worker that has said which item it begins must wait for [`is_over`].
#[inline]
pub(crate) fn must_wait(host_reads: &AtomicU32) -> bool {
    // Against the fence in `begin`.
    fence(Ordering::SeqCst);
    !is_over(host_reads)
}

/// Whether the host has read.
#[inline]
pub(crate) fn is_over(host_reads: &AtomicU32) -> bool {
    host_reads.load(Ordering::Acquire) != READS
}
