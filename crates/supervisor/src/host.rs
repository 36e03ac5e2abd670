//! A supervisor shared by threads: whoever waits for a result drives the loop meanwhile, so that it costs no hop.
//!
//! # States
//! *The loop's state* (supervisor and ledger) is behind one mutex, which only the leader takes.
//! *The door*, behind a second mutex that nobody holds while he waits, says who leads and holds what is handed in:
//!
//! | leader | who drives | how it goes on |
//! |---|---|---|
//! | the driver | the host's own thread, in `epoll_wait` | a caller that wants to lead queues and wakes it; it hands over |
//! | a caller | a thread inside [`Handle::wait`] | it leaves when it has what it waits for, at its time limit, or by a panic |
//! | nobody | nobody, between two leaders | the next caller takes the lead at once; else the driver does |
//!
//! The driver itself *leads*, *naps* (sleeps for [`NAP`] at most) or is *asleep* (until it is called).
//! A caller that may not lead sleeps on its own *seat*, in the queue for the lead and in the list of what it waits for.
//!
//! # Steps
//! 1. Hand in: under the door, put a letter into the inbox. If the leader may be sleeping, wake it (eventfd), once; if
//!    nobody leads and the sender does not wait for the result, call the driver.
//! 2. Lead: under the door, take the inbox and say "I may sleep"; turn the loop; store the outcomes in their calls;
//!    under the door, say "I do not sleep" and give the room back; then, with no mutex held, wake seats and tasks.
//! 3. Leave: under the door, give the lead to the caller that has queued longest and wake its seat. If none has, nobody
//!    leads: the driver is called at once if anything is in flight, or if it is asleep.
//!
//! A leader that leaves only to hand in more, or to take what came, says so and is back at once: a driver that naps is
//! let nap then, as it is when nothing is in flight. If it is not back, the driver notices within two naps.
//!
//! The nap: in a loop of single calls nothing is in flight between two of them. Calling the driver each time would
//! wake a thread per call, which takes the lead just to be asked for it. So a driver that has handed over naps, and
//! looks after a nap whether the lead is free; it takes it then, or naps again if there was a new leader meanwhile. It
//! falls asleep for good if one leader led the whole nap, which calls it when it leaves. So a dead idle worker is
//! noticed two naps late at most, and only while such a loop runs; whatever has a result or a deadline is served at once.
//!
//! # Why no wake is lost
//! The inbox, the queue, "may sleep" and the leader change under the door only. A letter comes before the leader takes
//! the inbox, and is taken; or after, and then "may sleep" stands and the eventfd stays readable. A caller enters a
//! call's list of watchers under the call's mutex, where outcomes are stored, and only while it has none; so it sees
//! the outcome or is woken. A seat remembers that it was woken before it slept.
//!
//! # If a thread leaves
//! A leader that unwinds hands over on its way. A panic inside the loop ends the host: every call is refused with
//! [`Refusal::Broken`], workers are killed. A task's `Waker` that panics is reported and otherwise ignored. A queued
//! caller that leaves is taken off the queue, and hands over at once if the lead was given to it meanwhile.
//! In a forked copy of the process nobody leads: every handle answers [`Refusal::ForkedHost`] before it takes a mutex,
//! which a thread that was not copied may hold.

mod call;
mod callbacks;
mod cancels;
mod door;
mod drive;
mod ledger;
mod nests;
mod progress;
mod seat;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use poolctl_engine::{Counts, Stop};
use poolctl_types::{Exit, WorkerId};

pub use self::call::{Call, Need, ResultBytes, Settled};
use self::door::Letter;
use self::drive::{Goal, Shared};
pub use self::progress::Hook;
use crate::block::Block;
use crate::config::PoolConfig;
use crate::insight::Insight;
use crate::report::{ExitResult, GaveUp};
use crate::supervisor::{StartError, Supervisor};

#[cfg(doc)]
use self::door::NAP;

/// A supervisor and the thread that drives it while nobody else does. Dropping it kills the workers and waits for that.
#[derive(Debug)]
pub struct Host {
    handle: Handle,
    driver: Option<JoinHandle<()>>,
}

/// What hands items in to a host and waits for outcomes, from any thread. It does not keep the host alive.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// How much may be in flight: handed in and without an outcome. What comes above waits at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Items, counted when a block comes in: the last block may go beyond.
    pub items: u64,
    /// Their bytes, likewise.
    pub bytes: usize,
    /// Their parcels, likewise: each is a descriptor.
    pub parcels: usize,
}

/// Whether a sender is about to wait for the outcome of what it hands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It calls [`Handle::wait`] next, and so drives the loop itself.
    Wait,
    /// It goes on to other things.
    Leave,
}

/// What the death of a worker means for the items of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeathPolicy {
    /// Nothing: the worker is replaced, and its started item alone is told as died.
    #[default]
    Replace,
    /// The pool ends: what has no outcome is refused, as with `concurrent.futures` (a broken process pool).
    Break,
}

/// What a host says of itself at its end.
#[derive(Debug, Default)]
struct Last {
    insight: Insight,
    exits: Vec<ExitResult>,
}

/// Why a host takes nothing in, or did not run what it had taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// This is a forked copy of the process whose host it is; the workers are not its own.
    #[error("the pool belongs to the process that this one was forked from")]
    ForkedHost,
    /// It was closed or stopped.
    #[error("the pool is closed")]
    Closed,
    /// It has given up: workers cannot be started.
    #[error("the pool has given up")]
    GaveUp(#[source] Arc<GaveUp>),
    /// A worker died, and [`DeathPolicy::Break`] was asked for.
    #[error("the pool is broken: worker {worker} died ({exit})")]
    WorkerDied {
        /// Which.
        worker: WorkerId,
        /// How.
        exit: Exit,
    },
    /// A panic in the loop has ended it.
    #[error("the pool has ended by a panic")]
    Broken,
}

impl Host {
    /// Starts a supervisor and its driver.
    ///
    /// # Errors
    /// [`StartError`], when nothing could run.
    pub fn start(config: PoolConfig, room: Room, policy: DeathPolicy) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(Supervisor::start(config)?, room, policy));
        let driven = Arc::clone(&shared);
        let driver = thread::Builder::new()
            .name("poolctl-driver".to_owned())
            .spawn(move || driven.drive())
            .map_err(StartError::Setup)?;
        Ok(Self { handle: Handle { shared }, driver: Some(driver) })
    }

    /// Shows `hook` how far the host is, from now on: when that has changed, at most every 100 ms, and at its end. It is
    /// called on the thread that runs callbacks. The first hook stays.
    pub fn show_progress(&self, hook: Hook) {
        self.handle.shared.show_progress(hook);
    }

    /// What may be used beside the host, and after it: everything is refused then.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.handle.check_fork().is_err() {
            // There is no such thread here.
            std::mem::forget(self.driver.take());
            return;
        }
        self.handle.shared.hand_in(Letter::Stop(Stop::Kill));
        if self.handle.shared.is_leading() {
            // Dropped by the waker of a task, called by this thread: the loop below us ends the host.
            return;
        }
        if let Some(driver) = self.driver.take()
            && driver.join().is_err()
        {
            tracing::error!("the driver of a pool has panicked");
        }
    }
}

impl Handle {
    /// Hands in the items of `block`, which become the next items of `call`.
    ///
    /// Blocks while there is no room, driving the loop or sleeping.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of `block` was taken in.
    pub fn submit(&self, call: &Arc<Call>, mut block: Block, intent: Intent) -> Result<(), Refusal> {
        self.submit_from(call, &mut block, intent)
    }

    /// As [`Handle::submit`], and leaves the block's memory to the caller where it can: of few items, which are copied.
    /// What is left in it is of no meaning.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of `block` was taken in.
    pub fn submit_from(&self, call: &Arc<Call>, block: &mut Block, intent: Intent) -> Result<(), Refusal> {
        self.check_fork()?;
        if block.is_empty() {
            return Ok(());
        }
        loop {
            if self.shared.try_submit(call, block, intent)? {
                return Ok(());
            }
            self.shared.wait(Goal::Room, None, intent);
        }
    }

    /// Waits until `call` has what is needed, driving the loop or sleeping. Says whether it has; without a limit it
    /// fails to only when the host has ended.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn wait(&self, call: &Call, need: Need, until: Option<Instant>) -> Result<bool, Refusal> {
        self.check_fork()?;
        Ok(self.shared.wait(Goal::Outcome(call, need), until, Intent::Leave))
    }

    /// As [`Handle::wait`] without a limit, by one who is back at once, for more outcomes or with more items: so nobody
    /// else is woken to drive meanwhile. Should it not come back, the driver notices within two milliseconds.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn wait_between(&self, call: &Call, need: Need) -> Result<bool, Refusal> {
        self.check_fork()?;
        Ok(self.shared.wait(Goal::Outcome(call, need), None, Intent::Wait))
    }

    /// Turns the loop once without waiting, by one who is back at once. Workers get what was handed in, and outcomes that
    /// are there are taken.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn turn(&self) -> Result<(), Refusal> {
        self.check_fork()?;
        self.shared.turn_once();
        Ok(())
    }

    /// Asks, once and for all, that what `call` still waits for is not run, or stopped. Its items then end as cancelled, unless they end
    /// otherwise before.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn cancel(&self, call: &Arc<Call>) -> Result<(), Refusal> {
        self.check_fork()?;
        if call.cancel() {
            self.shared.hand_in(Letter::Cancel(Arc::clone(call)));
        }
        Ok(())
    }

    /// Nothing more is handed in with `call`: its callback, if it has one, is due when all of it has its outcome.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn seal(&self, call: &Arc<Call>) -> Result<(), Refusal> {
        self.check_fork()?;
        self.shared.seal(call);
        Ok(())
    }

    /// From now on there are this many workers at most (at least 1); those too many finish what they hold.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn resize(&self, workers: u32) -> Result<(), Refusal> {
        self.check_fork()?;
        self.shared.hand_in(Letter::Resize(workers));
        Ok(())
    }

    /// How the items stood when the loop was last turned.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn counts(&self) -> Result<Counts, Refusal> {
        self.check_fork()?;
        Ok(self.shared.counts())
    }

    /// What the workers spent their time on so far. Waits for the loop to look.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn insight(&self) -> Result<Insight, Refusal> {
        self.check_fork()?;
        Ok(self.shared.ask(Supervisor::insight, |last| last.insight.clone()))
    }

    /// What the exit functions of workers that have ended gave, in the order of their ends.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn exit_results(&self) -> Result<Vec<ExitResult>, Refusal> {
        self.check_fork()?;
        Ok(self.shared.ask(|supervisor| supervisor.exit_results().to_vec(), |last| last.exits.clone()))
    }

    /// The processes of the workers that live.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn pids(&self) -> Result<Vec<(WorkerId, u32)>, Refusal> {
        self.check_fork()?;
        Ok(self.shared.ask(Supervisor::pids, |_| Vec::new()))
    }

    /// Takes nothing in any more; what was taken in goes on.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn close(&self) -> Result<(), Refusal> {
        self.check_fork()?;
        self.shared.hand_in(Letter::Close);
        Ok(())
    }

    /// Takes nothing in any more, and stops what was taken in, this hard.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn stop(&self, stop: Stop) -> Result<(), Refusal> {
        self.check_fork()?;
        self.shared.hand_in(Letter::Stop(stop));
        Ok(())
    }

    /// Waits until the host, having been closed or stopped, has ended and no process of it is left.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`].
    pub fn wait_for_end(&self) -> Result<(), Refusal> {
        self.check_fork()?;
        self.shared.wait(Goal::End, None, Intent::Leave);
        Ok(())
    }

    /// Whether this is the process that has the host.
    ///
    /// # Errors
    /// [`Refusal::ForkedHost`] if not.
    pub fn check_fork(&self) -> Result<(), Refusal> {
        if self.shared.is_at_home() { Ok(()) } else { Err(Refusal::ForkedHost) }
    }
}
