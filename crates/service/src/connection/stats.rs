//! How pools stand, as a service tells it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How pools stand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Each of them.
    pub pools: Vec<PoolStats>,
}

/// How a pool stands. What a service does not tell is 0, empty or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolStats {
    /// Its number.
    pub pool: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What kind of target it runs, as in a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it runs, in short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `open`, `draining`, `broken` or `gave up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why it is broken, or has given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What the workers said that could not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// How many workers it has at most.
    pub workers: u32,
    /// How many clients are attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks that run.
    pub running: u64,
    /// Tasks that ended so.
    pub ok: u64,
    /// Tasks that ended so.
    pub failed: u64,
    /// Tasks that ended so.
    pub timed_out: u64,
    /// Tasks that ended so.
    pub died: u64,
    /// Tasks that ended so.
    pub quarantined: u64,
    /// Tasks that ended so.
    pub cancelled: u64,
    /// How many workers were started in place of another.
    pub restarts: u64,
    /// The workers that live.
    pub alive: Vec<Alive>,
    /// What they are at.
    pub now: Vec<Running>,
    /// The last worker that died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_death: Option<LastDeath>,
    /// Further figures.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub insight: Value,
}

/// A worker that lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alive {
    /// Which, `slot.generation`.
    pub worker: String,
    /// Its process.
    pub pid: Option<u32>,
}

/// A task that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    /// Its number, which is its client's.
    pub task: Option<u64>,
    /// Of a map's item: which.
    pub index: Option<u64>,
    /// Who is at it.
    pub worker: String,
    /// That worker's process.
    pub pid: Option<u32>,
    /// For how long, once it has begun.
    pub ms: Option<u64>,
}

/// How a worker died.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastDeath {
    /// Which.
    pub worker: String,
    /// With this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// By this signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// For memory.
    pub oom: bool,
    /// The last that it wrote on stderr.
    pub stderr: String,
    /// How long ago.
    pub ms: u64,
}

impl PoolStats {
    /// How many tasks did not end well.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.failed + self.timed_out + self.died + self.quarantined
    }
}
