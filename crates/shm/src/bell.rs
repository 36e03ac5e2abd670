//! How a side that has nothing to do sleeps, and how the other side knows that it must wake it.
//!
//! The same thing both ways: the sleeper says that it sleeps, *then* looks once more; the other side makes its change,
//! *then* looks whether somebody sleeps. With a full fence between the two steps on either side, at least one of them
//! sees the other: either the sleeper finds the change, or the other side finds the sleeper.
//!
//! # If a side dies
//! A worker that is killed asleep leaves its flag up: waking nobody costs the host a system call and nothing more. A
//! host that is killed before it wakes leaves a worker asleep, and the keeper kills that one. A worker killed before it
//! kicks is told of by its pidfd.

use crate::sync::{AtomicU32, FutexWord, Ordering, fence};

/// What a side's `sleeps` word says while it has something to do.
pub(crate) const AWAKE: u32 = 0;
/// What it says of a worker that has no message, and of a host that has no news.
pub(crate) const NOTHING_TO_DO: u32 = 1;
/// What it says of a worker that has no room for its records.
pub(crate) const NO_ROOM: u32 = 2;
/// What it says of a worker whose prints are being read.
pub(crate) const PRINTS_READ: u32 = 3;

/// The host's half of the bell, which it alone rings.
#[derive(Debug, Default)]
pub(crate) struct Ringer {
    /// What the bell's word says, known without reading it.
    count: u32,
}

impl Ringer {
    /// Wakes the worker if it sleeps for `reason`; to be called after the change that it waits for.
    #[inline]
    pub(crate) fn ring(&mut self, bell: &FutexWord, worker_sleeps: &AtomicU32, reason: u32) {
        self.count = self.count.wrapping_add(1);
        // Release: a worker that finds this count, and would sleep on it, has then seen the change, too.
        bell.word.store(self.count, Ordering::Release);
        // Against the fence in `sleep_until`.
        fence(Ordering::SeqCst);
        let sleeps = worker_sleeps.load(Ordering::Relaxed);
        // Who says what no worker says was written over, and may be asleep.
        if sleeps == reason || sleeps > PRINTS_READ {
            bell.wake();
        }
    }
}

/// Sleeps in the worker until `is_over`, which the host makes so before it rings for `reason`.
pub(crate) fn sleep_until(
    bell: &FutexWord,
    worker_sleeps: &AtomicU32,
    reason: u32,
    mut is_over: impl FnMut() -> bool,
) {
    worker_sleeps.store(reason, Ordering::Relaxed);
    // Against the fence in `Ringer::ring`.
    fence(Ordering::SeqCst);
    loop {
        // Acquire, and before the look: who rings after the look changes what is slept on.
        let count = bell.word.load(Ordering::Acquire);
        if is_over() {
            break;
        }
        bell.wait(count);
    }
    worker_sleeps.store(AWAKE, Ordering::Relaxed);
}

/// Says that the host is going to sleep, before its last look for news.
#[inline]
pub(crate) fn say_asleep(host_sleeps: &AtomicU32) {
    host_sleeps.store(NOTHING_TO_DO, Ordering::Relaxed);
    // Against the fence in `must_kick`.
    fence(Ordering::SeqCst);
}

/// Whether the host sleeps and must be kicked, asked by a worker that has just published.
#[inline]
pub(crate) fn must_kick(host_sleeps: &AtomicU32) -> bool {
    // Against the fence in `say_asleep`.
    fence(Ordering::SeqCst);
    host_sleeps.load(Ordering::Relaxed) != AWAKE
}
