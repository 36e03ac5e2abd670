//! A sleep on a word of an object that is not a lock: told in the entry, and over at a limit at the latest.

use std::panic::Location;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use poolctl_sys::clock;
use poolctl_sys::futex::{self, Woken};
use poolctl_types::Moment;

use crate::entry::Awaited;
use crate::held;
use crate::member::Member;
use crate::token::Token;

/// The time was up, and nobody woke the sleeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimedOut;

/// One wait, of several sleeps perhaps.
#[derive(Debug)]
pub(crate) struct Nap<'a> {
    member: &'a Member,
    me: Token,
    line: u32,
    at: &'static Location<'static>,
    deadline: Option<Moment>,
    /// When it slept first.
    since: Option<Moment>,
}

impl<'a> Nap<'a> {
    /// A wait for the object at `line` that begins now.
    pub(crate) fn new(
        member: &'a Member,
        me: Token,
        line: u32,
        limit: Option<Duration>,
        at: &'static Location<'static>,
    ) -> Self {
        let deadline = limit.map(|limit| clock::now() + limit);
        Self { member, me, line, at, deadline, since: None }
    }

    /// How much of the limit is left.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.since(clock::now()))
    }

    /// Sleeps while the word is `seen`.
    pub(crate) fn sleep(&mut self, word: &AtomicU32, seen: u32) -> Result<(), TimedOut> {
        // Each time: between two sleeps the thread may have waited for a lock, and said that instead.
        let since = *self.since.get_or_insert_with(clock::now);
        let held = held::notes(self.member.id());
        self.member.entry(self.me).begin_wait(Awaited::Other(self.line), since, self.at, held);
        match futex::wait(word, seen, self.left()) {
            Woken::TimedOut => Err(TimedOut),
            Woken::Woken | Woken::Changed => Ok(()),
        }
    }
}

impl Drop for Nap<'_> {
    fn drop(&mut self) {
        if self.since.is_some() {
            self.member.entry(self.me).end_wait();
        }
    }
}
