//! One line of the log.

use serde::{Deserialize, Serialize};

use super::hash::{ItemHash, Key};
use crate::map::sink::Summary;

/// The version of the log's form.
pub(super) const VERSION: u32 = 1;

/// What the log says of one item, but for where its output ends, which is known once it is written.
#[derive(Debug)]
pub(crate) struct LogLine {
    /// The line without its closing brace.
    beginning: Vec<u8>,
}

#[derive(Serialize)]
struct Beginning<'a> {
    v: u32,
    key: String,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// The first line of a log: of which target it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) v: u32,
    pub(super) target: String,
}

/// What is read back from a line.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) status: String,
    pub(super) offset: Option<u64>,
}

/// The first line of the log of a target.
pub(crate) fn header(target: ItemHash) -> Vec<u8> {
    let header = Header { v: VERSION, target: target.to_string() };
    let mut line = serde_json::to_vec(&header).expect("a number and a text");
    line.push(b'\n');
    line
}

impl LogLine {
    /// The line for an item.
    pub(crate) fn new(key: Key, summary: &Summary) -> Self {
        let beginning = Beginning { v: VERSION, key: key.to_string(), summary };
        let mut beginning = serde_json::to_vec(&beginning).expect("numbers and texts");
        beginning.pop();
        Self { beginning }
    }

    /// Writes the line; the output of the item ends at `offset` of the output file, if that is a regular file.
    pub(crate) fn put(self, to: &mut Vec<u8>, offset: Option<u64>) {
        to.extend_from_slice(&self.beginning);
        if let Some(offset) = offset {
            to.extend_from_slice(format!(",\"offset\":{offset}").as_bytes());
        }
        to.extend_from_slice(b"}\n");
    }

    /// How much memory it takes.
    pub(crate) fn len(&self) -> usize {
        self.beginning.len()
    }
}
