//! How much shared memory this process may hold by cells it has made, and how much it does.
//!
//! What is counted is what was made here and not dropped here. Others may keep such memory longer, and what they make is
//! theirs.

use std::sync::atomic::{AtomicU64, Ordering};

static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);
static USED: AtomicU64 = AtomicU64::new(0);

/// A part of what is used, until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge(u64);

/// It would be more than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverLimit {
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

/// From now on nothing is made that would bring what this process uses above so many bytes.
pub fn set_limit(bytes: u64) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// How many bytes are used.
#[must_use]
pub fn used() -> u64 {
    USED.load(Ordering::Relaxed)
}

impl Charge {
    pub(crate) fn take(bytes: u64) -> Result<Self, OverLimit> {
        let limit = LIMIT.load(Ordering::Relaxed);
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit);
        let taken = USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| Self(bytes)).map_err(|used| OverLimit { limit, used })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        USED.fetch_sub(self.0, Ordering::Relaxed);
    }
}
