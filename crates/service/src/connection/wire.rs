//! Frames over a socket, both ways at once, by one thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use poolctl_protocol::{FLAG_IN_MEMFD, Frame, Kind, MAX_BODY_BYTES};
use poolctl_sys::poller::{Interest, Poller, Ready};
use poolctl_sys::waker::Waker;
use poolctl_sys::{ancillary, transfer};

use super::RequestError;

/// How much is asked for in one read.
const READ_BYTES: usize = 256 << 10;

/// When so much was sent of what waits, it is moved to the front.
const SENT_BYTES: usize = 1 << 20;

const SOCKET: u64 = 0;
const WAKER: u64 = 1;

/// A frame that has come.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) id: u64,
    pub(super) meta: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// A stream of frames.
#[derive(Debug)]
pub(super) struct Wire {
    socket: UnixStream,
    poller: Poller,
    ready: Vec<Ready>,
    interest: Interest,
    /// What was read and is not taken yet lies in `incoming[taken..held]`.
    incoming: Vec<u8>,
    taken: usize,
    held: usize,
    /// Descriptors that came and are not taken yet: each belongs to the first frame that needs one.
    descriptors: VecDeque<OwnedFd>,
    /// What waits to be sent lies in `outgoing[sent..]`.
    outgoing: Vec<u8>,
    sent: usize,
    has_ended: bool,
    has_waker: bool,
}

impl Wire {
    /// Frames over `socket`.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let poller = Poller::new()?;
        poller.add(socket.as_fd(), SOCKET, Interest::Read)?;
        Ok(Self {
            socket,
            poller,
            ready: Vec::new(),
            interest: Interest::Read,
            incoming: Vec::new(),
            taken: 0,
            held: 0,
            descriptors: VecDeque::new(),
            outgoing: Vec::new(),
            sent: 0,
            has_ended: false,
            has_waker: false,
        })
    }

    /// Lets `waker` end a [`Wire::turn`] early.
    pub(super) fn listen_to(&mut self, waker: &Waker) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_waker, true) {
            self.poller.add(waker.as_fd(), WAKER, Interest::Read)?;
        }
        Ok(())
    }

    /// Puts a frame behind what waits to be sent.
    pub(super) fn put(&mut self, kind: Kind, id: u64, meta: &[u8], payload: &[u8]) {
        Frame::write(&mut self.outgoing, kind, 0, id, meta, payload);
    }

    /// How many bytes wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// What waits to be sent, to be written to by others.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// The next frame, as soon as it is there; sends what waits meanwhile.
    ///
    /// # Errors
    /// The stream ends, or is none of frames.
    pub(super) fn next_or_wait(&mut self) -> Result<Incoming, RequestError> {
        loop {
            if let Some(frame) = self.next()? {
                return Ok(frame);
            }
            if self.has_ended {
                return Err(RequestError::Lost);
            }
            self.turn(Interest::Read, None)?;
        }
    }

    /// The next frame, if it is there.
    ///
    /// # Errors
    /// What is there is no frame.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, RequestError> {
        let bytes = &self.incoming[self.taken..self.held];
        let Some(frame) = Frame::parse(bytes, MAX_BODY_BYTES)? else { return Ok(None) };
        let mut incoming = Incoming {
            kind: frame.header.kind,
            flags: frame.header.flags,
            id: frame.header.id,
            meta: frame.meta.to_vec(),
            payload: frame.payload.to_vec(),
        };
        self.taken += frame.frame_len();
        if incoming.flags & FLAG_IN_MEMFD != 0 {
            let memfd = self.descriptors.pop_front();
            let memfd = memfd.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
            incoming.payload = contents(&memfd)?;
        }
        Ok(Some(incoming))
    }

    /// Whether no further byte will come.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Waits until something has come (if `interest` has reading), something was sent, the waker was raised, or `timeout`
    /// has passed.
    ///
    /// # Errors
    /// The kernel refuses. A server that has gone is an end, and no error.
    pub(super) fn turn(&mut self, interest: Interest, timeout: Option<Duration>) -> Result<(), RequestError> {
        self.send()?;
        let reads = matches!(interest, Interest::Read | Interest::ReadWrite) && !self.has_ended;
        let interest = match (reads, self.unsent() > 0 && !self.has_ended) {
            (true, true) => Interest::ReadWrite,
            (true, false) => Interest::Read,
            (false, true) => Interest::Write,
            (false, false) => Interest::Close,
        };
        if interest != self.interest {
            self.poller.modify(self.socket.as_fd(), SOCKET, interest)?;
            self.interest = interest;
        }
        self.poller.wait(&mut self.ready, timeout)?;
        let (mut readable, mut writable) = (false, false);
        for ready in &self.ready {
            if ready.token == SOCKET {
                readable |= ready.readable || ready.closed;
                writable |= ready.writable;
            }
        }
        if writable {
            self.send()?;
        }
        // One that has gone is read to its end, whatever was wanted: what it said before it went counts.
        if readable {
            self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), RequestError> {
        while self.unsent() > 0 && !self.has_ended {
            match transfer::send(self.socket.as_fd(), &self.outgoing[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What it said before it went is still to be read.
                Err(error) if is_gone(&error) => {
                    self.outgoing.clear();
                    self.sent = 0;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        } else if self.sent > SENT_BYTES {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), RequestError> {
        if self.taken > 0 {
            self.incoming.copy_within(self.taken..self.held, 0);
            self.held -= self.taken;
            self.taken = 0;
        }
        if self.incoming.len() < self.held + READ_BYTES {
            self.incoming.resize(self.held + READ_BYTES, 0);
        }
        let mut descriptors = Vec::new();
        match ancillary::receive(self.socket.as_fd(), &mut self.incoming[self.held..], &mut descriptors) {
            Ok(0) => self.has_ended = true,
            Ok(count) => self.held += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_gone(&error) => self.has_ended = true,
            Err(error) => return Err(error.into()),
        }
        self.descriptors.extend(descriptors);
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// The whole contents of a memfd.
fn contents(memfd: &OwnedFd) -> io::Result<Vec<u8>> {
    let length = std::fs::File::from(memfd.try_clone()?).metadata()?.len();
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    transfer::read_vec_at(memfd.as_fd(), length, 0)
}
