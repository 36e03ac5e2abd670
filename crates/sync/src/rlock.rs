//! A lock that its owner may take again: the same word, and a count that is private to the owner's handle.
//!
//! The word says that the thread owns it; how often, nobody else needs to know, since the word is given back at the
//! last release alone. So a death leaves what it leaves of a [`RawLock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::ground::Place;
use crate::lock::{Detection, LockError, Owner, RawLock, ReleaseError};
use crate::member::{Member, NoEntry, Participant};
use crate::word::Acquired;

/// A recursive lock in a host's segment. Clones share the count; two handles that were made apart do not, and one of
/// them cannot take again what the other holds.
#[derive(Debug, Clone)]
pub struct RawRLock {
    lock: RawLock,
    /// How often the owner has taken it. Touched by the owner alone, if that is a thread of this process.
    count: Arc<AtomicU32>,
}

impl RawRLock {
    /// The lock at `place`, as [`RawLock::at`].
    #[must_use]
    pub fn at(member: &Member, place: Place) -> Option<Self> {
        Some(Self { lock: RawLock::at(member, place)?, count: Arc::new(AtomicU32::new(0)) })
    }

    /// As [`RawLock::with_detection`].
    #[must_use]
    pub fn with_detection(self, detection: Detection) -> Self {
        Self { lock: self.lock.with_detection(detection), ..self }
    }

    /// Takes the lock, at once if this thread holds it, else as [`RawLock::acquire`].
    ///
    /// # Errors
    /// [`LockError`].
    #[track_caller]
    pub fn acquire(&self, limit: Option<Duration>) -> Result<Acquired, LockError> {
        if self.lock.is_mine() {
            return Ok(self.again());
        }
        let acquired = self.lock.acquire(limit)?;
        self.count.store(1, Ordering::Relaxed);
        Ok(acquired)
    }

    /// Takes the lock if nobody else holds it.
    ///
    /// # Errors
    /// [`NoEntry`].
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Option<Acquired>, NoEntry> {
        if self.lock.is_mine() {
            return Ok(Some(self.again()));
        }
        let acquired = self.lock.try_acquire()?;
        if acquired.is_some() {
            self.count.store(1, Ordering::Relaxed);
        }
        Ok(acquired)
    }

    fn again(&self) -> Acquired {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.lock.is_owner_dead() { Acquired::OwnerDied } else { Acquired::Clean }
    }

    /// Gives the lock back as often as this thread has taken it: the last time it is free.
    ///
    /// # Errors
    /// [`ReleaseError`] if this thread does not hold it.
    pub fn release(&self) -> Result<(), ReleaseError> {
        if self.lock.is_mine() && self.count.load(Ordering::Relaxed) > 1 {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        self.lock.release()
    }

    /// As [`RawLock::consistent`].
    ///
    /// # Errors
    /// [`ReleaseError`] if this thread does not hold it.
    pub fn consistent(&self) -> Result<(), ReleaseError> {
        self.lock.consistent()
    }

    /// As [`RawLock::owner`].
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.lock.owner()
    }

    /// As [`RawLock::waiters`].
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.lock.waiters()
    }

    /// As [`RawLock::is_locked`].
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// How often this thread holds it.
    #[must_use]
    pub fn depth(&self) -> u32 {
        if self.lock.is_mine() { self.count.load(Ordering::Relaxed) } else { 0 }
    }

    pub(crate) fn lock(&self) -> &RawLock {
        &self.lock
    }

    pub(crate) fn set_depth(&self, depth: u32) {
        self.count.store(depth, Ordering::Relaxed);
    }
}
