//! Permits that come back when their holder dies.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use poolctl_sync::{NoEntry, Participant, PermitError, RawSemaphore, ReturnError};

use super::object::{Object, ObjectError, travels};

/// How many permits a [`Semaphore`] can have at least.
const ROOM: u32 = 256;

/// A number of permits, each of which one thread of any process holds, or nobody.
///
/// It is given to other processes as (part of) an argument; clones, and what a process gets, are the same semaphore. A
/// permit taken as a [`Permit`] comes back when its process dies.
#[derive(Clone)]
pub struct Semaphore {
    raw: RawSemaphore,
    object: Object,
}

/// A [`Semaphore`] that can have no more permits than it began with.
#[derive(Clone)]
pub struct BoundedSemaphore {
    raw: RawSemaphore,
    object: Object,
}

/// A permit that this thread holds until this is dropped.
#[must_use = "the permit is given back at once"]
pub struct Permit<'a> {
    raw: &'a RawSemaphore,
    thread: PhantomData<*const ()>,
}

macro_rules! semaphores {
    ($semaphore:ident) => {
        impl $semaphore {
            fn of(object: Object) -> Result<Self, ObjectError> {
                Ok(Self { raw: object.raw(RawSemaphore::at)?, object })
            }

            /// Takes a permit, if need be after waiting for one.
            ///
            /// # Errors
            /// [`PermitError::NoEntry`].
            #[track_caller]
            pub fn acquire(&self) -> Result<Permit<'_>, PermitError> {
                self.raw.acquire(None).map(|()| Permit { raw: &self.raw, thread: PhantomData })
            }

            /// Takes a permit, if need be after waiting for one for so long.
            ///
            /// # Errors
            /// [`PermitError`].
            #[track_caller]
            pub fn acquire_timeout(&self, limit: Duration) -> Result<Permit<'_>, PermitError> {
                self.raw.acquire(Some(limit)).map(|()| Permit { raw: &self.raw, thread: PhantomData })
            }

            /// Takes a permit if one is free.
            ///
            /// # Errors
            /// [`NoEntry`].
            pub fn try_acquire(&self) -> Result<Option<Permit<'_>>, NoEntry> {
                let is_taken = self.raw.try_acquire()?;
                Ok(is_taken.then_some(Permit { raw: &self.raw, thread: PhantomData }))
            }

            /// Takes a permit that is nobody's: anybody gives it back, by `release`, and no death does.
            ///
            /// # Errors
            /// [`PermitError::NoEntry`].
            #[track_caller]
            pub fn acquire_anonymous(&self) -> Result<(), PermitError> {
                self.raw.acquire_anonymous(None)
            }

            /// Gives a permit that is nobody's: one that was taken so, or a new one.
            ///
            /// # Errors
            /// [`ReturnError::Full`]: there are as many as there can be.
            pub fn release(&self) -> Result<(), ReturnError> {
                self.raw.release_anonymous()
            }

            /// How many permits are free at this moment.
            #[must_use]
            pub fn value(&self) -> usize {
                self.raw.value()
            }

            /// Who holds permits at this moment.
            #[must_use]
            pub fn holders(&self) -> Vec<Participant> {
                self.raw.holders()
            }

            /// Everybody who waits for a permit at this moment.
            #[must_use]
            pub fn waiters(&self) -> Vec<Participant> {
                self.raw.waiters()
            }
        }

        impl fmt::Debug for $semaphore {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut debug = f.debug_struct(stringify!($semaphore));
                debug.field("number", &self.object).field("value", &self.value()).finish_non_exhaustive()
            }
        }

        travels!($semaphore);
    };
}

semaphores!(Semaphore);
semaphores!(BoundedSemaphore);

impl Semaphore {
    /// A semaphore of which so many permits are free. It can have twice as many, or 256 if that is more.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new(permits: u32) -> Result<Self, ObjectError> {
        let most = permits.saturating_mul(2).max(ROOM);
        Self::of(Object::make(|host| host.create_semaphore(permits, most))?)
    }
}

impl BoundedSemaphore {
    /// A semaphore of which so many permits are free, and which never has more.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new(permits: u32) -> Result<Self, ObjectError> {
        Self::of(Object::make(|host| host.create_semaphore(permits, permits))?)
    }
}

impl Permit<'_> {
    /// Keeps the permit until this process ends; the end of its thread does not give it back.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.raw.release() {
            tracing::debug!(%error, "a permit was given back from elsewhere");
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
