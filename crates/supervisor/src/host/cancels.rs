//! Calls that are not wanted any more.
//!
//! What no worker has of a call is cancelled at once and together. Of what workers hold, few items are stopped at once:
//! they may run for long. Many items in the hands of workers are quick ones, which are through in a moment; to stop them
//! would take their workers with them for nothing. So they have [`PATIENCE`], and what is left then is stopped.

use std::sync::Arc;
use std::time::Duration;

use poolctl_sys::clock;
use poolctl_types::Moment;

use super::call::{Call, Need};
use super::ledger::Ledger;
use crate::supervisor::Supervisor;

/// So many items in the hands of workers are few.
const FEW: usize = 16;

/// How long many items have until they are stopped.
const PATIENCE: Duration = Duration::from_millis(20);

/// The calls whose items are still to be stopped.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    call: Arc<Call>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The engine is told with this turn; what workers hold then is looked at with the next.
    Told,
    /// It has time until then.
    Patient(Moment),
}

impl Cancels {
    /// A call is not wanted any more.
    pub(super) fn take_in(&mut self, call: Arc<Call>, supervisor: &mut Supervisor, ledger: &Ledger) {
        // The last first, so that nothing of the call is handed out while the rest of it is cancelled.
        for items in ledger.items_of(&call).into_iter().rev() {
            supervisor.cancel_queued(items);
        }
        self.waiting.push(Waiting { call, stage: Stage::Told });
    }

    /// Stops what is to be stopped by now.
    pub(super) fn press(&mut self, supervisor: &mut Supervisor, ledger: &Ledger) {
        let now = clock::now();
        self.waiting.retain_mut(|Waiting { call, stage }| {
            let is_last = match *stage {
                _ if call.is_met(Need::All) => return false,
                Stage::Told => false,
                Stage::Patient(until) if until > now => return true,
                Stage::Patient(_) => true,
            };
            let items = ledger.items_of(call);
            let held: Vec<_> = items
                .iter()
                .flat_map(|items| items.iter())
                .filter(|item| supervisor.is_held(*item))
                .collect();
            if held.len() > FEW && !is_last {
                *stage = Stage::Patient(now + PATIENCE);
                return true;
            }
            held.into_iter().for_each(|item| supervisor.cancel(item));
            false
        });
    }

    /// When something has had its time.
    pub(super) fn next(&self) -> Option<Moment> {
        let times = self.waiting.iter().map(|waiting| match waiting.stage {
            Stage::Told => Moment(0),
            Stage::Patient(until) => until,
        });
        times.min()
    }
}
