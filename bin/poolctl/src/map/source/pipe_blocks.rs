//! `--pipe`: stdin cut into blocks of whole records, each an item.

use std::io::{self, Read};

use memchr::memmem;
use poolctl_supervisor::Block;

use super::error::{InputError, Origin};
use super::{Feed, PipeCut};

const READ_BYTES: usize = 256 << 10;

/// Cuts an input behind a delimiter, every so many bytes or records. The delimiters stay in the blocks.
pub(crate) struct PipeFeed<R> {
    input: R,
    origin: Origin,
    delimiter: Vec<u8>,
    cut: PipeCut,
    held: Vec<u8>,
    /// How far `held` was searched for delimiters, and how many were found there.
    searched: usize,
    found: u64,
    /// Behind the last delimiter found.
    whole: usize,
    over: bool,
    sent: u64,
}

impl<R: Read + Send> PipeFeed<R> {
    /// Blocks of `input`, whose records end with `delimiter`.
    pub(crate) fn new(input: R, origin: Origin, delimiter: Vec<u8>, cut: PipeCut) -> Self {
        let held = Vec::new();
        Self { input, origin, delimiter, cut, held, searched: 0, found: 0, whole: 0, over: false, sent: 0 }
    }

    /// Where the next block ends, if enough is held.
    fn end(&mut self) -> Option<usize> {
        while let Some(at) = memmem::find(&self.held[self.searched..], &self.delimiter) {
            let end = self.searched + at + self.delimiter.len();
            if matches!(self.cut, PipeCut::Bytes(most) if end > most && self.whole > 0) {
                return Some(self.whole);
            }
            self.searched = end;
            self.whole = end;
            self.found += 1;
            match self.cut {
                PipeCut::Records(count) if self.found == count => return Some(end),
                PipeCut::Bytes(most) if end >= most => return Some(end),
                PipeCut::Records(_) | PipeCut::Bytes(_) => {}
            }
        }
        // The beginning of a delimiter may be at the very end.
        self.searched = self.searched.max((self.held.len() + 1).saturating_sub(self.delimiter.len()));
        None
    }

    fn block(&mut self, end: usize) -> Result<Option<Block>, InputError> {
        let mut bytes: Vec<u8> = self.held.drain(..end).collect();
        (self.searched, self.found, self.whole) = (0, 0, 0);
        self.sent += 1;
        bytes.push(b'\n');
        let len = u32::try_from(bytes.len())
            .map_err(|_| InputError::TooLong { place: self.origin.place(self.sent) })?;
        Ok(Some(Block { bytes, ends: vec![len], ..Block::default() }))
    }

    fn fill(&mut self) -> Result<usize, InputError> {
        let before = self.held.len();
        self.held.resize(before + READ_BYTES, 0);
        let count = loop {
            match self.input.read(&mut self.held[before..]) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    self.held.truncate(before);
                    return Err(InputError::Read { name: self.origin.name(), source });
                }
            }
        };
        self.held.truncate(before + count);
        Ok(count)
    }
}

impl<R: Read + Send> Feed for PipeFeed<R> {
    fn next(&mut self) -> Result<Option<Block>, InputError> {
        loop {
            if let Some(end) = self.end() {
                return self.block(end);
            }
            if self.over {
                let rest = self.held.len();
                return if rest == 0 { Ok(None) } else { self.block(rest) };
            }
            self.over = self.fill()? == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str, delimiter: &str, cut: PipeCut) -> Vec<String> {
        let origin = Origin::Records("stdin".to_owned());
        let mut feed = PipeFeed::new(text.as_bytes(), origin, delimiter.as_bytes().to_vec(), cut);
        let mut blocks = Vec::new();
        while let Some(block) = feed.next().unwrap() {
            blocks.extend(
                (0..block.len()).map(|index| String::from_utf8_lossy(block.item(index)).into_owned()),
            );
        }
        blocks
    }

    #[test]
    fn blocks_hold_whole_records_up_to_the_size() {
        assert_eq!(blocks("aa\nbb\ncc\ndd", "\n", PipeCut::Bytes(6)), ["aa\nbb\n", "cc\ndd"]);
        assert_eq!(blocks("aa\nbb\ncc\n", "\n", PipeCut::Bytes(7)), ["aa\nbb\n", "cc\n"]);
        assert_eq!(
            blocks("aaaaaaaa\nb\n", "\n", PipeCut::Bytes(2)),
            ["aaaaaaaa\n", "b\n"],
            "a record is never cut"
        );
        assert!(blocks("", "\n", PipeCut::Bytes(2)).is_empty());
    }

    #[test]
    fn blocks_hold_so_many_records() {
        assert_eq!(blocks("1\n2\n3\n4\n5", "\n", PipeCut::Records(2)), ["1\n2\n", "3\n4\n", "5"]);
        assert_eq!(blocks("1--2--3", "--", PipeCut::Records(2)), ["1--2--", "3"]);
    }

    #[test]
    fn together_the_blocks_are_the_input() {
        let text: String = (0..200_000).map(|number| format!("{number}\n")).collect();

        let blocks = blocks(&text, "\n", PipeCut::Bytes(100_000));

        assert!(blocks.len() > 10);
        assert!(blocks.iter().all(|block| block.len() <= 100_000 && block.ends_with('\n')));
        assert_eq!(blocks.concat(), text);
    }
}
