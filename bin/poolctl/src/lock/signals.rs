//! Signals for `poolctl lock`, which are the command's once there is one.

use std::fs;
use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

const SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP];

/// The signals that are held back from every thread, so that one can wait for them.
#[derive(Debug)]
pub(super) struct Held(SigSet);

/// Holds the signals back from this thread and all that it starts. Those that the parent had us ignore (`nohup`) stay
/// ignored.
///
/// # Errors
/// The kernel refuses, which it has no reason for.
pub(super) fn hold() -> io::Result<Held> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let mut held = SigSet::empty();
    SIGNALS
        .into_iter()
        .filter(|signal| ignored & (1 << (*signal as u32 - 1)) == 0)
        .for_each(|signal| held.add(signal));
    held.thread_block()?;
    Ok(Held(held))
}

impl Held {
    /// Waits for the signals on a thread of its own and passes each on.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub(super) fn watch(self, tell: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
        let wait = move || {
            while let Ok(signal) = self.0.wait() {
                tell(signal);
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }
}
