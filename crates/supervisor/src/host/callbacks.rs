//! The thread that runs callbacks, one after another in the order in which their calls were settled.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use super::call::Call;

/// The thread of callbacks, started at its first use. It ends with the host's last handle.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    /// Bounded by the calls in flight. None: no thread can be had.
    due: OnceLock<Option<Sender<Arc<Call>>>>,
}

impl Callbacks {
    /// Has the callback of `call` run.
    pub(super) fn run(&self, call: Arc<Call>) {
        let due = self.due.get_or_init(start);
        let left = match due {
            Some(due) => due.send(call).map_err(|unsent| unsent.0).err(),
            None => Some(call),
        };
        if let Some(call) = left {
            run(&call);
        }
    }
}

fn start() -> Option<Sender<Arc<Call>>> {
    let (due, calls) = mpsc::channel::<Arc<Call>>();
    let started = thread::Builder::new().name("poolctl-callbacks".to_owned()).spawn(move || {
        for call in calls {
            run(&call);
        }
    });
    started
        .inspect_err(|error| tracing::warn!(%error, "no thread for callbacks: the loop runs them itself"))
        .ok()?;
    Some(due)
}

fn run(call: &Call) {
    let mut wakes = Vec::new();
    call.run_callback(&mut wakes);
    for wake in wakes {
        // A callback that is run makes no other one due.
        wake.fire(&Callbacks::default());
    }
}
