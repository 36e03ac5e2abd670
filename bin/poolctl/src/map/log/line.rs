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
    /// The file that the results of this run go to, if they go to a regular one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<OutputFile>,
}

/// A regular file that results go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputFile {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Where the results begin.
    pub(crate) offset: u64,
    /// Whether others write to it as well.
    pub(crate) shared: bool,
}

/// Where the output of an item ends in a regular file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputEnd {
    pub(crate) offset: u64,
    /// Whether others wrote to the file as well.
    pub(crate) shared: bool,
}

/// The last line of a run that ended in good order: every result that was written is in the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) v: u32,
    pub(super) end: u64,
}

/// What is read back from a line.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) status: String,
    pub(super) offset: Option<u64>,
    #[serde(default)]
    pub(super) shared: bool,
}

/// The first line of the log of a target.
pub(crate) fn header(target: ItemHash, output: Option<OutputFile>) -> Vec<u8> {
    let header = Header { v: VERSION, target: target.to_string(), output };
    let mut line = serde_json::to_vec(&header).expect("numbers and a text");
    line.push(b'\n');
    line
}

/// The last line of a run that ended in good order, whose results end at `offset`.
pub(crate) fn ending(offset: u64) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Ending { v: VERSION, end: offset }).expect("two numbers");
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

    /// Writes the line; the output of the item ends at `end` of the output file, if that is a regular file.
    pub(crate) fn put(self, to: &mut Vec<u8>, end: Option<OutputEnd>) {
        to.extend_from_slice(&self.beginning);
        if let Some(OutputEnd { offset, shared }) = end {
            to.extend_from_slice(format!(",\"offset\":{offset}").as_bytes());
            if shared {
                to.extend_from_slice(b",\"shared\":true");
            }
        }
        to.extend_from_slice(b"}\n");
    }

    /// How much memory it takes.
    pub(crate) fn len(&self) -> usize {
        self.beginning.len()
    }
}
