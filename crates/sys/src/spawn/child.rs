//! What the child does between clone and exec, and the plan it follows.
//!
//! The child runs in its parent's memory, so the rule here is: system calls alone. No allocation, no lock, no
//! panic, nothing written but to the plan.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::{Command, Pointers, SpawnError, Stage};
use crate::signals;

/// Everything the child needs, in memory that outlives it. The parent writes it before the clone; the child then
/// writes its cells; the parent reads those after the child has left.
#[derive(Debug, Default)]
pub(super) struct Plan {
    path: Option<ptr::NonNull<c_char>>,
    argv: Pointers,
    env: Pointers,
    cwd: Option<ptr::NonNull<c_char>>,
    moves: Vec<Move>,
    /// Which descriptors to close: all but the targets, as ranges (first, last).
    gaps: Vec<(u32, u32)>,
    /// The first number above all targets.
    above: RawFd,
    not_default: Vec<i32>,
    nice: Option<i32>,
    open_files: Option<Rlimit>,
    /// Who must still be the parent after the death signal is set.
    parent: Option<Pid>,
    /// Whose foreground the child's group becomes.
    terminal: Option<RawFd>,
    /// Whether the child leaves the session of its parent.
    pub(super) leads_session: bool,
    failure: Cell<Option<(Stage, i32)>>,
}

// SAFETY: the pointers are never followed but between `prepare` and the end of the same spawn, during which the
// command they point into is borrowed.
unsafe impl Send for Plan {}

/// One descriptor to hand over.
#[derive(Debug)]
struct Move {
    source: Cell<RawFd>,
    target: RawFd,
    /// The source's number is the target of another move, so it must get out of the way first.
    in_the_way: bool,
}

impl Plan {
    /// Fills the plan in for `command`.
    pub(super) fn prepare(
        &mut self,
        command: &Command<'_>,
        null: RawFd,
        terminal: Option<RawFd>,
        not_default: &[i32],
    ) -> Result<(), SpawnError> {
        self.path = ptr::NonNull::new(command.path.as_ptr().cast_mut());
        self.argv.fill(command.argv);
        self.env.fill(command.env);
        self.cwd = command.cwd.and_then(|cwd| ptr::NonNull::new(cwd.as_ptr().cast_mut()));
        self.nice = command.nice;
        self.open_files = command
            .open_files
            .map(|current| Rlimit { current: Some(current), maximum: getrlimit(Resource::Nofile).maximum });
        self.parent = command.die_with_parent.then(rustix::process::getpid);
        self.terminal = terminal;
        self.not_default.clear();
        self.not_default.extend_from_slice(not_default);
        self.failure.set(None);
        self.plan_moves(command, null)
    }

    /// What went wrong in the child, if something did.
    pub(super) fn failure(&self) -> Option<(Stage, i32)> {
        self.failure.get()
    }

    fn plan_moves(&mut self, command: &Command<'_>, null: RawFd) -> Result<(), SpawnError> {
        let given = |target| command.fds.iter().any(|(_, t)| *t == target);
        self.moves.clear();
        let nulls = (0..3).filter(|target| !given(*target)).map(|target| (null, target));
        let listed = command.fds.iter().map(|(source, target)| (source.as_raw_fd(), *target));
        self.moves.extend(nulls.chain(listed).map(|(source, target)| Move {
            source: Cell::new(source),
            target,
            in_the_way: false,
        }));
        self.moves.sort_unstable_by_key(|m| m.target);
        if self.moves.windows(2).any(|pair| pair[0].target == pair[1].target) || self.moves[0].target < 0 {
            return Err(SpawnError::new(Stage::Prepare, io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let last = self.moves.last().expect("0, 1 and 2 are always there").target;
        self.above = last.saturating_add(1);
        for index in 0..self.moves.len() {
            let (source, target) = (self.moves[index].source.get(), self.moves[index].target);
            let taken = self.moves.binary_search_by_key(&source, |m| m.target).is_ok();
            self.moves[index].in_the_way = taken && source != target;
        }
        self.plan_gaps();
        Ok(())
    }

    fn plan_gaps(&mut self) {
        self.gaps.clear();
        let mut next = 0;
        for target in self.moves.iter().map(|m| m.target.cast_unsigned()) {
            if next < target {
                self.gaps.push((next, target - 1));
            }
            next = target + 1;
        }
        self.gaps.push((next, u32::MAX));
    }
}

/// The child's life: follows the plan at `plan`. Returns, with the failure in the plan, only if a step failed; the
/// return value becomes the exit status.
pub(super) extern "C" fn run(plan: *mut c_void) -> c_int {
    // SAFETY: `clone_child` passes a pointer to a `Plan` that it keeps borrowed, and its thread, the only other one
    // with access, stands still until this process has left its memory.
    let plan = unsafe { &*plan.cast::<Plan>() };
    let (stage, errno) = follow(plan);
    plan.failure.set(Some((stage, errno.raw_os_error())));
    127
}

/// Takes every step. Comes back only with what failed.
fn follow(plan: &Plan) -> (Stage, Errno) {
    // Who leads a session leads a group as well.
    let group = match plan.leads_session {
        true => rustix::process::setsid().map(drop),
        false => rustix::process::setpgid(None, None),
    };
    if let Err(errno) = group {
        return (Stage::Group, errno);
    }
    if let Some(terminal) = plan.terminal {
        take_foreground(terminal);
    }
    if let Some(parent) = plan.parent {
        if let Err(errno) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
            return (Stage::ParentDeath, errno);
        }
        // It may have died before the signal was set.
        if rustix::process::getppid() != Some(parent) {
            return (Stage::ParentDeath, Errno::SRCH);
        }
    }
    for signal in &plan.not_default {
        signals::set_default(*signal);
    }
    if let Err(errno) = hand_over(plan) {
        return (Stage::Descriptors, errno);
    }
    if let Some(cwd) = plan.cwd
        && let Err(errno) = change_directory(cwd.as_ptr())
    {
        return (Stage::Directory, errno);
    }
    if let Some(nice) = plan.nice
        && let Err(errno) = rustix::process::setpriority_process(None, nice)
    {
        return (Stage::Nice, errno);
    }
    if let Some(limit) = &plan.open_files
        && let Err(errno) = setrlimit(Resource::Nofile, *limit)
    {
        return (Stage::OpenFiles, errno);
    }
    unblock_signals();
    let path = plan.path.map_or(ptr::null(), |path| path.as_ptr().cast_const());
    // SAFETY: `Plan::prepare` set all three from a command that is still borrowed: a C string, and two arrays of C
    // strings ended by null.
    unsafe { libc::execve(path, plan.argv.0.as_ptr(), plan.env.0.as_ptr()) };
    (Stage::Exec, last_errno())
}

/// Brings every descriptor to its number and closes the rest.
fn hand_over(plan: &Plan) -> Result<(), Errno> {
    for m in plan.moves.iter().filter(|m| m.in_the_way) {
        m.source.set(duplicate_above(m.source.get(), plan.above)?);
    }
    for m in &plan.moves {
        if m.source.get() == m.target {
            keep_over_exec(m.target)?;
        } else {
            duplicate_to(m.source.get(), m.target)?;
        }
    }
    for (first, last) in &plan.gaps {
        close_range(*first, *last)?;
    }
    Ok(())
}

fn duplicate_above(fd: RawFd, least: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: fcntl(2) with `F_DUPFD_CLOEXEC` takes two numbers; it makes a descriptor in this child's own table,
    // which it does not share with its parent.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) };
    if copy < 0 { Err(last_errno()) } else { Ok(copy) }
}

fn keep_over_exec(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: as in `duplicate_above`; `F_SETFD` 0 clears close-on-exec, in this child's table alone.
    let answer = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

fn duplicate_to(source: RawFd, target: RawFd) -> Result<(), Errno> {
    // SAFETY: dup3(2) takes numbers alone. What it closes at `target` it closes in this child's own table; no value
    // in the shared memory that owns that number is touched.
    let answer = unsafe { libc::dup3(source, target, 0) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: as in `duplicate_to`; flags 0, so only this child's own table is changed.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Makes this child's group the foreground of the terminal, if that is possible. SIGTTOU, which a group in the background
/// gets for that, is blocked as all signals are.
fn take_foreground(terminal: RawFd) {
    let group = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: tcsetpgrp(3) takes two numbers and makes one ioctl, which reads `group` from its own frame. The descriptor
    // is open: the spawner that prepared the plan owns it and is borrowed while the child is in this memory.
    unsafe { libc::tcsetpgrp(terminal, group) };
}

fn change_directory(path: *const c_char) -> Result<(), Errno> {
    // SAFETY: `path` is the C string that `Plan::prepare` took from a command that is still borrowed.
    let answer = unsafe { libc::chdir(path) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Gives the program an empty mask. No handler can run between this and the exec: every disposition is the default.
fn unblock_signals() {
    // SAFETY: all-zero bytes are a valid, empty `sigset_t`.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` lives across the call and the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
}

/// Why the last call failed. `errno` is the parent's thread's, which stands still; glibc's posix_spawn does the same.
fn last_errno() -> Errno {
    Errno::from_raw_os_error(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}
