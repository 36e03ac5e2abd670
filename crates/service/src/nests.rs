//! Items that items of this pool submit to it, and wait for.
//!
//! A nested item is queued like any other. When its worker waits for it, it either runs somewhere already, and its outcome is
//! sent when it is there; or it is still queued, and then it is taken back and the worker runs it itself: so a chain of items
//! that wait for one another always has one that runs (docs/adr/0006-who-waits-for-a-nested-item-runs-it.md).
//!
//! # If a side dies
//! With the worker that submitted them nobody waits for its nested items any more: those not begun are cancelled.

use std::collections::BTreeMap;

use poolctl_supervisor::{Block, ItemRange, NestedOutcome, Supervisor, WorkerId};

use crate::ledger::{ClientId, Ledger, Place};

/// Who submits nested items, among clients.
pub(crate) const NESTED: ClientId = ClientId(0);

/// Most nested items of one worker without an outcome.
const MOST_OPEN: usize = 4096;

/// What an item asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// To run this too.
    Submit { worker: WorkerId, id: u64, payload: Vec<u8> },
    /// The outcome of that.
    Wait { worker: WorkerId, id: u64 },
    /// Nothing more of that.
    Forget { worker: WorkerId, id: u64 },
}

/// The nested items whose outcome was not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Nests {
    /// By the number that stands for them in the ledger.
    nests: BTreeMap<u64, Nest>,
    next: u64,
}

#[derive(Debug)]
struct Nest {
    worker: WorkerId,
    id: u64,
    waits: bool,
    /// It is taken back, so that its worker runs it.
    is_reclaimed: bool,
    outcome: Option<NestedOutcome>,
}

impl Nests {
    /// Takes the outcome of a nested item.
    pub(crate) fn settle(&mut self, place: Place, outcome: NestedOutcome) {
        if let Some(nest) = self.nests.get_mut(&place.id) {
            nest.outcome = Some(outcome);
        }
    }

    /// As [`Nests::settle`], for `count` items that were not run.
    pub(crate) fn not_run(&mut self, place: Place, count: u32, error: impl Fn() -> NestedOutcome) {
        for at in 0..u64::from(count) {
            if let Some(nest) = self.nests.get_mut(&(place.id + at)) {
                nest.outcome = Some(if nest.is_reclaimed { NestedOutcome::Yours } else { error() });
            }
        }
    }

    /// Carries out what items ask for, and sends the outcomes that are there. What that gives the supervisor to do, it does
    /// in its next turn.
    pub(crate) fn serve(&mut self, requests: Vec<Request>, ledger: &mut Ledger, supervisor: &mut Supervisor) {
        for request in requests {
            match request {
                Request::Submit { worker, id, payload } => {
                    self.submit(worker, id, &payload, ledger, supervisor)
                }
                Request::Wait { worker, id } => {
                    let asked = self.nests.values_mut().find(|nest| (nest.worker, nest.id) == (worker, id));
                    asked.into_iter().for_each(|nest| nest.waits = true);
                }
                Request::Forget { worker, id } => {
                    self.nests.retain(|_, nest| (nest.worker, nest.id) != (worker, id));
                }
            }
        }
        self.nests.retain(|number, nest| nest.serve(*number, ledger, supervisor));
    }

    fn submit(
        &mut self,
        worker: WorkerId,
        id: u64,
        payload: &[u8],
        ledger: &mut Ledger,
        supervisor: &mut Supervisor,
    ) {
        let open = self.nests.values().filter(|nest| nest.worker == worker).count();
        let number = self.next;
        self.next += 1;
        let mut nest = Nest { worker, id, waits: false, is_reclaimed: false, outcome: None };
        if open >= MOST_OPEN {
            // So many at once are the worker's own to run, one after another.
            nest.outcome = Some(NestedOutcome::Yours);
        } else {
            let mut block = Block::new();
            block.push(payload);
            ledger.enter(Place { client: NESTED, id: number, index: None }, 1);
            supervisor.push(block);
            supervisor.input_idle();
        }
        self.nests.insert(number, nest);
    }
}

impl Nest {
    /// Does what can be done; says whether something is left to do.
    fn serve(&mut self, number: u64, ledger: &Ledger, supervisor: &mut Supervisor) -> bool {
        let item = || ledger.items_of(NESTED, number, 1).first().map(|items: &ItemRange| items.first);
        if !supervisor.is_alive(self.worker) {
            // What runs is left to end: stopping its worker might hurt what that has begun since.
            if let Some(item) = item() {
                supervisor.cancel_queued(ItemRange::one(item));
            }
            return false;
        }
        if !self.waits {
            return true;
        }
        if let Some(outcome) = self.outcome.take() {
            supervisor.tell_nested(self.worker, self.id, outcome);
            return false;
        }
        if let Some(item) = item().filter(|item| supervisor.is_queued(*item)) {
            // Should a worker get it before this is heard, it runs there; should it come back, it is asked for again.
            self.is_reclaimed = true;
            supervisor.cancel_queued(ItemRange::one(item));
        }
        true
    }
}
