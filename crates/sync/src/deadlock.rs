//! Finds cycles of threads, of any processes, each waiting for a lock that the next one holds.
//!
//! A lock's word says who owns it, and an owner's entry says what it waits for in turn: so who waits can follow the
//! chain. A cycle is complete when the last of its members begins to wait; each member looks after a short time of
//! waiting, so that one looks when it is complete. To be sure, it must stand unchanged at a second look.
//!
//! One member is told: the one that began to wait last, since it has waited least. Should that one not look (stopped,
//! or its wait was told late), the others are told after some looks more. A limit of a wait does not keep it out of a
//! cycle, but one shorter than two looks ends before anybody is told.
//!
//! Nothing here is believed but for what is said: a lie in the table makes a wrong error, or none.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolctl_types::Moment;

pub use crate::entry::Spot;
use crate::entry::Wait;
use crate::lock::Detection;
use crate::member::{Member, Participant};
use crate::token::Token;

/// How long a wait is before it looks, and between two looks.
const SHORT: Duration = Duration::from_millis(50);
/// How many looks there are if no cycle is found.
const LOOKS: u32 = 2;
/// How often a cycle must be found before a member is told that need not be.
const PATIENCE: u32 = 10;
/// The longest cycle that is found.
const LONGEST: usize = 256;

/// A cycle of waits. The thread that is told is the first; each waits for a lock that the next one holds, and the last
/// one for one that the first holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    /// Its members.
    pub cycle: Vec<Link>,
}

/// A member of a cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who it is.
    pub participant: Participant,
    /// The lock it holds and the member before it waits for: its line.
    pub holds: u32,
    /// Where it took that. `None` if it holds many others, taken later.
    pub taken_at: Option<Spot>,
    /// The lock it waits for: its line.
    pub waits_for: u32,
    /// Where it waits.
    pub waits_at: Spot,
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, link) in self.cycle.iter().enumerate() {
            let Participant { pid, tid, .. } = link.participant;
            let between = if number == 0 { "" } else { "; " };
            write!(f, "{between}thread {tid} of process {pid} holds lock {}", link.holds)?;
            if let Some(Spot { file, line }) = &link.taken_at {
                write!(f, " (taken at {file}:{line})")?;
            }
            let Spot { file, line } = &link.waits_at;
            write!(f, " and waits for lock {} (at {file}:{line})", link.waits_for)?;
        }
        Ok(())
    }
}

impl std::error::Error for Deadlock {}

/// The looks of one wait.
#[derive(Debug)]
pub(crate) struct Search {
    next: Option<Moment>,
    looks: u32,
    /// What the look before found, and how often in a row.
    found: Vec<(Token, Wait)>,
    times: u32,
}

impl Search {
    pub(crate) fn new(now: Moment, detection: Detection) -> Self {
        let next = (detection == Detection::On).then(|| now + SHORT);
        Self { next, looks: 0, found: Vec::new(), times: 0 }
    }

    /// When to look.
    pub(crate) fn next_look(&self) -> Option<Moment> {
        self.next
    }

    /// Looks, if it is time. Answers a cycle only if `me` is to be told of it.
    pub(crate) fn look(&mut self, member: &Member, me: Token, now: Moment) -> Option<Deadlock> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        self.looks += 1;
        let cycle = follow(member, me).unwrap_or_default();
        self.times = if cycle.is_empty() || cycle != self.found { 0 } else { self.times + 1 };
        self.found = cycle;
        self.next = (self.looks < LOOKS || !self.found.is_empty()).then(|| now + SHORT);
        let last = self.found.iter().max_by_key(|(token, wait)| (wait.since, token.bits()));
        let is_mine = last.is_some_and(|(token, _)| *token == me);
        let is_told = self.times >= if is_mine { 1 } else { PATIENCE };
        is_told.then(|| describe(member, &self.found)).flatten()
    }
}

/// The cycle that `me` is in, itself first.
fn follow(member: &Member, me: Token) -> Option<Vec<(Token, Wait)>> {
    let mut cycle = Vec::new();
    let mut at = me;
    loop {
        let wait = member.entry_of(at)?.wait()?;
        let owner = member.ground().word(wait.lock)?.load(Ordering::Relaxed);
        cycle.push((at, wait));
        at = Token::of(owner)?;
        if at == me {
            return Some(cycle);
        }
        if cycle.len() == LONGEST || cycle.iter().any(|(token, _)| *token == at) {
            return None;
        }
    }
}

fn describe(member: &Member, found: &[(Token, Wait)]) -> Option<Deadlock> {
    let mut holds = found.last()?.1.lock;
    let mut cycle = Vec::with_capacity(found.len());
    for (token, wait) in found {
        let taken_at = wait.held.iter().find(|(lock, _)| *lock == holds).map(|(_, spot)| spot.clone());
        cycle.push(Link {
            participant: member.participant(*token)?,
            holds,
            taken_at,
            waits_for: wait.lock,
            waits_at: wait.at.clone(),
        });
        holds = wait.lock;
    }
    Some(Deadlock { cycle })
}
