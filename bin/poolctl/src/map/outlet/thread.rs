//! The writer thread: takes pieces from the queue, renders them, writes them, then logs them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use poolctl_supervisor::Waker;

use super::files;
use super::landing::Landing;
use super::piece::{Body, Piece, TagWriter};
use super::{Destination, OutletError};
use crate::map::log::{self, LogLine, OutputEnd};
use crate::map::screen::Screen;

/// So much is rendered before it is written.
const STAGE_BYTES: usize = 64 << 10;

/// What both ends of the queue see.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// The memory of everything in the queue and of what is being written.
    held: AtomicUsize,
    /// The loop wants to be woken when `held` is at most this.
    low: AtomicUsize,
    failed: AtomicBool,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    closed: bool,
    /// Whether the thread waits, so that it must be woken.
    waiting: bool,
    spare: Vec<u8>,
}

/// No wish to be woken.
const NEVER: usize = usize::MAX;

impl Shared {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            held: AtomicUsize::new(0),
            low: AtomicUsize::new(NEVER),
            failed: AtomicBool::new(false),
            waker,
        }
    }

    pub(super) fn push(&self, piece: Piece) {
        self.held.fetch_add(piece.held(), Ordering::Relaxed);
        let mut queue = self.queue();
        queue.pieces.push_back(piece);
        if std::mem::take(&mut queue.waiting) {
            self.changed.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_one();
    }

    pub(super) fn spare(&self) -> Vec<u8> {
        std::mem::take(&mut self.queue().spare)
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn wake_below(&self, bytes: usize) {
        self.low.store(bytes, Ordering::SeqCst);
        // What was written between the look at `held` and the wish would wake nobody.
        self.wake_if_low();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits for pieces; none: nothing follows.
    fn take(&self) -> Option<VecDeque<Piece>> {
        let mut queue = self.queue();
        loop {
            if !queue.pieces.is_empty() {
                return Some(std::mem::take(&mut queue.pieces));
            }
            if queue.closed {
                return None;
            }
            queue.waiting = true;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.queue().spare = bytes;
    }

    fn wrote(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        self.wake_if_low();
    }

    fn wake_if_low(&self) {
        let low = self.low.load(Ordering::SeqCst);
        if low != NEVER && self.held.load(Ordering::SeqCst) <= low {
            self.low.store(NEVER, Ordering::SeqCst);
            self.waker.wake();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's end.
pub(super) struct Writer {
    shared: Arc<Shared>,
    stage: Stage,
    directory: Option<PathBuf>,
}

impl Writer {
    pub(super) fn new(to: Destination, shared: Arc<Shared>) -> Self {
        let Destination { name, file, landing, log, directory, screen } = to;
        let stage =
            Stage { name, file, landing, log, screen, bytes: Vec::new(), lines: Vec::new(), trouble: None };
        Self { shared, stage, directory }
    }

    /// Writes until nothing follows. After an error it only empties the queue.
    pub(super) fn run(mut self) -> Result<(), OutletError> {
        let mut end = Ok(());
        while let Some(pieces) = self.shared.take() {
            let held: usize = pieces.iter().map(Piece::held).sum();
            if end.is_ok() {
                end = self.write_all(pieces);
                if end.is_err() {
                    self.shared.failed.store(true, Ordering::Relaxed);
                    self.shared.waker.wake();
                }
            }
            self.shared.wrote(held);
        }
        end.and_then(|()| self.stage.end())
    }

    fn write_all(&mut self, mut pieces: VecDeque<Piece>) -> Result<(), OutletError> {
        // What the fast path hands over needs no rendering.
        let plain = |piece: &Piece| matches!(piece, Piece { body: Body::Bytes(_), log: None });
        while pieces.front().is_some_and(plain) {
            if let Some(Piece { body: Body::Bytes(bytes), .. }) = pieces.pop_front() {
                self.stage.write_bytes(&bytes)?;
                self.shared.give_back(bytes);
            }
        }
        for piece in pieces {
            self.write_one(piece)?;
        }
        self.stage.settle()
    }

    fn directory(&self) -> &Path {
        self.directory.as_deref().unwrap_or(Path::new("."))
    }

    fn write_one(&mut self, piece: Piece) -> Result<(), OutletError> {
        let rendered = match piece.body {
            Body::Nothing => Ok(()),
            Body::Bytes(bytes) => self.stage.write_all(&bytes),
            Body::Output { output, ending } => ending.write(&output, &mut self.stage),
            Body::Tagged { output, tag } => {
                let mut tagged = TagWriter::new(&mut self.stage, &tag);
                output.write_to(&mut tagged).and_then(|()| tagged.end())
            }
            Body::Json(record) => record.write(&mut self.stage),
            Body::File { item, ok, output, ending } => {
                files::write(self.directory(), item, ok, &output, ending)?;
                Ok(())
            }
            Body::NoFile { item } => {
                files::remove(self.directory(), item)?;
                Ok(())
            }
        };
        if let Some(trouble) = self.stage.trouble.take() {
            return Err(trouble);
        }
        rendered.map_err(|source| OutletError::Spill { source })?;
        self.stage.log(piece.log);
        Ok(())
    }
}

/// Rendered bytes on their way into the file, and the log lines that may follow them.
struct Stage {
    name: &'static str,
    file: File,
    landing: Option<Landing>,
    log: Option<(File, PathBuf)>,
    screen: Option<Screen>,
    bytes: Vec<u8>,
    /// Log lines, and how many of the bytes come before each.
    lines: Vec<(LogLine, usize)>,
    /// The error that made a write fail, when the caller can only see that one failed.
    trouble: Option<OutletError>,
}

impl Stage {
    /// Adds the log line for what was written last.
    fn log(&mut self, line: Option<LogLine>) {
        if let Some(line) = line {
            self.lines.push((line, self.bytes.len()));
        }
    }

    /// Writes everything rendered, then the log lines.
    fn settle(&mut self) -> Result<(), OutletError> {
        let bytes = std::mem::take(&mut self.bytes);
        self.write_bytes(&bytes)?;
        if !self.lines.is_empty() {
            let mut text = Vec::new();
            for (line, before) in self.lines.drain(..) {
                let behind = (bytes.len() - before) as u64;
                let end = self.landing.as_ref().map(|landing| OutputEnd {
                    offset: landing.end().saturating_sub(behind),
                    shared: landing.is_shared(),
                });
                line.put(&mut text, end);
            }
            self.write_log(&text)?;
        }
        self.bytes = bytes;
        self.bytes.clear();
        Ok(())
    }

    /// Tells the log that nothing was written that it does not know of.
    fn end(&mut self) -> Result<(), OutletError> {
        match &self.landing {
            Some(landing) => {
                let text = log::ending(landing.end());
                self.write_log(&text)
            }
            None => Ok(()),
        }
    }

    fn write_log(&mut self, text: &[u8]) -> Result<(), OutletError> {
        let (log, path) = self.log.as_mut().expect("log lines are made only where there is a log");
        log.write_all(text).map_err(|source| OutletError::Log { path: path.clone(), source })
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), OutletError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = match &self.screen {
            Some(screen) => screen.around(|| write_whole(&self.file, bytes)),
            None => write_whole(&self.file, bytes),
        };
        match written {
            Ok(()) => {
                if let Some(landing) = &mut self.landing {
                    landing.wrote(&self.file, bytes.len() as u64);
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(OutletError::ReaderGone { name: self.name })
            }
            Err(source) => Err(OutletError::Write { name: self.name, source }),
        }
    }
}

impl Write for Stage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= STAGE_BYTES
            && let Err(trouble) = self.settle()
        {
            self.trouble = Some(trouble);
            return Err(io::ErrorKind::Other.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all of `bytes`, also where somebody made the descriptor non-blocking.
fn write_whole(mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut wanted, PollTimeout::NONE) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
