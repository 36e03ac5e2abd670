//! The engine itself: its state, the way an event takes through it, and what can be asked of it.
//!
//! # Data flow
//! ```text
//! Items ─► backlog (fresh ► solo, retries, returned) ─► feed: Dispatch / Run ─► slot.held ─► answers ─► Settle
//!              ▲                                                                   │
//!              └────── put back: not begun, or Retry ◄── settle, account ◄── death ┘
//! ```
//! - `backlog` knows every unfinished item, by ranges; `slot` a worker's life and what it holds;
//! - `feed` hands out work and asks for workers; `settle` gives outcomes; `account` judges the dead;
//! - `ending` asks lives to end, ever harder; `timing` watches the clocks.
//!
//! # The life of a worker (`lifecycle` is the whole table, `slot` has the words)
//! ```text
//! stage     Spawned  SpawnFailed Ready   answers  Claimed Retire   Waits    GoesOn   Fault    Exited
//! Vacant    ignore   ignore      ignore  ignore   ignore  ignore   ignore   ignore   ignore   ignore
//! Starting  begin    abandon     greet   ignore   ignore  dismiss  ignore   ignore   condemn  bury
//! Serving   ignore   ignore      ignore  take     judge   drain    park     unpark   condemn  bury
//! Draining  ignore   ignore      ignore  take     judge   ignore   park     unpark   condemn  bury
//! Stopping  begin    abandon     ignore  take *   ignore  ignore   ignore   ignore   kill     bury
//! ```
//! `*` unless it was let go, never said hello, or is not believed any more. Warm: Vacant ─Spawn─► Starting ─Ready─►
//! Serving ─► Draining ─CloseInput─► Stopping ─Exited─► Vacant, next generation. Per item: Vacant ─Run─► Starting
//! ─Spawned─► Serving ─answer─► Stopping ─Exited─► Vacant.
//!
//! # The order of effects within one step
//! 1. what the event itself means: for a death, each item it held in the order of dispatch (`Settle`, `Retry`),
//!    then `Reap`; for a tick, slot by slot;
//! 2. `Halted` or `GaveUp`, followed by the outcomes of all that waits (solo, retries, returned, fresh) and the
//!    ends asked of workers, slot by slot;
//! 3. new work: `Run` by slot; or `Dispatch` to idle workers, then `Spawn`, then `Dispatch` to busy ones, each by slot;
//! 4. `CloseInput` or `Terminate` for workers that nobody needs any more, by slot.

use std::time::Duration;

use poolctl_types::{Item, ItemRange, Moment, Slot as SlotId, WorkerId};

use crate::backlog::Backlog;
use crate::clock::Clock;
use crate::config::{Config, HaltHow, Lifecycle, Timeout};
use crate::counts::{Counts, Totals};
use crate::effect::{Effect, Outcome};
use crate::event::{Accounting, Capacity, Event, Gate, Stop};
use crate::feed::Scope;
use crate::halt;
use crate::intensity::Intensity;
use crate::lifecycle::{Answers, News, Reaction, reaction};
use crate::median::Median;
use crate::pace::Pace;
use crate::slot::{Slot, Stage, Why};
use crate::timing;
use crate::window::Standing;

/// More slots than any machine has room for processes.
const MAX_SLOTS: u32 = 1 << 16;

/// What is known of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// More may be ready.
    Flowing,
    /// Nothing is ready just now.
    Idle,
    /// Nothing follows.
    Ended,
}

/// The brain of a pool. See the module for how it works.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    /// The engine's time of the present step.
    pub(crate) now: Moment,
    /// Never shrinks, so that generations go on when a slot comes back.
    pub(crate) slots: Vec<Slot>,
    /// So many of the slots are to be used.
    pub(crate) wanted_slots: u32,
    pub(crate) backlog: Backlog,
    pub(crate) pace: Pace,
    pub(crate) median: Median,
    pub(crate) intensity: Intensity,
    /// Trying to start another worker cannot help.
    pub(crate) cannot_start: bool,
    /// Lives in a row that took work and ended with no answer and nobody to blame.
    pub(crate) barren: u32,
    pub(crate) gate: Gate,
    pub(crate) input: Input,
    pub(crate) stop: Option<Stop>,
    pub(crate) is_halted: bool,
    pub(crate) has_given_up: bool,
    /// No item starts before (`--delay`).
    pub(crate) next_start: Moment,
    pub(crate) read: u64,
    pub(crate) totals: Totals,
    /// The next event looks at every slot for new work, whichever it is about.
    pub(crate) must_rescan: bool,
    /// When every slot was last looked at for new work.
    pub(crate) scanned_at: Moment,
    /// Warm workers on their way, as of then.
    pub(crate) starting: u32,
}

impl Engine {
    /// An engine with nothing to do yet. Numbers in `config` below their least are taken as that.
    #[must_use]
    pub fn new(config: Config, now: Moment) -> Self {
        let mut engine = Self {
            clock: Clock::new(now),
            now,
            slots: Vec::new(),
            wanted_slots: 0,
            backlog: Backlog::new(config.window),
            pace: Pace::default(),
            median: Median::default(),
            intensity: Intensity::default(),
            cannot_start: false,
            barren: 0,
            gate: Gate::Open,
            input: Input::Flowing,
            stop: None,
            is_halted: false,
            has_given_up: false,
            next_start: now,
            read: 0,
            totals: Totals::default(),
            must_rescan: false,
            scanned_at: now,
            starting: 0,
            config,
        };
        engine.set_slots(engine.config.slots);
        engine
    }

    /// Takes in `event`, and appends to `effects` what is to be done about it, in order.
    ///
    /// Total: any event at any time is accepted; what makes no sense has no effects.
    pub fn step(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        self.now = self.clock.advance(now);
        let scope = self.take_in(now, event, effects);
        if scope == Scope::Nothing {
            return;
        }
        self.check_halt(effects);
        self.check_starts(effects);
        self.assign(scope, effects);
        if self.is_finished() {
            self.let_everyone_go(effects);
        }
    }

    fn take_in(&mut self, host_now: Moment, event: Event, effects: &mut Vec<Effect>) -> Scope {
        match event {
            Event::Items(count) => self.take_items(count, effects),
            Event::InputIdle => {
                if self.input == Input::Flowing {
                    self.input = Input::Idle;
                }
            }
            Event::EndOfInput => self.input = Input::Ended,
            Event::Gate(gate) => self.gate = gate,
            Event::CancelItem(item) => self.cancel_item(item, effects),
            Event::CancelQueued(items) => self.cancel_queued(items, effects),
            Event::Stop(stop) => self.stop_pool(stop, effects),
            Event::Resize(slots) => self.resize(slots, effects),
            Event::Pause => self.clock.pause(host_now),
            Event::Resume => {
                self.clock.resume(host_now);
                self.now = self.clock.advance(host_now);
            }
            Event::Tick => self.watch_clocks(effects),
            Event::Spawned(worker) => return self.hear(worker, News::Spawned, effects),
            Event::SpawnFailed { worker, lasting } => {
                return self.hear(worker, News::SpawnFailed(lasting), effects);
            }
            Event::Ready(worker, capacity) => return self.hear(worker, News::Ready(capacity), effects),
            Event::Finished { worker, count } => {
                return self.hear(worker, News::Answers(Answers::Oldest(count)), effects);
            }
            Event::Answered { worker, item, answer } => {
                return self.hear(worker, News::Answers(Answers::One(item, answer)), effects);
            }
            Event::Claimed { worker, claim } => return self.hear(worker, News::Claimed(claim), effects),
            Event::Retire(worker) => return self.hear(worker, News::Retire, effects),
            Event::Waits { worker, returned } => return self.hear(worker, News::Waits(returned), effects),
            Event::GoesOn(worker) => return self.hear(worker, News::GoesOn, effects),
            Event::Fault { worker, item } => return self.hear(worker, News::Fault(item), effects),
            Event::Exited { worker, end } => return self.hear(worker, News::Exited(end), effects),
        }
        Scope::All
    }

    /// News about a worker.
    fn hear(&mut self, worker: WorkerId, news: News, effects: &mut Vec<Effect>) -> Scope {
        let index = worker.slot.index();
        let Some(slot) = self.slots.get(index).filter(|slot| slot.generation == worker.generation) else {
            return Scope::Nothing;
        };
        match reaction(slot.stage, news) {
            Reaction::Ignore => return Scope::Nothing,
            Reaction::Take(answers) => {
                self.take_answers(index, answers, effects);
                return Scope::One(index);
            }
            Reaction::Bury(end) => {
                self.bury(index, end, effects);
                return self.scope_of_vacancy(index);
            }
            Reaction::Begin => self.begin(index),
            Reaction::Abandon(lasting) => self.abandon(index, lasting, effects),
            Reaction::Greet(capacity) => self.greet(index, capacity),
            Reaction::Judge(claim) => self.judge(index, claim, effects),
            Reaction::Drain => self.drain(index, effects),
            Reaction::Park(returned) => self.park(index, returned, effects),
            Reaction::Unpark => self.slots[index].is_parked = false,
            Reaction::Dismiss => self.terminate(index, Why::Unready, effects),
            Reaction::Condemn(item) => {
                let blamed = item.filter(|item| slot.held.attempt(*item).is_some());
                self.kill(index, Why::Fault(blamed), effects);
            }
            Reaction::Hasten => self.hasten(index, effects),
        }
        Scope::All
    }

    fn take_items(&mut self, count: u64, effects: &mut Vec<Effect>) {
        let before = self.backlog.read_end();
        self.backlog.read(count);
        self.read += self.backlog.read_end() - before;
        if self.input == Input::Idle {
            self.input = Input::Flowing;
        }
        if self.stop.is_some() {
            self.cancel_waiting(effects);
        }
    }

    fn begin(&mut self, index: usize) {
        let (now, lifecycle, start_timeout) = (self.now, self.config.lifecycle, self.config.start_timeout);
        let slot = &mut self.slots[index];
        if slot.has_begun {
            return;
        }
        slot.has_begun = true;
        slot.since = now;
        slot.last_news = now;
        match (lifecycle, slot.stage) {
            (Lifecycle::PerItem, Stage::Starting { .. }) => {
                slot.stage = Stage::Serving;
                self.intensity.succeeded();
            }
            (Lifecycle::Warm, Stage::Starting { .. }) => {
                slot.stage = Stage::Starting { deadline: Some(now + start_timeout) };
            }
            (
                Lifecycle::PerItem | Lifecycle::Warm,
                Stage::Vacant { .. } | Stage::Serving | Stage::Draining | Stage::Stopping { .. },
            ) => {}
        }
    }

    fn greet(&mut self, index: usize, capacity: Capacity) {
        if self.config.lifecycle == Lifecycle::PerItem {
            return;
        }
        self.intensity.succeeded();
        let slot = &mut self.slots[index];
        slot.has_begun = true;
        slot.capacity = Some(capacity);
        slot.stage = Stage::Serving;
        slot.since = self.now;
        slot.last_news = self.now;
    }

    /// The worker's item in hand waits: what the worker gives back goes elsewhere.
    fn park(&mut self, index: usize, returned: u32, effects: &mut Vec<Effect>) {
        let slot = &mut self.slots[index];
        slot.is_parked = true;
        let runs = slot.held.take_behind_front(returned);
        slot.given -= runs.iter().map(|run| u64::from(run.items.count)).sum::<u64>();
        for run in runs {
            for item in run.items.iter() {
                let is_unwanted = self.slots[index].end_pursuit(item).is_some() || self.stop.is_some();
                if is_unwanted {
                    self.finish(ItemRange::one(item), Outcome::Cancelled, run.attempt - 1, effects);
                } else {
                    self.backlog.put_back(ItemRange::one(item));
                }
            }
        }
        self.must_rescan = true;
    }

    fn cancel_item(&mut self, item: Item, effects: &mut Vec<Effect>) {
        if self.backlog.is_fresh(item) {
            self.backlog.cancel_fresh(item);
            self.tell_cancelled(ItemRange::one(item), 0, effects);
            return;
        }
        match self.backlog.standing(item) {
            Some(Standing::Waiting) => {
                let attempts = self.backlog.cancel_waiting(item);
                self.tell_cancelled(ItemRange::one(item), attempts, effects);
            }
            Some(Standing::Held) => {
                let holder = self.slots.iter().position(|slot| slot.held.attempt(item).is_some());
                if let Some(index) = holder {
                    self.pursue(index, item, Outcome::Cancelled, effects);
                }
            }
            Some(Standing::Done) | None => {}
        }
    }

    /// Cancels those of these items that no worker has; fresh neighbours together.
    fn cancel_queued(&mut self, items: ItemRange, effects: &mut Vec<Effect>) {
        let dispatched = items.end().0.min(self.backlog.fresh_start());
        for item in (items.first.0..dispatched).map(Item) {
            if self.backlog.standing(item) == Some(Standing::Waiting) {
                let attempts = self.backlog.cancel_waiting(item);
                self.tell_cancelled(ItemRange::one(item), attempts, effects);
            }
        }
        while let Some(fresh) = self.backlog.cancel_next_fresh(items) {
            self.tell_cancelled(fresh, 0, effects);
        }
    }

    /// How long one item takes a worker, as measured lately.
    #[must_use]
    pub fn time_per_item(&self) -> Option<Duration> {
        self.pace.nanos_per_item().map(Duration::from_nanos)
    }

    /// Whether a worker has this item.
    #[must_use]
    pub fn is_held(&self, item: Item) -> bool {
        self.backlog.standing(item) == Some(Standing::Held)
    }

    /// Whether no worker has this item, and it has no outcome.
    #[must_use]
    pub fn is_queued(&self, item: Item) -> bool {
        self.backlog.is_fresh(item) || self.backlog.standing(item) == Some(Standing::Waiting)
    }

    fn resize(&mut self, slots: u32, effects: &mut Vec<Effect>) {
        self.set_slots(slots);
        for index in self.wanted_slots as usize..self.slots.len() {
            match self.slots[index].stage {
                Stage::Serving => self.drain(index, effects),
                Stage::Starting { .. } if self.config.lifecycle == Lifecycle::Warm => {
                    self.terminate(index, Why::Unready, effects);
                }
                Stage::Vacant { .. } | Stage::Starting { .. } | Stage::Draining | Stage::Stopping { .. } => {}
            }
        }
    }

    fn set_slots(&mut self, slots: u32) {
        self.wanted_slots = slots.clamp(1, MAX_SLOTS);
        let length = self.slots.len().max(self.wanted_slots as usize);
        self.slots.resize_with(length, Slot::new);
    }

    fn check_halt(&mut self, effects: &mut Vec<Effect>) {
        let may_halt = !self.is_halted && !self.has_given_up;
        let Some(limit) = self.config.halt.filter(|_| may_halt) else { return };
        let at_end = self.input == Input::Ended && self.backlog.is_empty();
        if !halt::is_due(limit, &self.totals, at_end) {
            return;
        }
        self.is_halted = true;
        effects.push(Effect::Halted);
        let how = match limit.how {
            HaltHow::Now => Stop::Term,
            HaltHow::Soon => Stop::Drain,
        };
        self.stop_pool(how, effects);
    }

    /// Who lives in the slot at `index`.
    pub(crate) fn worker(&self, index: usize) -> WorkerId {
        let slot = u32::try_from(index).expect("at most MAX_SLOTS slots");
        WorkerId { slot: SlotId(slot), generation: self.slots[index].generation }
    }

    /// How long an item may run, as things stand.
    pub(crate) fn limit(&self) -> Option<Duration> {
        timing::limit(self.config.timeout, &self.median, self.totals.ran())
    }

    /// Whether the median of running times is needed.
    pub(crate) fn measures_median(&self) -> bool {
        matches!(self.config.timeout, Timeout::MedianPercent(_))
    }

    /// Whether every item has its outcome and none follows: the input has ended, or the pool stops.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        (self.input == Input::Ended || self.stop.is_some()) && self.backlog.is_empty()
    }

    /// Whether the engine is finished and no worker lives.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.is_finished() && !self.slots.iter().any(Slot::is_alive)
    }

    /// How many items stand where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let alive = || self.slots.iter().filter(|slot| slot.is_alive());
        Counts {
            read: self.read,
            ok: self.totals.ok,
            failed: self.totals.failed,
            cancelled: self.totals.cancelled,
            retried: self.totals.retried,
            running: alive().map(running_in).sum(),
            held: alive().map(|slot| u64::from(slot.held.count())).sum(),
            queued: self.backlog.unposted(),
            workers: u32::try_from(alive().count()).unwrap_or(MAX_SLOTS),
            input_ended: self.input == Input::Ended,
            stop: self.stop,
        }
    }

    /// The items that run, as far as is known: the oldest of each worker, all of one that works on all at once.
    /// With each: since when at the earliest, on the host's clock, and which attempt it is.
    pub fn running(&self) -> impl Iterator<Item = (WorkerId, Item, Option<Moment>, u32)> {
        let busy = self.slots.iter().enumerate().filter(|(_, slot)| running_in(slot) > 0);
        busy.flat_map(move |(index, slot)| {
            let count = usize::try_from(running_in(slot)).unwrap_or(usize::MAX);
            let items = slot.held.runs().flat_map(|run| run.items.iter().map(move |item| (item, run)));
            items.take(count).map(move |(item, run)| {
                let since = if slot.accounting() == Accounting::Mux { run.dispatched } else { slot.since };
                (self.worker(index), item, Some(self.clock.shifted(since)), run.attempt)
            })
        })
    }
}

/// How many of the items it holds a worker runs.
fn running_in(slot: &Slot) -> u64 {
    if !slot.has_begun {
        return 0;
    }
    match slot.accounting() {
        Accounting::Mux => u64::from(slot.held.count()),
        Accounting::Claim | Accounting::InOrder | Accounting::Unknown => u64::from(slot.held.count().min(1)),
    }
}
