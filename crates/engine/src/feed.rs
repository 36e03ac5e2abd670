//! Handing out work, and asking for workers to hand it to.
//!
//! An idle worker gets at once what there is, up to a chunk. A busy one gets more only while it holds less than
//! it should, and only a full chunk unless the input has paused: so that items stay where any worker can take
//! them as long as possible. Nothing is prefetched while other workers are on their way and would go empty.

use std::num::NonZeroU32;
use std::ops::Range;

use poolctl_types::Moment;

use crate::backlog::Work;
use crate::config::Lifecycle;
use crate::effect::Effect;
use crate::engine::{Engine, Input};
use crate::event::{Accounting, Capacity, Gate};
use crate::held::Run;
use crate::pace::AIM;
use crate::slot::{Slot, Stage};

/// Which slots an event may have made work for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// None: it was no news.
    Nothing,
    /// This one alone.
    One(usize),
    /// Any.
    All,
}

/// What is true of every process that is started for one item.
const PER_ITEM: Capacity =
    Capacity { ahead: Some(NonZeroU32::MIN), accounting: Accounting::InOrder, cancel: false };

impl Engine {
    /// Hands out what can be handed out.
    pub(crate) fn assign(&mut self, scope: Scope, effects: &mut Vec<Effect>) {
        if self.stop.is_some() || scope == Scope::Nothing {
            return;
        }
        let woken = self.backlog.wake(self.now);
        match scope {
            Scope::One(index) if !woken && !self.must_rescan => match self.config.lifecycle {
                Lifecycle::PerItem => self.launch(index..index + 1, effects),
                Lifecycle::Warm => {
                    self.feed_idle(index..index + 1, effects);
                    self.prefetch(index..index + 1, effects);
                }
            },
            Scope::Nothing | Scope::One(_) | Scope::All => self.assign_all(effects),
        }
        self.must_rescan |= self.backlog.is_window_bound();
    }

    fn assign_all(&mut self, effects: &mut Vec<Effect>) {
        self.scanned_at = self.now;
        self.must_rescan = false;
        self.starting = self.count_starting();
        let slots = 0..self.wanted_slots as usize;
        match self.config.lifecycle {
            Lifecycle::PerItem => self.launch(slots, effects),
            Lifecycle::Warm => {
                self.feed_idle(slots.clone(), effects);
                self.hire(effects);
                self.prefetch(slots, effects);
            }
        }
    }

    /// What to look at once a slot has become vacant.
    pub(crate) fn scope_of_vacancy(&self, index: usize) -> Scope {
        match self.config.lifecycle {
            Lifecycle::PerItem if index < self.wanted_slots as usize && !self.intensity.is_spent() => {
                Scope::One(index)
            }
            Lifecycle::PerItem | Lifecycle::Warm => Scope::All,
        }
    }

    fn count_starting(&self) -> u32 {
        let starting = |slot: &&Slot| matches!(slot.stage, Stage::Starting { .. });
        u32::try_from(self.slots.iter().filter(starting).count()).expect("at most MAX_SLOTS slots")
    }

    /// Whether fresh items may be dispatched, the window apart.
    fn takes_fresh(&self) -> bool {
        self.gate == Gate::Open
    }

    /// About how many items may be dispatched now.
    pub(crate) fn postable(&self) -> u64 {
        self.backlog.postable(self.takes_fresh())
    }

    /// How many items shall travel together, as things stand.
    fn chunk(&self) -> u32 {
        if !self.config.delay.is_zero() {
            return 1;
        }
        let slots = u64::from(self.wanted_slots);
        let mut chunk = u64::from(self.pace.chunk()).min(self.backlog.limit() / (4 * slots));
        if self.input == Input::Ended {
            chunk = chunk.min(self.backlog.unposted() / (2 * slots));
        }
        u32::try_from(chunk.max(1)).expect("no larger than a u32 was")
    }

    /// How many items the worker may still be given in this life.
    fn quota(&self, slot: &Slot) -> u32 {
        let left = self.config.max_tasks.map_or(u64::MAX, |most| most.max(1).saturating_sub(slot.given));
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Whether `--delay` lets an item start now.
    fn may_start(&self) -> bool {
        self.config.delay.is_zero() || self.now >= self.next_start
    }

    fn has_started(&mut self) {
        if !self.config.delay.is_zero() {
            self.next_start = self.now + self.config.delay;
        }
    }

    /// Gives what there is to workers that hold nothing, in equal shares; those on their way have theirs too.
    fn feed_idle(&mut self, slots: Range<usize>, effects: &mut Vec<Effect>) {
        let is_hungry = |slot: &Slot| slot.is_idle() && slot.is_open();
        let mut hungry = self.slots[slots.clone()].iter().filter(|slot| is_hungry(slot)).count() as u64;
        for index in slots {
            if hungry == 0 || !self.may_start() {
                return;
            }
            if !is_hungry(&self.slots[index]) {
                continue;
            }
            let share = self.postable().div_ceil(hungry + u64::from(self.starting));
            let most = u64::from(self.chunk()).min(share);
            if most == 0 {
                return;
            }
            let most = u32::try_from(most).expect("a chunk fits");
            let most = most.min(self.slots[index].ahead()).min(self.quota(&self.slots[index]));
            self.post(index, most, Company::None, effects);
            hungry -= 1;
        }
    }

    /// Gives further chunks to busy workers.
    fn prefetch(&mut self, slots: Range<usize>, effects: &mut Vec<Effect>) {
        if !self.config.delay.is_zero() || self.backlog.has_solo() {
            return;
        }
        loop {
            let mut has_given = false;
            for index in slots.clone() {
                if let Some(most) = self.appetite(index) {
                    has_given |= self.post(index, most, Company::Others, effects);
                }
            }
            if !has_given {
                return;
            }
        }
    }

    /// How many more items a busy worker shall get now.
    fn appetite(&self, index: usize) -> Option<u32> {
        let slot = &self.slots[index];
        if !slot.is_open() || slot.held.is_empty() || self.seems_stuck(slot) {
            return None;
        }
        let chunk = self.chunk();
        let reserved = u64::from(self.starting) * u64::from(chunk);
        let postable = self.postable().saturating_sub(reserved);
        if postable == 0 {
            return None;
        }
        let is_mux = slot.accounting() == Accounting::Mux;
        let limit = if is_mux { self.mux_share(slot) } else { slot.ahead().min(chunk * self.pace.depth()) };
        let step = if is_mux { 1 } else { chunk.min((limit / 2).max(1)) };
        let free = limit.saturating_sub(slot.held.count());
        let most = free.min(chunk).min(self.quota(slot));
        if free < step || most == 0 {
            return None;
        }
        let more_comes = self.input == Input::Flowing || self.backlog.is_window_bound();
        if more_comes && postable < u64::from(step) {
            return None;
        }
        let is_tail =
            self.input == Input::Ended && self.backlog.unposted() < 2 * u64::from(self.wanted_slots);
        if is_tail && !is_mux && !self.pace.is_quick() {
            return None;
        }
        Some(most.min(u32::try_from(postable).unwrap_or(u32::MAX)))
    }

    /// Whether a worker that works on one item after another may have a slow one in hand: it has not answered for longer
    /// than a chunk should take, or not at all so far.
    fn seems_stuck(&self, slot: &Slot) -> bool {
        let has_others = self.wanted_slots > 1 && slot.accounting() != Accounting::Mux;
        has_others && (slot.answered == 0 || self.now.since(slot.last_news) > AIM)
    }

    /// How many items a worker that works on all at once may hold: its share, while others are on their way.
    fn mux_share(&self, slot: &Slot) -> u32 {
        let ahead = match slot.capacity.and_then(|capacity| capacity.ahead) {
            Some(ahead) => ahead.get(),
            None => self.chunk() * self.pace.depth(),
        };
        if self.starting == 0 {
            return ahead;
        }
        let everything = self.backlog.unposted() + u64::from(slot.held.count());
        let share = everything.div_ceil(u64::from(self.wanted_slots));
        ahead.min(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Sends the worker up to `most` items; tells whether there were any.
    fn post(&mut self, index: usize, most: u32, company: Company, effects: &mut Vec<Effect>) -> bool {
        let Some(work) = self.backlog.take(most, company == Company::None, self.takes_fresh()) else {
            return false;
        };
        self.hold(index, work);
        let is_used_up = self.quota(&self.slots[index]) == 0;
        if is_used_up {
            self.slots[index].stage = Stage::Draining;
        }
        let worker = self.worker(index);
        effects.push(Effect::Dispatch { worker, items: work.items, attempt: work.attempt });
        self.has_started();
        true
    }

    fn hold(&mut self, index: usize, work: Work) {
        let now = self.now;
        let slot = &mut self.slots[index];
        if slot.held.is_empty() {
            slot.since = now;
            slot.last_news = now;
        }
        slot.held.push(Run { items: work.items, attempt: work.attempt, dispatched: now });
        slot.given += u64::from(work.items.count);
        slot.holds_solo = work.solo;
    }

    /// How many more workers are to be there: as many as could be busy with what still waits, or as are to be kept.
    fn vacancies(&self) -> u64 {
        let idle = self.slots.iter().filter(|slot| slot.is_idle() && slot.is_open()).count() as u64;
        let useful = self.postable().saturating_sub(u64::from(self.starting) + idle);
        if self.config.keep == 0 || self.input == Input::Ended {
            return useful;
        }
        let lives = |slot: &&Slot| matches!(slot.stage, Stage::Starting { .. } | Stage::Serving);
        let living = self.slots.iter().filter(lives).count() as u64;
        useful.max(u64::from(self.config.keep.min(self.wanted_slots)).saturating_sub(living))
    }

    /// Asks for the workers that are lacking.
    fn hire(&mut self, effects: &mut Vec<Effect>) {
        let mut wanted = self.vacancies();
        if wanted == 0 || self.cannot_start || self.intensity.wait(self.now).is_some() {
            return;
        }
        if self.intensity.is_spent() {
            wanted = if self.starting == 0 && self.is_served() { 1 } else { 0 };
        }
        for index in 0..self.wanted_slots as usize {
            if wanted == 0 {
                return;
            }
            if !is_free(&self.slots[index], self.now) {
                continue;
            }
            self.slots[index].stage = Stage::Starting { deadline: None };
            self.starting += 1;
            effects.push(Effect::Spawn(self.worker(index)));
            wanted -= 1;
        }
    }

    /// Whether a worker lives that has said hello, or a process that works on its item.
    pub(crate) fn is_served(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.stage, Stage::Serving | Stage::Draining))
    }

    /// Starts a process for one item in every free slot.
    fn launch(&mut self, slots: Range<usize>, effects: &mut Vec<Effect>) {
        if self.intensity.wait(self.now).is_some() || (self.intensity.is_spent() && self.starting > 0) {
            return;
        }
        for index in slots {
            if !self.may_start() {
                return;
            }
            if !is_free(&self.slots[index], self.now) {
                continue;
            }
            let Some(work) = self.backlog.take(1, true, self.takes_fresh()) else { return };
            self.hold(index, work);
            self.slots[index].capacity = Some(PER_ITEM);
            self.slots[index].stage = Stage::Starting { deadline: None };
            let worker = self.worker(index);
            effects.push(Effect::Run { worker, item: work.items.first, attempt: work.attempt });
            self.has_started();
            if self.intensity.is_spent() {
                return;
            }
        }
    }

    /// When work that waits for nothing but time can be handed out.
    pub(crate) fn next_assignment(&self) -> Option<Moment> {
        if self.stop.is_some() {
            return None;
        }
        let vacancies = self.slots[..self.wanted_slots as usize].iter().filter_map(|slot| match slot.stage {
            Stage::Vacant { not_before } => Some(not_before),
            Stage::Starting { .. } | Stage::Serving | Stage::Draining | Stage::Stopping { .. } => None,
        });
        let waits = vacancies.flatten().chain(self.intensity.wait(self.scanned_at)).chain([self.next_start]);
        let is_due = self.postable() > 0 || (self.config.keep > 0 && self.vacancies() > 0);
        let next = waits.filter(|moment| *moment > self.scanned_at).min().filter(|_| is_due);
        next.into_iter().chain(self.backlog.next_due()).min()
    }
}

/// Whether a worker that is sent items holds others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    None,
    Others,
}

/// Whether a new life may begin in the slot.
fn is_free(slot: &Slot, now: Moment) -> bool {
    match slot.stage {
        Stage::Vacant { not_before } => not_before.is_none_or(|moment| moment <= now),
        Stage::Starting { .. } | Stage::Serving | Stage::Draining | Stage::Stopping { .. } => false,
    }
}
