//! Where links and engine meet: news goes to the engine, and what it settles goes to the sink with its details.
//!
//! An event and the bytes that belong to it are told together ([`Desk::tell`]), because only the engine knows whether
//! an answer settles its item, is the last of several attempts, or comes too late. Effects that concern processes are
//! queued for the supervisor, which carries them out when no link is borrowed.

use std::collections::VecDeque;
use std::sync::Arc;

use poolctl_engine::{Effect, Engine, Event, Outcome};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};

use crate::config::Detail;
use crate::insight::Observer;
use crate::report::{Attempt, ExitResult, Notice, Report, Sink};
use crate::results::Results;
use crate::spill::Spill;
use crate::store::Store;

/// Engine, payloads and what is to be done next.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) spill: Arc<Spill>,
    pub(crate) detail: Detail,
    /// The time of this pass of the loop.
    pub(crate) now: Moment,
    /// Effects that concern processes, in order.
    pub(crate) effects: VecDeque<Effect>,
    /// The interpreter that a worker said it runs on.
    pub(crate) interpreter: Option<String>,
    /// Room to read into, for everybody.
    pub(crate) scratch: Vec<u8>,
    pub(crate) observer: Observer,
    /// What exit functions gave.
    pub(crate) exits: Vec<ExitResult>,
    fresh: Vec<Effect>,
}

/// What belongs to an event, for the items that it settles.
pub(crate) enum Delivery<'a> {
    /// Nothing is known.
    Nothing,
    /// Results of items that stand next to each other.
    Run { worker: WorkerId, items: ItemRange, results: Results<'a> },
    /// One attempt per item, on demand.
    Each(&'a mut dyn FnMut(Item) -> Attempt),
}

impl Desk {
    pub(crate) fn new(engine: Engine, spill: Arc<Spill>, detail: Detail, now: Moment) -> Self {
        Self {
            engine,
            store: Store::default(),
            spill,
            detail,
            now,
            effects: VecDeque::new(),
            interpreter: None,
            scratch: Vec::new(),
            observer: Observer::default(),
            exits: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Tells the engine what happened, and the sink what that settles.
    pub(crate) fn tell(&mut self, event: Event, mut delivery: Delivery<'_>, sink: &mut dyn Sink) {
        self.observer.observe(&event, self.now);
        let mut fresh = std::mem::take(&mut self.fresh);
        self.engine.step(self.now, event, &mut fresh);
        for effect in fresh.drain(..) {
            match effect {
                Effect::Settle { items, outcome, attempts } => {
                    self.settle(items, outcome, attempts, &mut delivery, sink);
                }
                Effect::Retry { item, attempt, why } => {
                    let known = Box::new(delivery.attempt(item));
                    sink.notice(Notice::Retry { item, next: attempt, why, attempt: known });
                }
                other => self.effects.push_back(other),
            }
        }
        self.fresh = fresh;
    }

    /// Tells the engine something that comes without details.
    pub(crate) fn tell_plain(&mut self, event: Event, sink: &mut dyn Sink) {
        self.tell(event, Delivery::Nothing, sink);
    }

    fn settle(
        &mut self,
        items: ItemRange,
        outcome: Outcome,
        attempts: u32,
        delivery: &mut Delivery<'_>,
        sink: &mut dyn Sink,
    ) {
        if let Delivery::Run { items: told, results, .. } = delivery
            && outcome == Outcome::Ok
            && attempts == 1
            && self.detail == Detail::Bulk
        {
            sink.run(items, results.of(*told, items));
        } else if attempts == 0 && outcome == Outcome::Cancelled && self.detail == Detail::Bulk {
            sink.never_ran(items);
        } else {
            for item in items.iter() {
                let attempt = if attempts == 0 { Attempt::default() } else { delivery.attempt(item) };
                let payload = self.store.item(item).to_vec();
                sink.settled(Report { item, payload, outcome, attempts, attempt });
            }
        }
        self.store.settle(items);
    }
}

impl Delivery<'_> {
    fn attempt(&mut self, item: Item) -> Attempt {
        match self {
            Delivery::Nothing => Attempt::default(),
            Delivery::Run { worker, items, results } => {
                let out = results.of(*items, ItemRange::one(item)).only().to_vec();
                Attempt { worker: Some(*worker), out: out.into(), ..Attempt::default() }
            }
            Delivery::Each(attempt) => attempt(item),
        }
    }
}
