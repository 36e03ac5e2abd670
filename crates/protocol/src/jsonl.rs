//! JSON lines: one object a line, both ways. Values pass as text and are never decoded.
//!
//! Requests have a fixed key order and no spaces, so that a shell can take them apart. Replies are read strictly in
//! the envelope (no key twice, exactly one message) and not at all in the value, whatever its depth or its numbers.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::str::Utf8Error;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::bye::Bye;
use crate::excerpt::Excerpt;
use crate::hello::{Hello, HelloError};
use crate::meta::Level;
use crate::remote_error::RemoteError;
use crate::value::write_string;

/// Stands before each reply line of a worker that answers on its stdout.
pub const STDIO_MARK: u8 = 0x1E;

/// One request for a worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Task<'a> {
    /// Below 2^53, so that every language can hold it.
    pub id: u64,
    /// One line of JSON; goes out as it is.
    pub data: &'a [u8],
    /// Which of its functions the worker shall call.
    pub function: Option<&'a str>,
    /// How long the item may take.
    pub deadline_ms: Option<u64>,
    /// Which attempt this is, counted from 1; said from the second on.
    pub attempt: Option<u32>,
}

impl Task<'_> {
    /// Appends the line to `out`, LF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        push(out, format_args!("{{\"id\":{},\"data\":", self.id));
        out.extend_from_slice(self.data);
        if let Some(function) = self.function {
            out.extend_from_slice(b",\"fn\":");
            write_string(out, function);
        }
        if let Some(deadline_ms) = self.deadline_ms {
            push(out, format_args!(",\"deadline_ms\":{deadline_ms}"));
        }
        if let Some(attempt) = self.attempt {
            push(out, format_args!(",\"attempt\":{attempt}"));
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Appends the line that cancels `id` to `out`.
pub fn write_cancel(out: &mut Vec<u8>, id: u64) {
    push(out, format_args!("{{\"id\":{id},\"cancel\":true}}\n"));
}

fn push(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes everything");
}

/// What a worker said, in JSON lines or in TSV.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<'a> {
    /// It is ready.
    Hello(Hello),
    /// The result of an item.
    Ok {
        /// The item.
        id: u64,
        /// One line of JSON, as the worker wrote it.
        value: Cow<'a, str>,
    },
    /// The error of an item.
    Err {
        /// The item.
        id: u64,
        /// What happened.
        error: RemoteError,
    },
    /// How far an item has got.
    Progress {
        /// The item.
        id: u64,
        /// From 0 to 1, if the worker keeps to the rules.
        fraction: f64,
        /// A word about it.
        note: Option<String>,
    },
    /// A line for a person.
    Log {
        /// The item it belongs to.
        id: Option<u64>,
        /// How grave it is.
        level: Level,
        /// The line.
        text: String,
    },
    /// No more work for this worker.
    Bye(Bye),
}

/// Why a line is no reply. The worker that wrote it must be replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Bytes that are no UTF-8.
    #[error("reply is not valid UTF-8: {shown}")]
    InvalidUtf8 {
        /// Its beginning.
        shown: Excerpt,
        /// Where.
        source: Utf8Error,
    },
    /// No JSON object, or not with fields of the right types, or one of them twice.
    #[error("reply is not a message: {shown}")]
    Malformed {
        /// Its beginning.
        shown: Excerpt,
        /// What and where.
        source: serde_json::Error,
    },
    /// An object, but with none of the keys that make a message.
    #[error("reply has none of `ok`, `err`, `progress`, `log`, `bye`, `poolctl`: {shown}")]
    NoMessage {
        /// Its beginning.
        shown: Excerpt,
    },
    /// An object with more than one of the keys that make a message.
    #[error("reply has more than one of `ok`, `err`, `progress`, `log`, `bye`, `poolctl`: {shown}")]
    TwoMessages {
        /// Its beginning.
        shown: Excerpt,
    },
    /// Nobody can know which item is meant.
    #[error("reply has no `id`: {shown}")]
    NoId {
        /// Its beginning.
        shown: Excerpt,
    },
    /// A hello whose capabilities cannot be understood.
    #[error("hello cannot be understood: {shown}")]
    Hello {
        /// Its beginning.
        shown: Excerpt,
        /// Why.
        source: HelloError,
    },
    /// A TSV reply that is not `id TAB ok TAB text` or `id TAB err TAB message`.
    #[error("reply is not `id TAB ok TAB text`: {shown}")]
    MalformedTsv {
        /// Its beginning.
        shown: Excerpt,
    },
    /// A backslash in TSV with something else behind it than `t`, `n`, `r` or a backslash.
    #[error("reply has a backslash that escapes nothing (write `\\\\`): {shown}")]
    BadEscape {
        /// Its beginning.
        shown: Excerpt,
    },
}

impl ReplyError {
    /// What the author of the worker should do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ReplyError::MalformedTsv { .. } | ReplyError::BadEscape { .. } => {
                "print to stdout, not to fd 4; escape backslash, tab and line ends in replies"
            }
            _ => "print to stdout, not to fd 4",
        }
    }
}

/// Reads one line, without its LF, as a reply.
///
/// # Errors
/// [`ReplyError`], with the first 200 bytes of the line.
pub fn parse_reply(line: &[u8]) -> Result<Reply<'_>, ReplyError> {
    let text = str::from_utf8(line)
        .map_err(|source| ReplyError::InvalidUtf8 { shown: Excerpt::of(line), source })?;
    let envelope: Envelope<'_> = serde_json::from_str(text)
        .map_err(|source| ReplyError::Malformed { shown: Excerpt::of(line), source })?;
    envelope.into_reply(line)
}

/// Every key that means something, as it was found.
#[derive(Default)]
struct Envelope<'a> {
    poolctl: Option<u64>,
    caps: Option<Vec<String>>,
    functions: Option<Vec<String>>,
    signatures: Option<Vec<String>>,
    docs: Option<Vec<String>>,
    id: Option<u64>,
    ok: Option<&'a RawValue>,
    err: Option<RemoteError>,
    progress: Option<f64>,
    note: Option<String>,
    log: Option<String>,
    level: Option<String>,
    bye: Option<String>,
    code: Option<u8>,
}

impl<'a> Envelope<'a> {
    fn into_reply(self, line: &[u8]) -> Result<Reply<'a>, ReplyError> {
        let shown = || Excerpt::of(line);
        let id = self.id.ok_or_else(|| ReplyError::NoId { shown: shown() });
        // A bye may carry an `err`: why the worker cannot start.
        let err = if self.bye.is_some() { None } else { self.err.as_ref() };
        let messages = [
            self.poolctl.is_some(),
            self.ok.is_some(),
            err.is_some(),
            self.progress.is_some(),
            self.log.is_some(),
            self.bye.is_some(),
        ];
        if messages.into_iter().filter(|is_there| *is_there).count() > 1 {
            return Err(ReplyError::TwoMessages { shown: shown() });
        }
        if let Some(value) = self.ok {
            return Ok(Reply::Ok { id: id?, value: Cow::Borrowed(value.get()) });
        }
        if let Some(version) = self.poolctl {
            let caps = self.caps.unwrap_or_default();
            let hello = Hello::from_parts(version, &caps, self.functions.unwrap_or_default())
                .map_err(|source| ReplyError::Hello { shown: shown(), source })?;
            let (signatures, docs) = (self.signatures.unwrap_or_default(), self.docs.unwrap_or_default());
            return Ok(Reply::Hello(Hello { signatures, docs, ..hello }));
        }
        if let Some(reason) = self.bye {
            return Ok(Reply::Bye(Bye { reason, code: self.code, error: self.err }));
        }
        if let Some(error) = self.err {
            return Ok(Reply::Err { id: id?, error });
        }
        if let Some(fraction) = self.progress {
            return Ok(Reply::Progress { id: id?, fraction, note: self.note });
        }
        if let Some(text) = self.log {
            let level = self.level.as_deref().map(Level::from_word).unwrap_or_default();
            return Ok(Reply::Log { id: self.id, level, text });
        }
        Err(ReplyError::NoMessage { shown: shown() })
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    // Written out, since a derived one takes `"ok":null` for a missing `ok`.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Envelope::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "poolctl" => fill(&mut found.poolctl, "poolctl", &mut map)?,
                "caps" => fill(&mut found.caps, "caps", &mut map)?,
                "functions" => fill(&mut found.functions, "functions", &mut map)?,
                "signatures" => fill(&mut found.signatures, "signatures", &mut map)?,
                "docs" => fill(&mut found.docs, "docs", &mut map)?,
                "id" => fill(&mut found.id, "id", &mut map)?,
                "ok" => fill(&mut found.ok, "ok", &mut map)?,
                "err" => fill(&mut found.err, "err", &mut map)?,
                "progress" => fill(&mut found.progress, "progress", &mut map)?,
                "note" => fill(&mut found.note, "note", &mut map)?,
                "log" => fill(&mut found.log, "log", &mut map)?,
                "level" => fill(&mut found.level, "level", &mut map)?,
                "bye" => fill(&mut found.bye, "bye", &mut map)?,
                "code" => fill(&mut found.code, "code", &mut map)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Puts the value of `key` into its place, which must still be empty.
fn fill<'de, T, A>(place: &mut Option<T>, key: &'static str, map: &mut A) -> Result<(), A::Error>
where
    T: Deserialize<'de>,
    A: MapAccess<'de>,
{
    if place.is_some() {
        return Err(A::Error::duplicate_field(key));
    }
    *place = Some(map.next_value()?);
    Ok(())
}
