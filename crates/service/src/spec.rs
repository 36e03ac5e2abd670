//! What a pool is to be, as a client asks for it and as `poold.toml` describes it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a pool is to be. The same words stand in an open request (JSON) and in a configuration (TOML).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// What it runs.
    pub target: TargetSpec,
    /// How many workers at most; none: as many as there are CPUs for this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroU32>,
    /// Whether all workers are started at once, and kept.
    #[serde(default)]
    pub prestart: bool,
    /// Further attempts after one that failed, timed out or died.
    #[serde(default)]
    pub retries: u32,
    /// The wait before a further attempt.
    #[serde(default)]
    pub retry_delay_ms: u64,
    /// An item that took this many workers with it is given up.
    #[serde(default = "three")]
    pub max_crashes: NonZeroU32,
    /// How long an item may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// A worker is replaced after so many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tasks: Option<u64>,
    /// A worker is replaced when it takes more memory than this, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rss: Option<u64>,
    /// A worker that had nothing to do for so long is let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u64>,
    /// How long a worker may take until its hello.
    #[serde(default = "half_a_minute")]
    pub start_timeout_ms: u64,
    /// From a polite request to end to the next, harder one.
    #[serde(default = "two_seconds")]
    pub grace_ms: u64,
    /// What the death of a worker means for the others' items.
    #[serde(default)]
    pub on_worker_death: OnWorkerDeath,
    /// Variables for the workers, added to the server's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The directory in which workers run; none: the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// What to add to the workers' niceness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
}

/// What a pool runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum TargetSpec {
    /// A Python function; items and results are JSON.
    Python {
        /// A dotted module, or a path that ends in `.py`.
        module: String,
        /// The function in it, possibly dotted.
        function: String,
        /// The interpreter; none: `python3` on PATH.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interpreter: Option<String>,
        /// Whether an item that is an array is spread over the parameters.
        #[serde(default)]
        starmap: bool,
    },
    /// Python, with callables that come with the items.
    Objects {
        /// The interpreter; none: `python3` on PATH.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interpreter: Option<String>,
        /// The key of a constant that each worker gets before its hello.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        setup: Option<String>,
    },
    /// A function of a program built with poolctl; items and results are JSON.
    Native {
        /// The function.
        function: String,
        /// The program and its arguments; empty: the stock worker.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        argv: Vec<String>,
    },
    /// A program that speaks the worker protocol; items and results are JSON.
    Worker {
        /// The program and its arguments.
        argv: Vec<String>,
        /// In which form it speaks.
        #[serde(default)]
        framing: FramingSpec,
        /// Which of its functions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        function: Option<String>,
    },
    /// A program that answers each line with one line.
    Lines {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Most lines outstanding per worker.
        #[serde(default = "one")]
        ahead: NonZeroU32,
        /// How long a line may stay unanswered.
        #[serde(default = "ten_seconds")]
        reply_timeout_ms: u64,
    },
    /// One process per item.
    Command {
        /// The program and its arguments; `{}` stands for the item, which else comes at the end.
        argv: Vec<String>,
    },
}

impl TargetSpec {
    /// How many items a worker takes at once.
    pub(crate) fn most_held(&self) -> u64 {
        match self {
            Self::Lines { ahead, .. } => ahead.get().into(),
            Self::Command { .. } => 1,
            _ => u64::MAX,
        }
    }
}

/// In which form a worker speaks its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FramingSpec {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// Binary frames on a socket.
    Frame,
    /// Tab-separated, for shells.
    Tsv,
}

/// What the death of a worker means for the items of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnWorkerDeath {
    /// Nothing: the worker is replaced.
    #[default]
    Replace,
    /// The pool ends.
    Break,
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn three() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(2)
}

fn two_seconds() -> u64 {
    2_000
}

fn ten_seconds() -> u64 {
    10_000
}

fn half_a_minute() -> u64 {
    30_000
}
