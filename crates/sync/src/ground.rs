//! The segment all objects of a host lie in: a header, the table of participants, then lines of 16 words.
//!
//! Every line is a cache line of its own, so that objects do not slow each other down. An object has one or several
//! lines, see [`Place`]. All access is by atomics of 32 bits and checked against what is mapped.

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
    pub(crate) fn lines(self) -> usize {
        1 + (self.extra as usize).div_ceil(LINE)
    }
}

/// The mapped segment. Clones are the same memory.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    cells: SharedCells<AtomicU32>,
    entries: usize,
    lines: usize,
}

impl Ground {
    pub(crate) fn new(entries: usize, lines: usize) -> Result<Self, SharedError> {
        let cells = SharedCells::sparse(LINE + entries * ENTRY + lines * LINE)?;
        Ok(Self { cells, entries, lines })
    }

    pub(crate) fn attach(file: OwnedFd, entries: usize, lines: usize) -> Result<Self, SharedError> {
        let words = |count: usize, size: usize| {
            count.checked_mul(size).ok_or(SharedError::TooLarge { count, size: size * 4 })
        };
        let (table, rest) = (words(entries, ENTRY)?, words(lines, LINE)?);
        let all = table.checked_add(rest).and_then(|all| all.checked_add(LINE));
        let all = all.ok_or(SharedError::TooLarge { count: table, size: 4 })?;
        Ok(Self { cells: SharedCells::attach(file, all)?, entries, lines })
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

    /// The first word of an object.
    #[inline]
    pub(crate) fn word(&self, line: u32) -> Option<&AtomicU32> {
        self.at(self.index(line))
    }
}
