//! Reading a worker's claim and result ring. The memfd is read, never mapped, so nothing a worker does to it can
//! hurt; what it says is checked before it is believed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use poolctl_protocol::{Claim, Ring};
use poolctl_sys::{memfd, transfer};

use crate::report::BadReply;

/// The supervisor's side of a claim and its ring.
#[derive(Debug)]
pub(super) struct RingReader {
    memfd: OwnedFd,
    ring: Ring,
    consumed: u64,
    released: u64,
    bytes: Vec<u8>,
}

impl RingReader {
    /// A fresh claim, with nothing claimed.
    pub(super) fn new() -> io::Result<Self> {
        let ring = Ring::default();
        let memfd = memfd::sealed("poolctl-claim", ring.memfd_bytes())?;
        transfer::write_at(memfd.as_fd(), &Claim::initial(), 0)?;
        Ok(Self { memfd, ring, consumed: 0, released: 0, bytes: Vec::new() })
    }

    /// What to hand to the worker.
    pub(super) fn worker_end(&self) -> io::Result<OwnedFd> {
        self.memfd.try_clone()
    }

    /// What the worker claims just now.
    pub(super) fn claim(&self) -> Result<Claim, BadReply> {
        let mut words = [0; Claim::BYTES];
        self.read_exactly(&mut words, 0)?;
        Ok(Claim::parse(&words))
    }

    /// The frames published since the last time; whole ones, if the worker keeps to the rules.
    pub(super) fn drain(&mut self) -> Result<Vec<u8>, BadReply> {
        let published = self.claim()?.published;
        let pending = self.ring.pending(self.consumed, published)?;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(usize::try_from(pending).expect("a ring fits in memory"), 0);
        let mut at = 0;
        for place in self.ring.places(self.consumed, pending) {
            let length = usize::try_from(place.end - place.start).expect("a ring fits in memory");
            if length > 0 {
                self.read_exactly(&mut bytes[at..at + length], place.start)?;
                at += length;
            }
        }
        self.consumed = published;
        Ok(bytes)
    }

    /// Takes the room of drained bytes back, to be used again.
    pub(super) fn recycle(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// How much is consumed in all, if it is time to tell the worker.
    pub(super) fn release(&mut self) -> Option<u64> {
        let due = self.consumed - self.released >= self.ring.max_frame_bytes();
        due.then(|| {
            self.released = self.consumed;
            self.consumed
        })
    }

    fn read_exactly(&self, mut bytes: &mut [u8], mut offset: u64) -> Result<(), BadReply> {
        while !bytes.is_empty() {
            let got = transfer::read_at(self.memfd.as_fd(), bytes, offset)?;
            if got == 0 {
                return Err(BadReply::Link(io::ErrorKind::UnexpectedEof.into()));
            }
            bytes = &mut bytes[got..];
            offset += got as u64;
        }
        Ok(())
    }
}
