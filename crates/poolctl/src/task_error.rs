//! How an item can end other than well.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use poolctl_supervisor::host::Refusal;
use poolctl_supervisor::{
    Exit, GaveUp, Outcome, ParcelError, RemoteError, Report, TaskError as Fault, WorkerId,
};
use poolctl_worker::{DecodeError, EncodeError};

/// How much of what a worker wrote on stderr is kept in an error, in bytes.
const STDERR_TAIL: usize = 4096;

/// What native workers call a panic.
const PANIC: &str = "panic";

/// Why there is no result of an item.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function raised, or the worker answered with an error.
    #[error("{type_name}: {message}")]
    Failed {
        /// The kind of error; for Python the class, qualified where it is not a builtin.
        type_name: String,
        /// What it says.
        message: String,
        /// Where it happened, as the worker's language writes it.
        trace: Option<String>,
        /// Who ran it; none: that is not known.
        worker: Option<WorkerId>,
    },
    /// The task panicked. Its worker goes on.
    #[error("the task panicked: {message}")]
    Panicked {
        /// What it says.
        message: String,
        /// Where it happened, and the backtrace.
        trace: Option<String>,
        /// Who ran it; none: that is not known.
        worker: Option<WorkerId>,
    },
    /// The command ended with a status that is not 0.
    #[error("the command ended with {exit}")]
    CommandFailed {
        /// How it ended.
        exit: Exit,
        /// The last it wrote on stderr.
        stderr: String,
    },
    /// The worker did not answer as it should: it broke the protocol, or could not be started for this item.
    #[error("the worker did not answer as it should")]
    Broken(#[source] Fault),
    /// The worker died while it ran the item.
    #[error("the worker died{}", how(*exit, *out_of_memory))]
    WorkerDied {
        /// Which worker; none: that is not known.
        worker: Option<WorkerId>,
        /// How it ended; none: that is not known.
        exit: Option<Exit>,
        /// The last it wrote on stderr.
        stderr: String,
        /// The kernel killed it because memory ran out.
        out_of_memory: bool,
    },
    /// The worker died, as others had before on this item: it is not tried again.
    #[error("the item is quarantined, {attempts} attempts ended badly: the worker died{}", how(*exit, false))]
    Quarantined {
        /// How often it was tried.
        attempts: u32,
        /// The last worker; none: that is not known.
        worker: Option<WorkerId>,
        /// How the last worker ended; none: that is not known.
        exit: Option<Exit>,
        /// The last it wrote on stderr.
        stderr: String,
    },
    /// It ran longer than it may, and was stopped.
    #[error("the time limit has passed")]
    TimedOut {
        /// How long it ran, where that is known.
        after: Option<Duration>,
        /// Who ran it; none: that is not known.
        worker: Option<WorkerId>,
    },
    /// It was cancelled, or the pool was stopped, before it ended.
    #[error("cancelled")]
    Cancelled,
    /// The item cannot be written as JSON. It was not handed in.
    #[error("the item cannot be written as JSON")]
    BadItem {
        /// Why.
        source: serde_json::Error,
    },
    /// The arguments cannot be encoded: a `Serialize` of theirs refuses. They were not handed in.
    #[error("the arguments cannot be encoded")]
    BadArguments {
        /// Why.
        source: EncodeError,
    },
    /// Large arguments have no room in shared memory. They were not handed in.
    #[error("there is no room for the arguments")]
    NoRoom {
        /// Why.
        source: ParcelError,
    },
    /// Large arguments cannot be written into shared memory. They were not handed in.
    #[error("the arguments cannot be written into shared memory")]
    NotWritten {
        /// Why.
        source: io::Error,
    },
    /// The item of a line filter holds a line end. It was not handed in.
    #[error("the item is more than one line")]
    NotOneLine,
    /// The item is longer than [`Pool::MAX_ITEM_BYTES`](crate::Pool::MAX_ITEM_BYTES). It was not handed in.
    #[error(
        "the item has {len} bytes, more than {most}; what is larger travels in a Vec<u8> or another Vec of plain \
             numbers, or in a SharedMemory"
    )]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        most: usize,
    },
    /// The result is not what was asked for.
    #[error("the result is of another type")]
    BadResult {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The result is not what the task gives: its worker was built from another version of the task.
    #[error("the result cannot be decoded")]
    BadOutput {
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The result was too large for memory and cannot be read back from its file.
    #[error("the result cannot be read back")]
    LostResult {
        /// Why.
        source: io::Error,
    },
    /// A task in a task in a task … was to be run in one worker.
    #[error("nested calls are run at most {most} deep in one worker")]
    NestedTooDeep {
        /// The limit.
        most: u32,
    },
    /// The pool was closed before.
    #[error("the pool is closed")]
    PoolClosed,
    /// A worker died, and the pool was to end then ([`DeathPolicy::Break`](crate::DeathPolicy::Break)).
    #[error("the pool is broken: worker {worker} died ({exit})")]
    BrokenByDeath {
        /// Which.
        worker: WorkerId,
        /// How it ended.
        exit: Exit,
    },
    /// Workers cannot be started.
    #[error("the pool has given up")]
    PoolGaveUp(#[source] Arc<GaveUp>),
    /// A pool without workers does nothing.
    #[error("a pool needs at least one worker")]
    NoWorkers,
    /// A bug in this library has ended the pool.
    #[error("the pool has ended by a panic")]
    PoolBroken,
    /// The pool belongs to the process that this one was forked from.
    #[error("the pool belongs to the process that this one was forked from")]
    ForkedHost,
}

/// The first item of a map, in the order of items, that has no result.
#[derive(Debug, thiserror::Error)]
#[error("item {item} has no result")]
pub struct MapError {
    /// Its place among the items, from 0 on.
    pub item: u64,
    /// Why.
    pub source: TaskError,
}

impl From<TaskError> for MapError {
    /// An error that keeps all items from their results, and so the first.
    fn from(source: TaskError) -> Self {
        Self { item: 0, source }
    }
}

impl From<Refusal> for TaskError {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::Closed => TaskError::PoolClosed,
            Refusal::GaveUp(reason) => TaskError::PoolGaveUp(reason),
            Refusal::ForkedHost => TaskError::ForkedHost,
            Refusal::WorkerDied { worker, exit } => TaskError::BrokenByDeath { worker, exit },
            _ => TaskError::PoolBroken,
        }
    }
}

impl TaskError {
    /// What the report of an item that is not ok says.
    pub(crate) fn of(report: Report) -> Self {
        let attempt = report.attempt;
        let stderr = String::from_utf8_lossy(attempt.stderr.tail(STDERR_TAIL)).into_owned();
        let (exit, worker) = (attempt.exit, attempt.worker);
        match (report.outcome, attempt.error) {
            (Outcome::TimedOut, _) => TaskError::TimedOut { after: attempt.wall, worker },
            (Outcome::Cancelled, _) => TaskError::Cancelled,
            (Outcome::Quarantined, _) => {
                TaskError::Quarantined { attempts: report.attempts, worker, exit, stderr }
            }
            (Outcome::Failed, Some(Fault::Remote(error))) => TaskError::remote(error, worker),
            (_, Some(fault)) => TaskError::Broken(fault),
            (outcome, None) => match exit {
                Some(exit) if outcome == Outcome::Failed => TaskError::CommandFailed { exit, stderr },
                _ => TaskError::WorkerDied { worker, exit, stderr, out_of_memory: attempt.out_of_memory },
            },
        }
    }

    /// What a worker says of an item.
    pub(crate) fn remote(error: RemoteError, worker: Option<WorkerId>) -> Self {
        let RemoteError { type_name, msg: message, trace, .. } = error;
        if type_name == PANIC {
            return TaskError::Panicked { message, trace, worker };
        }
        TaskError::Failed { type_name, message, trace, worker }
    }
}

/// The end of a sentence on a death.
fn how(exit: Option<Exit>, out_of_memory: bool) -> String {
    let exit = exit.map_or_else(String::new, |exit| format!(" ({exit})"));
    if out_of_memory { format!("{exit}, memory ran out") } else { exit }
}
