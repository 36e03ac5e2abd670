//! Guards that a condition can wait with: it gives back what they hold, and takes it again.

use std::time::Duration;

use bytemuck::Pod;
use poolctl_sync::{RawCondition, WaitError};

use super::element::Element;
use super::lock::{LockGuard, RLockGuard};
use super::locked_array::LockedArrayGuard;
use super::value::ValueGuard;

/// The guards of locks, with which a [`Condition`](crate::Condition) can wait.
pub trait Locked: sealed::Locked {}

mod sealed {
    use super::{Duration, RawCondition, WaitError};

    pub trait Locked {
        /// Gives the lock back, waits, and takes it again; whether the wait was over before the limit.
        #[track_caller]
        fn wait(&mut self, condition: &RawCondition, limit: Option<Duration>) -> Result<bool, WaitError>;
    }
}

impl Locked for LockGuard<'_> {}

impl sealed::Locked for LockGuard<'_> {
    fn wait(&mut self, condition: &RawCondition, limit: Option<Duration>) -> Result<bool, WaitError> {
        let waited = condition.wait(self.raw(), limit)?;
        self.came_back(waited.acquired);
        Ok(waited.is_woken)
    }
}

impl Locked for RLockGuard<'_> {}

impl sealed::Locked for RLockGuard<'_> {
    fn wait(&mut self, condition: &RawCondition, limit: Option<Duration>) -> Result<bool, WaitError> {
        let waited = condition.wait_recursive(self.raw(), limit)?;
        self.came_back(waited.acquired);
        Ok(waited.is_woken)
    }
}

impl<T: Element> Locked for LockedArrayGuard<'_, T> {}

impl<T: Element> sealed::Locked for LockedArrayGuard<'_, T> {
    fn wait(&mut self, condition: &RawCondition, limit: Option<Duration>) -> Result<bool, WaitError> {
        self.guard_mut().wait(condition, limit)
    }
}

impl<T: Pod> Locked for ValueGuard<'_, T> {}

impl<T: Pod> sealed::Locked for ValueGuard<'_, T> {
    fn wait(&mut self, condition: &RawCondition, limit: Option<Duration>) -> Result<bool, WaitError> {
        self.put_back();
        let waited = self.guard_mut().wait(condition, limit);
        self.look_again(!matches!(waited, Err(WaitError::Lock { .. })));
        waited
    }
}
