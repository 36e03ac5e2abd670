//! The positions of a ring for one writer and one reader; the bytes themselves are elsewhere.
//!
//! Positions count bytes from the beginning of time and only grow. Each side keeps its own in private memory, shows it
//! in a word that it alone writes, and never reads that word back: whoever else could write there, or whatever the
//! memory says, one's own position is what one knows it to be.
//!
//! # Protocol
//! 1. The writer fills bytes from `staged` on, then *releases* the new position in its word.
//! 2. The reader *acquires* that word, reads the bytes, then *releases* its own position in its word.
//! 3. The writer *acquires* that one before it fills the bytes again.
//!
//! # If a side dies
//! A writer killed before the store of step 1 has published nothing of what it filled; a reader killed before that of
//! step 2 has freed nothing. Rings have no successors: the other side takes what was published, and the ring goes.

use crate::sync::{AtomicU64, Ordering};

/// All that is written is a multiple of this, so that no header lies across the border of a word.
pub(crate) const ALIGN: u64 = 8;

/// A position in a ring that the other side cannot have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Impossible {
    /// Where it says it is.
    pub(crate) claimed: u64,
    /// Where it said so before.
    pub(crate) least: u64,
    /// How far it can have come.
    pub(crate) most: u64,
}

/// The private half of the side that writes.
#[derive(Debug)]
pub(crate) struct RingWriter {
    ring: u64,
    /// Filled up to here.
    staged: u64,
    /// Shown to the reader up to here.
    published: u64,
    /// Read by the reader up to here, when last looked at.
    freed: u64,
}

impl RingWriter {
    /// For an empty ring of `ring` bytes.
    pub(crate) fn new(ring: u64) -> Self {
        Self { ring, staged: 0, published: 0, freed: 0 }
    }

    /// Where the next byte goes, from the beginning of the ring.
    #[inline]
    pub(crate) fn at(&self) -> u64 {
        self.staged & (self.ring - 1)
    }

    /// How many bytes can be filled, as far as this side knows.
    #[inline]
    pub(crate) fn room(&self) -> u64 {
        self.ring - (self.staged - self.freed)
    }

    /// Whether the reader can see all that was filled.
    #[inline]
    #[cfg_attr(loom, expect(dead_code, reason = "asked by the worker's end, which loom does not run"))]
    pub(crate) fn is_published(&self) -> bool {
        self.published == self.staged
    }

    /// Looks how far the reader is.
    #[inline]
    pub(crate) fn refresh(&mut self, reader: &AtomicU64) -> Result<(), Impossible> {
        // Acquire: what the reader has read is read before it is overwritten.
        let freed = reader.load(Ordering::Acquire);
        if freed < self.freed || freed > self.published || !freed.is_multiple_of(ALIGN) {
            return Err(Impossible { claimed: freed, least: self.freed, most: self.published });
        }
        self.freed = freed;
        Ok(())
    }

    /// Counts `bytes` as filled; at most [`RingWriter::room`], and a multiple of [`ALIGN`].
    #[inline]
    pub(crate) fn stage(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.room() && bytes.is_multiple_of(ALIGN));
        self.staged += bytes;
    }

    /// Shows the reader all that was filled.
    #[inline]
    pub(crate) fn publish(&mut self, writer: &AtomicU64) {
        self.published = self.staged;
        // Release: the bytes are there before the position says so.
        writer.store(self.staged, Ordering::Release);
    }
}

/// The private half of the side that reads.
#[derive(Debug)]
pub(crate) struct RingReader {
    ring: u64,
    /// Read up to here.
    taken: u64,
    /// Shown to the writer as read up to here.
    released: u64,
}

impl RingReader {
    /// For an empty ring of `ring` bytes.
    pub(crate) fn new(ring: u64) -> Self {
        Self { ring, taken: 0, released: 0 }
    }

    /// Where the next byte to read is, from the beginning of the ring.
    #[inline]
    pub(crate) fn at(&self) -> u64 {
        self.taken & (self.ring - 1)
    }

    /// Whether there is something to read; a hint, which takes nothing for granted.
    #[inline]
    pub(crate) fn has_news(&self, writer: &AtomicU64) -> bool {
        writer.load(Ordering::Relaxed) != self.taken
    }

    /// How many bytes there are to read.
    #[inline]
    pub(crate) fn waiting(&self, writer: &AtomicU64) -> Result<u64, Impossible> {
        // Acquire: the bytes are read after the position that says they are there.
        let published = writer.load(Ordering::Acquire);
        let waiting = published.wrapping_sub(self.taken);
        if waiting > self.ring || !waiting.is_multiple_of(ALIGN) {
            let (least, most) = (self.taken, self.taken.saturating_add(self.ring));
            return Err(Impossible { claimed: published, least, most });
        }
        Ok(waiting)
    }

    /// Counts `bytes` as read; at most [`RingReader::waiting`], and a multiple of [`ALIGN`].
    #[inline]
    pub(crate) fn take(&mut self, bytes: u64) {
        self.taken += bytes;
    }

    /// Lets the writer have all that was read.
    #[inline]
    pub(crate) fn release(&mut self, reader: &AtomicU64) {
        if self.released != self.taken {
            self.released = self.taken;
            // Release: the bytes have been read before they may be overwritten.
            reader.store(self.taken, Ordering::Release);
        }
    }
}
