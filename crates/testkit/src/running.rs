//! A program that runs: writing to it, waiting for what it says, signals, its end.

use std::io::Write;
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::Finished;
use crate::capture::Capture;
use crate::finished::shown;
use crate::proc::{Process, marked};

/// A program that runs. Dropped before its end, it is killed.
#[derive(Debug)]
pub struct Running {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    pub(crate) command: String,
    pub(crate) mark: String,
    pub(crate) deadline: Duration,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has ended and been reaped.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a pid fits 31 bits");
        nix::sys::signal::kill(Pid::from_raw(pid), signal)
            .expect("not reaped yet, so the pid is still its own");
    }

    /// Writes to its stdin (see [`Invocation::open_input`]); blocks while the pipe is full.
    ///
    /// # Panics
    /// If it does not read any more.
    #[track_caller]
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("stdin was opened by `open_input` and is not closed");
        stdin.write_all(bytes.as_ref()).expect("the program reads its stdin");
        stdin.flush().expect("a pipe has nothing to flush");
    }

    /// Ends its stdin.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Its stdin, for a thread that writes.
    ///
    /// # Panics
    /// If it was not opened by [`Invocation::open_input`].
    #[must_use]
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("stdin was opened by `open_input`")
    }

    /// Its stdout, where the test asked for it by [`Invocation::hold_stdout`].
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("stdout was held by `hold_stdout`")
    }

    /// Waits until stdout so far satisfies `condition`, and returns it.
    ///
    /// # Panics
    /// If it does not within the deadline, or the stream ends before.
    #[track_caller]
    pub fn wait_stdout(&self, what: &str, condition: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        self.stdout.wait(condition).unwrap_or_else(|_| panic!("stdout never had {what}\n{}", self.describe()))
    }

    /// Waits until stderr so far has `text`, and returns all of it.
    ///
    /// # Panics
    /// If it does not within the deadline, or the stream ends before.
    #[track_caller]
    pub fn wait_stderr(&self, text: &str) -> String {
        let found = self.stderr.wait(|bytes| String::from_utf8_lossy(bytes).contains(text));
        let bytes = found.unwrap_or_else(|_| panic!("stderr never had {text:?}\n{}", self.describe()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.ended_within(Duration::ZERO)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If the deadline passes first (it and all with its mark are killed then), or something holds its output open.
    #[must_use]
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        self.stdin = None;
        self.wait_ended()
    }

    /// Waits for its end while its stdin stays open.
    ///
    /// # Panics
    /// As [`Running::wait`].
    #[must_use]
    #[track_caller]
    pub fn wait_ended(mut self) -> Finished {
        if !self.ended_within(self.deadline) {
            panic!("still running after {:?}\n{}", self.deadline, self.describe());
        }
        let status = self.child.wait().expect("a child of ours can be waited for");
        let Ok(stdout) = self.stdout.wait_end() else { panic!("stdout is still held\n{}", self.describe()) };
        let Ok(stderr) = self.stderr.wait_end() else { panic!("stderr is still held\n{}", self.describe()) };
        Finished { command: self.command.clone(), status, stdout, stderr }
    }

    /// Kills it (SIGKILL) and reaps it. What it had started is not touched.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a child of ours can be waited for");
    }

    fn ended_within(&self, deadline: Duration) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
        let end = Instant::now() + deadline;
        loop {
            let left =
                Timespec::try_from(end.saturating_duration_since(Instant::now())).expect("a short time");
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("poll on a pidfd: {error}"),
            }
        }
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = format!("command: {}\n", self.command);
        for process in marked(&self.mark) {
            let Process { pid, parent, state, command } = process;
            text += &format!("  {state} {pid} (child of {parent}) {command}\n");
        }
        text += &format!("stdout so far:\n{}\n", shown(&self.stdout.so_far()));
        text + &format!("stderr so far:\n{}\n", shown(&self.stderr.so_far()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has been reaped already, which is as well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
