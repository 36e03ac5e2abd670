//! Asking lives to end: politely, then TERM, then KILL; and the hunt for items that must not run on.

use poolctl_types::Item;

use crate::config::Lifecycle;
use crate::effect::{Effect, Outcome};
use crate::engine::Engine;
use crate::event::{Accounting, Stop};
use crate::slot::{Level, Pursuit, Stage, Why};

impl Engine {
    /// The worker gets nothing more, and is let go when it holds nothing.
    pub(crate) fn drain(&mut self, index: usize, effects: &mut Vec<Effect>) {
        self.slots[index].stage = Stage::Draining;
        if self.slots[index].held.is_empty() && self.config.lifecycle == Lifecycle::Warm {
            self.close(index, effects);
        }
    }

    /// A worker that holds nothing is told that nothing follows.
    pub(crate) fn close(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let deadline = Some(self.now + self.config.grace);
        self.slots[index].stage = Stage::Stopping { why: Why::LetGo, level: Level::Closed, deadline };
        effects.push(Effect::CloseInput(self.worker(index)));
    }

    /// A process for one item has given its answer: it is over, or will be soon.
    pub(crate) fn expect_end(&mut self, index: usize) {
        let deadline = Some(self.now + self.config.grace);
        self.slots[index].stage = Stage::Stopping { why: Why::LetGo, level: Level::Closed, deadline };
    }

    /// The worker is told to end, unless it was; an earlier reason stays.
    pub(crate) fn terminate(&mut self, index: usize, why: Why, effects: &mut Vec<Effect>) {
        let why = match self.slots[index].stage {
            Stage::Stopping { level: Level::Terminated | Level::Killed, .. } => return,
            Stage::Stopping { why, level: Level::Closed, .. } => why,
            Stage::Vacant { .. } | Stage::Starting { .. } | Stage::Serving | Stage::Draining => why,
        };
        let deadline = Some(self.now + self.config.grace);
        self.slots[index].stage = Stage::Stopping { why, level: Level::Terminated, deadline };
        effects.push(Effect::Terminate(self.worker(index)));
    }

    /// The worker is killed for this reason.
    pub(crate) fn kill(&mut self, index: usize, why: Why, effects: &mut Vec<Effect>) {
        let is_killed = matches!(self.slots[index].stage, Stage::Stopping { level: Level::Killed, .. });
        self.slots[index].stage = Stage::Stopping { why, level: Level::Killed, deadline: None };
        if !is_killed {
            effects.push(Effect::Kill(self.worker(index)));
        }
    }

    /// A worker that was asked to end is killed.
    pub(crate) fn hasten(&mut self, index: usize, effects: &mut Vec<Effect>) {
        if let Stage::Stopping { why, .. } = self.slots[index].stage {
            self.kill(index, why, effects);
        }
    }

    /// The pool stops, this hard.
    pub(crate) fn stop_pool(&mut self, stop: Stop, effects: &mut Vec<Effect>) {
        if self.stop >= Some(stop) {
            return;
        }
        self.stop = Some(stop);
        self.cancel_waiting(effects);
        for index in 0..self.slots.len() {
            match stop {
                Stop::Drain => self.wind_down(index, effects),
                Stop::Term => self.end_now(index, effects),
                Stop::Kill => match self.slots[index].stage {
                    Stage::Vacant { .. } => {}
                    Stage::Stopping { .. } => self.hasten(index, effects),
                    Stage::Starting { .. } | Stage::Serving | Stage::Draining => {
                        self.kill(index, Why::Stop, effects);
                    }
                },
            }
        }
    }

    /// What runs may finish; what has not begun is called back.
    fn wind_down(&mut self, index: usize, effects: &mut Vec<Effect>) {
        match (self.slots[index].stage, self.config.lifecycle) {
            (Stage::Starting { .. }, Lifecycle::Warm) => self.terminate(index, Why::LetGo, effects),
            (Stage::Starting { .. }, Lifecycle::PerItem) => self.terminate(index, Why::Stop, effects),
            (Stage::Serving, _) => self.drain(index, effects),
            (Stage::Vacant { .. } | Stage::Draining | Stage::Stopping { .. }, _) => {}
        }
    }

    fn end_now(&mut self, index: usize, effects: &mut Vec<Effect>) {
        if self.slots[index].is_alive() {
            self.terminate(index, Why::Stop, effects);
        }
    }

    /// Everything that no worker has is cancelled.
    pub(crate) fn cancel_waiting(&mut self, effects: &mut Vec<Effect>) {
        let Self { backlog, totals, .. } = self;
        backlog.drain(|items, attempts| {
            totals.add(Outcome::Cancelled, u64::from(items.count));
            effects.push(Effect::Settle { items, outcome: Outcome::Cancelled, attempts });
        });
    }

    /// Nothing is left to do: workers that wait for items end.
    pub(crate) fn let_everyone_go(&mut self, effects: &mut Vec<Effect>) {
        if self.config.lifecycle == Lifecycle::PerItem {
            return;
        }
        for index in 0..self.slots.len() {
            match self.slots[index].stage {
                Stage::Serving => self.drain(index, effects),
                Stage::Starting { .. } => self.terminate(index, Why::LetGo, effects),
                Stage::Vacant { .. } | Stage::Draining | Stage::Stopping { .. } => {}
            }
        }
    }

    /// A held item must not run on: it is stopped when it runs, and ends as `outcome`.
    pub(crate) fn pursue(&mut self, index: usize, item: Item, outcome: Outcome, effects: &mut Vec<Effect>) {
        self.hunt(index, item, outcome, effects);
        self.press(index, None, effects);
    }

    /// Takes up the hunt for a held item; it is not stopped before it is pressed.
    pub(crate) fn hunt(&mut self, index: usize, item: Item, outcome: Outcome, effects: &mut Vec<Effect>) {
        let worker = self.worker(index);
        let slot = &mut self.slots[index];
        if slot.pursuit(item).is_some() {
            return;
        }
        slot.pursuits.push(Pursuit { item, outcome, deadline: None });
        match slot.stage {
            Stage::Starting { .. } => self.terminate(index, Why::Pursuit, effects),
            Stage::Serving | Stage::Draining if slot.understands_cancel() => {
                effects.push(Effect::Cancel { worker, item });
            }
            Stage::Vacant { .. } | Stage::Serving | Stage::Draining | Stage::Stopping { .. } => {}
        }
    }

    /// Stops hunted items that run. `claimed`: the worker's claim was just read and names this one.
    pub(crate) fn press(&mut self, index: usize, claimed: Option<Item>, effects: &mut Vec<Effect>) {
        let is_open = matches!(self.slots[index].stage, Stage::Serving | Stage::Draining);
        if self.slots[index].pursuits.is_empty() || !is_open {
            return;
        }
        let (now, grace) = (self.now, self.config.grace);
        let worker = self.worker(index);
        let slot = &mut self.slots[index];
        let (accounting, front) = (slot.accounting(), slot.held.front());
        let asks = accounting == Accounting::Claim && claimed.is_none();
        let (can_cancel, mut must_end) = (slot.understands_cancel(), false);
        for pursuit in slot.pursuits.iter_mut().filter(|pursuit| pursuit.deadline.is_none()) {
            let runs = match accounting {
                Accounting::Mux => true,
                Accounting::Claim => claimed == Some(pursuit.item),
                Accounting::InOrder | Accounting::Unknown => front == Some(pursuit.item),
            };
            if runs {
                pursuit.deadline = Some(now + grace);
                must_end |= !can_cancel;
            } else if asks && front == Some(pursuit.item) && !slot.is_probing {
                slot.is_probing = true;
                effects.push(Effect::Probe(worker));
            }
        }
        if must_end {
            self.terminate(index, Why::Pursuit, effects);
        }
    }
}
