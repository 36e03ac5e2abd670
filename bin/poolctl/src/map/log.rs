//! `--log`: one JSON line for each item, and `--resume`: reading it back.
//!
//! A line is appended after `write(2)` of that item's result has returned, so what the log says was written was
//! written. Of an output that is a regular file it says which one it is, where each result ends in it, and whether
//! anybody else writes there; a run that ends in good order leaves a last line that says so. An item is known by a hash of target, bytes and how many equal items came before, never by its number.

mod hash;
mod line;
mod resume;

pub(crate) use hash::{ItemHash, Occurrences};
pub(crate) use line::{LogLine, OutputEnd, OutputFile, ending, header};
pub(crate) use resume::{DoneKeys, EarlierOutput, resume};
