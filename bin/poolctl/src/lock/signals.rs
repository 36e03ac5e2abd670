//! Signals for `poolctl lock`, which are the command's once there is one.

use std::fs;
use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};

const SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP];

/// Held back, and nobody waits for them. Of a terminal: a process in the background may take the foreground back and write
/// (SIGTTOU), and is not stopped because another one of its job reads (SIGTTIN). That it was continued is looked for
/// where it matters.
const UNHEARD: [Signal; 3] = [Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGCONT];

/// The signals that are held back from every thread, so that one can wait for them.
#[derive(Debug)]
pub(super) struct Held(SigSet);

/// Holds the signals back from this thread and all that it starts. Those that the parent had us ignore (`nohup`) stay
/// ignored.
///
/// # Errors
/// The kernel refuses, which it has no reason for.
pub(super) fn hold() -> io::Result<Held> {
    let ignored = own_signals("SigIgn:")?;
    let held: SigSet = SIGNALS.into_iter().filter(|signal| !is_in(ignored, *signal)).collect();
    held.thread_block()?;
    UNHEARD.into_iter().collect::<SigSet>().thread_block()?;
    Ok(Held(held))
}

/// Stops this process as Ctrl-Z does a job, until somebody continues it; whether that was so. The kernel does not stop a
/// group that is orphaned, since no shell is there to continue it.
///
/// To be called on a thread that holds SIGTSTP back.
///
/// # Errors
/// `/proc` cannot be read.
pub(super) fn stand_still_as_job() -> io::Result<bool> {
    let stop = SigSet::from(Signal::SIGTSTP);
    // To this thread, so that the one that waits for signals does not take it. A SIGCONT of earlier is gone with this.
    raise(Signal::SIGTSTP)?;
    stop.thread_unblock()?;
    stop.thread_block()?;
    Ok(is_in(own_signals("ShdPnd:")?, Signal::SIGCONT))
}

/// A set of signals of this process, as `/proc` has it: one bit each from signal 1 on.
fn own_signals(field: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix(field));
    Ok(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
}

fn is_in(mask: u64, signal: Signal) -> bool {
    mask & (1 << (signal as u32 - 1)) != 0
}

impl Held {
    /// Whether Ctrl-Z stops this process; not where whoever started it had it ignored.
    pub(super) fn stops(&self) -> bool {
        self.0.contains(Signal::SIGTSTP)
    }

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
