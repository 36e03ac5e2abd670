//! The JSON between a frame's header and its payload, for the frames that a worker sends.

use serde::Deserialize;

use crate::excerpt::Excerpt;

/// Meta of an ok or err frame: `{"ns":1234}` or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct ReplyMeta {
    /// How long the item took, in nanoseconds; there with `POOLCTL_TIMING=1`.
    #[serde(default)]
    pub ns: Option<u64>,
}

/// Meta of a log frame: `{"stream":"stdout"}`, `{"level":"warn"}` or nothing. The payload is the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct LogMeta {
    /// The payload is what the item wrote to this stream.
    #[serde(default)]
    pub stream: Option<Stream>,
    /// How grave it is.
    #[serde(default)]
    pub level: Level,
}

/// Meta of a progress frame: `{"progress":0.4,"note":"…"}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ProgressMeta {
    /// From 0 to 1.
    pub progress: f64,
    /// A word about it.
    #[serde(default)]
    pub note: Option<String>,
}

/// One of the two streams a program writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// How grave a log line is. A word that is none of these counts as `info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize)]
#[serde(from = "String")]
pub enum Level {
    /// For who debugs the worker.
    Debug,
    /// Worth a line.
    #[default]
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

impl From<String> for Level {
    fn from(word: String) -> Self {
        Self::from_word(&word)
    }
}

impl Level {
    /// The level with this name.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "trace" | "debug" => Level::Debug,
            "warn" | "warning" => Level::Warn,
            "error" | "fatal" | "critical" => Level::Error,
            _ => Level::Info,
        }
    }
}

/// Why the meta of a frame says nothing.
#[derive(Debug, thiserror::Error)]
#[error("meta of a frame is not the JSON object it should be: {shown}")]
pub struct MetaError {
    /// Its beginning.
    pub shown: Excerpt,
    /// What and where.
    pub source: serde_json::Error,
}

impl ReplyMeta {
    /// Reads the meta of an ok or err frame.
    ///
    /// # Errors
    /// [`MetaError`] if it is neither empty nor an object.
    pub fn parse(meta: &[u8]) -> Result<Self, MetaError> {
        parse_or_default(meta)
    }
}

impl LogMeta {
    /// Reads the meta of a log frame.
    ///
    /// # Errors
    /// [`MetaError`] if it is neither empty nor an object.
    pub fn parse(meta: &[u8]) -> Result<Self, MetaError> {
        parse_or_default(meta)
    }
}

impl ProgressMeta {
    /// Reads the meta of a progress frame.
    ///
    /// # Errors
    /// [`MetaError`] if it is no object with `progress`.
    pub fn parse(meta: &[u8]) -> Result<Self, MetaError> {
        parse(meta)
    }
}

fn parse_or_default<'a, T: Deserialize<'a> + Default>(meta: &'a [u8]) -> Result<T, MetaError> {
    if meta.is_empty() { Ok(T::default()) } else { parse(meta) }
}

fn parse<'a, T: Deserialize<'a>>(meta: &'a [u8]) -> Result<T, MetaError> {
    serde_json::from_slice(meta).map_err(|source| MetaError { shown: Excerpt::of(meta), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_may_be_empty_or_say_more_than_is_known() {
        assert_eq!(ReplyMeta::parse(b"").expect("empty"), ReplyMeta { ns: None });
        assert_eq!(ReplyMeta::parse(br#"{"ns":17,"x":[1]}"#).expect("more"), ReplyMeta { ns: Some(17) });
        let log = LogMeta::parse(br#"{"stream":"stderr","level":"critical"}"#).expect("a log");
        assert_eq!(log, LogMeta { stream: Some(Stream::Stderr), level: Level::Error });
    }

    #[test]
    fn meta_that_is_no_object_is_refused() {
        assert!(ReplyMeta::parse(b"17").is_err());
        assert!(ReplyMeta::parse(br#"{"ns":-1}"#).is_err());
        assert!(LogMeta::parse(br#"{"stream":"stdnull"}"#).is_err());
        assert!(ProgressMeta::parse(b"{}").is_err());
    }
}
