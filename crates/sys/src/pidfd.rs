//! A process by descriptor: it means this one life for ever, whereas its pid may be given to another.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use poolctl_types::Exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use crate::wait::{How, Which, wait};

/// `PIDFD_SIGNAL_PROCESS_GROUP` of pidfd_send_signal(2), since Linux 6.9.
const PROCESS_GROUP: libc::c_uint = 1 << 2;

/// A process, whatever becomes of its pid. Readable once it has ended.
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
    pid: u32,
}

/// What a process used, its waited-for children included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time on a processor, in user and kernel mode.
    pub cpu: Duration,
    /// The most memory it had resident at once, at least what its parent had at the spawn.
    pub max_rss_kib: u64,
}

impl Pidfd {
    /// The process that has `pid` now. Only for a child that is not reaped yet is this certain to be the one meant.
    ///
    /// # Errors
    /// There is none (`ESRCH`); no descriptors left.
    pub fn open(pid: u32) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        Ok(Self { fd: pidfd_open(raw, PidfdFlags::empty())?, pid })
    }

    /// This process itself.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn current() -> io::Result<Self> {
        let pid = getpid();
        Ok(Self { fd: pidfd_open(pid, PidfdFlags::empty())?, pid: std::process::id() })
    }

    /// The process behind a descriptor that came from elsewhere, and its pid as its sender knows it.
    #[must_use]
    pub fn from_fd(fd: OwnedFd, pid: u32) -> Self {
        Self { fd, pid }
    }

    /// The pid it has, or had.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends `signal` (0: only asks whether it is there). One that has ended but is not reaped takes it silently.
    ///
    /// # Errors
    /// It has ended and is reaped (`ESRCH`); it belongs to another user (`EPERM`); no such signal (`EINVAL`).
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        Ok(self.send(signal, 0)?)
    }

    /// Sends `signal` to every process of the group that this one leads or led.
    ///
    /// Before Linux 6.9 the group is found by the pid: then it is right only until the process is reaped.
    ///
    /// # Errors
    /// Nobody is in that group (`ESRCH`); no such signal (`EINVAL`).
    pub fn signal_group(&self, signal: i32) -> io::Result<()> {
        match self.send(signal, PROCESS_GROUP) {
            Err(Errno::INVAL) => Ok(self.signal_group_by_pid(signal)?),
            other => Ok(other?),
        }
    }

    /// How it ended and what it used, without reaping it; `None` while it lives. Only its parent may ask.
    ///
    /// # Errors
    /// It is no child of this process, or is reaped already (`ECHILD`).
    pub fn peek_exit(&self) -> io::Result<Option<(Exit, Usage)>> {
        let dead = wait(Which::Pidfd(self.fd.as_fd()), How::Peek)?;
        Ok(dead.map(|dead| (dead.exit, dead.usage)))
    }

    /// Lets the kernel forget the ended process; from now on its pid may be given to another. False while it lives.
    ///
    /// # Errors
    /// As [`Pidfd::peek_exit`].
    pub fn reap(&self) -> io::Result<bool> {
        Ok(wait(Which::Pidfd(self.fd.as_fd()), How::TryReap)?.is_some())
    }

    /// Waits until it has ended, at most for `timeout` (`None`: for ever), and says whether it has.
    ///
    /// # Errors
    /// None is known.
    pub fn wait_for_end(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.map(|span| Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(span.subsec_nanos()),
        });
        let mut ends = [PollFd::new(&self.fd, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut ends, timeout.as_ref()))? > 0)
    }

    fn send(&self, signal: i32, flags: libc::c_uint) -> Result<(), Errno> {
        // SAFETY: the system call takes these four arguments; a null `siginfo` is allowed, and `fd` is open because
        // `self` owns it. It touches no memory of ours.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                flags,
            )
        };
        if answer == 0 { Ok(()) } else { Err(last_errno()) }
    }

    fn signal_group_by_pid(&self, signal: i32) -> Result<(), Errno> {
        // 0 and 1 would mean this process's own group and everybody.
        let group = i32::try_from(self.pid).ok().filter(|pid| *pid > 1).ok_or(Errno::SRCH)?;
        // SAFETY: kill(2) takes any two numbers and touches no memory.
        let answer = unsafe { libc::kill(-group, signal) };
        if answer == 0 { Ok(()) } else { Err(last_errno()) }
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Pidfd> for OwnedFd {
    fn from(pidfd: Pidfd) -> Self {
        pidfd.fd
    }
}

fn last_errno() -> Errno {
    Errno::from_raw_os_error(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawn::testing::shell;

    #[test]
    fn the_status_can_be_looked_at_until_it_is_reaped() {
        let child = shell("exit 7");
        child.wait_for_end(None).unwrap();

        let first = child.peek_exit().unwrap().unwrap();
        let second = child.peek_exit().unwrap().unwrap();

        assert_eq!(first, second);
        assert_eq!(first.0, Exit::Code(7));
        assert!(first.1.max_rss_kib > 0);
        assert!(child.reap().unwrap());
        assert_eq!(child.peek_exit().unwrap_err().raw_os_error(), Some(libc::ECHILD));
        assert_eq!(child.signal(0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_living_process_has_no_status_and_dies_of_a_signal() {
        let child = shell("while :; do sleep 100; done");

        assert_eq!(child.peek_exit().unwrap(), None);
        assert!(!child.reap().unwrap());
        assert!(!child.wait_for_end(Some(Duration::from_micros(1))).unwrap());
        child.signal_group(libc::SIGKILL).unwrap();
        child.wait_for_end(None).unwrap();

        assert_eq!(child.peek_exit().unwrap().unwrap().0, Exit::Signal(libc::SIGKILL));
        assert!(child.reap().unwrap());
    }

    #[test]
    fn a_signal_to_the_group_reaches_the_children_of_a_dead_leader() {
        let (read, write) = crate::pipe::pair().unwrap();
        let child = crate::spawn::testing::shell_writing("sleep 1000 >&3 & exit 0", &write);
        drop(write);
        child.wait_for_end(None).unwrap();

        child.signal_group(libc::SIGKILL).unwrap();

        // The end of the file: the sleeper, which held the other end, has gone too.
        assert_eq!(crate::transfer::read(read.as_fd(), &mut [0]).unwrap(), 0);
        child.reap().unwrap();
    }

    #[test]
    fn a_group_is_found_by_its_pid_where_the_kernel_is_older() {
        let child = shell("while :; do sleep 100; done");

        child.signal_group_by_pid(libc::SIGKILL).unwrap();
        child.wait_for_end(None).unwrap();

        assert_eq!(child.peek_exit().unwrap().unwrap().0, Exit::Signal(libc::SIGKILL));
        assert_eq!(child.signal_group(1000).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        child.reap().unwrap();
    }

    #[test]
    fn the_own_process_lives() {
        let me = Pidfd::current().unwrap();

        assert_eq!(me.pid(), std::process::id());
        assert!(!me.wait_for_end(Some(Duration::ZERO)).unwrap());
        me.signal(0).unwrap();
        assert!(Pidfd::open(u32::MAX).is_err());
    }
}
