//! The command that runs while the lock is held: a process group of its own, which is waited for to its last member.
//!
//! This process is the reaper of all below it, so it sees members of the group die whose own parents have gone. Of one
//! that leaves the group (setsid) the kernel tells nobody, so whoever waits for the rest of a group whose leader has ended
//! looks at it again now and then ([`Running::group_is_gone`]).
//!
//! The command gets the descriptors that this program was started with, and none of its own. It is killed if this process
//! is: it would run without the lock.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use poolctl_supervisor::spawn::{self, SpawnError, Spawner};
use poolctl_supervisor::{Exit, Pidfd, inherited_descriptors, keep_dead_children, reap_next, set_subreaper};

use super::record::{LOCKS_HELD, Life};

/// Tells the command that whoever held the lock before died at it.
const OWNER_DIED: &str = "POOLCTL_OWNER_DIED";

/// What to run.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub(super) program: &'a Path,
    pub(super) words: &'a [OsString],
    /// The holders that it is below, innermost last.
    pub(super) held: Vec<Life>,
    pub(super) owner_died: bool,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("a word of the command or the environment holds NUL")]
    Nul,
    #[error("failed to prepare the start")]
    Prepare(#[from] io::Error),
    #[error("failed to start `{program}`")]
    Spawn { program: String, source: SpawnError },
}

/// Something below this process has died, and is reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// The command itself.
    Leader(Exit),
    /// Another one, after it.
    Other,
    /// Nothing is left.
    Last,
}

/// A command that runs, or whose group does.
#[derive(Debug)]
pub(super) struct Running {
    leader: Pidfd,
    signalled: bool,
}

impl Command<'_> {
    /// Starts it. `tell` is called, on another thread, when its leader has ended and after each further death of a
    /// process below it, until there is none.
    ///
    /// To be called on the main thread: the command dies with the thread that started it.
    ///
    /// # Errors
    /// It cannot be executed.
    pub(super) fn start(&self, tell: impl Fn(Death) + Send + 'static) -> Result<Running, StartError> {
        set_subreaper()?;
        keep_dead_children();
        let path = text(self.program.as_os_str().as_bytes().to_vec())?;
        let argv =
            self.words.iter().map(|word| text(word.as_bytes().to_vec())).collect::<Result<Vec<_>, _>>()?;
        let env = self.environment()?;
        let inherited = inherited_descriptors()?;
        let fds: Vec<_> = inherited.iter().map(|fd| (*fd, fd.as_raw_fd())).collect();
        let failed = |source| {
            let program = self.program.to_string_lossy().into_owned();
            StartError::Spawn { program, source }
        };
        let mut spawner = Spawner::new().map_err(failed)?;
        let leader = spawner
            .spawn(&spawn::Command {
                path: &path,
                argv: &argv.iter().map(CString::as_c_str).collect::<Vec<_>>(),
                env: &env.iter().map(CString::as_c_str).collect::<Vec<_>>(),
                cwd: None,
                fds: &fds,
                nice: None,
                open_files: None,
                die_with_parent: true,
            })
            .map_err(failed)?;
        let pid = leader.pid();
        thread::Builder::new().name("reaper".to_owned()).spawn(move || reap_all(pid, &tell))?;
        Ok(Running { leader, signalled: false })
    }

    fn environment(&self) -> Result<Vec<CString>, StartError> {
        let ours = |name: &OsString| name == LOCKS_HELD || name == OWNER_DIED;
        let mut entries: Vec<OsString> = Vec::new();
        for (mut name, value) in std::env::vars_os().filter(|(name, _)| !ours(name)) {
            name.push("=");
            name.push(value);
            entries.push(name);
        }
        let held: Vec<String> = self.held.iter().map(Life::to_string).collect();
        entries.push(format!("{LOCKS_HELD}={}", held.join(",")).into());
        if self.owner_died {
            entries.push(format!("{OWNER_DIED}=1").into());
        }
        entries.into_iter().map(|entry| text(entry.into_vec())).collect()
    }
}

impl Running {
    /// Passes a signal on to the group. A second one that asks it to end kills it.
    pub(super) fn pass_on(&mut self, signal: Signal) {
        match signal {
            Signal::SIGTSTP => self.suspend(),
            _ if self.signalled => self.send(Signal::SIGKILL),
            _ => {
                self.signalled = true;
                self.send(signal);
                // A stopped process takes it only when it goes on.
                self.send(Signal::SIGCONT);
            }
        }
    }

    /// Stops the group and this process until somebody continues it.
    fn suspend(&self) {
        self.send(Signal::SIGSTOP);
        let stopped = nix::sys::signal::kill(Pid::this(), Signal::SIGSTOP);
        debug_assert!(stopped.is_ok(), "a process may stop itself");
        self.send(Signal::SIGCONT);
    }

    /// Whether nobody is in the group any more.
    pub(super) fn group_is_gone(&self) -> bool {
        let answer = self.leader.signal_group(0);
        answer.is_err_and(|error| error.raw_os_error() == Some(Errno::ESRCH as i32))
    }

    fn send(&self, signal: Signal) {
        // Its last member may have gone just now, or belong to another user: then nobody is to be told.
        drop(self.leader.signal_group(signal as i32));
    }
}

/// Reaps whatever dies below this process.
fn reap_all(leader: u32, tell: &impl Fn(Death)) {
    let mut leader_lives = true;
    loop {
        match reap_next() {
            // The pid is the leader's until it is reaped, which happens here alone.
            Ok((pid, exit)) if leader_lives && pid == leader => {
                leader_lives = false;
                tell(Death::Leader(exit));
            }
            Ok(_) if leader_lives => {}
            Ok(_) => tell(Death::Other),
            // There is no child any more.
            Err(_) => return tell(Death::Last),
        }
    }
}

fn text(bytes: Vec<u8>) -> Result<CString, StartError> {
    CString::new(bytes).map_err(|_| StartError::Nul)
}
