//! The two halves of a link: bytes that wait to be sent, and bytes that wait to be understood.
//!
//! Neither blocks. What waits to be sent is bounded by what the engine lets a worker hold; what waits to be understood
//! by the longest message allowed.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use poolctl_protocol::{Frame, FrameError, MAX_BODY_BYTES};
use poolctl_sys::packet::MAX_DESCRIPTORS;
use poolctl_sys::{ancillary, pipe, transfer};

use crate::block::Attachment;

/// How much is read at once, and the room an inbox begins with, in bytes.
const READ_BYTES: usize = 64 << 10;

/// How many descriptors may wait for the rest of their frames.
const MAX_WAITING: usize = MAX_DESCRIPTORS;

/// Bytes on their way to a worker.
#[derive(Debug)]
pub struct Outbox {
    fd: OwnedFd,
    is_socket: bool,
    bytes: Vec<u8>,
    sent: usize,
    /// Frames that wait behind `bytes` together with descriptors.
    packets: VecDeque<Packet>,
    close_when_sent: bool,
}

/// Bytes that go with descriptors.
#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    descriptors: Vec<Attachment>,
}

impl Outbox {
    /// An outbox over the writing end of a pipe.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub fn over_pipe(fd: OwnedFd) -> io::Result<Self> {
        pipe::set_nonblocking(&fd)?;
        Ok(Self::new(fd, false))
    }

    /// An outbox over a stream socket.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub fn over_socket(fd: OwnedFd) -> io::Result<Self> {
        pipe::set_nonblocking(&fd)?;
        Ok(Self::new(fd, true))
    }

    fn new(fd: OwnedFd, is_socket: bool) -> Self {
        let (bytes, packets) = (Vec::new(), VecDeque::new());
        Self { fd, is_socket, bytes, sent: 0, packets, close_when_sent: false }
    }

    /// Sends `bytes`, a frame, together with descriptors over a stream socket, or keeps them behind what waits.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn send_with(&mut self, bytes: Vec<u8>, descriptors: Vec<Attachment>) -> io::Result<()> {
        self.packets.push_back(Packet { bytes, descriptors });
        self.flush()
    }

    /// What waits; add to its end, then [`Outbox::flush`].
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        // What comes behind descriptors must not overtake them.
        if self.packets.back().is_some_and(|last| !last.descriptors.is_empty()) {
            self.packets.push_back(Packet { bytes: Vec::new(), descriptors: Vec::new() });
        }
        self.packets.back_mut().map_or(&mut self.bytes, |last| &mut last.bytes)
    }

    /// How many bytes wait for room.
    #[must_use]
    pub fn backlog(&self) -> usize {
        let packets: usize = self.packets.iter().map(|packet| packet.bytes.len()).sum();
        self.bytes.len() - self.sent + packets
    }

    /// Sends `bytes` at once as far as they go, if nothing waits; the rest waits.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.wants_write() {
            self.bytes().extend_from_slice(bytes);
            return Ok(());
        }
        let mut left = bytes;
        let mut outcome = Ok(());
        while outcome.is_ok() && !left.is_empty() {
            match self.write(left) {
                Ok(sent) => left = &left[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => outcome = Err(error),
            }
        }
        // What a closed link refused stays here too, and tells that nobody has read it.
        self.bytes.extend_from_slice(left);
        outcome
    }

    /// Sends what waits, as far as it goes.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.bytes.len() {
            match self.write(&self.bytes[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(READ_BYTES);
        self.sent = 0;
        while let Some(packet) = self.packets.front_mut() {
            if packet.bytes.is_empty() {
                self.packets.pop_front();
                continue;
            }
            let narrowed: Vec<_> = packet.descriptors.iter().map(Attachment::narrowed).collect();
            let descriptors = packet.descriptors.iter().zip(&narrowed);
            let descriptors: Vec<_> = descriptors
                .map(|(whole, narrowed)| narrowed.as_ref().map_or_else(|| whole.as_fd(), AsFd::as_fd))
                .collect();
            // As many as one call takes go with the first byte, as many with the second, and so on.
            let now = descriptors.len().min(MAX_DESCRIPTORS);
            let bytes = if now < descriptors.len() { 1 } else { packet.bytes.len() };
            match ancillary::send(self.fd.as_fd(), &packet.bytes[..bytes], &descriptors[..now]) {
                Ok(sent) if sent == packet.bytes.len() => {
                    self.packets.pop_front();
                }
                Ok(sent) => {
                    packet.bytes.drain(..sent);
                    packet.descriptors.drain(..now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether something waits for room.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.sent < self.bytes.len() || !self.packets.is_empty()
    }

    /// Whether the last `bytes` bytes put in here lie unread: they wait here, or in the pipe.
    pub(crate) fn holds_unread(&self, bytes: usize) -> bool {
        let waiting = self.bytes.len() - self.sent;
        let in_pipe = if self.is_socket { Ok(0) } else { pipe::unread(&self.fd) };
        bytes > 0 && in_pipe.is_ok_and(|in_pipe| in_pipe + waiting as u64 >= bytes as u64)
    }

    /// Says that nothing follows: the link is to be closed when all is sent.
    pub(crate) fn finish(&mut self) {
        self.close_when_sent = true;
    }

    /// Says on the socket itself that nothing follows, while answers may still come.
    pub(crate) fn shut_down(&mut self) {
        let ended = self.fd.try_clone().and_then(|fd| UnixStream::from(fd).shutdown(Shutdown::Write));
        if let Err(error) = ended {
            tracing::debug!(%error, "the other end of a link is gone already");
        }
        self.close_when_sent = false;
    }

    /// Whether nothing follows and all is sent.
    pub(crate) fn is_finished(&self) -> bool {
        self.close_when_sent && !self.wants_write()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_socket {
            transfer::send(self.as_fd(), bytes)
        } else {
            transfer::write(self.as_fd(), bytes)
        }
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Bytes that came from a worker and are not understood yet.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Those that came and whose frames were not taken yet.
    descriptors: Vec<OwnedFd>,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Bytes, and there may be more at once.
    More,
    /// Perhaps bytes, and nothing more just now.
    Drained,
    /// The other end is closed.
    Closed,
}

impl Inbox {
    /// An empty inbox, without memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads once from `fd`, which does not block.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn fill(&mut self, fd: BorrowedFd<'_>) -> io::Result<Filled> {
        self.make_room();
        let got = transfer::read(fd, &mut self.bytes[self.end..]);
        self.filled(got)
    }

    /// As [`Inbox::fill`], from a socket over which descriptors come too. No more than one read brings are kept
    /// beyond those whose frames are still on their way: a read never goes over what was sent with others.
    ///
    /// # Errors
    /// It cannot be read, or (`InvalidData`) this process could not take the descriptors.
    pub fn fill_with_descriptors(&mut self, socket: BorrowedFd<'_>) -> io::Result<Filled> {
        self.make_room();
        let got = ancillary::receive(socket, &mut self.bytes[self.end..], &mut self.descriptors);
        self.filled(got)
    }

    /// Whether descriptors are there, and no bytes: no frame will ask for them.
    #[must_use]
    pub fn has_stray_descriptors(&self) -> bool {
        !self.descriptors.is_empty() && (self.content().is_empty() || self.descriptors.len() > MAX_WAITING)
    }

    fn filled(&mut self, got: io::Result<usize>) -> io::Result<Filled> {
        match got {
            Ok(0) => Ok(Filled::Closed),
            Ok(got) => {
                self.end += got;
                Ok(if self.end == self.bytes.len() { Filled::More } else { Filled::Drained })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Filled::Drained),
            Err(error) if error.raw_os_error() == Some(ECONNRESET) => Ok(Filled::Closed),
            Err(error) => Err(error),
        }
    }

    /// What is there.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes the first `count` bytes away.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Takes whole frames out one after another, until `take` refuses one. It is also shown the descriptors that came, from
    /// which it takes those that belong to the frame off the front.
    ///
    /// # Errors
    /// What `take` says, or that of bytes that are no frame.
    pub fn take_frames<E: From<FrameError>>(
        &mut self,
        mut take: impl FnMut(&Frame<'_>, &mut Vec<OwnedFd>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(frame) = Frame::parse(&self.bytes[self.start..self.end], MAX_BODY_BYTES)? {
            let length = frame.frame_len();
            let taken = take(&frame, &mut self.descriptors);
            self.consume(length);
            taken?;
        }
        Ok(())
    }

    /// Makes room for a read: moves what is there to the front, grows when it fills more than half.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() - self.end < READ_BYTES / 2 {
            let room = (self.bytes.len() * 2).max(READ_BYTES);
            self.bytes.resize(room, 0);
        } else if self.end == 0 && self.bytes.len() > 16 * READ_BYTES {
            self.bytes.truncate(READ_BYTES);
            self.bytes.shrink_to_fit();
        }
    }
}

/// What reading a socket answers whose other end died with unread bytes.
const ECONNRESET: i32 = 104;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_and_arrives_whole() {
        let (read, write) = pipe::pair().unwrap();
        pipe::set_nonblocking(&read).unwrap();
        let mut outbox = Outbox::over_pipe(write).unwrap();
        let mut inbox = Inbox::new();
        let sent: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();

        outbox.send(&sent[..700_000]).unwrap();
        outbox.send(&sent[700_000..]).unwrap();
        outbox.finish();
        assert!(outbox.wants_write());
        while !outbox.is_finished() {
            outbox.flush().unwrap();
            while inbox.fill(read.as_fd()).unwrap() == Filled::More {}
        }
        while inbox.fill(read.as_fd()).unwrap() == Filled::More {}

        assert_eq!(inbox.content(), sent);
        inbox.consume(sent.len());
        drop(outbox);
        assert_eq!(inbox.fill(read.as_fd()).unwrap(), Filled::Closed);
    }
}
