//! The thread that runs callbacks, one after another in the order in which their calls were settled.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use super::call::Call;
use super::progress::Progress;

/// The thread of callbacks, started at its first use. It ends with the host's last handle.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    /// Bounded by the calls in flight. None: no thread can be had.
    due: OnceLock<Option<Sender<Due>>>,
}

/// What is to be called.
#[derive(Debug)]
pub(super) enum Due {
    /// The callback of a call.
    Callback(Arc<Call>),
    /// A hook that is shown the progress.
    Progress(Arc<Progress>),
}

impl Callbacks {
    /// Has it called.
    pub(super) fn run(&self, what: Due) {
        let due = self.due.get_or_init(start);
        let left = match due {
            Some(due) => due.send(what).map_err(|unsent| unsent.0).err(),
            None => Some(what),
        };
        if let Some(what) = left {
            run(what);
        }
    }
}

fn start() -> Option<Sender<Due>> {
    let (due, calls) = mpsc::channel::<Due>();
    let started = thread::Builder::new().name("poolctl-callbacks".to_owned()).spawn(move || {
        for what in calls {
            run(what);
        }
    });
    started
        .inspect_err(|error| tracing::warn!(%error, "no thread for callbacks: the loop runs them itself"))
        .ok()?;
    Some(due)
}

fn run(what: Due) {
    let call = match what {
        Due::Callback(call) => call,
        Due::Progress(progress) => return progress.show(),
    };
    let mut wakes = Vec::new();
    call.run_callback(&mut wakes);
    for wake in wakes {
        // A callback that is run makes no other one due.
        wake.fire(&Callbacks::default());
    }
}
