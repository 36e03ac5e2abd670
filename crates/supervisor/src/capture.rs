//! What a process writes on stdout or stderr, read as it comes, bounded in memory.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use poolctl_sys::{pipe, transfer};

use crate::output::Output;
use crate::spill::Spill;

/// How much is read at once, in bytes: what a pipe holds.
const READ_BYTES: usize = 64 << 10;

/// How often one wake-up reads one stream at most, so that a flood starves nobody.
const READS_PER_WAKE: usize = 16;

/// How much of a warm worker's prints is kept per item, in bytes.
pub(crate) const TAIL_BYTES: usize = 1 << 20;

/// The beginning of a line that is longer is not kept back.
const LONG_LINE: usize = 64 << 10;

/// How much of a stream is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All of it; beyond so many bytes in the spill file.
    All(usize),
    /// The last [`TAIL_BYTES`].
    Tail,
}

/// One captured stream of a process.
#[derive(Debug)]
pub(crate) struct Capture {
    fd: OwnedFd,
    keep: Keep,
    output: Output,
    tail: Vec<u8>,
    dropped: u64,
    failure: Option<io::Error>,
}

/// Where a stream stands after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// More may come.
    Open,
    /// Every writer has closed it.
    Closed,
}

impl Capture {
    /// Makes a stream: what reads it, and the end to give to the process.
    pub(crate) fn make(keep: Keep) -> io::Result<(Self, OwnedFd)> {
        let (fd, theirs) = pipe::pair()?;
        pipe::set_nonblocking(&fd)?;
        let capture =
            Self { fd, keep, output: Output::default(), tail: Vec::new(), dropped: 0, failure: None };
        Ok((capture, theirs))
    }

    /// Reads what is there, in turns of at most a megabyte.
    pub(crate) fn read(&mut self, scratch: &mut Vec<u8>, spill: &Arc<Spill>) -> Stage {
        scratch.resize(READ_BYTES, 0);
        for _ in 0..READS_PER_WAKE {
            match transfer::read(self.fd.as_fd(), scratch) {
                Ok(0) => return Stage::Closed,
                Ok(got) => {
                    self.take(&scratch[..got], spill);
                    if got < READ_BYTES {
                        return Stage::Open;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Stage::Open,
                Err(error) => {
                    self.failure.get_or_insert(error);
                    return Stage::Closed;
                }
            }
        }
        Stage::Open
    }

    /// Reads all that is there; for a process that is dead.
    pub(crate) fn read_to_end(&mut self, scratch: &mut Vec<u8>, spill: &Arc<Spill>) {
        loop {
            let before = self.len();
            if self.read(scratch, spill) == Stage::Closed || self.len() == before {
                return;
            }
        }
    }

    fn len(&self) -> u64 {
        self.output.len() + self.tail.len() as u64 + self.dropped
    }

    fn take(&mut self, bytes: &[u8], spill: &Arc<Spill>) {
        match self.keep {
            Keep::All(limit) => {
                if self.failure.is_none()
                    && let Err(error) = self.output.append(bytes, limit, spill)
                {
                    self.failure = Some(error);
                }
            }
            Keep::Tail => push_tail(&mut self.tail, bytes, &mut self.dropped),
        }
    }

    /// Takes what was kept since the last time, and what went wrong with keeping it.
    pub(crate) fn take_output(&mut self) -> (Output, Option<io::Error>) {
        let output = match self.keep {
            Keep::All(_) => std::mem::take(&mut self.output),
            Keep::Tail => tail_output(&mut self.tail, &mut self.dropped),
        };
        (output, self.failure.take())
    }

    /// Takes the whole lines of what was kept, and leaves the beginning of the next for later, unless it is very long.
    /// For a stream of which the tail is kept.
    pub(crate) fn take_lines(&mut self) -> Vec<u8> {
        let whole = memchr::memrchr2(b'\n', b'\r', &self.tail).map_or(0, |end| end + 1);
        let rest = self.tail.split_off(whole);
        let mut lines = tail_output(&mut self.tail, &mut self.dropped).to_vec().unwrap_or_default();
        if rest.len() > LONG_LINE {
            lines.extend_from_slice(&rest);
        } else {
            self.tail = rest;
        }
        lines
    }

    /// Whether nothing was kept since the last time.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Adds `bytes` to a tail of at most twice [`TAIL_BYTES`], counting what falls off its front.
pub(crate) fn push_tail(tail: &mut Vec<u8>, bytes: &[u8], dropped: &mut u64) {
    tail.extend_from_slice(bytes);
    if tail.len() > 2 * TAIL_BYTES {
        let surplus = tail.len() - TAIL_BYTES;
        tail.drain(..surplus);
        *dropped += surplus as u64;
    }
}

/// A tail as an output that says what is missing from it; leaves it empty.
pub(crate) fn tail_output(tail: &mut Vec<u8>, dropped: &mut u64) -> Output {
    let kept = std::mem::take(tail);
    match std::mem::take(dropped) {
        0 => Output::from(kept),
        missing => {
            let mut all = format!("[… {missing} bytes dropped …]\n").into_bytes();
            all.extend_from_slice(&kept);
            Output::from(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_whole_and_their_beginnings_wait_unless_they_are_long() {
        let spill = Arc::new(Spill::new(std::env::temp_dir()));
        let (mut capture, _theirs) = Capture::make(Keep::Tail).unwrap();
        let mut lines = |bytes: &[u8]| {
            capture.take(bytes, &spill);
            String::from_utf8(capture.take_lines()).unwrap()
        };

        assert_eq!(lines(b"to std"), "");
        assert_eq!(lines(b"err 1\nto "), "to stderr 1\n");
        assert_eq!(lines(b"stderr 2\n50 %\r60"), "to stderr 2\n50 %\r");
        let long = vec![b'x'; LONG_LINE];
        assert_eq!(lines(&long).len(), LONG_LINE + 2);
    }
}
