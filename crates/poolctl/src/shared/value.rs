//! One value in shared memory, under a lock.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytemuck::Pod;
use poolctl_shm::SharedCells;
use poolctl_sync::LockError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{Lock, LockGuard};
use super::object::ObjectError;
use super::{Travelled, Travelling};

/// A value of plain data in memory that processes share, with a lock of its own.
///
/// It is given to other processes as (part of) an argument; clones, and what a process gets, are the same value.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counter = poolctl::Value::new(40_i64)?;
/// *counter.lock()? += 1;
/// counter.update(|count| count + 1);
/// assert_eq!(counter.load(), 42);
/// # Ok(())
/// # }
/// ```
pub struct Value<T: Pod> {
    cells: SharedCells<AtomicU64>,
    lock: Lock,
    kind: std::marker::PhantomData<fn(T) -> T>,
}

/// A [`Value`] that this thread has locked: a copy of it, which is put back when this is dropped, if it was changed.
///
/// A value of up to 8 bytes is put back whole or not at all. If a process is killed while it puts back a longer one, the
/// next to lock it is told ([`ValueGuard::recovered`]) and may find half of either.
#[must_use = "the value is unlocked at once"]
pub struct ValueGuard<'a, T: Pod> {
    value: &'a Value<T>,
    copy: T,
    is_changed: bool,
    /// The lock did not come back from a wait for a condition: it is another's.
    is_lost: bool,
    // Given back behind the rest.
    guard: LockGuard<'a>,
}

impl<T: Pod> Value<T> {
    /// This value, locked by nobody.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new(value: T) -> Result<Self, ObjectError> {
        let cells = SharedCells::new(size_of::<T>().div_ceil(8))?;
        let value_here = Self { cells, lock: Lock::new()?, kind: std::marker::PhantomData };
        value_here.put(&value);
        Ok(value_here)
    }

    /// Locks the value, if need be after waiting.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    #[track_caller]
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, LockError> {
        self.lock.acquire().map(|guard| self.locked(guard))
    }

    /// Locks the value, if need be after waiting for so long.
    ///
    /// # Errors
    /// As [`Lock::acquire_timeout`].
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> Result<ValueGuard<'_, T>, LockError> {
        self.lock.acquire_timeout(limit).map(|guard| self.locked(guard))
    }

    fn locked<'a>(&'a self, guard: LockGuard<'a>) -> ValueGuard<'a, T> {
        ValueGuard { value: self, copy: self.copy(), is_changed: false, is_lost: false, guard }
    }

    /// The lock.
    #[must_use]
    pub fn get_lock(&self) -> &Lock {
        &self.lock
    }

    /// The value as it is, without the lock.
    #[must_use]
    #[inline]
    pub fn load(&self) -> T {
        const { assert!(size_of::<T>() <= 8, "only up to 8 bytes are read whole without the lock") };
        self.copy()
    }

    /// Replaces the value, without the lock.
    #[inline]
    pub fn store(&self, value: T) {
        const { assert!(size_of::<T>() <= 8, "only up to 8 bytes are written whole without the lock") };
        self.put(&value);
    }

    /// Changes the value in one step, without the lock, and answers what it was before. `change` may be called more than
    /// once.
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> T {
        const { assert!(size_of::<T>() <= 8, "only up to 8 bytes are changed whole without the lock") };
        let Some(cell) = self.cells.cells().first() else { return self.copy() };
        let mut before = cell.load(Ordering::Acquire);
        loop {
            let value = from_words(|_| before);
            let after = word_of(&change(value), 0);
            match cell.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return value,
                Err(now) => before = now,
            }
        }
    }

    fn copy(&self) -> T {
        let cells = self.cells.cells();
        from_words(|at| cells[at].load(Ordering::Acquire))
    }

    fn put(&self, value: &T) {
        for (at, cell) in self.cells.cells().iter().enumerate() {
            cell.store(word_of(value, at), Ordering::Release);
        }
    }
}

/// A value out of words.
#[inline]
fn from_words<T: Pod>(word: impl Fn(usize) -> u64) -> T {
    let mut value = T::zeroed();
    for (at, bytes) in bytemuck::bytes_of_mut(&mut value).chunks_mut(8).enumerate() {
        bytes.copy_from_slice(&word(at).to_ne_bytes()[..bytes.len()]);
    }
    value
}

/// One of its words.
#[inline]
fn word_of<T: Pod>(value: &T, at: usize) -> u64 {
    let mut word = [0; 8];
    let bytes = bytemuck::bytes_of(value);
    let part = &bytes[at * 8..bytes.len().min(at * 8 + 8)];
    word[..part.len()].copy_from_slice(part);
    u64::from_ne_bytes(word)
}

impl<'a, T: Pod> ValueGuard<'a, T> {
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

    /// What was changed here is seen by others from now on.
    pub(super) fn put_back(&mut self) {
        if std::mem::take(&mut self.is_changed) && !self.is_lost {
            self.value.put(&self.copy);
        }
    }

    /// What others changed is seen here, if the lock came back.
    pub(super) fn look_again(&mut self, came_back: bool) {
        self.copy = self.value.copy();
        self.is_lost = !came_back;
    }
}

impl<T: Pod> Deref for ValueGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<T: Pod> DerefMut for ValueGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.copy
    }
}

impl<T: Pod> Drop for ValueGuard<'_, T> {
    fn drop(&mut self) {
        self.put_back();
    }
}

impl<T: Pod> Clone for Value<T> {
    /// The same value, not a copy of it.
    fn clone(&self) -> Self {
        Self { cells: self.cells.clone(), lock: self.lock.clone(), kind: self.kind }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("value", &self.copy()).field("lock", &self.lock).finish()
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueGuard").field("value", &self.copy).finish_non_exhaustive()
    }
}

impl<T: Pod> Serialize for Value<T> {
    /// As an argument of a task or process alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Travelling(&self.cells), &self.lock).serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Travelled(cells), lock) = Deserialize::deserialize(deserializer)?;
        let wanted = size_of::<T>().div_ceil(8);
        if cells.cells().len() != wanted {
            return Err(serde::de::Error::custom("a shared value of another size"));
        }
        Ok(Self { cells, lock, kind: std::marker::PhantomData })
    }
}
