//! A lock that knows its owner: the word, and what is around it.
//!
//! Free, it costs one compare-and-swap to take and one to give back, and no system call. The protocol, and what a death
//! leaves, stand with the word (`word.rs`).

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use poolctl_sys::clock;
use poolctl_sys::futex::{self, Woken};
use poolctl_types::Moment;

use crate::deadlock::{Deadlock, Search};
use crate::entry::{Awaited, low};
use crate::ground::{Ground, Place};
use crate::held::{self, Note};
use crate::member::{Member, NoEntry, Participant, load_long};
use crate::token::Token;
use crate::word::{self, Acquired, OWNER_DIED};

/// In a lock's line: whom `SINCE` is about.
const SINCE_OF: usize = 1;
/// Since when it holds the lock at least: nanoseconds.
const SINCE: usize = 2;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The time was up.
    #[error("the lock was held until the time was up")]
    TimedOut,
    /// Whoever would have to release it waits, by way of others perhaps, for what this thread holds.
    #[error("deadlock: {cycle}")]
    Deadlock {
        /// Everybody in the cycle.
        cycle: Box<Deadlock>,
    },
    /// This thread cannot own anything.
    #[error("failed to take a lock")]
    NoEntry {
        /// Why.
        #[from]
        source: NoEntry,
    },
}

/// Why a lock was not given back, or not called consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// This thread does not hold it.
    #[error("this thread does not hold the lock")]
    NotOwner {
        /// Who does, as far as is known.
        owner: Option<Participant>,
    },
    /// Nobody holds it.
    #[error("nobody holds the lock")]
    Free,
    /// This thread cannot own anything.
    #[error("this thread does not hold the lock")]
    NoEntry {
        /// Why.
        #[from]
        source: NoEntry,
    },
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Who it is; `None` if the table does not know it, as when it has just ended.
    pub participant: Option<Participant>,
    /// Since when at least: stamped by the first who had to wait, so `None` if nobody had to.
    pub since: Option<Moment>,
}

impl Owner {
    /// For how long it has held the lock at least; `None` if nobody had to wait for it.
    #[must_use]
    pub fn held_for(&self) -> Option<Duration> {
        self.since.map(|since| clock::now() - since)
    }
}

/// Whether waiting looks for a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Detection {
    /// After a short time of waiting.
    #[default]
    On,
    /// Never: for locks that are released by others than their owners as a matter of course.
    Off,
}

/// A lock in a host's segment.
#[derive(Debug, Clone)]
pub struct RawLock {
    member: Member,
    place: Place,
    detection: Detection,
    /// The member's, a step nearer.
    ground: Ground,
    id: u64,
    /// The index of the lock's word.
    index: usize,
}

impl RawLock {
    /// The lock at `place`, which [`crate::Host::create_lock`] made in the segment of `member`. `None` if there is no
    /// such place in it.
    #[must_use]
    pub fn at(member: &Member, place: Place) -> Option<Self> {
        let ground = member.ground().clone();
        ground.object(place)?;
        let index = ground.index(place.line);
        let id = member.id();
        Some(Self { member: member.clone(), place, detection: Detection::On, ground, id, index })
    }

    /// The same lock, whose waiters, by this handle, do or do not look for deadlocks.
    #[must_use]
    pub fn with_detection(self, detection: Detection) -> Self {
        Self { detection, ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The membership it is used by.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    #[inline]
    pub(crate) fn word(&self) -> &AtomicU32 {
        self.ground.at(self.index).expect("a lock lies in its segment")
    }

    /// Takes the lock, if need be after waiting for `limit` (`None` is for ever). Not recursive: a thread that holds it
    /// waits for itself, which is a deadlock.
    ///
    /// # Errors
    /// [`LockError`]; then it is not taken.
    #[track_caller]
    #[inline]
    pub fn acquire(&self, limit: Option<Duration>) -> Result<Acquired, LockError> {
        let me = self.member.me()?;
        let at = Location::caller();
        let acquired = if word::take_free(self.word(), me) {
            Acquired::Clean
        } else {
            self.acquire_slowly(me, limit, at)?
        };
        held::push(Note { member: self.id, line: self.place.line, at });
        Ok(acquired)
    }

    /// Takes the lock if nobody holds it; `None` if somebody does.
    ///
    /// # Errors
    /// [`NoEntry`].
    #[track_caller]
    #[inline]
    pub fn try_acquire(&self) -> Result<Option<Acquired>, NoEntry> {
        let me = self.member.me()?;
        let acquired = word::try_take(self.word(), me);
        if acquired.is_some() {
            held::push(Note { member: self.id, line: self.place.line, at: Location::caller() });
        }
        Ok(acquired)
    }

    #[cold]
    fn acquire_slowly(
        &self,
        me: Token,
        limit: Option<Duration>,
        at: &'static Location<'static>,
    ) -> Result<Acquired, LockError> {
        let mut wait = Wait { lock: self, me, at, limit, begun: None };
        word::take(self.word(), me, |seen| wait.sleep(seen))
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// [`ReleaseError`] if this thread does not hold it; nothing changes then.
    #[inline]
    pub fn release(&self) -> Result<(), ReleaseError> {
        let me = self.member.me()?;
        held::pop(self.id, self.place.line);
        word::release(self.word(), me).map_err(|_| self.not_owner())
    }

    /// Gives the lock back whoever holds it, as `multiprocessing.Lock` does.
    ///
    /// # Errors
    /// [`ReleaseError::Free`] if nobody holds it; [`ReleaseError::NoEntry`] in a forked copy of a member.
    pub fn release_from_anywhere(&self) -> Result<(), ReleaseError> {
        self.member.me()?;
        held::pop(self.id, self.place.line);
        word::release_from_anywhere(self.word()).map_err(|_| ReleaseError::Free)
    }

    /// Says that what the lock guards is right again, after [`Acquired::OwnerDied`]. Until somebody does, every owner
    /// is told.
    ///
    /// # Errors
    /// [`ReleaseError`] if this thread does not hold it.
    pub fn consistent(&self) -> Result<(), ReleaseError> {
        let me = self.member.me()?;
        word::make_consistent(self.word(), me).map_err(|_| self.not_owner())
    }

    /// Whether somebody holds it, or died holding it and nobody has called it consistent since.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let word = self.word().load(Ordering::Relaxed);
        Token::of(word).is_some() || word & OWNER_DIED != 0
    }

    /// Whether a holder died and nobody has called it consistent since.
    #[must_use]
    pub fn is_owner_dead(&self) -> bool {
        self.word().load(Ordering::Relaxed) & OWNER_DIED != 0
    }

    /// Whether this thread holds it.
    #[must_use]
    pub fn is_mine(&self) -> bool {
        let owner = Token::of(self.word().load(Ordering::Relaxed));
        self.member.me().is_ok_and(|me| owner == Some(me))
    }

    /// Who holds it at this moment.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        let token = Token::of(self.word().load(Ordering::Relaxed))?;
        let words = self.words();
        let of = words[SINCE_OF].load(Ordering::Acquire);
        let since = Moment(load_long(&words[SINCE..]));
        let since = (of == token.bits()).then_some(since);
        Some(Owner { participant: self.member.participant(token), since })
    }

    /// Everybody who sleeps on it, or is about to, at this moment.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.member.waiters(self.place)
    }

    fn words(&self) -> &[AtomicU32] {
        self.member.ground().object(self.place).expect("a lock lies in its segment")
    }

    fn not_owner(&self) -> ReleaseError {
        ReleaseError::NotOwner { owner: self.owner().and_then(|owner| owner.participant) }
    }

    /// Says since when the owner holds it at least, unless somebody has said so.
    fn stamp(&self, word: u32, now: Moment) {
        let Some(owner) = Token::of(word) else { return };
        let words = self.words();
        if words[SINCE_OF].load(Ordering::Relaxed) != owner.bits() {
            words[SINCE].store(low(now.0), Ordering::Relaxed);
            words[SINCE + 1].store(low(now.0 >> 32), Ordering::Relaxed);
            words[SINCE_OF].store(owner.bits(), Ordering::Release);
        }
    }
}

/// A wait for a lock, from the first sleep on.
struct Wait<'a> {
    lock: &'a RawLock,
    me: Token,
    at: &'static Location<'static>,
    limit: Option<Duration>,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    deadline: Option<Moment>,
    search: Search,
}

impl Wait<'_> {
    /// Sleeps while the word is `seen`; an error only if nobody woke it.
    fn sleep(&mut self, seen: u32) -> Result<(), LockError> {
        let now = clock::now();
        if self.begun.is_none() {
            let entry = self.lock.member.entry(self.me);
            let held = held::notes(self.lock.member.id());
            entry.begin_wait(Awaited::Lock(self.lock.place.line), now, self.at, held);
            let deadline = self.limit.map(|limit| now + limit);
            self.begun = Some(Begun { deadline, search: Search::new(now, self.lock.detection) });
        }
        let begun = self.begun.as_mut().expect("it is set above");
        self.lock.stamp(seen, now);
        let left = begun.deadline.map(|deadline| deadline.since(now));
        let look = begun.search.next_look().map(|look| look.since(now));
        let limit = left.into_iter().chain(look).min();
        if futex::wait(self.lock.word(), seen, limit) != Woken::TimedOut {
            return Ok(());
        }
        let now = clock::now();
        if begun.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(LockError::TimedOut);
        }
        match begun.search.look(&self.lock.member, self.me, now) {
            Some(deadlock) => Err(LockError::Deadlock { cycle: Box::new(deadlock) }),
            None => Ok(()),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.begun.is_some() {
            self.lock.member.entry(self.me).end_wait();
        }
    }
}
