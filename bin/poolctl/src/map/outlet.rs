//! Writing results: a thread of its own, so that a slow reader never holds up the loop.
//!
//! The loop hands over [`Piece`]s in their final order; the thread renders and writes them, and appends the log lines
//! of what `write(2)` has taken. The queue is bounded by the loop: it closes the gate when [`Outlet::held`] is over
//! `--buffer`, and what still comes is moved to the spill file first.
//!
//! # If the other side dies
//! When the reader of the output goes away, or the disk is full, the thread stops writing, drops what comes, and wakes
//! the loop, which asks [`Outlet::has_failed`].

mod files;
mod landing;
mod piece;
mod thread;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use poolctl_supervisor::Waker;

use super::screen::Screen;

pub(crate) use files::make_directory;
pub(crate) use landing::Landing;
pub(crate) use piece::{Body, Ending, Piece};
use thread::{Shared, Writer};

/// So much is gathered before it is handed over within one turn of the loop.
const GATHER_BYTES: usize = 64 << 10;

/// Why results could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutletError {
    /// Nobody reads any more.
    #[error("the reader of {name} went away")]
    ReaderGone { name: &'static str },
    /// The kernel refused.
    #[error("failed to write results to {name}")]
    Write { name: &'static str, source: io::Error },
    /// The kernel refused a file of its own for an item.
    #[error("failed to write the result file `{}`", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// The log could not be written.
    #[error("failed to write the log `{}`", .path.display())]
    Log { path: PathBuf, source: io::Error },
    /// Output that was put aside cannot be read back.
    #[error("failed to read output back from the temporary file")]
    Spill { source: io::Error },
}

/// Where pieces go.
#[derive(Debug)]
pub(crate) struct Destination {
    /// What to call it in messages.
    pub(crate) name: &'static str,
    /// Where to write.
    pub(crate) file: File,
    /// Where writes to that file land, if the log is to tell.
    pub(crate) landing: Option<Landing>,
    /// Where log lines go, and its path.
    pub(crate) log: Option<(File, PathBuf)>,
    /// Where files of single items go.
    pub(crate) directory: Option<PathBuf>,
    /// What must step aside while something is written to the terminal.
    pub(crate) screen: Option<Screen>,
}

/// The loop's end of the queue to a writer thread.
#[derive(Debug)]
pub(crate) struct Outlet {
    shared: Arc<Shared>,
    gathered: Vec<u8>,
    thread: JoinHandle<Result<(), OutletError>>,
}

impl Outlet {
    /// Starts a thread that writes to `to`. It wakes the loop when it fails and when the queue has room again, and
    /// calls `ended` when it is through.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub(crate) fn start(
        to: Destination,
        waker: Waker,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(waker));
        let writer = Writer::new(to, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let end = writer.run();
            ended();
            end
        })?;
        Ok(Self { shared, gathered: Vec::new(), thread })
    }

    /// Adds plain bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHER_BYTES {
            self.flush();
        }
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Piece) {
        match piece {
            Piece { body: Body::Bytes(bytes), log: None } => self.put(&bytes),
            Piece { body: Body::Nothing, log: None } => {}
            other => {
                self.flush();
                self.shared.push(other);
            }
        }
    }

    /// Hands over what was gathered.
    pub(crate) fn flush(&mut self) {
        if !self.gathered.is_empty() {
            let fresh = self.shared.spare();
            let bytes = std::mem::replace(&mut self.gathered, fresh);
            self.shared.push(Piece { body: Body::Bytes(bytes), log: None });
        }
    }

    /// How many bytes of memory wait to be written.
    pub(crate) fn held(&self) -> usize {
        self.gathered.len() + self.shared.held()
    }

    /// Asks to be woken when at most so many bytes are held.
    pub(crate) fn wake_below(&self, bytes: usize) {
        self.shared.wake_below(bytes);
    }

    /// Whether writing came to an end before its time.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// Says that nothing follows.
    pub(crate) fn close(&mut self) {
        self.flush();
        self.shared.close();
    }

    /// Waits until everything is written; [`Outlet::close`] comes first.
    ///
    /// # Errors
    /// Something could not be written.
    pub(crate) fn join(self) -> Result<(), OutletError> {
        self.thread.join().expect("the writer thread does not panic")
    }
}
