//! An error that happened in a worker, as it crosses to the supervisor.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::excerpt::Excerpt;

/// What a worker says about an item that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteError {
    /// The kind of error: an exception's class, qualified where it is not a builtin.
    #[serde(rename = "type", default = "unnamed")]
    pub type_name: String,
    /// The sentence for a person.
    #[serde(default)]
    pub msg: String,
    /// A traceback, without the worker's own frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Whether another attempt makes sense; the worker may not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
    /// Whatever else the two ends tell each other about it; nobody between them looks at it.
    #[serde(flatten, deserialize_with = "if_any")]
    pub more: Option<Box<Map<String, Value>>>,
}

/// What is there, if anything is.
fn if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<Map<String, Value>>>, D::Error> {
    let more = Map::deserialize(from)?;
    Ok((!more.is_empty()).then(|| Box::new(more)))
}

fn unnamed() -> String {
    "Error".to_owned()
}

/// Why the payload of an error frame says nothing.
#[derive(Debug, thiserror::Error)]
#[error("error reply is not an object with `type` and `msg`: {shown}")]
pub struct RemoteErrorError {
    /// Its beginning.
    pub shown: Excerpt,
    /// What and where.
    pub source: serde_json::Error,
}

impl RemoteError {
    /// Reads the payload of an error frame.
    ///
    /// # Errors
    /// [`RemoteErrorError`] if it is no such JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, RemoteErrorError> {
        serde_json::from_slice(bytes).map_err(|source| RemoteErrorError { shown: Excerpt::of(bytes), source })
    }
}
