//! Waiting for others: events, conditions, barriers.

use std::fmt;
use std::time::Duration;

use poolctl_sync::{BarrierError, NoEntry, Participant, RawBarrier, RawCondition, RawEvent, WaitError};

use super::locked::Locked;
use super::object::{Object, ObjectError, travels};

/// Something that is set or not, and that any number of threads of any processes wait for.
///
/// It is given to other processes as (part of) an argument; clones, and what a process gets, are the same event.
#[derive(Clone)]
pub struct Event {
    raw: RawEvent,
    object: Object,
}

/// What threads of any processes wait for while what a lock guards is not as they want it: a [`Lock`](crate::Lock), an
/// [`RLock`](crate::RLock) (given back however often it was taken), a [`Value`](crate::Value) or a
/// [`LockedArray`](crate::LockedArray).
///
/// It is given to other processes as (part of) an argument, with its lock; clones, and what a process gets, are the same
/// condition. Nobody acknowledges a notification, so a dead waiter blocks nobody. A wait may end for nothing.
#[derive(Clone)]
pub struct Condition {
    raw: RawCondition,
    object: Object,
}

/// A place where so many parties, threads of any processes, wait until all have come.
///
/// It is given to other processes as (part of) an argument; clones, and what a process gets, are the same barrier. If the
/// process of a party ends, however it ends, the barrier is broken for all: [`Barrier::reset`] it for others.
#[derive(Clone)]
pub struct Barrier {
    raw: RawBarrier,
    object: Object,
}

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new() -> Result<Self, ObjectError> {
        Self::of(Object::make(poolctl_sync::Host::create_event)?)
    }

    fn of(object: Object) -> Result<Self, ObjectError> {
        Ok(Self { raw: object.raw(RawEvent::at)?, object })
    }

    /// Sets it, and wakes all who wait.
    pub fn set(&self) {
        self.raw.set();
    }

    /// Clears it.
    pub fn clear(&self) {
        self.raw.clear();
    }

    /// Whether it is set. Who finds that it is sees what was done before.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.raw.is_set()
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// [`NoEntry`].
    #[track_caller]
    pub fn wait(&self) -> Result<(), NoEntry> {
        self.raw.wait(None).map(|_| ())
    }

    /// Waits until it is set, for so long at most; whether it was.
    ///
    /// # Errors
    /// [`NoEntry`].
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, NoEntry> {
        self.raw.wait(Some(limit))
    }

    /// Everybody who waits at this moment.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.raw.waiters()
    }
}

impl Condition {
    /// A condition.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new() -> Result<Self, ObjectError> {
        Self::of(Object::make(poolctl_sync::Host::create_condition)?)
    }

    fn of(object: Object) -> Result<Self, ObjectError> {
        Ok(Self { raw: object.raw(RawCondition::at)?, object })
    }

    /// Gives the lock back, waits for a notification, and takes the lock again. May end for nothing.
    ///
    /// # Errors
    /// [`WaitError`]; if it is [`WaitError::Lock`], the lock is not held any more.
    #[track_caller]
    pub fn wait(&self, guard: &mut impl Locked) -> Result<(), WaitError> {
        guard.wait(&self.raw, None).map(|_| ())
    }

    /// As [`Condition::wait`], for so long at most; then it takes the lock again, however long that takes. Whether it
    /// ended before the time was up.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    #[track_caller]
    pub fn wait_timeout(&self, guard: &mut impl Locked, limit: Duration) -> Result<bool, WaitError> {
        guard.wait(&self.raw, Some(limit))
    }

    /// Waits until `holds` does, which is asked with the lock held.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    #[track_caller]
    pub fn wait_for<G: Locked>(
        &self,
        guard: &mut G,
        mut holds: impl FnMut(&G) -> bool,
    ) -> Result<(), WaitError> {
        while !holds(guard) {
            guard.wait(&self.raw, None)?;
        }
        Ok(())
    }

    /// Waits until `holds` does, for so long at most; whether it does.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    #[track_caller]
    pub fn wait_for_timeout<G: Locked>(
        &self,
        guard: &mut G,
        limit: Duration,
        mut holds: impl FnMut(&G) -> bool,
    ) -> Result<bool, WaitError> {
        let until = poolctl_supervisor::now() + limit;
        while !holds(guard) {
            let left = until - poolctl_supervisor::now();
            if left.is_zero() {
                return Ok(false);
            }
            guard.wait(&self.raw, Some(left))?;
        }
        Ok(true)
    }

    /// Wakes so many of those who wait. Nothing is kept for who waits later. To be called with the lock held.
    ///
    /// # Errors
    /// [`NoEntry`] in a forked copy of the process.
    pub fn notify(&self, count: u32) -> Result<(), NoEntry> {
        self.raw.notify(count)
    }

    /// Wakes all who wait. To be called with the lock held.
    ///
    /// # Errors
    /// As [`Condition::notify`].
    pub fn notify_all(&self) -> Result<(), NoEntry> {
        self.raw.notify_all()
    }

    /// Everybody who waits at this moment.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.raw.waiters()
    }
}

impl Barrier {
    /// A barrier for so many parties, one at least.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new(parties: u32) -> Result<Self, ObjectError> {
        Self::of(Object::make(|host| host.create_barrier(parties))?)
    }

    fn of(object: Object) -> Result<Self, ObjectError> {
        Ok(Self { raw: object.raw(RawBarrier::at)?, object })
    }

    /// Becomes a party without coming yet: from now on the death of this process breaks the barrier. Whether there was
    /// room for one more.
    ///
    /// # Errors
    /// [`NoEntry`].
    pub fn join(&self) -> Result<bool, NoEntry> {
        self.raw.join()
    }

    /// Waits until all parties have come. A number from 0 on, another for each.
    ///
    /// # Errors
    /// [`BarrierError`].
    #[track_caller]
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.raw.wait(None)
    }

    /// As [`Barrier::wait`], for so long at most; then the barrier is broken.
    ///
    /// # Errors
    /// [`BarrierError`].
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<usize, BarrierError> {
        self.raw.wait(Some(limit))
    }

    /// Breaks it: all who wait, and all who come, are told.
    pub fn abort(&self) {
        self.raw.abort();
    }

    /// Makes it whole again, with no parties. Who waits is told that it was broken.
    pub fn reset(&self) {
        self.raw.reset();
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.raw.is_broken()
    }

    /// For how many parties it is.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.object.place.extra
    }

    /// How many have come and wait for the others.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.raw.arrived()
    }
}

travels!(Event);
travels!(Condition);
travels!(Barrier);

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Event");
        debug.field("number", &self.object).field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("number", &self.object).finish_non_exhaustive()
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Barrier");
        debug.field("number", &self.object).field("parties", &self.parties());
        debug.field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
