//! A killer of workers: every so often it shoots, with SIGKILL, a random worker that has finished an item since its
//! start, so that a run under it always gets on.
//!
//! How it knows them: a worker leaves a file named by its pid in a directory once it has finished an item.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::Random;
use crate::proc::{is_marked, names_in};

/// A thread that kills. Stopped by [`Killer::stop`] or when dropped.
#[derive(Debug)]
pub struct Killer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<u32>>,
}

impl Killer {
    /// Starts killing a worker of `mark` that has a file in `directory`, every `period`.
    #[must_use]
    pub fn start(directory: PathBuf, mark: &str, period: Duration, mut random: Random) -> Self {
        let (stop, stopped) = channel();
        let mark = mark.to_owned();
        let thread = std::thread::spawn(move || {
            let mut shots = 0;
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                shots += u32::from(shoot_one(&directory, &mark, &mut random));
            }
            shots
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }

    /// Stops, and says how many it killed.
    ///
    /// # Panics
    /// If the thread has panicked.
    #[must_use]
    pub fn stop(mut self) -> u32 {
        self.stop = None;
        self.thread.take().expect("not stopped before").join().expect("the killer does not panic")
    }
}

/// Kills one; whether there was one.
fn shoot_one(directory: &Path, mark: &str, random: &mut Random) -> bool {
    let victims: Vec<i32> = names_in(directory).filter_map(|name| name.parse().ok()).collect();
    let Some(victim) = random.choose(&victims) else { return false };
    // A file that is gone already was another killer's.
    drop(fs::remove_file(directory.join(victim.to_string())));
    let Some(pid) = Pid::from_raw(*victim) else { return false };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    // Opened first and looked at after: the pid cannot become another's in between unnoticed.
    is_marked(pid.as_raw_nonzero().get().unsigned_abs(), mark)
        && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
}
