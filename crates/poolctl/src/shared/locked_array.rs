//! An array of numbers in shared memory, with a lock of its own.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use poolctl_sync::LockError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{Lock, LockGuard};
use super::object::ObjectError;
use super::{Array, Element};

/// An [`Array`] that is used under a lock, so that changes of several numbers are seen together.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let accounts = poolctl::LockedArray::from_slice(&[100, 100])?;
/// {
///     let accounts = accounts.lock()?;
///     accounts.update(0, |money| money - 10);
///     accounts.update(1, |money| money + 10);
/// }
/// assert_eq!(accounts.lock()?.to_vec(), [90, 110]);
/// # Ok(())
/// # }
/// ```
pub struct LockedArray<T: Element> {
    array: Array<T>,
    lock: Lock,
}

/// A [`LockedArray`] that this thread has locked until this is dropped: its numbers.
#[must_use = "the array is unlocked at once"]
pub struct LockedArrayGuard<'a, T: Element> {
    array: &'a Array<T>,
    guard: LockGuard<'a>,
}

impl<T: Element> LockedArray<T> {
    /// `len` zeroes.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new(len: usize) -> Result<Self, ObjectError> {
        Ok(Self { array: Array::new(len)?, lock: Lock::new()? })
    }

    /// A copy of these numbers.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn from_slice(numbers: &[T]) -> Result<Self, ObjectError> {
        Ok(Self { array: Array::from_slice(numbers)?, lock: Lock::new()? })
    }

    /// Locks the array, if need be after waiting.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    #[track_caller]
    pub fn lock(&self) -> Result<LockedArrayGuard<'_, T>, LockError> {
        self.lock.acquire().map(|guard| LockedArrayGuard { array: &self.array, guard })
    }

    /// Locks the array, if need be after waiting for so long.
    ///
    /// # Errors
    /// As [`Lock::acquire_timeout`].
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> Result<LockedArrayGuard<'_, T>, LockError> {
        self.lock.acquire_timeout(limit).map(|guard| LockedArrayGuard { array: &self.array, guard })
    }

    /// The lock.
    #[must_use]
    pub fn get_lock(&self) -> &Lock {
        &self.lock
    }

    /// The numbers, without the lock.
    #[must_use]
    pub fn get_array(&self) -> &Array<T> {
        &self.array
    }
}

impl<'a, T: Element> LockedArrayGuard<'a, T> {
    /// As [`LockGuard::recovered`].
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.guard.recovered()
    }

    /// As [`LockGuard::make_consistent`].
    pub fn make_consistent(&mut self) {
        self.guard.make_consistent();
    }

    pub(super) fn guard_mut(&mut self) -> &mut LockGuard<'a> {
        &mut self.guard
    }
}

impl<T: Element> Deref for LockedArrayGuard<'_, T> {
    type Target = Array<T>;

    fn deref(&self) -> &Array<T> {
        self.array
    }
}

impl<T: Element> Clone for LockedArray<T> {
    /// The same numbers, not a copy of them.
    fn clone(&self) -> Self {
        Self { array: self.array.clone(), lock: self.lock.clone() }
    }
}

impl<T: Element> fmt::Debug for LockedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedArray").field("array", &self.array).field("lock", &self.lock).finish()
    }
}

impl<T: Element> fmt::Debug for LockedArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedArrayGuard").field("array", self.array).finish_non_exhaustive()
    }
}

impl<T: Element> Serialize for LockedArray<T> {
    /// As an argument of a task or process alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.array, &self.lock).serialize(serializer)
    }
}

impl<'de, T: Element> Deserialize<'de> for LockedArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (array, lock) = Deserialize::deserialize(deserializer)?;
        Ok(Self { array, lock })
    }
}
