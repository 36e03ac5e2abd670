//! The hello: a worker's first message, which says that it is ready and what it can do.

use serde::Deserialize;

use crate::excerpt::Excerpt;

/// The version of the worker protocol that this crate speaks.
pub const PROTOCOL_VERSION: u64 = 1;

/// A worker's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version the worker speaks; the supervisor compares it with [`PROTOCOL_VERSION`].
    pub version: u64,
    /// What it can do.
    pub caps: Caps,
    /// The functions it offers by name; empty if it has but one.
    pub functions: Vec<String>,
    /// The interpreter that runs it, where the program that was started only found it (a version manager's shim):
    /// later starts may take the short way. Only in frames.
    pub executable: Option<String>,
    /// It is a native worker, and this is the layout of shared memory that it knows.
    pub native: Option<u32>,
    /// What each of `functions` takes and gives, in the same order; empty if it does not say.
    pub signatures: Vec<String>,
    /// A line about each of `functions`, in the same order; empty if it does not say.
    pub docs: Vec<String>,
}

/// What a worker can do beyond one item at a time. Names this version does not know are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// It understands cancel messages.
    pub cancel: bool,
    /// So many items at once, answered in any order.
    pub mux: Option<u32>,
    /// So many items sent ahead, answered in order.
    pub ahead: Option<u32>,
    /// It can map payloads that come as memfds.
    pub shm: bool,
    /// It publishes what it has started and finished in the memfd of `claim.rs`.
    pub claim: bool,
    /// It takes batches.
    pub batch: bool,
    /// It takes definitions.
    pub define: bool,
    /// Items and results are bytes of any kind, and not JSON.
    pub raw: bool,
}

/// Why a hello is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// Not JSON, or not of the shape of a hello.
    #[error("hello is not an object like {{\"poolctl\":1}}: {shown}")]
    Malformed {
        /// Its beginning.
        shown: Excerpt,
        /// What and where.
        source: serde_json::Error,
    },
    /// `mux:N` or `ahead:N` without an N from 1 on.
    #[error("capability {shown} needs a count from 1 on, as in `ahead:64`")]
    BadCount {
        /// The capability.
        shown: Excerpt,
    },
}

#[derive(Deserialize)]
struct Wire {
    poolctl: u64,
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    executable: Option<String>,
    #[serde(default)]
    native: Option<u32>,
    #[serde(default)]
    signatures: Vec<String>,
    #[serde(default)]
    docs: Vec<String>,
}

impl Hello {
    /// Reads the payload of a hello frame.
    ///
    /// # Errors
    /// [`HelloError`]. Another version than ours is no error here.
    pub fn parse(bytes: &[u8]) -> Result<Self, HelloError> {
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|source| HelloError::Malformed { shown: Excerpt::of(bytes), source })?;
        let Wire { poolctl, caps, functions, executable, native, signatures, docs } = wire;
        let hello = Self::from_parts(poolctl, &caps, functions)?;
        Ok(Self { executable, native, signatures, docs, ..hello })
    }

    /// A hello from its fields as they stand in JSON.
    pub(crate) fn from_parts(
        version: u64,
        caps: &[String],
        functions: Vec<String>,
    ) -> Result<Self, HelloError> {
        let caps = Caps::from_names(caps)?;
        let (signatures, docs) = (Vec::new(), Vec::new());
        Ok(Self { version, caps, functions, executable: None, native: None, signatures, docs })
    }
}

impl Caps {
    fn from_names(names: &[String]) -> Result<Self, HelloError> {
        let mut caps = Self::default();
        for name in names {
            match name.split_once(':').map_or((name.as_str(), None), |(name, count)| (name, Some(count))) {
                ("cancel", None) => caps.cancel = true,
                ("shm", None) => caps.shm = true,
                ("claim", None) => caps.claim = true,
                ("batch", None) => caps.batch = true,
                ("define", None) => caps.define = true,
                ("raw", None) => caps.raw = true,
                ("mux", count) => caps.mux = Some(parse_count(name, count)?),
                ("ahead", count) => caps.ahead = Some(parse_count(name, count)?),
                _ => {}
            }
        }
        Ok(caps)
    }
}

fn parse_count(name: &str, count: Option<&str>) -> Result<u32, HelloError> {
    let count = count.and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    count.ok_or_else(|| HelloError::BadCount { shown: Excerpt::of(name.as_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_and_unknown_ones_ignored() {
        let bytes =
            br#"{"poolctl":1,"caps":["cancel","mux:8","ahead:64","shm","tea:2"],"functions":["resize"]}"#;

        let hello = Hello::parse(bytes).expect("a hello");

        let caps = Caps { cancel: true, mux: Some(8), ahead: Some(64), shm: true, ..Caps::default() };
        let expected = Hello {
            version: 1,
            caps,
            functions: vec!["resize".to_owned()],
            executable: None,
            native: None,
            signatures: Vec::new(),
            docs: Vec::new(),
        };
        assert_eq!(hello, expected);
    }

    #[test]
    fn what_a_worker_says_of_its_functions_is_the_same_in_a_frame_and_in_a_line() {
        let bytes = br#"{"poolctl":1,"functions":["f"],"signatures":["fn(i64) -> i64"],"docs":["Does."]}"#;

        let framed = Hello::parse(bytes).expect("a hello");

        assert_eq!((&*framed.signatures[0], &*framed.docs[0]), ("fn(i64) -> i64", "Does."));
        assert!(matches!(crate::jsonl::parse_reply(bytes), Ok(crate::Reply::Hello(told)) if told == framed));
    }

    #[test]
    fn a_capability_without_its_count_is_refused() {
        for name in ["mux", "mux:0", "ahead:-1", "ahead:many", "ahead:99999999999"] {
            let bytes = format!(r#"{{"poolctl":1,"caps":["{name}"]}}"#);

            let error = Hello::parse(bytes.as_bytes()).expect_err(name);

            assert_eq!(
                error.to_string(),
                format!("capability `{name}` needs a count from 1 on, as in `ahead:64`")
            );
        }
    }
}
