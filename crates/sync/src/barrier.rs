//! A meeting point of a number of threads, with an arrival word for each party.
//!
//! The first word counts the meetings, and bit 30 says that the barrier is broken. A party's word is its token and, in
//! the top two bits, the number of the meeting it has arrived for, as far as two bits say it. A meeting is complete when
//! all words say its number; then one compare-and-swap counts it, and nothing needs to be taken back.
//!
//! # If a process dies
//! A party is whoever has a word: it got one when it first came, or joined. Its death breaks the barrier, even between
//! two meetings, since it will not come to the next one: the host sets bit 30 and wakes all. A process that dies before
//! it came or joined is nobody the barrier knows.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use poolctl_sys::futex;

use crate::ground::{LINE, Place};
use crate::member::{Member, NoEntry, Participant};
use crate::nap::{Nap, TimedOut};
use crate::token::{TOKEN, Token};

const BROKEN: u32 = 1 << 30;
const MEETING: u32 = BROKEN - 1;
/// What a reset counts on by: far, so that it is no meeting, and to another number of two bits.
const RESET: u32 = (1 << 16) + 2;

/// Why a meeting did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// A party died, or gave up, or somebody broke or reset the barrier.
    #[error("the barrier is broken")]
    Broken,
    /// This thread gave up, which breaks the barrier.
    #[error("not all parties came until the time was up")]
    TimedOut,
    /// This thread cannot come.
    #[error("failed to come to a barrier")]
    NoEntry {
        /// Why.
        #[from]
        source: NoEntry,
    },
}

/// A barrier in a host's segment.
#[derive(Debug, Clone)]
pub struct RawBarrier {
    member: Member,
    place: Place,
}

impl RawBarrier {
    /// The barrier at `place`, which [`crate::Host::create_barrier`] made in the segment of `member`.
    #[must_use]
    pub fn at(member: &Member, place: Place) -> Option<Self> {
        member.ground().object(place)?;
        Some(Self { member: member.clone(), place })
    }

    fn words(&self) -> (&AtomicU32, &[AtomicU32]) {
        let words = self.member.ground().object(self.place).expect("a barrier lies in its segment");
        (&words[0], &words[LINE..])
    }

    /// Becomes a party without coming yet, so that this process's death breaks the barrier from now on. Whether there
    /// was room for one more party.
    ///
    /// # Errors
    /// [`NoEntry`].
    pub fn join(&self) -> Result<bool, NoEntry> {
        let me = self.member.me()?;
        let (word, parties) = self.words();
        let meeting = word.load(Ordering::Acquire) & MEETING;
        Ok(seat(parties, me, tag(meeting), tag(meeting)).is_some())
    }

    /// Comes, and waits until all have come, for `limit` at most (`None` is for ever). Answers this party's number,
    /// from 0.
    ///
    /// # Errors
    /// [`BarrierError`].
    #[track_caller]
    pub fn wait(&self, limit: Option<Duration>) -> Result<usize, BarrierError> {
        let me = self.member.me()?;
        let (word, parties) = self.words();
        let mut nap = Nap::new(&self.member, me, self.place.line, limit, Location::caller());
        loop {
            let meeting = word.load(Ordering::Acquire);
            if meeting & BROKEN != 0 {
                return Err(BarrierError::Broken);
            }
            let arrived = tag(meeting.wrapping_add(1));
            let seat = seat(parties, me, arrived, arrived);
            // The last one finds all words set: each is set, then all are read, in one order for everybody.
            if parties.iter().all(|party| is_tagged(party.load(Ordering::SeqCst), arrived)) {
                let next = meeting.wrapping_add(1) & MEETING;
                // Acquire and release: who leaves sees what all did before they came.
                if word.compare_exchange(meeting, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    futex::wake(word, u32::MAX);
                }
            }
            if let Some(seat) = seat {
                return self.stay(&mut nap, meeting).map(|()| seat);
            }
            // All seats were taken by others, who have met by now: this thread is for the next meeting.
        }
    }

    fn stay(&self, nap: &mut Nap<'_>, meeting: u32) -> Result<(), BarrierError> {
        let word = self.words().0;
        loop {
            let seen = word.load(Ordering::Acquire);
            if seen != meeting {
                let met = (seen & MEETING).wrapping_sub(meeting) & MEETING;
                return if (1..RESET / 2).contains(&met) { Ok(()) } else { Err(BarrierError::Broken) };
            }
            if nap.sleep(word, seen) == Err(TimedOut) {
                let broken = word.compare_exchange(seen, seen | BROKEN, Ordering::AcqRel, Ordering::Relaxed);
                if broken.is_ok() {
                    futex::wake(word, u32::MAX);
                    return Err(BarrierError::TimedOut);
                }
            }
        }
    }

    /// Breaks the barrier: all who wait, and all who come, are told.
    pub fn abort(&self) {
        break_up(self.words().0);
        futex::wake(self.words().0, u32::MAX);
    }

    /// Makes the barrier whole again, with no parties. Who waits is told that it was broken.
    pub fn reset(&self) {
        let (word, parties) = self.words();
        self.abort();
        parties.iter().for_each(|party| party.store(0, Ordering::Relaxed));
        let mut seen = word.load(Ordering::Relaxed);
        while seen & BROKEN != 0 {
            let whole = (seen & MEETING).wrapping_add(RESET) & MEETING;
            match word.compare_exchange(seen, whole, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return futex::wake(word, u32::MAX),
                Err(now) => seen = now,
            }
        }
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.words().0.load(Ordering::Acquire) & BROKEN != 0
    }

    /// How many have come to the meeting that is not complete.
    #[must_use]
    pub fn arrived(&self) -> usize {
        let (word, parties) = self.words();
        let arrived = tag(word.load(Ordering::Acquire).wrapping_add(1));
        parties.iter().filter(|party| is_tagged(party.load(Ordering::Relaxed), arrived)).count()
    }

    /// Everybody who waits at this moment.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.member.waiters(self.place)
    }
}

/// A meeting's number in the top two bits.
fn tag(meeting: u32) -> u32 {
    meeting << 30
}

fn is_tagged(party: u32, tag: u32) -> bool {
    party & TOKEN != 0 && party & !TOKEN == tag
}

/// Writes `me` and `tag` into a party's word: its own, else a free one, else one whose party has not arrived.
fn seat(parties: &[AtomicU32], me: Token, tag: u32, arrived: u32) -> Option<usize> {
    let mine = |seen: u32| seen & TOKEN == me.bits();
    let free = |seen: u32| seen & TOKEN == 0;
    let absent = |seen: u32| !is_tagged(seen, arrived);
    let kinds: [&dyn Fn(u32) -> bool; 3] = [&mine, &free, &absent];
    kinds.iter().find_map(|is_it| {
        parties.iter().position(|party| {
            let seen = party.load(Ordering::Relaxed);
            is_it(seen)
                && party.compare_exchange(seen, me.bits() | tag, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        })
    })
}

fn break_up(word: &AtomicU32) {
    word.fetch_or(BROKEN, Ordering::AcqRel);
}

/// Breaks the barrier if a party is dead; whether one is.
pub(crate) fn recover(words: &[AtomicU32], is_dead: impl Fn(Token) -> bool) -> bool {
    let is_party_dead =
        words[LINE..].iter().any(|party| Token::of(party.load(Ordering::Relaxed)).is_some_and(&is_dead));
    if is_party_dead {
        break_up(&words[0]);
    }
    is_party_dead
}
