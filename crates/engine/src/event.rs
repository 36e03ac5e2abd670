//! Everything that can happen to a pool, as the supervisor tells the engine.

use std::num::NonZeroU32;

use poolctl_types::{Item, ItemRange, Moment, WorkerId};

/// Everything that can happen. News about an earlier life of a slot is ignored, whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// `count` further items were read; their indices follow those of the items before.
    Items(u64),
    /// The input has nothing more ready just now: chunks that are not full may be sent.
    InputIdle,
    /// No item follows.
    EndOfInput,
    /// The room for finished output that waits for an earlier result is full, or has room again.
    Gate(Gate),
    /// The process runs (per item: its item has started).
    Spawned(WorkerId),
    /// The process could not be made.
    SpawnFailed { worker: WorkerId, lasting: Lasting },
    /// The worker's hello came.
    Ready(WorkerId, Capacity),
    /// The oldest `count` items this worker holds are ok, in the order they were dispatched.
    Finished { worker: WorkerId, count: u32 },
    /// One item this worker holds has its answer.
    Answered { worker: WorkerId, item: Item, answer: Answer },
    /// Reply to [`crate::Effect::Probe`]: what the worker's claim says. `None`: it runs nothing just now.
    Claimed { worker: WorkerId, claim: Option<Claim> },
    /// The worker asks for no more work, or takes too much memory: drain and replace it.
    Retire(WorkerId),
    /// The item in the worker's hands waits for items that it submitted itself: the worker gives back the `returned`
    /// items behind it, of which it has begun none, and gets no others until it goes on. May be told again for items
    /// that reach it meanwhile.
    Waits { worker: WorkerId, returned: u32 },
    /// It goes on.
    GoesOn(WorkerId),
    /// The worker broke the protocol: nothing more is believed of it, it is killed, and its started item fails.
    Fault { worker: WorkerId, item: Option<Item> },
    /// The process is dead and everything it had published was told before.
    Exited { worker: WorkerId, end: End },
    /// An item is not wanted any more.
    CancelItem(Item),
    /// Of these items, those that no worker has are not wanted any more.
    CancelQueued(ItemRange),
    /// The pool shall stop, this hard. A softer stop after a harder one changes nothing.
    Stop(Stop),
    /// The pool shall have this many slots (at least 1); surplus workers drain.
    Resize(u32),
    /// Clocks stand still (the host was stopped) or go on.
    Pause,
    /// Clocks go on: every deadline moves by the time since `Pause`.
    Resume,
    /// A deadline may have passed.
    Tick,
}

/// Whether new items may be dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// They may.
    Open,
    /// They may not; retries may.
    Closed,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// It can (EAGAIN, ENOMEM, EMFILE): tried again after a back-off.
    No,
    /// It cannot (not found, not executable): the pool gives up. Per item: that item fails.
    Yes,
}

/// What a worker said in its hello it can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Most items it may hold unanswered; `None`: no limit but the engine's own chunks.
    pub ahead: Option<NonZeroU32>,
    /// What is known of the items it held, when it dies.
    pub accounting: Accounting,
    /// Whether a cancel message is understood.
    pub cancel: bool,
}

/// What is known, when a worker dies, of the items it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// Its claim says which one it had started ([`End::claimed`]); the others were not begun.
    Claim,
    /// It answers in order, each item before the next begins: the oldest was started, the others were not.
    InOrder,
    /// It works on all at once: every one was started.
    Mux,
    /// Nothing: any may have been started. They are run again one by one, and only one that takes a worker
    /// with it on its own is held against the item.
    Unknown,
}

/// An item's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is ok.
    Ok,
    /// It failed; another attempt may help.
    Failed,
    /// It failed, and the worker says that another attempt would not help.
    FailedForGood,
}

/// What a worker's claim says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The item it works on.
    pub item: Item,
    /// When it began (already clamped to the past).
    pub since: Moment,
}

/// How a life ended, as far as the engine cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// With [`Accounting::Claim`]: the item it had started and not finished.
    pub claimed: Option<Item>,
    /// What ended it.
    pub cause: EndCause,
}

/// What ended a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The process ended, by itself or by a signal. Fine where nothing was held or asked of it.
    Ended,
    /// As `Ended`, and what it held lies unread in its link: it had begun none of it.
    Unread,
    /// The kernel killed it for memory: its started item is not tried again.
    OutOfMemory,
    /// It never ran: the keeper dropped the request, or died before it.
    NeverRan,
}

/// How hard a pool stops. Each is harder than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// No new items; running ones finish.
    Drain,
    /// Running ones get TERM, after the grace KILL.
    Term,
    /// Running ones get KILL.
    Kill,
}
