//! Locks between processes that come back when their owner dies.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::object::{Object, ObjectError, travels};
use poolctl_sync::{
    Acquired, Detection, LockError, NoEntry, Owner, Participant, RawLock, RawRLock, ReleaseError,
};

/// A lock that any thread of any process of this program's can hold, one at a time.
///
/// - It is given to other processes as (part of) an argument; clones, and what a process gets, are the same lock.
/// - It knows its owner, a thread of a process. If that dies, the next one gets the lock and is told
///   ([`LockGuard::recovered`]), and so is everyone after it until one calls what the lock guards consistent.
/// - A wait of more than about 100 ms that is part of a cycle of waits is [`LockError::Deadlock`], which names everybody.
/// - Uncontended, it is taken and given back without a system call.
/// - 2048 threads of the process that made it can use shared objects at a time, and 31 of each other one.
/// - It takes 64 bytes, of which there are 262144 in a process for all its objects (each permit of a semaphore or party of a
///   barrier takes 4). They are free again when no process has a handle any more; those of an object that was sent through a
///   [`pipe`](crate::pipe()) or [published](crate::publish()), when the process ends that made it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = poolctl::Lock::new()?;
/// {
///     let _guard = lock.acquire()?;
///     assert!(lock.try_acquire()?.is_none());
/// }
/// assert!(!lock.is_locked());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Lock {
    raw: RawLock,
    object: Object,
}

/// A lock that its owner can take again, and gives back as often. Else as [`Lock`].
#[derive(Clone)]
pub struct RLock {
    raw: RawRLock,
    object: Object,
}

/// A [`Lock`] that this thread holds until this is dropped.
#[must_use = "the lock is given back at once"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    acquired: Acquired,
    /// The thread that took it is the one that gives it back.
    thread: PhantomData<*const ()>,
}

/// An [`RLock`] that this thread holds, once more, until this is dropped.
#[must_use = "the lock is given back at once"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    acquired: Acquired,
    thread: PhantomData<*const ()>,
}

macro_rules! locks {
    ($lock:ident, $guard:ident, $raw_lock:ident, $raw:expr) => {
        impl $lock {
            /// A lock that nobody holds.
            ///
            /// # Errors
            /// [`ObjectError`].
            pub fn new() -> Result<Self, ObjectError> {
                Self::of(Object::make(poolctl_sync::Host::create_lock)?)
            }

            fn of(object: Object) -> Result<Self, ObjectError> {
                Ok(Self { raw: $raw(&object)?, object })
            }

            /// The same lock, whose waits by this handle do not look for deadlocks: for locks that others than their
            /// owners give back as a matter of course.
            #[must_use]
            pub fn without_detection(self) -> Self {
                Self { raw: self.raw.with_detection(Detection::Off), ..self }
            }

            /// Takes the lock, if need be after waiting for it.
            ///
            /// # Errors
            /// [`LockError::Deadlock`], [`LockError::NoEntry`].
            #[track_caller]
            pub fn acquire(&self) -> Result<$guard<'_>, LockError> {
                self.raw.acquire(None).map(|acquired| self.held(acquired))
            }

            /// Takes the lock, if need be after waiting for so long.
            ///
            /// # Errors
            /// [`LockError`].
            #[track_caller]
            pub fn acquire_timeout(&self, limit: Duration) -> Result<$guard<'_>, LockError> {
                self.raw.acquire(Some(limit)).map(|acquired| self.held(acquired))
            }

            /// Takes the lock if nobody else holds it.
            ///
            /// # Errors
            /// [`NoEntry`].
            #[track_caller]
            pub fn try_acquire(&self) -> Result<Option<$guard<'_>>, NoEntry> {
                Ok(self.raw.try_acquire()?.map(|acquired| self.held(acquired)))
            }

            fn held(&self, acquired: Acquired) -> $guard<'_> {
                $guard { lock: self, acquired, thread: PhantomData }
            }

            /// Whether somebody holds it, or died holding it and nobody has taken it and called it consistent since.
            #[must_use]
            pub fn is_locked(&self) -> bool {
                self.raw.is_locked()
            }

            /// Who holds it at this moment, and since when at least.
            #[must_use]
            pub fn owner(&self) -> Option<Owner> {
                self.raw.owner()
            }

            /// Everybody who waits for it at this moment.
            #[must_use]
            pub fn waiters(&self) -> Vec<Participant> {
                self.raw.waiters()
            }

            /// The number by which a [`Deadlock`](crate::Deadlock) names it.
            #[must_use]
            pub fn number(&self) -> u32 {
                self.object.place.line
            }
        }

        impl $guard<'_> {
            /// Whether an owner died, and nobody has called what the lock guards consistent since: it may be half
            /// changed.
            #[must_use]
            pub fn recovered(&self) -> bool {
                self.acquired == Acquired::OwnerDied
            }

            /// Says that what the lock guards is right again.
            pub fn make_consistent(&mut self) {
                // It is this thread's, unless another has given it back from there; then it is for the next to say.
                if self.lock.raw.consistent().is_ok() {
                    self.acquired = Acquired::Clean;
                }
            }

            pub(super) fn raw(&self) -> &$raw_lock {
                &self.lock.raw
            }

            /// The lock was given back, and taken again.
            pub(super) fn came_back(&mut self, acquired: Acquired) {
                self.acquired = acquired;
            }

            /// Keeps the lock; somebody gives it back by another way. The object stays as long as this process does.
            pub fn keep(self) {
                // How often this thread holds it is known as long as there is a handle.
                std::mem::forget(self.lock.object.clone());
                std::mem::forget(self);
            }
        }

        impl Drop for $guard<'_> {
            fn drop(&mut self) {
                if let Err(error) = self.lock.raw.release() {
                    tracing::debug!(%error, "a lock was given back from elsewhere");
                }
            }
        }

        impl fmt::Debug for $lock {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut debug = f.debug_struct(stringify!($lock));
                debug.field("number", &self.number()).field("owner", &self.owner()).finish_non_exhaustive()
            }
        }

        impl fmt::Debug for $guard<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut debug = f.debug_struct(stringify!($guard));
                debug.field("lock", &self.lock.number()).field("recovered", &self.recovered()).finish()
            }
        }

        travels!($lock);
    };
}

locks!(Lock, LockGuard, RawLock, |object: &Object| object.raw(RawLock::at));
locks!(RLock, RLockGuard, RawRLock, Object::recursive);

impl Lock {
    /// Gives the lock back whoever holds it, as `multiprocessing.Lock` does.
    ///
    /// # Errors
    /// [`ReleaseError::Free`] if nobody holds it.
    pub fn release_from_anywhere(&self) -> Result<(), ReleaseError> {
        self.raw.release_from_anywhere()
    }
}

impl RLock {
    /// Gives back, once, what this thread holds and [kept](RLockGuard::keep).
    ///
    /// # Errors
    /// [`ReleaseError`] if this thread does not hold it.
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.raw.release()
    }

    /// How often this thread holds it.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.raw.depth()
    }
}
