//! The bye: a worker wants no more work, or says why it cannot start.

use serde::Deserialize;

use crate::excerpt::Excerpt;
use crate::remote_error::RemoteError;

/// A worker's farewell.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bye {
    /// `recycle`, `cannot start`, or any other word.
    #[serde(rename = "bye")]
    pub reason: String,
    /// With what status poolctl shall end because of it: 126 or 127.
    #[serde(default)]
    pub code: Option<u8>,
    /// Why it cannot start.
    #[serde(default, rename = "err")]
    pub error: Option<RemoteError>,
}

/// Why a bye is none.
#[derive(Debug, thiserror::Error)]
#[error("bye is not an object like {{\"bye\":\"recycle\"}}: {shown}")]
pub struct ByeError {
    /// Its beginning.
    pub shown: Excerpt,
    /// What and where.
    pub source: serde_json::Error,
}

impl Bye {
    /// The reason of a worker that cannot start; another start would end the same way.
    pub const CANNOT_START: &'static str = "cannot start";

    /// Reads the payload of a bye frame.
    ///
    /// # Errors
    /// [`ByeError`] if it is no such JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, ByeError> {
        serde_json::from_slice(bytes).map_err(|source| ByeError { shown: Excerpt::of(bytes), source })
    }

    /// Whether the worker says that it cannot start at all.
    #[must_use]
    pub fn cannot_start(&self) -> bool {
        self.reason == Self::CANNOT_START
    }
}
