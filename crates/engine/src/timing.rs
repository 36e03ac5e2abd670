//! Watching the clocks: start deadlines, time limits of items, idle workers, patience with those asked to end.
//!
//! A limit holds for one item, whatever it travelled with. Where the worker's claim tells when it began, the claim
//! is read when the limit could have passed, and the deadline set anew by it. Elsewhere an item began when it was
//! dispatched or when the answer before it came, whichever is later.

use std::time::Duration;

use poolctl_types::{Item, Moment};

use crate::config::{Lifecycle, Timeout};
use crate::effect::{Effect, Outcome};
use crate::engine::Engine;
use crate::event::{Accounting, Claim};
use crate::median::Median;
use crate::slot::{Level, Slot, Stage, Why};

/// A shorter limit is taken as this: the clocks of a claim are not read more often.
const SHORTEST_LIMIT: Duration = Duration::from_millis(1);
/// A worker that holds items, and has neither begun one nor answered for twice the limit of an item, or twice this where
/// that is longer, is not responding (it was stopped, say): it is replaced, and what it holds goes elsewhere.
const MUTE_AFTER: Duration = Duration::from_millis(500);
/// A share of the median applies from this many finished items on.
const MEDIAN_FROM: u64 = 10;
/// From closed to terminated to killed: no life goes through more ends than these at one moment.
const MAX_STEPS: u32 = 4;

/// How long an item may run, after `finished` items.
pub(crate) fn limit(timeout: Timeout, median: &Median, finished: u64) -> Option<Duration> {
    let limit = match timeout {
        Timeout::Never => return None,
        Timeout::After(limit) => limit,
        Timeout::MedianPercent(percent) => {
            let median = median.get().filter(|_| finished >= MEDIAN_FROM)?;
            median.checked_mul(percent).unwrap_or(Duration::MAX) / 100
        }
    };
    Some(limit.max(SHORTEST_LIMIT))
}

impl Engine {
    /// When to send the next [`crate::Event::Tick`], on the host's clock; it may lie in the past.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let lives = (0..self.slots.len()).filter_map(|index| self.deadline_of(index));
        let next = lives.chain(self.next_assignment()).min()?;
        self.clock.in_host_time(next)
    }

    /// A deadline may have passed: what is due is done.
    pub(crate) fn watch_clocks(&mut self, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            for _ in 0..MAX_STEPS {
                if self.deadline_of(index).is_none_or(|deadline| deadline > self.now) {
                    break;
                }
                self.expire(index, effects);
            }
        }
    }

    fn deadline_of(&self, index: usize) -> Option<Moment> {
        let slot = &self.slots[index];
        match slot.stage {
            Stage::Vacant { .. } => None,
            Stage::Starting { deadline } | Stage::Stopping { deadline, .. } => deadline,
            Stage::Serving | Stage::Draining => {
                let patience = slot.pursuits.iter().filter_map(|pursuit| pursuit.deadline);
                let item = self.item_deadline(slot);
                patience.chain(item).chain(self.idle_deadline(index)).min()
            }
        }
    }

    fn idle_deadline(&self, index: usize) -> Option<Moment> {
        let slot = &self.slots[index];
        let is_kept = index < self.config.keep as usize;
        let is_idle = self.config.lifecycle == Lifecycle::Warm && slot.is_idle() && !is_kept;
        self.config.idle_timeout.filter(|_| is_idle).map(|patience| slot.since + patience)
    }

    /// When the limit of an item it holds may have passed.
    fn item_deadline(&self, slot: &Slot) -> Option<Moment> {
        let front = slot.held.front()?;
        let limit = self.limit()?;
        if slot.accounting() == Accounting::Mux {
            return self.next_mux_item(slot).map(|(since, _)| since + limit);
        }
        let is_hunting = slot.pursuits.iter().any(|pursuit| pursuit.deadline.is_some());
        if is_hunting || slot.is_probing || slot.pursuit(front).is_some() {
            return None;
        }
        Some(slot.since + limit)
    }

    /// The longest-running item of a worker that works on all at once, those already hunted left out.
    fn next_mux_item(&self, slot: &Slot) -> Option<(Moment, Item)> {
        let items = slot.held.runs().flat_map(|run| run.items.iter().map(|item| (run.dispatched, item)));
        items.into_iter().find(|(_, item)| slot.pursuit(*item).is_none())
    }

    /// Something of this slot is due.
    fn expire(&mut self, index: usize, effects: &mut Vec<Effect>) {
        match self.slots[index].stage {
            Stage::Vacant { .. } => {}
            Stage::Starting { .. } => self.kill(index, Why::Unready, effects),
            Stage::Stopping { why, level: Level::Closed, .. } => self.terminate(index, why, effects),
            Stage::Stopping { why, level: Level::Terminated | Level::Killed, .. } => {
                self.kill(index, why, effects);
            }
            Stage::Serving | Stage::Draining => self.expire_item(index, effects),
        }
    }

    fn expire_item(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let now = self.now;
        let slot = &self.slots[index];
        if slot.pursuits.iter().any(|pursuit| pursuit.deadline.is_some_and(|deadline| deadline <= now)) {
            self.terminate(index, Why::Pursuit, effects);
            return;
        }
        let Some(front) = slot.held.front() else {
            self.drain(index, effects);
            return;
        };
        match slot.accounting() {
            Accounting::Claim => {
                let worker = self.worker(index);
                self.slots[index].is_probing = true;
                effects.push(Effect::Probe(worker));
            }
            Accounting::InOrder => self.pursue(index, front, Outcome::TimedOut, effects),
            Accounting::Unknown if slot.held.count() == 1 => {
                self.pursue(index, front, Outcome::TimedOut, effects);
            }
            Accounting::Unknown => self.terminate(index, Why::Suspicion, effects),
            Accounting::Mux => self.expire_mux(index, effects),
        }
    }

    fn expire_mux(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let Some(limit) = self.limit() else { return };
        while let Some((since, item)) = self.next_mux_item(&self.slots[index]) {
            let is_open = matches!(self.slots[index].stage, Stage::Serving | Stage::Draining);
            if since + limit > self.now || !is_open {
                return;
            }
            self.pursue(index, item, Outcome::TimedOut, effects);
        }
    }

    /// The worker's claim was read.
    pub(crate) fn judge(&mut self, index: usize, claim: Option<Claim>, effects: &mut Vec<Effect>) {
        let limit = self.limit();
        let now = self.now;
        let slot = &mut self.slots[index];
        slot.is_probing = false;
        let Some(front) = slot.held.front() else { return };
        let Some(claim) = claim.filter(|claim| slot.held.attempt(claim.item).is_some()) else {
            // It is between two items: what it does next begins now at the earliest.
            slot.since = now;
            let is_mute = limit.is_some_and(|limit| slot.last_news + limit.max(MUTE_AFTER) * 2 <= now);
            if slot.pursuit(front).is_some() {
                self.press(index, Some(front), effects);
            } else if is_mute && !slot.is_parked {
                self.terminate(index, Why::Suspicion, effects);
            }
            return;
        };
        let since = self.clock.in_engine_time(claim.since);
        slot.since = since;
        if slot.pursuit(claim.item).is_none() && limit.is_some_and(|limit| since + limit <= now) {
            self.hunt(index, claim.item, Outcome::TimedOut, effects);
        }
        if self.slots[index].pursuit(claim.item).is_some() {
            self.press(index, Some(claim.item), effects);
        }
    }
}
