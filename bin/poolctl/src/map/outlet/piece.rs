//! One piece of output on its way to the writer thread, and how it is rendered.

use std::io::{self, Write};

use poolctl_supervisor::Output;
use poolctl_types::Item;

use crate::map::log::LogLine;
use crate::map::sink::Record;

/// One piece of output and what the log shall say once it is written.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) body: Body,
    pub(crate) log: Option<LogLine>,
}

/// What is written.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(Vec<u8>),
    /// What an item gave out.
    Output { output: Output, ending: Ending },
    /// The same with a tag and a tab before each line.
    Tagged { output: Output, tag: Vec<u8> },
    /// A JSON object.
    Json(Box<Record>),
    /// A file of its own for an item, in place of one of an earlier run.
    File { item: Item, ok: bool, output: Output, ending: Ending },
    /// No file for an item, in place of one of an earlier run.
    NoFile { item: Item },
}

/// What stands behind an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing: it is as it was.
    AsItIs,
    /// A line break.
    LineBreak,
}

impl Piece {
    /// How much memory it takes, about.
    pub(crate) fn held(&self) -> usize {
        /// The piece itself and its place in a queue or map.
        const ITSELF: usize = 128;
        let body = match &self.body {
            Body::Nothing | Body::NoFile { .. } => 0,
            Body::Bytes(bytes) => bytes.len(),
            Body::Output { output, .. } | Body::File { output, .. } => output.memory_len(),
            Body::Tagged { output, tag } => output.memory_len() + tag.len(),
            Body::Json(record) => record.held(),
        };
        ITSELF + body + self.log.as_ref().map_or(0, LogLine::len)
    }

    /// The outputs in it that can be moved out of memory.
    pub(crate) fn outputs(&mut self) -> impl Iterator<Item = &mut Output> {
        if let Body::Bytes(bytes) = &mut self.body {
            let output = Output::from(std::mem::take(bytes));
            self.body = Body::Output { output, ending: Ending::AsItIs };
        }
        let outputs: [Option<&mut Output>; 3] = match &mut self.body {
            Body::Nothing | Body::NoFile { .. } | Body::Bytes(_) => [None, None, None],
            Body::Output { output, .. } | Body::Tagged { output, .. } | Body::File { output, .. } => {
                [Some(output), None, None]
            }
            Body::Json(record) => record.outputs(),
        };
        outputs.into_iter().flatten()
    }
}

impl Ending {
    /// Writes an output with this ending.
    pub(crate) fn write(self, output: &Output, to: &mut dyn Write) -> io::Result<()> {
        output.write_to(to)?;
        match self {
            Ending::AsItIs => Ok(()),
            Ending::LineBreak => to.write_all(b"\n"),
        }
    }
}

/// Puts a tag and a tab before each line that is written through it.
pub(super) struct TagWriter<'a> {
    to: &'a mut dyn Write,
    tag: &'a [u8],
    in_line: bool,
}

impl<'a> TagWriter<'a> {
    pub(super) fn new(to: &'a mut dyn Write, tag: &'a [u8]) -> Self {
        Self { to, tag, in_line: false }
    }

    /// Ends a last line that has no line break, so that the next tag begins a line.
    pub(super) fn end(self) -> io::Result<()> {
        if self.in_line { self.to.write_all(b"\n") } else { Ok(()) }
    }
}

impl Write for TagWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.in_line {
                self.to.write_all(self.tag)?;
                self.to.write_all(b"\t")?;
            }
            self.to.write_all(line)?;
            self.in_line = !line.ends_with(b"\n");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_gets_its_tag_however_the_writes_fall() {
        let mut text = Vec::new();
        let mut tagged = TagWriter::new(&mut text, b"x");

        tagged.write_all(b"a").unwrap();
        tagged.write_all(b"b\n\nc").unwrap();
        tagged.end().unwrap();

        assert_eq!(text, b"x\tab\nx\t\nx\tc\n");
    }
}
