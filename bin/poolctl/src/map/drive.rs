//! The loop of a run: feeds the supervisor, watches clocks and signals, and judges how it all ended.

mod continuation;
mod ending;
mod launch;
mod pilot;
mod served;
mod start_hint;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use poolctl_supervisor::{Turn, now};
use poolctl_types::ExitCode;

use super::plan::Plan;
use super::signals::{self, Wish};
use crate::end::End;
use crate::failure::Failure;
use pilot::Pilot;

pub(crate) use ending::given_up;
pub(crate) use launch::not_opened;
pub(super) use served::drive_served;

/// What other threads tell the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Somebody sent a signal.
    Wish(Wish),
    /// A writer thread is through.
    WriterEnded,
}

/// Signals that are not yet seen to; further ones of a burst say nothing new.
const NEWS: usize = 64;

/// Runs a plan from start to end.
pub(super) fn drive(plan: Plan) -> Result<End, Failure> {
    let internal = |error| Failure::new(ExitCode::Internal, error);
    // Before the first thread, so that no thread but one ever sees these signals.
    let held = signals::hold().map_err(internal)?;
    if let Err(error) = poolctl_supervisor::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let (tell, news): (SyncSender<News>, Receiver<News>) = sync_channel(NEWS);
    let parts = launch::launch(plan, &tell)?;
    let waker = parts.supervisor.waker();
    held.watch(move |wish| {
        // A full channel holds more wishes of this kind than anybody can mean.
        tell.try_send(News::Wish(wish)).ok();
        waker.wake();
    })
    .map_err(internal)?;
    let mut pilot = Pilot::new(parts, news);
    loop {
        let until = pilot.prepare();
        if pilot.turn(until) == Turn::Finished {
            break;
        }
    }
    let now = now();
    ending::finish(pilot, now)
}
