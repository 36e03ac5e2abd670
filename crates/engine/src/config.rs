//! What a pool is told when it opens.

use std::time::Duration;

/// The rules one engine follows. Nothing here changes while it runs, but for the number of slots.
#[derive(Debug, Clone)]
pub struct Config {
    /// Places for workers; at least 1.
    pub slots: u32,
    /// Whether a worker lives for many items or for one.
    pub lifecycle: Lifecycle,
    /// This many warm workers are there though there is nothing for them to do.
    pub keep: u32,
    /// Most items from the oldest unfinished to the newest dispatched; at least 1.
    pub window: u64,
    /// Further attempts after one that failed, timed out or died.
    pub retries: u32,
    /// The wait before a further attempt.
    pub retry_delay: Duration,
    /// An item that took this many workers with it is quarantined, whatever `retries` says; at least 1.
    pub max_crashes: u32,
    /// How long one item may run.
    pub timeout: Timeout,
    /// From a polite request to end (cancel, TERM) to the next, harder one.
    pub grace: Duration,
    /// How long a new worker may take until its hello.
    pub start_timeout: Duration,
    /// A worker is replaced after this many items.
    pub max_tasks: Option<u64>,
    /// A worker that has had nothing to do for this long is let go; none: it is kept.
    pub idle_timeout: Option<Duration>,
    /// When failures end the run.
    pub halt: Option<Halt>,
    /// At least this long between two starts of items (`--delay`); zero for none.
    pub delay: Duration,
}

/// Whether a worker lives for many items or for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Started, says hello, is handed items until it is let go.
    Warm,
    /// One process per item (commands).
    PerItem,
}

/// How long one item may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// As long as it likes.
    Never,
    /// This long.
    After(Duration),
    /// So many percent of the median running time; applies from the tenth finished item on.
    MedianPercent(u32),
}

/// When failures end the run, as GNU parallel's `--halt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halt {
    /// What happens to the items that run.
    pub how: HaltHow,
    /// How many failures are too many.
    pub at: HaltAt,
}

/// What happens to running items when a run is halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltHow {
    /// They are stopped (TERM, grace, KILL).
    Now,
    /// They finish; no new one starts.
    Soon,
}

/// How many failures are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltAt {
    /// This many failed items; at least 1.
    Failures(u64),
    /// This share of the finished items, in percent, judged from the tenth on or at the end of the input.
    Percent(u32),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots: 1,
            lifecycle: Lifecycle::Warm,
            keep: 0,
            window: 65_536,
            retries: 0,
            retry_delay: Duration::ZERO,
            max_crashes: 3,
            timeout: Timeout::Never,
            grace: Duration::from_secs(2),
            start_timeout: Duration::from_secs(30),
            max_tasks: None,
            idle_timeout: None,
            halt: None,
            delay: Duration::ZERO,
        }
    }
}
