//! Giving items their outcome, from answers.

use poolctl_types::{Item, ItemRange};

use crate::config::Lifecycle;
use crate::effect::{Effect, Outcome};
use crate::engine::Engine;
use crate::event::Answer;
use crate::lifecycle::Answers;
use crate::slot::{Stage, Why};

/// What is found about an attempt that did not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// It took its worker with it.
    pub(crate) is_crash: bool,
    /// Another attempt is not wanted, whatever `retries` says.
    pub(crate) is_final: bool,
    /// A further attempt runs alone.
    pub(crate) solo: bool,
}

impl Verdict {
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self { outcome, is_crash: false, is_final: false, solo: false }
    }
}

impl Engine {
    /// A worker's answers count.
    pub(crate) fn take_answers(&mut self, index: usize, answers: Answers, effects: &mut Vec<Effect>) {
        let taken = match answers {
            Answers::Oldest(count) => self.take_oldest(index, count, effects),
            Answers::One(item, answer) => self.take_one(index, item, answer, effects),
        };
        if taken > 0 {
            self.after_answers(index, taken, effects);
        }
    }

    /// The oldest `count` are ok; returns how many it held of them.
    fn take_oldest(&mut self, index: usize, count: u32, effects: &mut Vec<Effect>) -> u32 {
        let count = count.min(self.slots[index].held.count());
        if !self.slots[index].pursuits.is_empty() {
            for _ in 0..count {
                let oldest = self.slots[index].held.front().expect("no more than it holds");
                self.take_one(index, oldest, Answer::Ok, effects);
            }
            return count;
        }
        let Self { slots, backlog, totals, .. } = self;
        let mut left = count;
        let mut together: Option<ItemRange> = None;
        while left > 0 {
            let run = slots[index].held.pop(left).expect("no more than it holds");
            left -= run.items.count;
            backlog.finish(run.items);
            totals.ok += u64::from(run.items.count);
            together = match together {
                Some(before) if run.attempt == 1 && before.end() == run.items.first => {
                    Some(ItemRange::new(before.first, before.count + run.items.count))
                }
                before => {
                    effects.extend(before.map(|items| Effect::Settle {
                        items,
                        outcome: Outcome::Ok,
                        attempts: 1,
                    }));
                    Some(run.items).filter(|_| run.attempt == 1)
                }
            };
            if run.attempt > 1 {
                effects.push(Effect::Settle {
                    items: run.items,
                    outcome: Outcome::Ok,
                    attempts: run.attempt,
                });
            }
        }
        effects.extend(together.map(|items| Effect::Settle { items, outcome: Outcome::Ok, attempts: 1 }));
        count
    }

    /// One item has its answer; returns how many it held of that.
    fn take_one(&mut self, index: usize, item: Item, answer: Answer, effects: &mut Vec<Effect>) -> u32 {
        let slot = &mut self.slots[index];
        let Some(run) = slot.held.remove(item) else { return 0 };
        let is_stopped = matches!(slot.stage, Stage::Stopping { why: Why::Stop, .. });
        let pursued = slot.end_pursuit(item);
        let verdict = match (pursued, answer) {
            (Some(outcome), _) => Verdict::of(outcome),
            (None, Answer::Ok) => Verdict::of(Outcome::Ok),
            // It was told to end: an error is what that looks like.
            (None, Answer::Failed | Answer::FailedForGood) if is_stopped => Verdict::of(Outcome::Cancelled),
            (None, Answer::Failed) => Verdict::of(Outcome::Failed),
            (None, Answer::FailedForGood) => Verdict { is_final: true, ..Verdict::of(Outcome::Failed) },
        };
        self.conclude(item, run.attempt, verdict, effects);
        1
    }

    fn after_answers(&mut self, index: usize, taken: u32, effects: &mut Vec<Effect>) {
        let now = self.now;
        self.barren = 0;
        let slot = &mut self.slots[index];
        let span = now.since(slot.last_news);
        slot.since = now;
        slot.last_news = now;
        slot.answered += u64::from(taken);
        slot.fruitless = 0;
        slot.is_parked = false;
        if slot.held.is_empty() {
            slot.holds_solo = false;
        }
        let stage = slot.stage;
        if matches!(stage, Stage::Serving | Stage::Draining) {
            self.pace.observe(span, taken);
            if self.measures_median() {
                self.median.add(span / taken);
            }
        }
        if !self.slots[index].held.is_empty() {
            self.press(index, None, effects);
            return;
        }
        match (self.config.lifecycle, stage) {
            (Lifecycle::PerItem, Stage::Serving | Stage::Draining) => self.expect_end(index),
            (Lifecycle::Warm, Stage::Draining) => self.close(index, effects),
            (
                Lifecycle::PerItem | Lifecycle::Warm,
                Stage::Vacant { .. } | Stage::Starting { .. } | Stage::Serving | Stage::Stopping { .. },
            ) => {}
        }
    }

    /// An attempt at a held item is over: the item has its outcome, or is tried again.
    pub(crate) fn conclude(&mut self, item: Item, attempt: u32, verdict: Verdict, effects: &mut Vec<Effect>) {
        let may_retry = match verdict.outcome {
            Outcome::Ok | Outcome::Cancelled => false,
            Outcome::Failed | Outcome::TimedOut | Outcome::WorkerDied | Outcome::Quarantined => true,
        };
        if !may_retry {
            self.finish(ItemRange::one(item), verdict.outcome, attempt, effects);
            return;
        }
        let mut past = self.backlog.past(item);
        past.attempts = attempt;
        past.solo |= verdict.solo;
        past.crashes += u32::from(verdict.is_crash);
        if verdict.is_crash && past.crashes >= self.config.max_crashes.max(1) {
            self.finish(ItemRange::one(item), Outcome::Quarantined, attempt, effects);
            return;
        }
        if verdict.is_final || attempt > self.config.retries || self.stop.is_some() {
            self.finish(ItemRange::one(item), verdict.outcome, attempt, effects);
            return;
        }
        self.totals.retried += 1;
        effects.push(Effect::Retry { item, attempt: attempt.saturating_add(1), why: verdict.outcome });
        let delay = self.config.retry_delay;
        let due = (!delay.is_zero()).then(|| self.now + delay);
        self.backlog.put_back_one(item, past, due);
        self.must_rescan = true;
    }

    /// Held items have their outcome.
    pub(crate) fn finish(
        &mut self,
        items: ItemRange,
        outcome: Outcome,
        attempts: u32,
        effects: &mut Vec<Effect>,
    ) {
        self.backlog.finish(items);
        self.totals.add(outcome, u64::from(items.count));
        effects.push(Effect::Settle { items, outcome, attempts });
    }

    /// Items that the backlog has given up already are cancelled.
    pub(crate) fn tell_cancelled(&mut self, items: ItemRange, attempts: u32, effects: &mut Vec<Effect>) {
        self.totals.add(Outcome::Cancelled, u64::from(items.count));
        effects.push(Effect::Settle { items, outcome: Outcome::Cancelled, attempts });
    }
}
