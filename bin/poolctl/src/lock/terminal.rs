//! The terminal of this session: who may read from it, and whom Ctrl-C and Ctrl-Z reach.
//!
//! The command runs in a group of its own, which is in the background of the terminal until it is given the foreground.
//!
//! # Protocol
//! 1. Where this process is a job of its own in the foreground and no pipe leads from or to it, the command's group gets
//!    the foreground before the command is executed: nobody else of the job could want it, and Ctrl-C is the command's.
//! 2. Else (a script, a pipeline with a pager) the job keeps it, and Ctrl-C reaches all of it as ever. A command that
//!    reads or changes the terminal is stopped by the kernel (SIGTTIN, SIGTTOU); it gets the foreground then, and goes on.
//! 3. When the command stops, by Ctrl-Z or as it asks for the terminal while the job is in the background, the foreground
//!    is taken back and the whole job is stopped, so that the shell sees it. Continued, it goes on from 1 or 2.
//! 4. When the group is gone, the foreground is taken back. If Ctrl-C has ended the command, the rest of the job is told.
//!
//! # If a side dies
//! Foreground of a group that is gone is taken back as well. If this process is killed, a shell with job control takes it;
//! in a script the rest of the job stays in the background.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, getpid, tcgetpgrp, tcsetpgrp};

use super::signals;

/// The whole group of the process that says it.
const OWN_GROUP: Pid = Pid::from_raw(0);

/// The controlling terminal. Dropped, it is in the hands of the job again.
#[derive(Debug)]
pub(super) struct Terminal {
    file: File,
    /// Whether the command gets the foreground without asking.
    at_once: bool,
    /// Whether a group other than the job's may have the foreground by our doing.
    given: bool,
    /// The command's group, once there is one.
    group: Option<Pid>,
}

impl Terminal {
    /// The terminal of this session, if it has one.
    pub(super) fn open() -> Option<Self> {
        let file = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let at_once = getpgrp() == getpid() && !is_piped();
        Some(Self { file, at_once, given: false, group: None })
    }

    /// What a command's start needs to get the foreground at once, if it shall.
    pub(super) fn for_start(&mut self) -> io::Result<Option<File>> {
        self.given = self.at_once && self.is_with(&[getpgrp()]);
        self.given.then(|| self.file.try_clone()).transpose()
    }

    /// From now on `group` is the command's.
    pub(super) fn belongs_to(&mut self, group: Pid) {
        self.group = Some(group);
    }

    /// Gives the command the foreground if it is the job's; whether the command has it now.
    pub(super) fn give(&mut self) -> bool {
        let Some(group) = self.group else { return false };
        if self.is_with(&[getpgrp()]) {
            // It may have lost its last member just now, or the terminal may have hung up.
            self.given = tcsetpgrp(&self.file, group).is_ok();
        }
        self.is_with(&[group])
    }

    /// The same where it does not ask for it: only if nobody else of the job could want it.
    pub(super) fn give_unasked(&mut self) {
        if self.at_once {
            self.give();
        }
    }

    /// Takes the foreground back, and says whether it was given. Another group that lives has it by its own doing.
    pub(super) fn take_back(&mut self) -> bool {
        let given = std::mem::take(&mut self.given);
        if given && let Ok(front) = tcgetpgrp(&self.file) {
            let gone = || kill(Pid::from_raw(-front.as_raw()), None) == Err(Errno::ESRCH);
            if Some(front) == self.group || gone() {
                // Refused only by a terminal that has hung up.
                tcsetpgrp(&self.file, getpgrp()).ok();
            }
        }
        given
    }

    fn is_with(&self, groups: &[Pid]) -> bool {
        tcgetpgrp(&self.file).is_ok_and(|front| groups.contains(&front))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Sends a signal to the whole job, of which this process is one.
pub(super) fn signal_job(signal: Signal) {
    // This process is always there to be told.
    kill(OWN_GROUP, signal).ok();
}

/// Stops this process until somebody continues it; whether it was stopped. As a job of a terminal it is not where nobody
/// could continue it.
pub(super) fn stand_still(terminal: Option<&Terminal>) -> io::Result<bool> {
    if terminal.is_some() {
        return signals::stand_still_as_job();
    }
    kill(Pid::this(), Signal::SIGSTOP)?;
    Ok(true)
}

/// Whether the process is stopped now.
pub(super) fn is_stopped(pid: u32) -> bool {
    // The field behind the name, which may hold anything (proc_pid_stat(5)).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, behind)| behind.trim_start().starts_with('T'))
}

/// Whether one of the standard streams is a pipe or a socket, so that others at its end may want the terminal.
fn is_piped() -> bool {
    let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
    [input.as_fd(), output.as_fd(), errors.as_fd()].iter().any(|stream| {
        let file = stream.try_clone_to_owned().map(File::from);
        let kind = file.and_then(|file| file.metadata()).map(|found| found.file_type());
        kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
    })
}
