//! The model that every effect is held against: who may be sent what, and what each item has been through.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use poolctl_engine::{Accounting, Config, Effect, Event, Gate, Lifecycle, Outcome};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};

/// What the engine was told of a life, and has asked of it.
#[derive(Debug, Default)]
struct Known {
    is_ready: bool,
    is_over: bool,
    must_end: bool,
    given: u64,
}

/// What an item has been through.
#[derive(Debug, Default, Clone, Copy)]
struct Fortune {
    outcome: Option<Outcome>,
    starts: u32,
    retries: u32,
    holder: Option<WorkerId>,
}

/// The model.
pub(crate) struct Ledger {
    config: Config,
    is_honest: bool,
    accounting: Accounting,
    known: HashMap<WorkerId, Known>,
    present: HashMap<u32, WorkerId>,
    items: Vec<Fortune>,
    read: u64,
    /// The oldest item without an outcome.
    oldest: u64,
    dispatched_end: u64,
    gate: Gate,
    is_stopping: bool,
    unreaped: BTreeSet<WorkerId>,
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub(crate) fn new(config: Config, accounting: Accounting, is_honest: bool) -> Self {
        Self {
            config,
            is_honest,
            accounting,
            known: HashMap::new(),
            present: HashMap::new(),
            items: Vec::new(),
            read: 0,
            oldest: 0,
            dispatched_end: 0,
            gate: Gate::Open,
            is_stopping: false,
            unreaped: BTreeSet::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Before the engine is told.
    pub(crate) fn hear(&mut self, event: &Event) {
        match *event {
            Event::Items(count) => {
                self.read += count;
                self.items.resize(usize::try_from(self.read).expect("few items"), Fortune::default());
            }
            Event::Gate(gate) => self.gate = gate,
            Event::Stop(_) => self.is_stopping = true,
            Event::Ready(worker, _) => {
                if let Some(known) = self.known.get_mut(&worker) {
                    known.is_ready = true;
                }
            }
            // The simulated workers submit nothing.
            Event::Waits { .. } | Event::GoesOn(_) => {}
            Event::Retire(worker) | Event::Fault { worker, .. } => {
                if let Some(known) = self.known.get_mut(&worker) {
                    known.must_end = true;
                }
            }
            Event::Exited { worker, .. } => {
                if let Some(known) = self.known.get_mut(&worker).filter(|known| !known.is_over) {
                    known.is_over = true;
                    self.unreaped.insert(worker);
                }
            }
            Event::SpawnFailed { worker, .. } => {
                if let Some(known) = self.known.get_mut(&worker) {
                    known.is_over = true;
                }
            }
            Event::InputIdle
            | Event::EndOfInput
            | Event::Spawned(_)
            | Event::Finished { .. }
            | Event::Answered { .. }
            | Event::Claimed { .. }
            | Event::CancelItem(_)
            | Event::CancelQueued(_)
            | Event::Resize(_)
            | Event::Pause
            | Event::Resume
            | Event::Tick => {}
        }
    }

    /// A worker begins an item.
    pub(crate) fn start(&mut self, item: Item) {
        let fortune = &mut self.items[index(item)];
        fortune.starts += 1;
        if self.accounting != Accounting::Unknown && self.is_honest {
            let most = self.config.retries + 1;
            assert!(
                fortune.starts <= most,
                "item {item} was started {} times, at most {most} allowed",
                fortune.starts
            );
        }
    }

    /// Everything the engine asked for in one step.
    pub(crate) fn check(&mut self, effects: &[Effect], now: Moment) {
        for effect in effects {
            self.check_one(effect, now);
        }
        assert!(
            self.unreaped.is_empty(),
            "the dead are reaped in the step that tells of them: {:?}",
            self.unreaped
        );
    }

    fn check_one(&mut self, effect: &Effect, now: Moment) {
        *self.seen.entry(name_of(effect)).or_default() += 1;
        match *effect {
            Effect::Spawn(worker) => {
                assert!(!self.is_stopping && self.config.lifecycle == Lifecycle::Warm);
                self.is_born(worker);
            }
            Effect::Run { worker, item, attempt } => {
                assert_eq!(self.config.lifecycle, Lifecycle::PerItem);
                self.is_born(worker);
                self.check_dispatch(worker, ItemRange::one(item), attempt);
            }
            Effect::Dispatch { worker, items, attempt } => {
                let known = &self.known[&worker];
                assert!(
                    known.is_ready && !known.is_over && !known.must_end,
                    "{worker} does not serve at {now:?}"
                );
                self.check_dispatch(worker, items, attempt);
            }
            Effect::Probe(worker) | Effect::Cancel { worker, .. } => self.lives(worker),
            Effect::CloseInput(worker) | Effect::Terminate(worker) | Effect::Kill(worker) => {
                self.lives(worker);
                self.known.get_mut(&worker).expect("it lives").must_end = true;
            }
            Effect::Settle { items, outcome, attempts } => {
                for item in items.iter() {
                    self.settle(item, outcome, attempts);
                }
            }
            Effect::Retry { item, attempt, .. } => {
                assert!(!self.is_stopping, "a pool that stops tries nothing again");
                let fortune = &mut self.items[index(item)];
                assert!(fortune.outcome.is_none() && attempt >= 2 && attempt <= self.config.retries + 1);
                fortune.retries += 1;
                fortune.holder = None;
                assert!(fortune.retries <= self.config.retries, "item {item} is tried again too often");
            }
            Effect::Reap(worker) => assert!(self.unreaped.remove(&worker), "{worker} died once"),
            Effect::Halted | Effect::GaveUp(_) => {
                assert_eq!(self.seen[name_of(effect)], 1, "{effect:?} is told once");
                self.is_stopping = true;
            }
        }
    }

    fn is_born(&mut self, worker: WorkerId) {
        let earlier = self.known.insert(worker, Known::default());
        assert!(earlier.is_none(), "{worker} lives once");
        let before = self.present.insert(worker.slot.0, worker);
        assert!(before.is_none_or(|before| self.is_over(before)), "slot {} holds one life", worker.slot);
    }

    fn lives(&self, worker: WorkerId) {
        assert!(!self.known[&worker].is_over, "{worker} is dead");
    }

    fn check_dispatch(&mut self, worker: WorkerId, items: ItemRange, attempt: u32) {
        assert!(!self.is_stopping, "a pool that stops dispatches nothing");
        assert!(items.count == 1 || attempt == 1, "further attempts travel alone");
        self.lives(worker);
        for item in items.iter() {
            let fortune = self.items[index(item)];
            assert!(
                fortune.holder.is_none_or(|holder| self.is_over(holder)),
                "item {item} is in one worker's hands"
            );
            self.items[index(item)].holder = Some(worker);
            assert!(fortune.outcome.is_none(), "item {item} is finished");
            assert_eq!(attempt, fortune.retries + 1, "item {item}: its attempt");
            if item.0 >= self.dispatched_end {
                assert_eq!(self.gate, Gate::Open, "no new item through a closed gate");
                assert!(item.0 - self.oldest < self.config.window, "item {item} is outside the window");
            }
        }
        self.dispatched_end = self.dispatched_end.max(items.end().0);
        let known = self.known.get_mut(&worker).expect("it lives");
        known.given += u64::from(items.count);
        assert!(self.config.max_tasks.is_none_or(|most| known.given <= most), "{worker} has done its share");
    }

    fn settle(&mut self, item: Item, outcome: Outcome, attempts: u32) {
        *self.seen.entry(label_of(outcome)).or_default() += 1;
        let fortune = &mut self.items[index(item)];
        assert_eq!(fortune.outcome, None, "item {item} has one outcome");
        fortune.outcome = Some(outcome);
        fortune.holder = None;
        assert!(attempts <= self.config.retries + 1, "item {item}: {attempts} attempts");
        if outcome != Outcome::Cancelled {
            assert_eq!(attempts, fortune.retries + 1, "item {item}: its attempts are counted");
        }
        if outcome == Outcome::Ok && self.is_honest {
            assert!(fortune.starts > 0, "item {item} cannot be ok: it never ran");
        }
        while self.oldest < self.read && self.items[index(Item(self.oldest))].outcome.is_some() {
            self.oldest += 1;
        }
    }

    /// At the end of the run.
    pub(crate) fn check_end(&self) {
        assert_eq!(self.oldest, self.read, "every item has an outcome");
        assert!(self.known.values().all(|known| known.is_over), "nobody lives");
    }

    /// The present or last life in a slot.
    pub(crate) fn present_in(&self, slot: u32) -> Option<WorkerId> {
        self.present.get(&slot).copied()
    }

    pub(crate) fn is_over(&self, worker: WorkerId) -> bool {
        self.known.get(&worker).is_none_or(|known| known.is_over)
    }

    pub(crate) fn read(&self) -> u64 {
        self.read
    }
}

fn index(item: Item) -> usize {
    usize::try_from(item.0).expect("few items")
}

fn label_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::TimedOut => "timed out",
        Outcome::Cancelled => "cancelled",
        Outcome::WorkerDied => "worker died",
        Outcome::Quarantined => "quarantined",
    }
}

fn name_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::Spawn(_) => "spawn",
        Effect::Run { .. } => "run",
        Effect::Dispatch { .. } => "dispatch",
        Effect::Probe(_) => "probe",
        Effect::Cancel { .. } => "cancel",
        Effect::CloseInput(_) => "close input",
        Effect::Terminate(_) => "terminate",
        Effect::Kill(_) => "kill",
        Effect::Settle { .. } => "settle",
        Effect::Retry { .. } => "retry",
        Effect::Reap(_) => "reap",
        Effect::Halted => "halted",
        Effect::GaveUp(_) => "gave up",
    }
}
