//! Permits that come back when their holder dies: one word for each, with its holder's token.
//!
//! A permit's word is 0 (free), a token (held), or nobody's token (absent: taken by nobody in particular, or never
//! given). To take one is one compare-and-swap, so a permit that is taken has a holder on record at every instruction.
//! Anonymous permits are for semaphores that one process takes and another releases: they do not come back by
//! themselves.
//!
//! # If a process dies
//! The host frees the permits it held, and wakes all.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::bell;
use crate::ground::{LINE, Place};
use crate::member::{Member, NoEntry, Participant};
use crate::nap::{Nap, TimedOut};
use crate::token::{NOBODY, Token};

const FREE: u32 = 0;

/// Why no permit was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermitError {
    /// The time was up.
    #[error("no permit was free until the time was up")]
    TimedOut,
    /// This thread cannot hold anything.
    #[error("failed to take a permit")]
    NoEntry {
        /// Why.
        #[from]
        source: NoEntry,
    },
}

/// Why no permit was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReturnError {
    /// This thread holds none.
    #[error("this thread holds no permit")]
    NotHolder,
    /// As many are free, or held by somebody, as there can be.
    #[error("all {permits} permits are there already")]
    Full {
        /// How many there can be.
        permits: u32,
    },
    /// This thread cannot hold anything.
    #[error("this thread holds no permit")]
    NoEntry {
        /// Why.
        #[from]
        source: NoEntry,
    },
}

/// A semaphore in a host's segment.
#[derive(Debug, Clone)]
pub struct RawSemaphore {
    member: Member,
    place: Place,
}

impl RawSemaphore {
    /// The semaphore at `place`, which [`crate::Host::create_semaphore`] made in the segment of `member`.
    #[must_use]
    pub fn at(member: &Member, place: Place) -> Option<Self> {
        member.ground().object(place)?;
        Some(Self { member: member.clone(), place })
    }

    fn words(&self) -> (&AtomicU32, &[AtomicU32]) {
        let words = self.member.ground().object(self.place).expect("a semaphore lies in its segment");
        (&words[0], &words[LINE..])
    }

    /// Takes a permit, which comes back if this process dies with it; if need be after waiting for `limit`
    /// (`None` is for ever).
    ///
    /// # Errors
    /// [`PermitError`].
    #[track_caller]
    pub fn acquire(&self, limit: Option<Duration>) -> Result<(), PermitError> {
        let me = self.member.me()?;
        self.take(me, me.bits(), limit, Location::caller())
    }

    /// Takes a permit that anybody may give back, and that stays away if nobody does.
    ///
    /// # Errors
    /// [`PermitError`].
    #[track_caller]
    pub fn acquire_anonymous(&self, limit: Option<Duration>) -> Result<(), PermitError> {
        let me = self.member.me()?;
        self.take(me, NOBODY, limit, Location::caller())
    }

    /// Takes a permit if one is free; whether one was.
    ///
    /// # Errors
    /// [`NoEntry`].
    pub fn try_acquire(&self) -> Result<bool, NoEntry> {
        let me = self.member.me()?;
        Ok(change(self.words().1, FREE, me.bits()))
    }

    /// As [`RawSemaphore::acquire_anonymous`], but never waits.
    ///
    /// # Errors
    /// [`NoEntry`].
    pub fn try_acquire_anonymous(&self) -> Result<bool, NoEntry> {
        self.member.me()?;
        Ok(change(self.words().1, FREE, NOBODY))
    }

    fn take(
        &self,
        me: Token,
        holder: u32,
        limit: Option<Duration>,
        at: &'static Location<'static>,
    ) -> Result<(), PermitError> {
        let (bell, permits) = self.words();
        if change(permits, FREE, holder) {
            return Ok(());
        }
        let mut nap = Nap::new(&self.member, me, self.place.line, limit, at);
        loop {
            let said = bell::listen(bell);
            if change(permits, FREE, holder) {
                return Ok(());
            }
            nap.sleep(bell, said).map_err(|TimedOut| PermitError::TimedOut)?;
        }
    }

    /// Gives back a permit that this thread holds.
    ///
    /// # Errors
    /// [`ReturnError`]; nothing changes then.
    pub fn release(&self) -> Result<(), ReturnError> {
        let me = self.member.me()?;
        let (bell, permits) = self.words();
        if !change(permits, me.bits(), FREE) {
            return Err(ReturnError::NotHolder);
        }
        bell::ring(bell);
        Ok(())
    }

    /// Gives a permit that nobody in particular has: one taken anonymously, or, up to the most there can be, a new one.
    ///
    /// # Errors
    /// [`ReturnError::Full`].
    pub fn release_anonymous(&self) -> Result<(), ReturnError> {
        self.member.me()?;
        let (bell, permits) = self.words();
        if !change(permits, NOBODY, FREE) {
            return Err(ReturnError::Full { permits: self.place.extra });
        }
        bell::ring(bell);
        Ok(())
    }

    /// How many permits are free at this moment.
    #[must_use]
    pub fn value(&self) -> usize {
        self.words().1.iter().filter(|permit| permit.load(Ordering::Relaxed) == FREE).count()
    }

    /// Who holds permits at this moment, as far as the table knows.
    #[must_use]
    pub fn holders(&self) -> Vec<Participant> {
        let held = self.words().1.iter().map(|permit| permit.load(Ordering::Relaxed));
        let holders = held.filter(|word| *word != NOBODY).filter_map(Token::of);
        holders.filter_map(|holder| self.member.participant(holder)).collect()
    }

    /// Everybody who waits for a permit at this moment.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.member.waiters(self.place)
    }
}

/// Changes one permit that is `from` into `to`; whether there was one. Acquire, and release: what its last holder did is
/// seen by the next.
fn change(permits: &[AtomicU32], from: u32, to: u32) -> bool {
    permits.iter().any(|permit| {
        permit.load(Ordering::Relaxed) == from
            && permit.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    })
}

/// The first contents: `value` permits are free.
pub(crate) fn prepare(words: &[AtomicU32], value: u32) {
    for permit in words[LINE..].iter().skip(value as usize) {
        permit.store(NOBODY, Ordering::Relaxed);
    }
}

/// Frees what the dead held; how many.
pub(crate) fn recover(words: &[AtomicU32], is_dead: impl Fn(Token) -> bool) -> usize {
    let recovered = words[LINE..].iter().filter(|permit| {
        let seen = permit.load(Ordering::Relaxed);
        seen != NOBODY
            && Token::of(seen).is_some_and(&is_dead)
            && permit.compare_exchange(seen, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    });
    recovered.count()
}
