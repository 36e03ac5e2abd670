//! Everything an engine can ask of the supervisor.

use poolctl_types::{Item, ItemRange, WorkerId};

/// Everything an engine can ask for. Effects are carried out in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start a warm worker; tell `Spawned` or `SpawnFailed`, then `Ready`.
    Spawn(WorkerId),
    /// Start a process for this item; tell `Spawned` or `SpawnFailed`.
    Run { worker: WorkerId, item: Item, attempt: u32 },
    /// Send these items to this worker. A range of more than one item is always a first attempt.
    Dispatch { worker: WorkerId, items: ItemRange, attempt: u32 },
    /// Read the worker's claim and tell `Claimed`.
    Probe(WorkerId),
    /// Tell the worker that this item is not wanted any more.
    Cancel { worker: WorkerId, item: Item },
    /// Tell the worker that no more items come (end of file); it shall end.
    CloseInput(WorkerId),
    /// Ask the worker's process group to end.
    Terminate(WorkerId),
    /// Kill the worker's process group.
    Kill(WorkerId),
    /// These items have their outcome: exactly once each.
    Settle { items: ItemRange, outcome: Outcome, attempts: u32 },
    /// An attempt ended as `why` and was not the last: number `attempt` follows. The output of the one that ended
    /// is dropped.
    Retry { item: Item, attempt: u32, why: Outcome },
    /// Nothing is left to settle for this life: the process may be reaped.
    Reap(WorkerId),
    /// `--halt` ends the run (told once).
    Halted,
    /// The pool cannot start workers and gives up (told once): everything unsettled is settled as cancelled.
    GaveUp(GiveUp),
}

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer is a result.
    Ok,
    /// Its answer is an error, or its worker broke the protocol.
    Failed,
    /// It ran longer than it may and was stopped.
    TimedOut,
    /// It was not run, or was stopped, because nobody wants it any more.
    Cancelled,
    /// Its worker died while it ran.
    WorkerDied,
    /// As `WorkerDied`, and it has taken `max_crashes` workers with it: it is not tried again.
    Quarantined,
}

/// Why a pool gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// The executable cannot be started, and trying again cannot help.
    CannotStart,
    /// So many starts in a row, pool-wide, came to nothing: without one hello; or, many more, with a hello, but
    /// without one answer and without one item begun.
    TooManyStarts(u32),
}
