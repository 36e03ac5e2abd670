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
use nix::unistd::{Pid, getpgid};
use poolctl_supervisor::spawn::{self, SpawnError, Spawner};
use poolctl_supervisor::{
    Change, Exit, Pidfd, inherited_descriptors, keep_dead_children, next_change, set_subreaper,
};

use super::record::{LOCKS_HELD, Life};
use super::terminal::{Terminal, is_stopped, signal_job, stand_still};

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
    /// Whether Ctrl-Z stops this process.
    pub(super) stops: bool,
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

/// What has become of something below this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The command itself has died.
    LeaderDied(Exit),
    /// Another one has, after it.
    OtherDied,
    /// Nothing is left.
    NoneLeft,
    /// One of the group was stopped.
    Stopped { pid: u32, by: Signal },
}

/// A command that runs, or whose group does.
#[derive(Debug)]
pub(super) struct Running {
    leader: Pidfd,
    terminal: Option<Terminal>,
    /// Whether Ctrl-Z stops this process too.
    stops: bool,
    signalled: bool,
    /// What has stopped the group, until this process has stopped too.
    stopped: Option<Signal>,
}

impl Command<'_> {
    /// Starts it. `tell` is called, on another thread, when one of the group was stopped, when its leader has ended and
    /// after each further death of a process below it, until there is none.
    ///
    /// To be called on the main thread: the command dies with the thread that started it.
    ///
    /// # Errors
    /// It cannot be executed.
    pub(super) fn start(
        &self,
        mut terminal: Option<Terminal>,
        tell: impl Fn(Fate) + Send + 'static,
    ) -> Result<Running, StartError> {
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
        if let Some(terminal) = &mut terminal
            && let Some(file) = terminal.for_start()?
        {
            spawner = spawner.with_foreground_of(file);
        }
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
        if let Some(terminal) = &mut terminal {
            terminal.belongs_to(group_of(&leader));
        }
        thread::Builder::new().name("reaper".to_owned()).spawn(move || watch(pid, &tell))?;
        Ok(Running { leader, terminal, stops: self.stops, signalled: false, stopped: None })
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

    /// Sees to it that one of the group was stopped: it asks for the terminal, or the whole job is to stop.
    pub(super) fn see_stopped(&mut self, pid: u32, by: Signal) {
        let Some(terminal) = &mut self.terminal else { return };
        if !is_stopped(pid) {
            return;
        }
        let asks = matches!(by, Signal::SIGTTIN | Signal::SIGTTOU);
        if (asks && terminal.give()) || (by == Signal::SIGTSTP && !self.stops) {
            return self.send(Signal::SIGCONT);
        }
        if self.stops {
            self.stopped = Some(by);
            terminal.take_back();
            // It comes back to this process, which then suspends itself.
            signal_job(Signal::SIGTSTP);
        }
    }

    /// Stops the group and this process until somebody continues it.
    fn suspend(&mut self) {
        let by = self.stopped.take();
        if by.is_none() {
            self.send(Signal::SIGSTOP);
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.take_back();
        }
        let stood = stand_still(self.terminal.as_ref()).unwrap_or(false);
        if let Some(terminal) = &mut self.terminal {
            terminal.give_unasked();
        }
        // Where nobody could have continued this process, one who asks for the terminal would ask for ever.
        if stood || matches!(by, None | Some(Signal::SIGTSTP)) {
            self.send(Signal::SIGCONT);
        }
    }

    /// Gives the terminal back to the job, now that the group is gone. If Ctrl-C has ended the command, it would have
    /// ended the rest of the job as well, had that been in the foreground.
    pub(super) fn leave_terminal(&mut self, exit: Exit) {
        let had_it = self.terminal.as_mut().is_some_and(Terminal::take_back);
        if had_it && !self.signalled && exit == Exit::Signal(Signal::SIGINT as i32) {
            signal_job(Signal::SIGINT);
        }
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

/// The group that a process leads.
fn group_of(leader: &Pidfd) -> Pid {
    Pid::from_raw(i32::try_from(leader.pid()).expect("a pid fits 31 bits"))
}

/// Reaps whatever dies below this process, and tells of that and of stops in the leader's group.
fn watch(leader: u32, tell: &impl Fn(Fate)) {
    let mut leader_lives = true;
    loop {
        match next_change() {
            Ok((pid, Change::Stopped(signal))) => {
                let raw = |pid| i32::try_from(pid).map(Pid::from_raw).ok();
                let is_of_group = raw(pid).is_some_and(|raw_pid| getpgid(Some(raw_pid)).ok() == raw(leader));
                if is_of_group && let Ok(by) = Signal::try_from(signal) {
                    tell(Fate::Stopped { pid, by });
                }
            }
            // The pid is the leader's until it is reaped, which happens here alone.
            Ok((pid, Change::Died(exit))) if leader_lives && pid == leader => {
                leader_lives = false;
                tell(Fate::LeaderDied(exit));
            }
            Ok(_) if leader_lives => {}
            Ok(_) => tell(Fate::OtherDied),
            // There is no child any more.
            Err(_) => return tell(Fate::NoneLeft),
        }
    }
}

fn text(bytes: Vec<u8>) -> Result<CString, StartError> {
    CString::new(bytes).map_err(|_| StartError::Nul)
}
