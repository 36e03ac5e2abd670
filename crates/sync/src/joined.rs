//! A queue whose users say when they have done with what they got, so that others can wait until all is done.
//!
//! A [`RawQueue`] with a word for each process, its *hand* (`hand.rs`): what it got and has not done. What is unfinished
//! is what lies in the queue, what is in hands, and what was *abandoned*, in the hands of the dead.
//!
//! # Protocol
//! 1. A get counts the record into the hand before it is committed: meanwhile it is counted twice, never not at all.
//! 2. Done counts down the hand; the hand that becomes empty while the queue is rings.
//! 3. Who waits listens, then looks: first at the queue, then at the hands. A record that it misses in the queue it finds
//!    in a hand, unless it is done; so if it finds none, all that had been put when it began to look is done.
//!
//! Whoever is done with what another process got is counted apart (`ELSEWHERE`), and taken off the sum.
//!
//! # If a process dies
//! A record that it was putting is put or not. What it had in hand is abandoned: the host moves it there, then wakes all
//! who wait. When nothing else is left those are told instead of waiting for ever.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::bell;
use crate::hand;
use crate::member::{NoEntry, Ticket};
use crate::nap::{Nap, TimedOut};
use crate::queue::{self, RawQueue};

/// Lines: those of a queue, and the bell of those who wait for the end.
pub(crate) const LINES: u32 = queue::LINES + 1;
/// Words of the queue's segment that are its users' together.
const ABANDONED: usize = 32;
const ELSEWHERE: usize = 33;

/// Why a wait for the end of all work is over without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Nobody is left who could finish it.
    #[error("{count} values were got by processes that died before they were done with them")]
    Abandoned {
        /// How many.
        count: u64,
    },
    /// This thread cannot take part.
    #[error("failed to wait for a queue")]
    NoEntry {
        /// Why.
        #[from]
        source: NoEntry,
    },
}

/// A joinable queue. Clones are the same one.
#[derive(Debug, Clone)]
pub struct RawJoinableQueue(Arc<Joined>);

#[derive(Debug)]
pub(crate) struct Joined(RawQueue);

/// What was put and is not done.
#[derive(Debug, Clone, Copy)]
struct Unfinished {
    all: u64,
    /// Whether somebody alive has some of it, or can get it.
    is_in_hand: bool,
}

impl RawJoinableQueue {
    /// The joinable queue that is this one, if it was made with hands, which go through all its handles.
    #[must_use]
    pub fn of(queue: RawQueue) -> Option<Self> {
        (queue.hand_count() > 0).then(|| Self(Arc::new(Joined(queue))))
    }

    pub(crate) fn joined(&self) -> &Arc<Joined> {
        &self.0
    }

    /// The queue itself. What is got from it is in this process's hand until it is done.
    #[must_use]
    pub fn queue(&self) -> &RawQueue {
        &self.0.0
    }

    /// One record that was got is done, of this process's if it has one. Whether there was one.
    #[must_use = "whether there was one to be done"]
    pub fn task_done(&self) -> bool {
        let queue = &self.0.0;
        match queue.hand().and_then(hand::done) {
            Some(0) if queue.is_empty() => bell::ring(self.0.bell()),
            Some(_) => {}
            None => {
                let less = |elsewhere: u64| {
                    let left = self.0.unfinished_but(elsewhere);
                    left.is_none_or(|left| left.all > 0).then(|| elsewhere.wrapping_add(1))
                };
                let elsewhere = self.0.control(ELSEWHERE);
                if elsewhere.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_err() {
                    return false;
                }
                bell::ring(self.0.bell());
            }
        }
        true
    }

    /// How many records were put and are not done at this moment, the abandoned ones among them.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.0.unfinished().map_or(u64::MAX, |left| left.all)
    }

    /// How many records were in the hands of processes that died.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.0.control(ABANDONED).load(Ordering::Acquire)
    }

    /// Takes what was abandoned as done; how many that were.
    #[must_use]
    pub fn forget_abandoned(&self) -> u64 {
        let forgotten = self.0.control(ABANDONED).swap(0, Ordering::AcqRel);
        bell::ring(self.0.bell());
        forgotten
    }

    /// Waits until all that was put is done, for `limit` at most (`None` is for ever); whether it is.
    ///
    /// # Errors
    /// [`JoinError`].
    #[track_caller]
    pub fn join(&self, limit: Option<Duration>) -> Result<bool, JoinError> {
        let queue = &self.0.0;
        let me = queue.member().me()?;
        let mut nap = Nap::new(queue.member(), me, queue.place().line, limit, Location::caller());
        loop {
            let said = bell::listen(self.0.bell());
            match self.0.unfinished() {
                Some(Unfinished { all: 0, .. }) => return Ok(true),
                Some(Unfinished { all, is_in_hand: false }) => {
                    return Err(JoinError::Abandoned { count: all });
                }
                _ => {}
            }
            if nap.sleep(self.0.bell(), said) == Err(TimedOut) {
                return Ok(false);
            }
        }
    }
}

impl Joined {
    fn bell(&self) -> &AtomicU32 {
        self.0.bell(queue::LINES as usize)
    }

    fn control(&self, at: usize) -> &AtomicU64 {
        &self.0.cells()[at]
    }

    fn unfinished(&self) -> Option<Unfinished> {
        // Before the rest: what is done meanwhile is counted as not done, and not the other way round.
        self.unfinished_but(self.control(ELSEWHERE).load(Ordering::Acquire))
    }

    /// `None` while the queue is so busy that it cannot be counted.
    fn unfinished_but(&self, elsewhere: u64) -> Option<Unfinished> {
        let queued = self.0.count()?;
        let in_hands: u64 = self.0.hands().iter().map(hand::count).sum();
        let abandoned = self.control(ABANDONED).load(Ordering::Acquire);
        let all = queued.saturating_add(in_hands).saturating_add(abandoned).saturating_sub(elsewhere);
        Some(Unfinished { all, is_in_hand: queued + in_hands > 0 })
    }

    /// After the death of a process: what it had in hand is abandoned. `was_getting`: it held the get lock.
    pub(crate) fn bury(&self, ticket: Ticket, was_getting: bool) {
        if let Some(hand) = self.0.hand_of(ticket) {
            let beginning = was_getting.then(|| self.0.beginning());
            let had = hand::bury(hand, beginning, self.0.room());
            self.control(ABANDONED).fetch_add(had, Ordering::AcqRel);
        }
    }
}
