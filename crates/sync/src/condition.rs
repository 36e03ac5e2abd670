//! A condition: to wait, without a lock one holds, until somebody says that what it guards has changed.
//!
//! One word that is counted up at each notification, bit 31 says that somebody may sleep. Nobody acknowledges anything,
//! so a dead sleeper blocks nobody. A waiter may wake for nothing: it looks at what it waits for, and waits again.
//!
//! # Protocol
//! 1. The waiter, holding the lock, sets bit 31 and keeps the count; it releases the lock; it sleeps while the count is
//!    that; it takes the lock.
//! 2. The notifier counts up, then wakes as many as it says.
//!
//! # If a process dies
//! Between the two steps of 2, or woken and before it took the lock, it leaves sleepers without the wake that was
//! theirs: the host wakes all, and they look.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use poolctl_sys::futex;

use crate::atomics::Ordering;
use crate::ground::Place;
use crate::lock::{LockError, RawLock, ReleaseError};
use crate::member::{Member, NoEntry, Participant};
use crate::nap::Nap;
use crate::rlock::RawRLock;
use crate::word::Acquired;

const WAITERS: u32 = 1 << 31;

/// How a wait ended; the lock is held again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Whether it ended before the time was up: by a notification, or for nothing.
    pub is_woken: bool,
    /// How the lock came back.
    pub acquired: Acquired,
}

/// Why there was no wait, or why it ended without the lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The lock was not this thread's; there was no wait.
    #[error("failed to release the lock of a condition")]
    Release {
        /// Why.
        #[from]
        source: ReleaseError,
    },
    /// The wait is over, and the lock could not be taken again: it is not held.
    #[error("failed to take the lock of a condition again")]
    Lock {
        /// Why.
        #[from]
        source: LockError,
    },
}

/// A condition in a host's segment.
#[derive(Debug, Clone)]
pub struct RawCondition {
    member: Member,
    place: Place,
}

impl RawCondition {
    /// The condition at `place`, which [`crate::Host::create_condition`] made in the segment of `member`.
    #[must_use]
    pub fn at(member: &Member, place: Place) -> Option<Self> {
        member.ground().object(place)?;
        Some(Self { member: member.clone(), place })
    }

    fn word(&self) -> &AtomicU32 {
        self.member.ground().word(self.place.line).expect("a condition lies in its segment")
    }

    /// Releases the lock, which this thread must hold, waits for a notification, for `limit` at most (`None` is for
    /// ever), and takes the lock again, however long that takes. May end for nothing.
    ///
    /// # Errors
    /// [`WaitError`].
    #[track_caller]
    pub fn wait(&self, lock: &RawLock, limit: Option<Duration>) -> Result<Waited, WaitError> {
        let me = self.member.me().map_err(ReleaseError::from)?;
        let mut nap = Nap::new(&self.member, me, self.place.line, limit, std::panic::Location::caller());
        // Under the lock: whoever changes something under it afterwards counts up from here, and sees the bit.
        let seen = self.word().fetch_or(WAITERS, Ordering::Relaxed) | WAITERS;
        lock.release()?;
        let is_woken = nap.sleep(self.word(), seen).is_ok();
        drop(nap);
        Ok(Waited { is_woken, acquired: lock.acquire(None)? })
    }

    /// The same with a recursive lock, which is released however often it was taken, and taken as often again.
    ///
    /// # Errors
    /// [`WaitError`].
    #[track_caller]
    pub fn wait_recursive(&self, lock: &RawRLock, limit: Option<Duration>) -> Result<Waited, WaitError> {
        let depth = lock.depth();
        let waited = self.wait(lock.lock(), limit)?;
        lock.set_depth(depth);
        Ok(waited)
    }

    /// Wakes `count` of those who wait. Nothing is kept for those who wait later. To be called with the lock held, or
    /// a waiter that has just released it may be missed.
    ///
    /// # Errors
    /// [`NoEntry`] in a forked copy of a member.
    pub fn notify(&self, count: u32) -> Result<(), NoEntry> {
        self.member.me()?;
        self.count_up(WAITERS, count);
        Ok(())
    }

    /// Wakes all who wait.
    ///
    /// # Errors
    /// As [`RawCondition::notify`].
    pub fn notify_all(&self) -> Result<(), NoEntry> {
        self.member.me()?;
        self.count_up(0, u32::MAX);
        Ok(())
    }

    fn count_up(&self, waiters: u32, count: u32) {
        let word = self.word();
        let mut seen = word.load(Ordering::Relaxed);
        while seen & WAITERS != 0 {
            let next = seen.wrapping_add(1) & !WAITERS | waiters;
            // Relaxed: what changed is seen by way of the lock.
            match word.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return futex::wake(word, count),
                Err(now) => seen = now,
            }
        }
    }

    /// Everybody who waits at this moment.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.member.waiters(self.place)
    }
}
