//! waitid(2) as the kernel has it: the status, the pid and the resource usage in one call.
//!
//! The wrappers in other crates give no usage, no pid, or refuse statuses of real-time signals.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use poolctl_types::Exit;

use crate::pidfd::Usage;

/// Which children are meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    Any,
    Pid(u32),
    Pidfd(BorrowedFd<'a>),
}

/// What becomes of a dead child that was found, and whether to wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It stays to be found again; does not block.
    Peek,
    /// The kernel forgets it; does not block.
    TryReap,
    /// The kernel forgets it; blocks until there is one.
    Reap,
    /// As `Reap`, but one that was stopped is found too, once for each stop.
    Watch,
}

impl How {
    fn options(self) -> libc::c_int {
        match self {
            How::Peek => libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
            How::TryReap => libc::WEXITED | libc::WNOHANG,
            How::Reap => libc::WEXITED,
            How::Watch => libc::WEXITED | libc::WSTOPPED,
        }
    }
}

/// A dead child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) pid: u32,
    pub(crate) exit: Exit,
    pub(crate) usage: Usage,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Dead(Dead),
    /// `pid` was stopped by `signal`.
    Stopped {
        pid: u32,
        signal: i32,
    },
}

/// Looks for a dead child; `None` if there are such children, but none is dead.
///
/// # Errors
/// There is no such child (`ECHILD`).
pub(crate) fn wait(which: Which<'_>, how: How) -> io::Result<Option<Dead>> {
    Ok(find(which, how)?.and_then(|found| match found {
        Found::Dead(dead) => Some(dead),
        Found::Stopped { .. } => None,
    }))
}

/// Looks for a dead child or, with [`How::Watch`], a stopped one; `None` if there are such children, but none is so.
///
/// # Errors
/// There is no such child (`ECHILD`).
pub(crate) fn find(which: Which<'_>, how: How) -> io::Result<Option<Found>> {
    loop {
        match wait_once(which, how) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn wait_once(which: Which<'_>, how: How) -> io::Result<Option<Found>> {
    let (kind, id) = match which {
        Which::Any => (libc::P_ALL, 0),
        Which::Pid(pid) => (libc::P_PID, i64::from(pid)),
        Which::Pidfd(fd) => (libc::P_PIDFD, i64::from(fd.as_raw_fd())),
    };
    // SAFETY: all-zero bytes are a valid `siginfo_t`: integers and a union of integers and pointers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: all-zero bytes are a valid `rusage`: integers alone.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the system call takes these five arguments (waitid(2), "C library/kernel differences"), and both
    // structures are writable across the call. `kind` and `id` are numbers; a bad one is an error.
    let answer =
        unsafe { libc::syscall(libc::SYS_waitid, kind, id, &raw mut info, how.options(), &raw mut usage) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the kernel wrote the SIGCHLD member of the union, or left all zero.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let Some(pid) = u32::try_from(pid).ok().filter(|pid| *pid != 0) else { return Ok(None) };
    let exit = match info.si_code {
        libc::CLD_STOPPED => return Ok(Some(Found::Stopped { pid, signal: status })),
        libc::CLD_EXITED => Exit::Code(status),
        _ => Exit::Signal(status),
    };
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    let max_rss_kib = u64::try_from(usage.ru_maxrss).unwrap_or(0);
    Ok(Some(Found::Dead(Dead { pid, exit, usage: Usage { cpu, max_rss_kib } })))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_micros(seconds * 1_000_000 + micros)
}
