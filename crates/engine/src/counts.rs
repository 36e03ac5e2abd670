//! How many items stand where, for progress, status and exit codes.

use crate::effect::Outcome;
use crate::event::Stop;

/// How many items stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Items read so far.
    pub read: u64,
    /// Settled as ok.
    pub ok: u64,
    /// Settled as failed, timed out, worker died or quarantined.
    pub failed: u64,
    /// Settled as cancelled.
    pub cancelled: u64,
    /// Attempts that were followed by another.
    pub retried: u64,
    /// Items that run now: one for each worker that works, all it holds where it works on all at once.
    pub running: u64,
    /// Items in the hands of workers, running or not.
    pub held: u64,
    /// Items read that no worker has.
    pub queued: u64,
    /// Workers that live.
    pub workers: u32,
    /// Whether the input has ended.
    pub input_ended: bool,
    /// How hard the pool stops, if it does.
    pub stop: Option<Stop>,
}

impl Counts {
    /// Items that have their outcome.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.ok + self.failed + self.cancelled
    }
}

/// How many items were settled as what.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) retried: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, outcome: Outcome, count: u64) {
        match outcome {
            Outcome::Ok => self.ok += count,
            Outcome::Failed | Outcome::TimedOut | Outcome::WorkerDied | Outcome::Quarantined => {
                self.failed += count
            }
            Outcome::Cancelled => self.cancelled += count,
        }
    }

    /// Items that ran to an outcome of their own.
    pub(crate) fn ran(&self) -> u64 {
        self.ok + self.failed
    }
}
