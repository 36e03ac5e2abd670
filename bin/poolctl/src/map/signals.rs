//! Signals for the program itself: a thread waits for them and tells the loop.

use std::fs;
use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;
use poolctl_types::ExitCode;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Ctrl-C: stop, more urgently each time.
    Interrupt,
    /// TERM, HUP: stop within the grace.
    Terminate,
    /// Ctrl-Z: stand still.
    Suspend,
    /// USR1: say what runs.
    Status,
}

impl Wish {
    /// The exit code of a program that has nothing more to do than to be read.
    pub(crate) fn leaves_with(self) -> Option<ExitCode> {
        match self {
            Wish::Interrupt => Some(ExitCode::Interrupted),
            Wish::Terminate => Some(ExitCode::Terminated),
            Wish::Suspend | Wish::Status => None,
        }
    }
}

const SIGNALS: [(Signal, Wish); 5] = [
    (Signal::SIGINT, Wish::Interrupt),
    (Signal::SIGTERM, Wish::Terminate),
    (Signal::SIGHUP, Wish::Terminate),
    (Signal::SIGTSTP, Wish::Suspend),
    (Signal::SIGUSR1, Wish::Status),
];

/// The signals that are held back from every thread, so that one can wait for them.
#[derive(Debug)]
pub(crate) struct Held(SigSet);

/// Holds the signals back from this thread and all that it starts. Those that the parent had us ignore (`nohup`) stay
/// ignored.
///
/// # Errors
/// The kernel refuses, which it has no reason for.
pub(crate) fn hold() -> io::Result<Held> {
    let ignored = ignored();
    let mut held = SigSet::empty();
    for (signal, _) in SIGNALS {
        if ignored & (1 << (signal as u32 - 1)) == 0 {
            held.add(signal);
        }
    }
    held.thread_block()?;
    Ok(Held(held))
}

/// The signals this process ignores, one bit each from signal 1 on.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

impl Held {
    /// Waits for the signals on a thread of its own and passes on what each asks for.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub(crate) fn watch(self, tell: impl Fn(Wish) + Send + 'static) -> io::Result<()> {
        let wait = move || {
            while let Ok(signal) = self.0.wait() {
                if let Some((_, wish)) = SIGNALS.iter().find(|(known, _)| *known == signal) {
                    tell(*wish);
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }
}

/// Stops this process until somebody continues it.
pub(crate) fn stand_still() -> io::Result<()> {
    nix::sys::signal::kill(Pid::this(), Signal::SIGSTOP)?;
    Ok(())
}
