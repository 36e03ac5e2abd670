//! What an item gave out: in memory while it is small, in the spill file when it is not.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use poolctl_sys::transfer;

use crate::parcels::Parcel;
use crate::spill::{Extent, Spill};

/// What an item gave out, in full.
#[derive(Debug, Default)]
pub struct Output {
    spilled: Option<Spilled>,
    memory: Vec<u8>,
    lodged: Option<Lodged>,
}

/// The value of a native worker that came in a parcel: its bytes, and behind them those of its large buffers.
#[derive(Debug)]
pub struct Lodged {
    /// What holds it.
    pub held: Held,
    /// How long the value itself is, in bytes.
    pub main: u64,
    /// How long it is with its buffers, in bytes.
    pub whole: u64,
}

/// Where a value that came in a parcel lies.
#[derive(Debug)]
pub enum Held {
    /// In the parcel still.
    Parcel(Arc<Parcel>),
    /// Here; the parcel was needed.
    Memory(Vec<u8>),
    /// In a file in memory that its worker made, and nobody can change any more.
    Memfd(OwnedFd),
}

impl Lodged {
    /// Reads as many bytes as `bytes` has from `offset` on.
    ///
    /// # Errors
    /// It would go beyond the end.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.held {
            Held::Parcel(parcel) => parcel.read_at(bytes, offset),
            Held::Memfd(memfd) => transfer::read_exactly_at(memfd.as_fd(), bytes, offset),
            Held::Memory(memory) => {
                let behind = usize::try_from(offset).ok().and_then(|start| memory.get(start..));
                let lies = behind.and_then(|behind| behind.get(..bytes.len()));
                bytes.copy_from_slice(lies.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// The earlier part of an output, in the spill file. Dropping it gives the room back.
#[derive(Debug)]
struct Spilled {
    spill: Arc<Spill>,
    extents: Vec<Extent>,
}

impl Output {
    /// An output that came in a parcel.
    pub(crate) fn lodged(lodged: Lodged) -> Self {
        Self { lodged: Some(lodged), ..Self::default() }
    }

    /// An output of `size` bytes that lies in a file in memory.
    pub(crate) fn in_memfd(memfd: OwnedFd, size: u64) -> Self {
        Self::lodged(Lodged { held: Held::Memfd(memfd), main: size, whole: size })
    }

    /// Takes the file in memory in which it lies out, if it does.
    #[must_use]
    pub fn take_memfd(&mut self) -> Option<OwnedFd> {
        match self.lodged.take() {
            Some(Lodged { held: Held::Memfd(memfd), .. }) => Some(memfd),
            other => {
                self.lodged = other;
                None
            }
        }
    }

    /// The parcel it came in, if it did: the rest is empty then.
    #[must_use]
    pub fn parcel(&self) -> Option<&Lodged> {
        self.lodged.as_ref()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.spilled_len() + self.memory.len() as u64 + self.lodged.as_ref().map_or(0, |lodged| lodged.whole)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much of it is held in memory, in bytes.
    #[must_use]
    pub fn memory_len(&self) -> usize {
        self.memory.len()
    }

    /// The whole of it, if none of it was spilled.
    #[must_use]
    pub fn in_memory(&self) -> Option<&[u8]> {
        (self.spilled.is_none() && self.lodged.is_none()).then_some(&self.memory[..])
    }

    /// Adds `bytes`; what is then over `limit` bytes of memory goes to `spill`.
    ///
    /// # Errors
    /// The spill file cannot be written; nothing of `bytes` is lost then, it stays in memory.
    pub fn append(&mut self, bytes: &[u8], limit: usize, spill: &Arc<Spill>) -> io::Result<()> {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > limit { self.move_to(spill) } else { Ok(()) }
    }

    /// Moves what is in memory to `spill`.
    ///
    /// # Errors
    /// The spill file cannot be written; everything stays in memory then.
    pub fn move_to(&mut self, spill: &Arc<Spill>) -> io::Result<()> {
        let extent = spill.append(&self.memory)?;
        let spilled =
            self.spilled.get_or_insert_with(|| Spilled { spill: Arc::clone(spill), extents: Vec::new() });
        match spilled.extents.last_mut() {
            Some(last) if last.offset + last.len == extent.offset => last.len += extent.len,
            _ => spilled.extents.push(extent),
        }
        self.memory = Vec::new();
        Ok(())
    }

    /// Writes all of it, piece by piece.
    ///
    /// # Errors
    /// The spill file cannot be read or `to` cannot be written.
    pub fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        if let Some(spilled) = &self.spilled {
            let mut piece = vec![0; 256 << 10];
            for extent in &spilled.extents {
                let mut at = extent.offset;
                let end = extent.offset + extent.len;
                while at < end {
                    let len = usize::try_from(end - at).map_or(piece.len(), |left| left.min(piece.len()));
                    spilled.spill.read_at(&mut piece[..len], at)?;
                    to.write_all(&piece[..len])?;
                    at += len as u64;
                }
            }
        }
        if let Some(lodged) = &self.lodged {
            let mut piece = vec![0; 256 << 10];
            let mut at = 0;
            while at < lodged.whole {
                let len =
                    usize::try_from(lodged.whole - at).map_or(piece.len(), |left| left.min(piece.len()));
                lodged.read_at(&mut piece[..len], at)?;
                to.write_all(&piece[..len])?;
                at += len as u64;
            }
        }
        to.write_all(&self.memory)
    }

    /// All of it in memory.
    ///
    /// # Errors
    /// The spill file cannot be read.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.write_to(&mut all)?;
        Ok(all)
    }

    /// The last `most` bytes of what is in memory (for error messages).
    #[must_use]
    pub fn tail(&self, most: usize) -> &[u8] {
        &self.memory[self.memory.len().saturating_sub(most)..]
    }

    fn spilled_len(&self) -> u64 {
        self.spilled.as_ref().map_or(0, |spilled| spilled.extents.iter().map(|extent| extent.len).sum())
    }
}

impl From<Vec<u8>> for Output {
    fn from(memory: Vec<u8>) -> Self {
        Self { memory, ..Self::default() }
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        for extent in self.extents.drain(..) {
            if let Err(error) = self.spill.release(extent) {
                tracing::warn!(%error, "cannot give room in the spill file back");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_over_the_limit_goes_to_the_file_and_comes_back_whole() {
        let spill = Arc::new(Spill::new(std::env::temp_dir()));
        let mut output = Output::default();
        let mut other = Output::default();
        for round in 0..10_u8 {
            output.append(&[round; 1000], 1500, &spill).unwrap();
            other.append(&[round + 100; 700], 1500, &spill).unwrap();
        }

        let expected: Vec<u8> = (0..10_u8).flat_map(|round| [round; 1000]).collect();
        assert_eq!(output.len(), 10_000);
        assert!(output.memory_len() <= 1500);
        assert!(output.in_memory().is_none());
        assert_eq!(output.to_vec().unwrap(), expected);
        assert_eq!(other.to_vec().unwrap().len(), 7_000);

        drop(output);
        drop(other);
        assert_eq!(spill.append(b"x").unwrap().offset, 0, "all room was given back");
    }
}
