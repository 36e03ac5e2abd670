//! One task in a process of its own.
//!
//! # Steps
//! 1. The host writes the arguments into its end of a new socketpair, as one frame with the descriptors they need.
//! 2. The keeper of all processes starts this same program with the other end, the caller's stdout and stderr.
//! 3. There, [`init`](crate::init()) finds that it was started so, runs the task, answers an error, and exits.
//! 4. The keeper tells the end; what was answered is read, and the process is reaped.
//!
//! # If a side dies
//! The child: it is what the keeper tells; half an answer is none. The host: the keeper ends every child and itself. The
//! keeper: its children die with it and count as killed; the next process has a new keeper.

mod attendant;
mod launch;
mod serve;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use poolctl_supervisor::Exit;
use poolctl_supervisor::keeper::{KeeperError, SpawnStage};
use poolctl_worker::Task;
use poolctl_worker::travel::EncodeError;

use self::attendant::Child;
use self::launch::{Launch, encoded};
use crate::task_error::TaskError;

pub use self::serve::{CurrentProcess, current_process};
pub(crate) use self::serve::{be_worker, requested, serve};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A task that runs, or will run, in a process of its own: this program started again.
///
/// - The program calls [`init`](crate::init()) first thing in `main`.
/// - stdout and stderr are the caller's, stdin is `/dev/null`; the environment is that of the first start, with what
///   the builder adds.
/// - It leads a process group of its own, so Ctrl-C does not reach it.
/// - It ends when this program does, however that ends, and everything it has started ends with it.
/// - Dropping one that is not a daemon waits for its end; a daemon is killed.
///
/// Its result stays there: what is to come back goes through a [`pipe`](crate::pipe()).
///
/// ```no_run
/// use poolctl::Process;
///
/// #[poolctl::task]
/// fn greet(name: String) {
///     println!("hello {name}");
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     poolctl::init();
///     let process = Process::new(greet, "bob".to_owned());
///     process.start()?;
///     assert!(process.join()?.is_success());
///     Ok(())
/// }
/// ```
pub struct Process {
    name: String,
    is_daemon: bool,
    /// `None` once it is started.
    launch: Mutex<Option<Launch>>,
    child: OnceLock<Arc<Child>>,
}

/// A process in the making.
#[must_use = "a process is made by `start` or `build`"]
pub struct ProcessBuilder {
    launch: Launch,
    is_daemon: bool,
}

/// Why there is no process, or nothing can be said of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program cannot serve as a process of its own, or as their keeper.
    #[error("`poolctl::init()` is not called first thing in `main`")]
    NotInitialised,
    /// The program does not know where it is.
    #[error("cannot find this program, to start it again")]
    NoExecutable(#[source] io::Error),
    /// The arguments cannot travel.
    #[error("failed to encode the arguments")]
    Arguments(#[source] EncodeError),
    /// No memory or descriptors for the arguments, or the environment holds a NUL.
    #[error("failed to prepare the process")]
    Prepare(#[source] io::Error),
    /// There is no keeper.
    #[error("failed to start the keeper")]
    Keeper(#[source] KeeperError),
    /// The keeper died meanwhile. A new one is started with the next process.
    #[error("the keeper died")]
    KeeperDied,
    /// The system makes no process.
    #[error("failed to start the process ({stage:?})")]
    Spawn {
        /// At what.
        stage: SpawnStage,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was started before.
    #[error("the process was started before")]
    AlreadyStarted,
    /// It is not started yet.
    #[error("the process is not started")]
    NotStarted,
    /// The process belongs to the one that this was forked from.
    #[error("the process belongs to the one that this was forked from")]
    ForkedHost,
}

impl ProcessBuilder {
    /// What it is called; `Process-1` and so on by default. Told by [`current_process`] there.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.launch.name = name.into();
        self
    }

    /// Whether it is killed, instead of waited for, when its handle is dropped. False by default.
    pub fn daemon(mut self, is_daemon: bool) -> Self {
        self.is_daemon = is_daemon;
        self
    }

    /// A variable for it, besides those of this process.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.launch.env.push((name.into(), value.into()));
        self
    }

    /// The process, not started.
    #[must_use]
    pub fn build(self) -> Process {
        Process {
            name: self.launch.name.clone(),
            is_daemon: self.is_daemon,
            launch: Mutex::new(Some(self.launch)),
            child: OnceLock::new(),
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start(self) -> Result<Process, ProcessError> {
        let process = self.build();
        process.start()?;
        Ok(process)
    }
}

impl Process {
    /// A process that will run a task with these arguments, once it is started.
    #[must_use]
    pub fn new<T: Task>(task: T, args: T::Args) -> Self {
        Self::builder(task, args).build()
    }

    /// Describes a process.
    pub fn builder<T: Task>(_task: T, args: T::Args) -> ProcessBuilder {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let id = serve::child_id(COUNT.fetch_add(1, Ordering::Relaxed));
        let launch = Launch {
            function: T::NAME,
            name: format!("Process-{id}"),
            id,
            env: Vec::new(),
            encode: Box::new(|| encoded::<T>(args)),
        };
        ProcessBuilder { launch, is_daemon: false }
    }

    /// Starts it, and returns when it has its pid. The arguments are encoded and dropped here.
    ///
    /// # Errors
    /// It cannot be started; it cannot be tried again with this value.
    pub fn start(&self) -> Result<(), ProcessError> {
        attendant::check_fork()?;
        let mut launch = self.launch.lock().unwrap_or_else(PoisonError::into_inner);
        let child = attendant::start(launch.take().ok_or(ProcessError::AlreadyStarted)?)?;
        self.child.set(child).map_err(|_| ProcessError::AlreadyStarted)
    }

    /// Waits for its end and says how it ended: code 0 if the task returned, 1 if it failed or panicked.
    ///
    /// # Errors
    /// It is not started, or belongs to another process.
    pub fn join(&self) -> Result<Exit, ProcessError> {
        Ok(self.child()?.wait())
    }

    /// Waits for its end, for `limit` at most; [`Duration::ZERO`] only looks. None: it has not ended.
    ///
    /// # Errors
    /// As [`Process::join`].
    pub fn join_timeout(&self, limit: Duration) -> Result<Option<Exit>, ProcessError> {
        Ok(self.child()?.wait_timeout(limit))
    }

    /// Whether it is started and has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.child().is_ok_and(|child| child.exit().is_none())
    }

    /// Its pid; none before it is started. Once it has ended, another process may have it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.get().map(|child| child.pid())
    }

    /// How it ended; none: it has not, or was not started. Killed by a signal it did not expect, it is that signal.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.child().ok()?.exit()
    }

    /// What the task said when it failed or panicked, [`TaskError::Failed`]; none if it has not ended, ended well, or
    /// without a word. A message or trace over 6 KiB is cut.
    #[must_use]
    pub fn error(&self) -> Option<TaskError> {
        self.child().ok()?.error()
    }

    /// Asks it, and what runs in its group, to end (SIGTERM). One that has ended takes it silently.
    ///
    /// # Errors
    /// As [`Process::join`].
    pub fn terminate(&self) -> Result<(), ProcessError> {
        self.child()?.signal(SIGTERM);
        Ok(())
    }

    /// Ends it, and what runs in its group (SIGKILL).
    ///
    /// # Errors
    /// As [`Process::join`].
    pub fn kill(&self) -> Result<(), ProcessError> {
        self.child()?.signal(SIGKILL);
        Ok(())
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is killed when this is dropped.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.is_daemon
    }

    /// A descriptor that becomes readable when it has ended, for `poll` and its kin; none before it is started. To wait
    /// for several processes at once, poll their sentinels.
    #[must_use]
    pub fn sentinel(&self) -> Option<BorrowedFd<'_>> {
        self.child.get().map(|child| child.pidfd().as_fd())
    }

    fn child(&self) -> Result<&Arc<Child>, ProcessError> {
        attendant::check_fork()?;
        self.child.get().ok_or(ProcessError::NotStarted)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not started, or another process's: nothing to wait for.
        let Ok(child) = self.child() else { return };
        if self.is_daemon {
            child.signal(SIGKILL);
        }
        child.wait();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.pid())
            .field("is_daemon", &self.is_daemon)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ProcessBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("name", &self.launch.name)
            .field("is_daemon", &self.is_daemon)
            .finish_non_exhaustive()
    }
}
