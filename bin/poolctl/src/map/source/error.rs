//! Why an input cannot be used, and where in it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why an input cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// A file cannot be opened.
    #[error("failed to open the input `{}`", .path.display())]
    Open { path: PathBuf, source: io::Error },
    /// It cannot be read (any further).
    #[error("failed to read the input `{name}`")]
    Read { name: String, source: io::Error },
    /// An item is no JSON.
    #[error("{place}, column {column}: not JSON: {shown}")]
    Json { place: Place, column: usize, shown: String, source: JsonProblem },
    /// An item that must be text is not UTF-8.
    #[error("{place}, column {column}: not UTF-8: {shown}")]
    NotUtf8 { place: Place, column: usize, shown: String },
    /// A line filter cannot be given an item of several lines.
    #[error("{place}: the item holds a line break, which --lines cannot pass on")]
    LineBreak { place: Place },
    /// Fields travel with NUL between them.
    #[error("{place}: the item holds a NUL byte, which no argument can")]
    Nul { place: Place },
    /// A record has more fields than the header has names.
    #[error("{place}: {found} fields, but the header names {expected}")]
    FieldCount { place: Place, found: usize, expected: usize },
    /// A quote in comma-separated values that never ends.
    #[error("{place}: the quote that begins here does not end")]
    OpenQuote { place: Place },
    /// An item that no memory should be asked for.
    #[error("{place}: the item is longer than 4 GiB")]
    TooLong { place: Place },
}

/// What is wrong with a text that is no JSON, without the place in it, which is told before.
#[derive(Debug)]
pub(crate) struct JsonProblem(pub(super) serde_json::Error);

impl fmt::Display for JsonProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let place = format!(" at line {} column {}", self.0.line(), self.0.column());
        f.write_str(text.strip_suffix(&place).unwrap_or(&text))
    }
}

impl std::error::Error for JsonProblem {}

impl InputError {
    /// What the person can do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            InputError::Json { source, .. } if source.0.is_eof() => Some(
                "an item is one line of JSON; `jq -c .[]` makes a line of each member of an array; --raw takes lines as strings",
            ),
            InputError::Json { .. } => Some("--raw takes lines as strings"),
            InputError::NotUtf8 { .. } => Some("JSON is UTF-8; `iconv -f latin1` makes it from Latin-1"),
            _ => None,
        }
    }
}

/// What the records of an input are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Words of the command line.
    Words,
    /// Lines of this input.
    Lines(String),
    /// Records of this input that end in something else.
    Records(String),
}

impl Origin {
    /// The same input, whose records are lines.
    pub(crate) fn lines(&self) -> Origin {
        match self {
            Origin::Records(name) | Origin::Lines(name) => Origin::Lines(name.clone()),
            Origin::Words => Origin::Words,
        }
    }

    /// The name of the input.
    pub(crate) fn name(&self) -> String {
        match self {
            Origin::Records(name) | Origin::Lines(name) => name.clone(),
            Origin::Words => "the command line".to_owned(),
        }
    }

    /// The place of a record, counted from 1.
    pub(crate) fn place(&self, number: u64) -> Place {
        Place { origin: self.clone(), number }
    }
}

/// One record of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    origin: Origin,
    number: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Words => write!(f, "item {} on the command line", self.number),
            Origin::Lines(name) => write!(f, "{name}, line {}", self.number),
            Origin::Records(name) => write!(f, "{name}, record {}", self.number),
        }
    }
}

/// The beginning of what was found, for a message.
pub(crate) fn shown(item: &[u8]) -> String {
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(&item[..item.len().min(4 * MOST)]);
    let mut shown = String::new();
    for character in text.chars().take(MOST) {
        match character {
            '"' | '\'' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    if text.chars().count() > MOST || item.len() > 4 * MOST {
        shown.push('…');
    }
    format!("`{shown}`")
}
