//! A flag to wait for. One word: bit 31 somebody may sleep, bit 0 set, between them how often it was set.
//!
//! Whoever waits returns when the flag is set, or has been set since it began, however soon it was cleared again.
//!
//! # If a process dies
//! Killed between setting the flag and waking, it leaves sleepers; the host wakes all. Dead waiters leave bit 31.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use poolctl_sys::futex;

use crate::ground::Place;
use crate::member::{Member, NoEntry, Participant};
use crate::nap::{Nap, TimedOut};

const WAITERS: u32 = 1 << 31;
const SET: u32 = 1;

/// An event in a host's segment.
#[derive(Debug, Clone)]
pub struct RawEvent {
    member: Member,
    place: Place,
}

impl RawEvent {
    /// The event at `place`, which [`crate::Host::create_event`] made in the segment of `member`.
    #[must_use]
    pub fn at(member: &Member, place: Place) -> Option<Self> {
        member.ground().object(place)?;
        Some(Self { member: member.clone(), place })
    }

    fn word(&self) -> &AtomicU32 {
        self.member.ground().word(self.place.line).expect("an event lies in its segment")
    }

    /// Whether it is set. Who finds that it is sees what was done before it was set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.word().load(Ordering::Acquire) & SET != 0
    }

    /// Sets it and wakes all who wait.
    pub fn set(&self) {
        let word = self.word();
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            // Counted up only if it was not set; but always stored, so that what was done here before is seen.
            let next = if seen & SET == 0 {
                (seen & !WAITERS).wrapping_add(2) & !WAITERS | SET
            } else {
                seen & !WAITERS
            };
            match word.compare_exchange(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) if seen & WAITERS != 0 => return futex::wake(word, u32::MAX),
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Clears it.
    pub fn clear(&self) {
        self.word().fetch_and(!SET, Ordering::Relaxed);
    }

    /// Waits until it is set, for `limit` at most (`None` is for ever); whether it was.
    ///
    /// # Errors
    /// [`NoEntry`].
    #[track_caller]
    pub fn wait(&self, limit: Option<Duration>) -> Result<bool, NoEntry> {
        let me = self.member.me()?;
        let word = self.word();
        let first = word.load(Ordering::Acquire);
        if first & SET != 0 {
            return Ok(true);
        }
        let mut nap = Nap::new(&self.member, me, self.place.line, limit, Location::caller());
        loop {
            let seen = word.load(Ordering::Acquire);
            if seen & SET != 0 || (seen ^ first) & !WAITERS != 0 {
                return Ok(true);
            }
            let marked = seen | WAITERS;
            if seen != marked
                && word.compare_exchange(seen, marked, Ordering::Relaxed, Ordering::Relaxed).is_err()
            {
                continue;
            }
            if nap.sleep(word, marked) == Err(TimedOut) {
                return Ok(false);
            }
        }
    }

    /// Everybody who waits at this moment.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.member.waiters(self.place)
    }
}
