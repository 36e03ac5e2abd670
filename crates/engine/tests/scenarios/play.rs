//! A pool without processes: events by hand, the whole effect lists back, invariants checked after every step.

use std::num::NonZeroU32;
use std::time::Duration;

use poolctl_engine::{
    Accounting, Answer, Capacity, Config, Effect, End, EndCause, Engine, Event, Lifecycle, Outcome,
};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};

/// An engine and the time it is.
pub(crate) struct Pool {
    pub(crate) engine: Engine,
    pub(crate) now: Moment,
}

impl Pool {
    pub(crate) fn new(config: Config) -> Self {
        let now = Moment(1_000_000_000);
        Self { engine: Engine::new(config, now), now }
    }

    /// One step now; returns its effects.
    pub(crate) fn tell(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.engine.step(self.now, event, &mut effects);
        self.engine.invariants();
        effects
    }

    /// Several steps now; returns all their effects.
    pub(crate) fn tell_all(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        events.into_iter().flat_map(|event| self.tell(event)).collect()
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Lets time pass and tells it.
    pub(crate) fn tick_after(&mut self, span: Duration) -> Vec<Effect> {
        self.wait(span);
        self.tell(Event::Tick)
    }

    /// How long until the engine wants to be told the time.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.engine.next_deadline().map(|moment| moment.since(self.now))
    }
}

pub(crate) const MILLI: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn worker(slot: u32, generation: u64) -> WorkerId {
    WorkerId::new(slot, generation)
}

pub(crate) fn range(first: u64, count: u32) -> ItemRange {
    ItemRange::new(Item(first), count)
}

pub(crate) fn per_item(slots: u32) -> Config {
    Config { slots, lifecycle: Lifecycle::PerItem, ..Config::default() }
}

pub(crate) fn warm(slots: u32) -> Config {
    Config { slots, ..Config::default() }
}

/// In order, with claims, no limit.
pub(crate) fn claiming() -> Capacity {
    Capacity { ahead: None, accounting: Accounting::Claim, cancel: false }
}

pub(crate) fn ahead(count: u32, accounting: Accounting) -> Capacity {
    Capacity { ahead: NonZeroU32::new(count), accounting, cancel: false }
}

pub(crate) fn ready(slot: u32, generation: u64) -> Event {
    Event::Ready(worker(slot, generation), claiming())
}

pub(crate) fn ready_as(slot: u32, generation: u64, capacity: Capacity) -> Event {
    Event::Ready(worker(slot, generation), capacity)
}

pub(crate) fn finished(slot: u32, generation: u64, count: u32) -> Event {
    Event::Finished { worker: worker(slot, generation), count }
}

pub(crate) fn answered(slot: u32, generation: u64, item: u64, answer: Answer) -> Event {
    Event::Answered { worker: worker(slot, generation), item: Item(item), answer }
}

/// Died by itself, with no item claimed.
pub(crate) fn exited(slot: u32, generation: u64) -> Event {
    exited_with(slot, generation, None, EndCause::Ended)
}

pub(crate) fn exited_with(slot: u32, generation: u64, claimed: Option<u64>, cause: EndCause) -> Event {
    Event::Exited { worker: worker(slot, generation), end: End { claimed: claimed.map(Item), cause } }
}

pub(crate) fn dispatch(slot: u32, generation: u64, first: u64, count: u32) -> Effect {
    Effect::Dispatch { worker: worker(slot, generation), items: range(first, count), attempt: 1 }
}

pub(crate) fn again(slot: u32, generation: u64, item: u64, attempt: u32) -> Effect {
    Effect::Dispatch { worker: worker(slot, generation), items: range(item, 1), attempt }
}

pub(crate) fn run(slot: u32, generation: u64, item: u64, attempt: u32) -> Effect {
    Effect::Run { worker: worker(slot, generation), item: Item(item), attempt }
}

pub(crate) fn settle(first: u64, count: u32, outcome: Outcome, attempts: u32) -> Effect {
    Effect::Settle { items: range(first, count), outcome, attempts }
}

pub(crate) fn retry(item: u64, attempt: u32, why: Outcome) -> Effect {
    Effect::Retry { item: Item(item), attempt, why }
}

pub(crate) fn reap(slot: u32, generation: u64) -> Effect {
    Effect::Reap(worker(slot, generation))
}

/// How many items an effect dispatches.
pub(crate) fn dispatched(effect: &Effect) -> u32 {
    match effect {
        Effect::Dispatch { items, .. } => items.count,
        _ => 0,
    }
}

/// The same, for one slot.
pub(crate) fn dispatched_to(slot: u32, effects: &[Effect]) -> u32 {
    let is_its =
        |effect: &&Effect| matches!(effect, Effect::Dispatch { worker, .. } if worker.slot.0 == slot);
    effects.iter().filter(is_its).map(dispatched).sum()
}
