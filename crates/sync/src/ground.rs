//! The segment all objects of a host lie in: a header, the table of participants, lines of 16 words, then who holds which.
//!
//! Every line is a cache line of its own, so that objects do not slow each other down. An object has one or several
//! lines, see [`Place`]. All access is by atomics of 32 bits and checked against what is mapped.
//!
//! Behind the lines there is a row of bits for each process, a bit for each line: the object there is *held*, since the
//! process has a handle to it. The host's own row says which can never go, as handles to it may be on their way.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use poolctl_shm::{SharedCells, SharedError};

/// Words in a line.
pub(crate) const LINE: usize = 16;
/// Words in a participant's entry.
pub(crate) const ENTRY: usize = 128;

/// Where an object lies: plain numbers, to be sent to whoever has the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its first line, counted from 0. It is the object's number as well.
    pub line: u32,
    /// How many words it has, besides the first line: permits of a semaphore, parties of a barrier; 0 for a lock.
    pub extra: u32,
}

impl Place {
    /// How many lines it takes.
    pub(crate) fn lines(self) -> u32 {
        1 + self.extra.div_ceil(16)
    }
}

/// The mapped segment. Clones are the same memory.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    cells: SharedCells<AtomicU32>,
    entries: usize,
    lines: usize,
    rows: usize,
}

/// Words in a row of bits.
fn row(lines: usize) -> usize {
    lines.div_ceil(32)
}

impl Ground {
    pub(crate) fn new(entries: usize, lines: usize, rows: usize) -> Result<Self, SharedError> {
        let cells = SharedCells::sparse(LINE + entries * ENTRY + lines * LINE + rows * row(lines))?;
        Ok(Self { cells, entries, lines, rows })
    }

    pub(crate) fn attach(
        file: OwnedFd,
        entries: usize,
        lines: usize,
        rows: usize,
    ) -> Result<Self, SharedError> {
        let words = |count: usize, size: usize| {
            count.checked_mul(size).ok_or(SharedError::TooLarge { count, size: size * 4 })
        };
        let parts = [LINE, words(entries, ENTRY)?, words(lines, LINE)?, words(rows, row(lines))?];
        let all = parts.iter().try_fold(0_usize, |all, part| all.checked_add(*part));
        let all = all.ok_or(SharedError::TooLarge { count: parts[1], size: 4 })?;
        Ok(Self { cells: SharedCells::attach(file, all)?, entries, lines, rows })
    }

    pub(crate) fn file(&self) -> &Arc<OwnedFd> {
        self.cells.file()
    }

    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// How many entries from the first on were ever given away, as the header says: for who looks through them all.
    pub(crate) fn given(&self) -> u32 {
        self.cells.cells()[0].load(Ordering::Relaxed)
    }

    /// Says so.
    pub(crate) fn set_given(&self, entries: u32) {
        self.cells.cells()[0].store(entries, Ordering::Relaxed);
    }

    /// The words of an entry.
    pub(crate) fn entry(&self, index: u32) -> Option<&[AtomicU32]> {
        let index = index as usize;
        (index < self.entries).then(|| &self.cells.cells()[LINE + index * ENTRY..][..ENTRY])
    }

    /// The words from an object's first line on.
    #[inline]
    pub(crate) fn object(&self, place: Place) -> Option<&[AtomicU32]> {
        let from = self.index(place.line);
        self.cells.cells().get(from..from + LINE + place.extra as usize)
    }

    /// Where the first word of an object is.
    #[inline]
    pub(crate) fn index(&self, line: u32) -> usize {
        LINE + self.entries * ENTRY + line as usize * LINE
    }

    /// The word at an index.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> Option<&AtomicU32> {
        self.cells.cells().get(index)
    }

    /// The word of a process's row in which the bit of a line is, and that bit.
    fn bit(&self, process: usize, line: u32) -> Option<(&AtomicU32, u32)> {
        let is_there = process < self.rows && (line as usize) < self.lines;
        let at =
            LINE + self.entries * ENTRY + self.lines * LINE + process * row(self.lines) + line as usize / 32;
        Some((self.cells.cells().get(at).filter(|_| is_there)?, 1 << (line % 32)))
    }

    /// Says that a process holds the object at a line, or that it does not.
    pub(crate) fn set_held(&self, process: usize, line: u32, is_held: bool) {
        // What follows, an item's outcome for instance, is told by ways that order it behind this.
        match self.bit(process, line) {
            Some((word, bit)) if is_held => drop(word.fetch_or(bit, Ordering::AcqRel)),
            Some((word, bit)) => drop(word.fetch_and(!bit, Ordering::AcqRel)),
            None => {}
        }
    }

    pub(crate) fn is_held(&self, process: usize, line: u32) -> bool {
        self.bit(process, line).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// The first word of an object.
    #[inline]
    pub(crate) fn word(&self, line: u32) -> Option<&AtomicU32> {
        self.at(self.index(line))
    }
}
