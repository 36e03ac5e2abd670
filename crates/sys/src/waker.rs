//! Wakes a sleeping loop from another thread (eventfd).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// A flag that a [`crate::poller::Poller`] can wait for. Clones raise the same flag.
#[derive(Debug, Clone)]
pub struct Waker {
    flag: Arc<Flag>,
}

/// The flag twice: for who sleeps, and for who spins and will not make a system call to look.
#[derive(Debug)]
struct Flag {
    eventfd: OwnedFd,
    raised: AtomicBool,
}

impl Waker {
    /// A waker that is not raised.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { flag: Arc::new(Flag { eventfd, raised: AtomicBool::new(false) }) })
    }

    /// Raises the flag: the descriptor is readable until [`Waker::clear`]. Never blocks.
    pub fn wake(&self) {
        self.flag.raised.store(true, Ordering::Release);
        loop {
            match rustix::io::write(&self.flag.eventfd, &1_u64.to_ne_bytes()) {
                // AGAIN: the counter is full, so the flag is raised.
                Ok(_) | Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => unreachable!("an open eventfd takes eight bytes: {error}"),
            }
        }
    }

    /// Whether it is raised, without a system call: for loops that spin. May still be so just after a
    /// [`Waker::clear`] that crossed a wake; then clearing once more helps.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.flag.raised.load(Ordering::Relaxed)
    }

    /// Lowers the flag. Look for work after this, not before, or a wake in between is lost.
    pub fn clear(&self) {
        // Before the read: a wake that comes between the two leaves the flag raised for nothing, and never lowered
        // with the descriptor readable.
        self.flag.raised.store(false, Ordering::Relaxed);
        let mut count = [0_u8; 8];
        loop {
            match rustix::io::read(&self.flag.eventfd, &mut count) {
                Ok(_) | Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => unreachable!("an open eventfd gives eight bytes: {error}"),
            }
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.flag.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::poller::{Interest, Poller};

    #[test]
    fn a_wake_from_another_thread_ends_the_wait_once() {
        let waker = Waker::new().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(waker.as_fd(), 3, Interest::Read).unwrap();
        let mut ready = Vec::new();

        let other = waker.clone();
        let thread = std::thread::spawn(move || {
            other.wake();
            other.wake();
        });
        poller.wait(&mut ready, None).unwrap();
        thread.join().unwrap();
        assert_eq!(ready[0].token, 3);
        assert!(waker.is_raised());
        waker.clear();
        assert!(!waker.is_raised());
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, []);
    }
}
