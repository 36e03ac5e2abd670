//! What signals do to this process: its mask, its dispositions, and news of dead children.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

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

/// The signals that are ignored or handled in this process now.
pub(crate) fn not_default() -> Vec<i32> {
    (1..=LAST_SIGNAL).filter(|signal| !is_default(*signal)).collect()
}

/// Makes `signal` do what it does by default. Safe between vfork and exec.
pub(crate) fn set_default(signal: i32) {
    // SAFETY: all-zero bytes are a valid `sigaction`: integers, an empty mask, and a null handler, which is
    // `SIG_DFL`, with no flags and no restorer.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` lives across the call; the old action is not asked for. Any signal number may be passed
    // (a bad one is EINVAL). It installs no handler, so no code of ours can run at a bad time because of it.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

fn is_default(signal: i32) -> bool {
    // SAFETY: as in `set_default`, zero bytes are a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` is writable for the call, and the null pointer says that nothing shall be changed.
    let answer = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    // A number that libc keeps for itself answers EINVAL; its dispositions are libc's business.
    answer != 0 || action.sa_sigaction == libc::SIG_DFL
}

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
        assert!(!signals.contains(&32), "{signals:?}");
    }
}
