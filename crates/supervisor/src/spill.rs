//! One unlinked temporary file for output that memory has no room for.
//!
//! Space is handed out by a bump pointer. What is given back becomes a hole in the file, where the file system knows
//! holes; when nothing is held any more the file is cut to nothing. It has no name, so nothing can be left behind.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use poolctl_sys::transfer;

/// A place in the spill file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// One unlinked temporary file, made at first use, shared by everything that spills.
#[derive(Debug)]
pub struct Spill {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    end: u64,
    held: u64,
}

impl Spill {
    /// A spill whose file will lie (without a name) in `directory`.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, state: Mutex::default() }
    }

    /// Where the file lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes `bytes` behind what is there.
    ///
    /// # Errors
    /// The file cannot be made or the disk is full.
    pub fn append(&self, bytes: &[u8]) -> io::Result<Extent> {
        let mut state = self.state();
        let offset = state.end;
        let file = match state.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.directory)?,
        };
        state.file.insert(file).write_all_at(bytes, offset)?;
        let len = bytes.len() as u64;
        state.end += len;
        state.held += len;
        Ok(Extent { offset, len })
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// The file cannot be read, or ends before.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.state().file.as_ref() {
            Some(file) => file.read_exact_at(buffer, offset),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Gives an extent back.
    ///
    /// # Errors
    /// The file system keeps the room until the run ends.
    pub fn release(&self, extent: Extent) -> io::Result<()> {
        let mut state = self.state();
        state.held -= extent.len;
        let is_unused = state.held == 0;
        if is_unused {
            state.end = 0;
        }
        match &state.file {
            Some(file) if is_unused => file.set_len(0),
            Some(file) => transfer::punch_hole(file.as_fd(), extent.offset, extent.len),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
