//! The end of a life: who is held to account for it, and what comes after.
//!
//! | what ended it | started items | the others |
//! |---|---|---|
//! | it died by itself | worker died, a crash | put back |
//! | it broke the protocol | the item to blame failed, a crash | put back |
//! | an item ran too long or was cancelled | that item timed out or is cancelled | put back |
//! | the pool stops | cancelled | cancelled |
//!
//! An item that is not to blame, but is known for certain to have been started (a claim, or a worker that works on
//! all at once), is not run twice behind the user's back: it is told as worker died, without a crash.
//! With [`Accounting::Unknown`] and several items held nobody is blamed: each is run again alone.

use std::collections::BTreeSet;

use poolctl_types::{Item, ItemRange};

use crate::backlog::Past;
use crate::config::Lifecycle;
use crate::effect::{Effect, GiveUp, Outcome};
use crate::engine::Engine;
use crate::event::{Accounting, End, EndCause, Lasting, Stop};
use crate::held::Run;
use crate::intensity::back_off;
use crate::settle::Verdict;
use crate::slot::{Pursuit, Slot, Stage, Why};

/// So many lives in a row, pool-wide, may take work, answer nothing and leave nobody to blame. Generous: workers
/// that are killed from outside just after a dispatch look like that too.
const MAX_BARREN: u32 = 32;

/// Which of the held items had been started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Started {
    Nobody,
    One(Item),
    Everyone,
    /// Any of them may have been.
    Unsure,
}

/// What becomes of one held item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Judged(Verdict),
    /// It was started and is not wanted.
    Cancelled,
    /// As every item that was not begun.
    LikeTheRest,
}

/// What is known of a death.
#[derive(Debug)]
struct Inquest {
    /// Why it was asked to end, if it was.
    why: Option<Why>,
    started: Started,
    pursuits: Vec<Pursuit>,
    accounting: Accounting,
    /// It worked on several at once, or may have.
    had_company: bool,
    out_of_memory: bool,
}

impl Inquest {
    fn new(slot: &Slot, end: End) -> Self {
        let accounting = slot.accounting();
        let held = &slot.held;
        let front = held.front().map_or(Started::Nobody, Started::One);
        let started = match (end.cause, accounting) {
            (EndCause::NeverRan | EndCause::Unread, _) => Started::Nobody,
            (_, Accounting::Claim) => {
                end.claimed.filter(|item| held.attempt(*item).is_some()).map_or(Started::Nobody, Started::One)
            }
            (_, Accounting::InOrder) => front,
            (_, Accounting::Mux) => Started::Everyone,
            (_, Accounting::Unknown) if held.count() <= 1 => front,
            (_, Accounting::Unknown) => Started::Unsure,
        };
        let why = match slot.stage {
            Stage::Stopping { why, .. } => Some(why),
            Stage::Vacant { .. } | Stage::Starting { .. } | Stage::Serving | Stage::Draining => None,
        };
        Self {
            why,
            started,
            pursuits: slot.pursuits.clone(),
            accounting,
            had_company: held.count() > 1,
            out_of_memory: end.cause == EndCause::OutOfMemory,
        }
    }

    fn was_started(&self, item: Item) -> bool {
        match self.started {
            Started::Everyone => true,
            Started::One(started) => started == item,
            Started::Nobody | Started::Unsure => false,
        }
    }

    /// The items whose fate may differ from the rest's; all of them if everyone was started.
    fn special(&self) -> BTreeSet<u64> {
        let mut special: BTreeSet<u64> = self.pursuits.iter().map(|pursuit| pursuit.item.0).collect();
        if let Started::One(item) = self.started {
            special.insert(item.0);
        }
        if let Some(Why::Fault(Some(item))) = self.why {
            special.insert(item.0);
        }
        special
    }

    fn fate(&self, item: Item) -> Fate {
        if let Some(pursuit) = self.pursuits.iter().find(|pursuit| pursuit.item == item) {
            return match pursuit.outcome {
                Outcome::Cancelled if !self.was_started(item) => Fate::LikeTheRest,
                outcome => Fate::Judged(Verdict::of(outcome)),
            };
        }
        let started = self.was_started(item);
        let died = Verdict {
            is_crash: true,
            is_final: self.out_of_memory,
            solo: self.accounting == Accounting::Mux && self.had_company,
            ..Verdict::of(Outcome::WorkerDied)
        };
        let bystander = Fate::Judged(Verdict { is_crash: false, is_final: false, ..died });
        let is_certain = self.accounting != Accounting::Unknown;
        match self.why {
            Some(Why::Fault(blamed)) if blamed.map_or(started, |blamed| blamed == item) => {
                Fate::Judged(Verdict { outcome: Outcome::Failed, ..died })
            }
            _ if !started => Fate::LikeTheRest,
            None => Fate::Judged(died),
            Some(Why::Stop) => Fate::Cancelled,
            Some(Why::Fault(_) | Why::Pursuit | Why::Suspicion) if is_certain => bystander,
            Some(Why::Fault(_) | Why::Pursuit | Why::Suspicion | Why::LetGo | Why::Unready) => {
                Fate::LikeTheRest
            }
        }
    }

    /// Whether those that were not started for certain are to be run one by one.
    fn suspects_everyone(&self) -> bool {
        let is_solved = !self.pursuits.is_empty() || matches!(self.why, Some(Why::Fault(Some(_))));
        self.accounting == Accounting::Unknown && !is_solved
    }

    /// Whether the life went wrong, and no item is to blame for it.
    fn blames_nobody(&self) -> bool {
        self.started == Started::Nobody && matches!(self.why, None | Some(Why::Fault(None)))
    }
}

impl Engine {
    /// The process is dead: its items are settled or put back, and the slot is free for the next life.
    pub(crate) fn bury(&mut self, index: usize, end: End, effects: &mut Vec<Effect>) {
        let worker = self.worker(index);
        let inquest = Inquest::new(&self.slots[index], end);
        let had_work = !self.slots[index].held.is_empty();
        for run in self.slots[index].held.take() {
            self.account(&inquest, run, effects);
        }
        effects.push(Effect::Reap(worker));
        let is_barren = inquest.blames_nobody()
            && self.config.lifecycle == Lifecycle::Warm
            && self.slots[index].capacity.is_some()
            && self.slots[index].answered == 0;
        let not_before = match (is_barren, end.cause) {
            (true, _) => {
                self.barren = self.barren.saturating_add(u32::from(had_work));
                self.slots[index].fruitless = self.slots[index].fruitless.saturating_add(1);
                Some(self.now + back_off(self.slots[index].fruitless))
            }
            (false, EndCause::NeverRan) => Some(self.now + back_off(2)),
            (false, EndCause::Ended | EndCause::Unread | EndCause::OutOfMemory) => None,
        };
        if self.is_failed_start(index, end.cause) {
            self.intensity.failed(self.now);
        }
        self.slots[index].bury(not_before);
    }

    /// Whether a warm worker ended before its hello, without having been let go.
    fn is_failed_start(&self, index: usize, cause: EndCause) -> bool {
        let slot = &self.slots[index];
        let was_let_go = matches!(slot.stage, Stage::Stopping { why: Why::LetGo | Why::Stop, .. });
        self.config.lifecycle == Lifecycle::Warm
            && slot.capacity.is_none()
            && cause != EndCause::NeverRan
            && !was_let_go
    }

    /// One run of items that a dead worker held.
    fn account(&mut self, inquest: &Inquest, run: Run, effects: &mut Vec<Effect>) {
        if inquest.started == Started::Everyone {
            for item in run.items.iter() {
                self.account_one(inquest, item, run.attempt, effects);
            }
            return;
        }
        let end = run.items.end();
        let mut next = run.items.first;
        for special in inquest.special().range(next.0..end.0) {
            let special = Item(*special);
            self.account_rest(inquest, next, special, run.attempt, effects);
            self.account_one(inquest, special, run.attempt, effects);
            next = special.plus(1);
        }
        self.account_rest(inquest, next, end, run.attempt, effects);
    }

    fn account_one(&mut self, inquest: &Inquest, item: Item, attempt: u32, effects: &mut Vec<Effect>) {
        match inquest.fate(item) {
            Fate::Judged(verdict) => self.conclude(item, attempt, verdict, effects),
            Fate::Cancelled => self.finish(ItemRange::one(item), Outcome::Cancelled, attempt, effects),
            Fate::LikeTheRest if inquest.pursuits.iter().any(|pursuit| pursuit.item == item) => {
                self.finish(ItemRange::one(item), Outcome::Cancelled, attempt - 1, effects);
            }
            Fate::LikeTheRest => self.account_rest(inquest, item, item.plus(1), attempt, effects),
        }
    }

    /// Items that were not begun, as far as is known: dispatched again, unless the pool stops.
    fn account_rest(
        &mut self,
        inquest: &Inquest,
        from: Item,
        to: Item,
        attempt: u32,
        effects: &mut Vec<Effect>,
    ) {
        if from >= to {
            return;
        }
        let count = u32::try_from(to.0 - from.0).expect("part of a range");
        let items = ItemRange::new(from, count);
        if self.stop.is_some() {
            self.finish(items, Outcome::Cancelled, attempt - 1, effects);
        } else if inquest.suspects_everyone() {
            for item in items.iter() {
                let past = Past { solo: true, ..self.backlog.past(item) };
                self.backlog.put_back_one(item, past, None);
            }
        } else {
            self.backlog.put_back(items);
        }
        self.must_rescan = true;
    }

    /// The process could not be made.
    pub(crate) fn abandon(&mut self, index: usize, lasting: Lasting, effects: &mut Vec<Effect>) {
        let slot = &mut self.slots[index];
        if slot.has_begun {
            return;
        }
        let was_let_go = matches!(slot.stage, Stage::Stopping { why: Why::LetGo | Why::Stop, .. });
        let pursued = slot.pursuits.first().map(|pursuit| pursuit.outcome);
        let run = slot.held.take().pop_front();
        slot.bury(None);
        match (run, lasting) {
            (Some(run), _) if pursued.is_some() || self.stop.is_some() => {
                self.finish(run.items, Outcome::Cancelled, run.attempt - 1, effects);
            }
            (Some(run), Lasting::Yes) => {
                let verdict = Verdict { is_final: true, ..Verdict::of(Outcome::Failed) };
                self.conclude(run.items.first, run.attempt, verdict, effects);
            }
            (Some(run), Lasting::No) => {
                self.backlog.put_back(run.items);
                self.intensity.lacked(self.now);
            }
            (None, Lasting::Yes) => self.cannot_start |= !was_let_go,
            (None, Lasting::No) if was_let_go => {}
            (None, Lasting::No) => self.intensity.lacked(self.now),
        }
    }

    /// Gives up if workers do not come to anything and none is left that does.
    pub(crate) fn check_starts(&mut self, effects: &mut Vec<Effect>) {
        if self.stop.is_some() || self.backlog.unposted() == 0 {
            return;
        }
        let is_starting = || self.slots.iter().any(|slot| matches!(slot.stage, Stage::Starting { .. }));
        let is_useful = || self.slots.iter().any(|slot| slot.is_alive() && slot.answered > 0);
        let why = if self.cannot_start && !self.is_served() {
            GiveUp::CannotStart
        } else if self.intensity.is_spent() && !self.is_served() && !is_starting() {
            GiveUp::TooManyStarts(self.intensity.failures())
        } else if self.barren >= MAX_BARREN && !is_useful() {
            GiveUp::TooManyStarts(self.barren)
        } else {
            return;
        };
        self.has_given_up = true;
        effects.push(Effect::GaveUp(why));
        self.stop_pool(Stop::Term, effects);
    }
}
