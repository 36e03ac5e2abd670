//! Waits for one descriptor (poll); for many at once there is [`crate::poller`].

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock;

/// What to wait for. The end of the other side ends either wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Something to read.
    Data,
    /// Room to write.
    Room,
}

/// Waits until `fd` is ready, at most for `timeout` (`None`: for ever), and says whether it is.
///
/// # Errors
/// None is known for an open descriptor.
pub fn wait(fd: BorrowedFd<'_>, wanted: Wanted, timeout: Option<Duration>) -> io::Result<bool> {
    let until = timeout.map(|span| clock::now() + span);
    let flags = match wanted {
        Wanted::Data => PollFlags::IN,
        Wanted::Room => PollFlags::OUT,
    };
    loop {
        let left = until.map(|until| until - clock::now()).map(|span| Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(span.subsec_nanos()),
        });
        match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::{pipe, transfer};

    #[test]
    fn data_and_room_and_their_lack_are_told() {
        let (read, write) = pipe::pair().unwrap();

        assert!(!wait(read.as_fd(), Wanted::Data, Some(Duration::from_micros(100))).unwrap());
        assert!(wait(write.as_fd(), Wanted::Room, None).unwrap());
        transfer::write(write.as_fd(), b"x").unwrap();
        assert!(wait(read.as_fd(), Wanted::Data, None).unwrap());
    }

    #[test]
    fn the_end_of_the_other_side_ends_the_wait() {
        let (read, write) = pipe::pair().unwrap();

        drop(write);

        assert!(wait(read.as_fd(), Wanted::Data, None).unwrap());
    }
}
