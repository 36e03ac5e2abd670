//! What the two ends of the client protocol tell each other in JSON: hellos, the meta of frames, replies.
//!
//! Unknown keys are refused in requests, where they would be silently without effect, and ignored in replies.

use serde::{Deserialize, Serialize};

use crate::excerpt::Excerpt;

/// The version of the client protocol that this crate speaks.
pub const CLIENT_PROTOCOL_VERSION: u64 = 1;

/// The id of frames that belong to no request.
pub const NO_REQUEST: u64 = u64::MAX;

/// The first frame of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// The version it speaks.
    pub poolctl: u64,
    /// Who it is, for logs.
    #[serde(default)]
    pub client: String,
    /// What it can do: `shm` if it takes descriptors, over a stream that passes them. One that does not say takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
}

/// The first frame of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHello {
    /// The version it speaks.
    pub poolctl: u64,
    /// What it is.
    pub server: String,
    /// `shm` where descriptors can be passed.
    #[serde(default)]
    pub caps: Vec<String>,
    /// What it does not go beyond.
    pub limits: Limits,
    /// The pools that can be attached to.
    #[serde(default)]
    pub pools: Vec<String>,
}

/// What a server does not go beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of meta and payload of a frame.
    pub body: usize,
}

/// Meta of submit, batch and map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskMeta {
    /// Where.
    pub pool: u64,
    /// Of a batch: how many tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// The constant they need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of a map: results come as they are there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unordered: bool,
}

/// Meta of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemsMeta {
    /// How many.
    pub n: u32,
}

/// Meta of define and release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyMeta {
    /// The client's name for the constant.
    pub key: String,
}

/// Meta of cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelMeta {
    /// The first task, or a map.
    pub task: u64,
    /// How many tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Only those that do not run.
    #[serde(default)]
    pub queued: bool,
}

/// Meta of requests about a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolMeta {
    /// Which; none: all, or the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<u64>,
    /// Of scale: how many workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// Of stats: `idle` has the reply wait until the pool has nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// When a reply is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// When nothing is queued and nothing runs.
    Idle,
}

/// Meta of requests about locks and objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameMeta {
    /// Which.
    pub name: String,
    /// Of lock: how long the client waits; none: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Of object: its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Payload of attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// Which.
    pub name: String,
}

/// Reply to open and attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The pool's number.
    pub pool: u64,
    /// How many workers it has at most.
    pub workers: u32,
    /// What it runs: the `kind` of its target.
    pub kind: String,
}

/// Payload of credit: totals since the pool was opened or attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Credit {
    /// Items.
    pub items: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Meta of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultMeta {
    /// Of a map's item: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Of a batch: how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// How it ended; none: it is ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeName>,
    /// How many attempts it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Who ran it, `slot.generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// That worker's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// With what code its process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// Which signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How long it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// It was killed for memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom: bool,
}

/// How a task ended that is not ok.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutcomeName {
    /// Its function raised, its command failed, or its worker broke the protocol.
    #[serde(rename = "failed")]
    Failed,
    /// It ran too long and was stopped.
    #[serde(rename = "timed out")]
    TimedOut,
    /// Nobody wanted it any more.
    #[serde(rename = "cancelled")]
    Cancelled,
    /// Its worker died.
    #[serde(rename = "died")]
    Died,
    /// It took so many workers with it that it was given up.
    #[serde(rename = "quarantined")]
    Quarantined,
    /// It was never run: the pool is closed, broken or has given up.
    #[serde(rename = "refused")]
    Refused,
}

/// Payload of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Of what kind it is.
    pub code: ErrorCode,
    /// The sentence for a person.
    pub msg: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Of what kind an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorCode {
    /// Bytes that are no frame, or a frame out of place; the connection ends.
    #[serde(rename = "bad frame")]
    BadFrame,
    /// A request that cannot be understood.
    #[serde(rename = "bad argument")]
    BadArgument,
    /// No pool of that number or name.
    #[serde(rename = "no such pool")]
    NoSuchPool,
    /// No task, map or lock of that number or name.
    #[serde(rename = "no such task")]
    NoSuchTask,
    /// More than there is credit, room or time for.
    #[serde(rename = "over limit")]
    OverLimit,
    /// Not for this client.
    #[serde(rename = "not permitted")]
    NotPermitted,
    /// The pool takes no more.
    #[serde(rename = "closed")]
    Closed,
    /// The pool's program cannot be started.
    #[serde(rename = "cannot start")]
    CannotStart,
}

/// Why JSON is not what belongs there.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be understood: {source}: {shown}")]
pub struct JsonError {
    /// What it should have been.
    pub what: &'static str,
    /// Its beginning.
    pub shown: Excerpt,
    /// What and where.
    pub source: serde_json::Error,
}

/// Reads JSON that stands for `what`. Nothing stands for an empty object.
///
/// # Errors
/// [`JsonError`].
pub fn parse_json<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &'static str) -> Result<T, JsonError> {
    let text = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(text).map_err(|source| JsonError { what, shown: Excerpt::of(bytes), source })
}

/// Writes JSON.
#[must_use]
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_an_unknown_key_is_refused_and_a_reply_is_not() {
        let request = parse_json::<TaskMeta>(br#"{"pool":1,"kee":"k"}"#, "the meta of a task");
        let reply = parse_json::<Credit>(br#"{"items":1,"bytes":2,"more":3}"#, "credit");

        assert!(request.is_err_and(|error| error.to_string().contains("kee")));
        assert_eq!(reply.expect("a reply"), Credit { items: 1, bytes: 2 });
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let meta = ResultMeta { outcome: Some(OutcomeName::TimedOut), ..ResultMeta::default() };

        assert_eq!(to_json(&meta), br#"{"outcome":"timed out"}"#);
        assert_eq!(to_json(&ResultMeta::default()), b"{}");
    }
}
