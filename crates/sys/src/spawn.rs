//! Starts another program: `clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD)`, so that neither the size of this process
//! nor its threads matter.
//!
//! The child leads a process group of its own, has default signal dispositions and an empty mask, and the listed
//! descriptors and no others; of 0, 1 and 2 those that are not listed are `/dev/null`.
//!
//! # Protocol
//! 1. The parent prepares everything the child will need in memory (`Plan`), blocks all signals and clones. Its
//!    thread stands still until the child has executed the program or ended.
//! 2. The child, in the parent's memory and on a stack of its own (`child.rs`), makes system calls alone. If one
//!    fails it writes which and why into the plan and ends.
//! 3. The parent goes on, reads the plan, and reaps a child that failed.
//!
//! # If a side dies
//! A child killed before its exec has written no error: it counts as spawned, and its pidfd tells of its death. A
//! parent killed in between leaves the child alone; with [`Command::die_with_parent`] it dies too.

mod child;
mod stack;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use child::Plan;
use stack::Stack;

use crate::pidfd::Pidfd;
use crate::signals;
use crate::wait::{How, Which, wait};

/// Which program to start, and how.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The file to execute, as it is: nothing is searched.
    pub path: &'a CStr,
    /// What the program sees as its arguments; the first is its name.
    pub argv: &'a [&'a CStr],
    /// The whole environment, each `NAME=value`.
    pub env: &'a [&'a CStr],
    /// Where it runs; `None`: where this process does.
    pub cwd: Option<&'a CStr>,
    /// The descriptors it gets, each with the number it shall have there. No number twice.
    pub fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// Its nice value; `None`: this process's.
    pub nice: Option<i32>,
    /// How many files it may have open (the soft limit); `None`: as many as this process.
    pub open_files: Option<u64>,
    /// Whether it is killed when the *thread* that spawns it ends.
    pub die_with_parent: bool,
}

/// What was being done when a spawn failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Getting ready, before there was a child.
    Prepare,
    /// Making the process.
    Clone,
    /// Giving it a process group of its own.
    Group,
    /// Binding its life to its parent's.
    ParentDeath,
    /// Handing it its descriptors.
    Descriptors,
    /// Changing to its working directory.
    Directory,
    /// Setting its nice value.
    Nice,
    /// Setting its limit of open files.
    OpenFiles,
    /// Executing the program.
    Exec,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Prepare => "prepare",
            Stage::Clone => "make a process",
            Stage::Group => "make a process group",
            Stage::ParentDeath => "set the parent-death signal",
            Stage::Descriptors => "hand over descriptors",
            Stage::Directory => "change the working directory",
            Stage::Nice => "set the nice value",
            Stage::OpenFiles => "set the limit of open files",
            Stage::Exec => "execute the program",
        })
    }
}

/// Why a program could not be started. There is no child then.
#[derive(Debug, thiserror::Error)]
#[error("failed to {stage}")]
pub struct SpawnError {
    /// At what.
    pub stage: Stage,
    /// What the kernel said.
    pub source: io::Error,
}

impl SpawnError {
    fn new(stage: Stage, source: io::Error) -> Self {
        Self { stage, source }
    }

    /// The error number, such as `ENOENT`.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

/// Starts programs, and keeps what every start needs: a stack, `/dev/null`, and which signals to set right.
///
/// The dispositions are read once, when it is made: a process that changes its own later makes a new spawner.
#[derive(Debug)]
pub struct Spawner {
    stack: Stack,
    null: File,
    not_default: Vec<i32>,
    terminal: Option<File>,
    /// Whether programs lead sessions of their own, without a terminal.
    leads_session: bool,
    plan: Plan,
}

impl Spawner {
    /// A spawner for this process.
    ///
    /// # Errors
    /// No descriptors or memory left, or no `/dev/null`.
    pub fn new() -> Result<Self, SpawnError> {
        let prepare = |source| SpawnError::new(Stage::Prepare, source);
        let null = File::options().read(true).write(true).open("/dev/null").map_err(prepare)?;
        let stack = Stack::new().map_err(prepare)?;
        let not_default = signals::not_default();
        Ok(Self { stack, null, not_default, terminal: None, leads_session: false, plan: Plan::default() })
    }

    /// Gives each program it starts the foreground of `terminal`, the controlling one of this session, before the program
    /// can do anything with it; where the terminal refuses, the program starts in the background as without this.
    ///
    /// Whoever spawns takes the foreground back, also from a child that could not be started.
    #[must_use]
    pub fn with_foreground_of(self, terminal: File) -> Self {
        Self { terminal: Some(terminal), ..self }
    }

    /// Lets each program it starts lead a session of its own, which has no terminal: for what goes on in the background.
    #[must_use]
    pub fn in_own_session(self) -> Self {
        Self { leads_session: true, ..self }
    }

    /// Starts `command`. Blocks until the program is executed or failed to be (some 0.3 ms).
    ///
    /// # Errors
    /// What failed, exactly as the kernel said it.
    pub fn spawn(&mut self, command: &Command<'_>) -> Result<Pidfd, SpawnError> {
        let null = self.null.as_raw_fd();
        let terminal = self.terminal.as_ref().map(AsRawFd::as_raw_fd);
        self.plan.prepare(command, null, terminal, &self.not_default)?;
        self.plan.leads_session = self.leads_session;
        let mut pidfd: RawFd = -1;
        let pid = {
            let _blocked = AllSignalsBlocked::new().map_err(|e| SpawnError::new(Stage::Prepare, e))?;
            clone_child(&mut self.stack, &mut self.plan, &mut pidfd)
        };
        let pid =
            u32::try_from(pid).map_err(|_| SpawnError::new(Stage::Clone, io::Error::last_os_error()))?;
        // SAFETY: the clone succeeded, so the kernel stored a new descriptor there (`CLONE_PIDFD`), close-on-exec,
        // which nobody else knows.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        match self.plan.failure() {
            None => Ok(Pidfd::from_fd(pidfd, pid)),
            Some((stage, errno)) => {
                // It has ended already, or will at once: it does nothing but `_exit` after it wrote the failure.
                let ended = wait(Which::Pidfd(pidfd.as_fd()), How::Reap);
                debug_assert!(ended.is_ok(), "the child is ours and not reaped: {ended:?}");
                Err(SpawnError::new(stage, io::Error::from_raw_os_error(errno)))
            }
        }
    }
}

/// Clones a child that runs the plan, and stores its pidfd. Returns its pid, or −1 with `errno`.
///
/// Returns after the child has left this process's memory, by exec or by its end.
fn clone_child(stack: &mut Stack, plan: &mut Plan, pidfd: &mut RawFd) -> c_int {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let plan: *mut c_void = std::ptr::from_mut(plan).cast();
    // SAFETY: `child::run` is of the type asked for and takes a `Plan`. The stack is mapped, writable, large enough
    // for it, aligned, and used by nobody else while `stack` is borrowed; `CLONE_VFORK` keeps this thread from
    // returning (and so from ending the borrows of stack and plan) until the child has left this memory. Other
    // threads run on, but the child touches nothing of theirs: it makes system calls alone, with all signals
    // blocked, so no handler runs in it. `pidfd` is writable, as `CLONE_PIDFD` requires of the fifth argument.
    unsafe { libc::clone(child::run, stack.top(), flags, plan, std::ptr::from_mut(pidfd)) }
}

/// Blocks every signal in this thread while it lives.
struct AllSignalsBlocked {
    before: nix::sys::signal::SigSet,
}

impl AllSignalsBlocked {
    fn new() -> io::Result<Self> {
        use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
        Ok(Self { before })
    }
}

impl Drop for AllSignalsBlocked {
    fn drop(&mut self) {
        let restored = self.before.thread_set_mask();
        debug_assert!(restored.is_ok(), "a mask that was in force can be set again");
    }
}

/// Pointers to C strings, ended by null, as execve wants them.
#[derive(Debug, Default)]
struct Pointers(Vec<*const c_char>);

impl Pointers {
    fn fill(&mut self, strings: &[&CStr]) {
        self.0.clear();
        self.0.extend(strings.iter().map(|string| string.as_ptr()));
        self.0.push(std::ptr::null());
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
