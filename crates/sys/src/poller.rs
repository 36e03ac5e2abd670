//! Waits for many descriptors at once (epoll, level-triggered).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// How many events one wait takes at most; further ones are taken by the next.
const EVENTS_PER_WAIT: usize = 128;

/// What to wait for. The end of the other side is always told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Whether the other end is closed, and nothing else.
    Close,
    /// There is something to read.
    Read,
    /// There is room to write.
    Write,
    /// Either.
    ReadWrite,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Interest::Close => epoll::EventFlags::empty(),
            Interest::Read => epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
            Interest::Write => epoll::EventFlags::OUT,
            Interest::ReadWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP,
        }
    }
}

/// A descriptor that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The number it was added with.
    pub token: u64,
    /// A read would not block (it may answer end-of-file or an error).
    pub readable: bool,
    /// A write would not block (it may answer an error).
    pub writable: bool,
    /// The other side has gone, or the descriptor is in error.
    pub closed: bool,
}

/// A set of descriptors to wait for.
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll })
    }

    /// Adds `fd`, known by `token` from now on.
    ///
    /// # Errors
    /// It is in the set already, cannot be waited for (a regular file), or the kernel's limit is reached.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Changes what is waited for.
    ///
    /// # Errors
    /// It is not in the set.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Takes `fd` out. Needed before closing whenever another process may hold a copy, which keeps it in the set.
    ///
    /// # Errors
    /// It is not in the set.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits until something is ready or `timeout` has passed (`None`: for ever), and replaces the contents of
    /// `ready` by what is. A signal ends the wait early with nothing ready.
    ///
    /// # Errors
    /// None is known that the arguments here can cause.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let timeout = timeout.map(timespec);
        // Not kept from wait to wait: events may hold pointers, which would bind the poller to one thread.
        let mut room = [const { MaybeUninit::uninit() }; EVENTS_PER_WAIT];
        let events = match epoll::wait(&self.epoll, &mut room, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        ready.extend(events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            let ended = epoll::EventFlags::HUP | epoll::EventFlags::ERR | epoll::EventFlags::RDHUP;
            let broken = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            Ready {
                token: data.u64(),
                readable: flags.intersects(epoll::EventFlags::IN | broken),
                writable: flags.intersects(epoll::EventFlags::OUT | broken),
                closed: flags.intersects(ended),
            }
        }));
        Ok(())
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// The same span for the kernel; what is too long for it is for ever, to all intents.
fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pipe, transfer};

    #[test]
    fn a_written_pipe_is_readable_and_a_closed_one_is_closed() {
        let mut poller = Poller::new().unwrap();
        let (read, write) = pipe::pair().unwrap();
        poller.add(read.as_fd(), 7, Interest::Read).unwrap();
        let mut ready = Vec::new();

        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, []);
        transfer::write(write.as_fd(), b"x").unwrap();
        poller.wait(&mut ready, None).unwrap();
        assert_eq!(ready, [Ready { token: 7, readable: true, writable: false, closed: false }]);
        drop(write);
        poller.wait(&mut ready, None).unwrap();
        assert_eq!(ready.len(), 1);
        assert!(ready[0].readable && ready[0].closed);
    }

    #[test]
    fn a_removed_descriptor_is_silent() {
        let mut poller = Poller::new().unwrap();
        let (_read, write) = pipe::pair().unwrap();
        poller.add(write.as_fd(), 1, Interest::Write).unwrap();
        poller.remove(write.as_fd()).unwrap();
        let mut ready = Vec::new();

        poller.wait(&mut ready, Some(Duration::from_micros(100))).unwrap();

        assert_eq!(ready, []);
    }
}
