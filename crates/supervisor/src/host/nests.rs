//! Items that items of native workers submit, and wait for.
//!
//! A nested item is queued like any other. When its worker waits for it, it either runs somewhere already, and its
//! outcome is sent when it is there; or it is still queued, and then it is taken back and the worker runs it itself. So a
//! chain of items that wait for one another always has one that runs, whatever number of workers there is.
//!
//! # If a side dies
//! With the worker that submitted them nobody waits for its nested items any more: those not begun are cancelled. A worker that runs
//! one is settled like any other, and the outcome goes to the one that waits.

use std::sync::Arc;

use poolctl_engine::Outcome;
use poolctl_protocol::RemoteError;
use poolctl_types::{ItemRange, WorkerId};

use super::Refusal;
use super::call::{Call, Need, Settled};
use super::door::Part;
use super::ledger::Ledger;
use crate::block::Block;
use crate::report::{NestedOutcome, Report, chain};
use crate::supervisor::Supervisor;

/// What an item asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// To run this too.
    Submit { worker: WorkerId, id: u64, function: Arc<str>, payload: Vec<u8> },
    /// The outcome of that.
    Wait { worker: WorkerId, id: u64 },
    /// Nothing more of that.
    Forget { worker: WorkerId, id: u64 },
}

/// The nested items whose outcome was not sent yet. Their number is bounded by what a worker may submit unanswered.
#[derive(Debug, Default)]
pub(super) struct Nests {
    nests: Vec<Nest>,
}

#[derive(Debug)]
struct Nest {
    worker: WorkerId,
    id: u64,
    call: Arc<Call>,
    waits: bool,
    /// It is taken back, so that its worker runs it.
    is_reclaimed: bool,
}

impl Nests {
    /// Carries out what items ask for, and sends the outcomes that are there.
    pub(super) fn serve(&mut self, requests: Vec<Request>, ledger: &mut Ledger, supervisor: &mut Supervisor) {
        for request in requests {
            match request {
                Request::Submit { worker, id, function, payload } => {
                    self.submit(worker, id, function, &payload, ledger, supervisor);
                }
                Request::Forget { worker, id } => {
                    self.nests.retain(|nest| nest.worker != worker || nest.id != id);
                }
                Request::Wait { worker, id } => {
                    if let Some(nest) =
                        self.nests.iter_mut().find(|nest| nest.worker == worker && nest.id == id)
                    {
                        nest.waits = true;
                    }
                }
            }
        }
        self.nests.retain_mut(|nest| nest.serve(supervisor));
    }

    fn submit(
        &mut self,
        worker: WorkerId,
        id: u64,
        function: Arc<str>,
        payload: &[u8],
        ledger: &mut Ledger,
        supervisor: &mut Supervisor,
    ) {
        let mut block = Block { function: Some(function), ..Block::new() };
        block.push(payload);
        let call = Call::new();
        let index = call.submit(1);
        ledger.enter_nested(vec![Part { call: Arc::clone(&call), index, count: 1 }], &block);
        supervisor.push(block);
        supervisor.input_idle();
        self.nests.push(Nest { worker, id, call, waits: false, is_reclaimed: false });
    }
}

impl Nest {
    /// Does what can be done; says whether something is left to do.
    fn serve(&mut self, supervisor: &mut Supervisor) -> bool {
        let item = self.call.posted().map(|(item, _)| item);
        if !supervisor.is_alive(self.worker) {
            // What runs is left to end: stopping its worker might hurt what that has begun since.
            if let Some(item) = item {
                supervisor.cancel_queued(ItemRange::one(item));
            }
            return false;
        }
        if !self.waits {
            return true;
        }
        if self.call.is_met(Need::All) {
            let outcome = match self.call.take(0) {
                Some(settled) => self.outcome(settled),
                None => NestedOutcome::Yours,
            };
            supervisor.tell_nested(self.worker, self.id, outcome);
            return false;
        }
        if let Some(item) = item.filter(|item| supervisor.is_queued(*item)) {
            // Should a worker get it before this is heard, it runs there; should it come back, it is asked for again.
            self.is_reclaimed = true;
            supervisor.cancel_queued(ItemRange::one(item));
        }
        true
    }

    fn outcome(&self, settled: Settled) -> NestedOutcome {
        match settled {
            Settled::Run { results, form, .. } => {
                let results = crate::results::Results { bytes: &results, form };
                NestedOutcome::Ok(results.only().to_vec().into())
            }
            Settled::One(report) if report.outcome == Outcome::Ok => NestedOutcome::Ok(report.attempt.out),
            Settled::One(report) if report.outcome == Outcome::Cancelled && self.is_reclaimed => {
                NestedOutcome::Yours
            }
            Settled::One(report) => NestedOutcome::Err(error_of(*report)),
            Settled::NeverRan { .. } if self.is_reclaimed => NestedOutcome::Yours,
            Settled::NeverRan { .. } => NestedOutcome::Err(named("Cancelled", "cancelled".to_owned())),
            Settled::Refused { why: Refusal::Closed, .. } if self.is_reclaimed => NestedOutcome::Yours,
            Settled::Refused { why, .. } => NestedOutcome::Err(named("PoolEnded", chain(&why))),
        }
    }
}

/// How an item ended, for who runs another.
fn error_of(report: Report) -> RemoteError {
    let exit = report.attempt.exit.map(|exit| format!(" ({exit})")).unwrap_or_default();
    match (report.attempt.error, report.outcome) {
        (Some(crate::report::TaskError::Remote(error)), _) => error,
        (Some(error), _) => named("Broken", chain(&error)),
        (None, Outcome::TimedOut) => named("TimedOut", "the time limit has passed".to_owned()),
        (None, Outcome::Cancelled) => named("Cancelled", "cancelled".to_owned()),
        (None, _) => named("WorkerDied", format!("the worker died{exit}")),
    }
}

fn named(type_name: &str, msg: String) -> RemoteError {
    RemoteError { type_name: type_name.to_owned(), msg, trace: None, retry: None, more: None }
}
