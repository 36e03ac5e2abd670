//! Records from a file or pipe, cut at a delimiter, whole reads at a time.

use std::io::{self, Read};

use memchr::{memchr_iter, memmem, memrchr};
use poolctl_supervisor::Block;

use super::Feed;
use super::error::{InputError, Origin};

/// How much is asked for in one read.
const READ_BYTES: usize = 256 << 10;

/// Cuts what is read at a delimiter. The last record needs none; an empty one behind the last delimiter is none.
pub(crate) struct RecordFeed {
    input: Box<dyn Read + Send>,
    origin: Origin,
    delimiter: Vec<u8>,
    /// What was read and not yet sent lies in `buffer[..held]`.
    buffer: Vec<u8>,
    held: usize,
    over: bool,
    sent: u64,
    /// How many records the last block had: the next will have about as many.
    expected: usize,
}

impl RecordFeed {
    /// Records of `input`, which end with `delimiter` (not empty).
    pub(crate) fn new(input: Box<dyn Read + Send>, origin: Origin, delimiter: Vec<u8>) -> Self {
        let buffer = vec![0; READ_BYTES];
        Self { input, origin, delimiter, buffer, held: 0, over: false, sent: 0, expected: 0 }
    }

    /// What the input is called.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads once behind what is held; returns how much.
    fn fill(&mut self) -> Result<usize, InputError> {
        if self.held == self.buffer.len() {
            if self.buffer.len() >= u32::MAX as usize {
                return Err(InputError::TooLong { place: self.origin.place(self.sent + 1) });
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.held..]) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(InputError::Read { name: self.origin.name(), source }),
            }
        }
    }

    /// Cuts the records that end in the first `held` bytes and keeps the rest. Before `searched` there is no delimiter
    /// of one byte.
    fn cut(&mut self, searched: usize) -> Option<Block> {
        let held = &self.buffer[..self.held];
        let block = match self.delimiter[..] {
            [delimiter] => {
                let end = searched + memrchr(delimiter, &held[searched..])? + 1;
                one_byte(&held[..end], delimiter, self.expected).map(|block| (block, end))
            }
            _ => several_bytes(held, &self.delimiter),
        };
        let (block, end) = block?;
        self.buffer.copy_within(end..self.held, 0);
        self.held -= end;
        if self.held < READ_BYTES / 2 && self.buffer.len() > READ_BYTES {
            self.buffer.truncate(READ_BYTES);
            self.buffer.shrink_to_fit();
        }
        self.expected = block.len();
        self.sent += block.len() as u64;
        Some(block)
    }
}

impl Feed for RecordFeed {
    fn next(&mut self) -> Result<Option<Block>, InputError> {
        while !self.over {
            let before = self.held;
            let count = self.fill()?;
            self.held += count;
            if count == 0 {
                self.over = true;
                let last = &self.buffer[..self.held];
                if last.is_empty() {
                    return Ok(None);
                }
                let mut block = Block::new();
                block.push(last);
                return Ok(Some(block));
            }
            if let Some(block) = self.cut(before) {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }
}

/// The records of `bytes`, which end in `delimiter`.
fn one_byte(bytes: &[u8], delimiter: u8, expected: usize) -> Option<Block> {
    let mut block = Block {
        bytes: bytes.to_vec(),
        ends: Vec::with_capacity(expected + expected / 8 + 16),
        ..Block::default()
    };
    for at in memchr_iter(delimiter, bytes) {
        block.ends.push(u32::try_from(at + 1).ok()?);
    }
    if delimiter != b'\n' {
        for end in &block.ends {
            block.bytes[*end as usize - 1] = b'\n';
        }
    }
    Some(block)
}

/// The records of `bytes` up to the last whole delimiter, and where that ends.
fn several_bytes(bytes: &[u8], delimiter: &[u8]) -> Option<(Block, usize)> {
    let mut block = Block::new();
    let mut end = 0;
    for at in memmem::find_iter(bytes, delimiter) {
        block.push(&bytes[end..at]);
        end = at + delimiter.len();
    }
    (!block.is_empty()).then_some((block, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives out its bytes in pieces of these lengths.
    struct Pieces(Vec<u8>, Vec<usize>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let wanted = self.1.pop().unwrap_or(usize::MAX).max(1);
            let count = wanted.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn records(bytes: &[u8], pieces: Vec<usize>, delimiter: &[u8]) -> Vec<Vec<u8>> {
        let input = Box::new(Pieces(bytes.to_vec(), pieces));
        let mut feed = RecordFeed::new(input, Origin::Records("x".to_owned()), delimiter.to_vec());
        let mut records = Vec::new();
        while let Some(block) = feed.next().unwrap() {
            assert_eq!(block.ends.last().map(|end| *end as usize), Some(block.bytes.len()));
            assert!(block.ends.iter().all(|end| block.bytes[*end as usize - 1] == b'\n'));
            records.extend((0..block.len()).map(|index| block.item(index).to_vec()));
        }
        records
    }

    fn lines(text: &str) -> Vec<String> {
        let records = records(text.as_bytes(), vec![], b"\n");
        records.into_iter().map(|record| String::from_utf8(record).unwrap()).collect()
    }

    #[test]
    fn the_last_line_needs_no_line_break_and_empty_lines_are_records() {
        assert_eq!(lines("a\n\nb"), ["a", "", "b"]);
        assert_eq!(lines("a\r\n"), ["a\r"]);
        assert_eq!(lines("\n"), [""]);
        assert!(lines("").is_empty());
    }

    #[test]
    fn a_line_longer_than_the_buffer_comes_whole() {
        let long = "x".repeat(3 * READ_BYTES + 7);

        assert_eq!(lines(&format!("a\n{long}\nb\n")), ["a", &long, "b"]);
    }

    #[test]
    fn what_is_there_comes_before_more_is_read() {
        let input = Box::new(Pieces(b"a\nb\nc".to_vec(), vec![1, 4]));
        let mut feed = RecordFeed::new(input, Origin::Words, b"\n".to_vec());

        let first = feed.next().unwrap().unwrap();

        assert_eq!(first.bytes, b"a\nb\n");
    }

    proptest! {
        #[test]
        fn cutting_is_splitting_however_the_reads_fall(
            text in "[ab,;\n]{0,60}", pieces in prop::collection::vec(1_usize..9, 0..20),
            delimiter in prop::sample::select(vec!["\n", ",", ",;", "aab"]),
        ) {
            let mut expected: Vec<Vec<u8>> = text.split(delimiter).map(|record| record.as_bytes().to_vec()).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }

            prop_assert_eq!(records(text.as_bytes(), pieces, delimiter.as_bytes()), expected);
        }
    }
}
