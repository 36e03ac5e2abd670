//! What signals do to this process: its mask, its dispositions, and news of dead children.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The numbers a signal may have: 1 to this.
const LAST_SIGNAL: i32 = 64;

/// Blocks every signal that can be blocked in this thread, and hence in the threads it starts from now on. Those
/// that arrive wait for ever, so nobody can stop, end or disturb the process but by SIGKILL and SIGSTOP.
///
/// # Errors
/// None is known.
pub fn block_all() -> io::Result<()> {
    Ok(pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)?)
}

/// Gives every signal its default disposition, so that children start with it too.
///
/// For a process that installed no handler it still needs: the keeper.
pub fn reset_all() {
    for signal in not_default() {
        set_default(signal);
    }
}

/// Gives SIGCHLD its default disposition, so that dead children wait to be reaped, also where whoever started this
/// process had it ignored.
pub fn keep_dead_children() {
    set_default(libc::SIGCHLD);
}

/// The signals that are ignored or handled in this process now.
pub(crate) fn not_default() -> Vec<i32> {
    (1..=LAST_SIGNAL).filter(|signal| !is_default(*signal)).collect()
}

/// Makes `signal` do what it does by default. Safe between vfork and exec.
pub(crate) fn set_default(signal: i32) {
    let default: Action = [0; 4];
    // SAFETY: rt_sigaction(2) reads one `Action` from `default`, which lives across the call, and is told not to
    // give the old one. It installs no handler (`SIG_DFL` is 0), so no code of ours can run at a bad time for it.
    // Any signal number may be passed (a bad one is EINVAL).
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const default,
            ptr::null_mut::<Action>(),
            MASK_BYTES,
        )
    };
}

fn is_default(signal: i32) -> bool {
    let mut action: Action = [0; 4];
    // SAFETY: rt_sigaction(2) writes one `Action`, for which there is room, and is told to change nothing.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, ptr::null::<Action>(), &raw mut action, MASK_BYTES)
    };
    action[0] == libc::SIG_DFL
}

/// The kernel's `sigaction`: handler, flags, restorer, mask. The C library's functions would not do: they keep two
/// signals for themselves, which a parent may nevertheless have left ignored.
type Action = [usize; 4];

/// The length of the kernel's signal mask.
const MASK_BYTES: usize = 8;

/// Readable when children have died (a signalfd for SIGCHLD, which must be blocked).
#[derive(Debug)]
pub struct ChildDeaths {
    signalfd: SignalFd,
}

impl ChildDeaths {
    /// News from now on.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Self> {
        let mask = SigSet::from(Signal::SIGCHLD);
        let signalfd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { signalfd })
    }

    /// Takes the news; several deaths may have become one. Look for the dead after this, not before.
    ///
    /// # Errors
    /// None is known.
    pub fn clear(&self) -> io::Result<()> {
        self.signalfd.read_signal()?;
        Ok(())
    }
}

impl AsFd for ChildDeaths {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signalfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_programs_start_with_sigpipe_ignored() {
        let signals = not_default();

        assert!(signals.contains(&libc::SIGPIPE), "{signals:?}");
        assert!(!signals.contains(&libc::SIGTERM), "{signals:?}");
    }
}
