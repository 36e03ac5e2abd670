//! Processes at large: this one as a reaper, its children, and those that carry a mark in their environment.

use std::fs;
use std::io;
use std::time::Duration;

use poolctl_types::Exit;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, set_child_subreaper};

use crate::clock;
use crate::pidfd::Pidfd;
use crate::wait::{Found, How, Which, find, wait};

/// Makes this process the parent of every descendant whose own parent dies.
///
/// # Errors
/// None is known.
pub fn set_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// The effective user of this process.
#[must_use]
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The calling thread's id in the kernel, in this process's pid namespace.
#[must_use]
pub fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

/// A child that has died and is not reaped, the longest-known first; `None` if there is none now.
///
/// # Errors
/// There is no child at all (`ECHILD`).
pub fn dead_child() -> io::Result<Option<u32>> {
    Ok(wait(Which::Any, How::Peek)?.map(|dead| dead.pid))
}

/// Reaps this child if it has died, and says whether it had.
///
/// # Errors
/// It is no child of this process (`ECHILD`).
pub fn reap(pid: u32) -> io::Result<bool> {
    Ok(wait(Which::Pid(pid), How::TryReap)?.is_some())
}

/// What has become of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has died, and is reaped.
    Died(Exit),
    /// This signal has stopped it.
    Stopped(i32),
}

/// Waits until a child dies, and reaps it, or is stopped, and says which it was.
///
/// # Errors
/// There is no child at all (`ECHILD`).
pub fn next_change() -> io::Result<(u32, Change)> {
    loop {
        match find(Which::Any, How::Watch)? {
            Some(Found::Dead(dead)) => return Ok((dead.pid, Change::Died(dead.exit))),
            Some(Found::Stopped { pid, signal }) => return Ok((pid, Change::Stopped(signal))),
            None => {}
        }
    }
}

/// The children of this process, dead ones included.
///
/// # Errors
/// `/proc` cannot be read.
pub fn children() -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    let mut known = false;
    for thread in fs::read_dir("/proc/self/task")? {
        match fs::read_to_string(thread?.path().join("children")) {
            Ok(list) => {
                known = true;
                children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            // The thread has ended meanwhile, or this kernel has no such file (CONFIG_PROC_CHILDREN).
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if known { Ok(children) } else { children_by_parent() }
}

/// The same by asking every process for its parent.
fn children_by_parent() -> io::Result<Vec<u32>> {
    let own = std::process::id();
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        stat.as_deref().and_then(parent_in) == Some(own)
    };
    Ok(pids()?.into_iter().filter(is_child).collect())
}

/// The parent in a line of `/proc/PID/stat`: the second field behind the name, which may hold anything.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Every process on this machine, as far as `/proc` shows them.
fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// Kills every child and reaps it, then those that are adopted because of that, until there are none. Blocks as
/// long as the kernel takes to end them.
///
/// # Errors
/// `/proc` cannot be read.
pub fn kill_and_reap_all_children() -> io::Result<()> {
    loop {
        let alive = children()?;
        for pid in alive.iter().copied().filter_map(raw) {
            // A child of ours is not reaped by anybody else, so the pid means this child. One that runs as another
            // user now (EPERM) is left to end by itself.
            let killed = kill_process(pid, Signal::KILL);
            debug_assert!(matches!(killed, Ok(()) | Err(Errno::PERM)), "{killed:?}");
        }
        // Nothing was there to be killed, but adopted ones may come at any moment: then this does not wait.
        let how = if alive.is_empty() { How::TryReap } else { How::Reap };
        match wait(Which::Any, how) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
        while let Ok(Some(_)) = wait(Which::Any, How::TryReap) {}
    }
}

/// The processes, but for this one, whose environment at their start held exactly `mark` (`NAME=value`), as far
/// as this user may look. Dead ones have no environment any more.
///
/// # Errors
/// `/proc` cannot be read.
pub fn with_environment_mark(mark: &[u8]) -> io::Result<Vec<u32>> {
    let own = std::process::id();
    let mut found = pids()?;
    found.retain(|pid| *pid != own && has_environment_mark(*pid, mark));
    Ok(found)
}

/// Kills every process, but for this one, that has `mark` in its environment, and waits until they have ended, at
/// most for `timeout`. Says how many were killed.
///
/// A pid that is given to another process meanwhile does no harm: the mark is looked at again after the process
/// has been opened, and what was opened is what is killed.
///
/// # Errors
/// `/proc` cannot be read.
pub fn kill_marked(mark: &[u8], timeout: Duration) -> io::Result<usize> {
    let deadline = clock::now() + timeout;
    let mut killed = 0;
    loop {
        let mut ending = Vec::new();
        for pid in with_environment_mark(mark)? {
            let Ok(pidfd) = Pidfd::open(pid) else { continue };
            if has_environment_mark(pid, mark) && pidfd.signal(libc::SIGKILL).is_ok() {
                ending.push(pidfd);
            }
        }
        if ending.is_empty() {
            return Ok(killed);
        }
        killed += ending.len();
        for pidfd in &ending {
            if !pidfd.wait_for_end(Some(deadline - clock::now()))? {
                return Ok(killed);
            }
        }
    }
}

fn has_environment_mark(pid: u32, mark: &[u8]) -> bool {
    // It may have ended, or belong to another user: then it is none of ours.
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|entry| entry == mark)
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawn::testing::shell;

    #[test]
    fn the_children_of_this_process_are_known() {
        let child = shell("while :; do sleep 100; done");

        let known = children().unwrap();
        let known_by_parent = children_by_parent().unwrap();

        assert!(known.contains(&child.pid()), "{known:?}");
        assert!(known_by_parent.contains(&child.pid()), "{known_by_parent:?}");
        child.signal_group(libc::SIGKILL).unwrap();
        child.wait_for_end(None).unwrap();
        assert!(reap(child.pid()).unwrap());
        assert_eq!(reap(child.pid()).unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn a_name_that_looks_like_fields_confuses_nobody() {
        assert_eq!(parent_in("12 (a) R 7 (b) S 34 12 12 0"), Some(34));
        assert_eq!(parent_in("12"), None);
    }

    #[test]
    fn a_marked_process_is_found_and_killed_and_others_are_not() {
        let mark = format!("POOLCTL_TEST_MARK={}", std::process::id());
        let script = format!("exec env {mark} sleep 1000");
        let (marked, other) = (shell(&script), shell("exec env POOLCTL_TEST_MARK=no sleep 1000"));
        // The mark is there once `env` has executed `sleep`.
        let deadline = clock::now() + Duration::from_secs(10);
        while with_environment_mark(mark.as_bytes()).unwrap().is_empty() && clock::now() < deadline {
            std::thread::yield_now();
        }

        let killed = kill_marked(mark.as_bytes(), Duration::from_secs(10)).unwrap();

        assert_eq!(killed, 1);
        assert!(marked.wait_for_end(Some(Duration::from_secs(10))).unwrap());
        assert_eq!(with_environment_mark(mark.as_bytes()).unwrap(), Vec::<u32>::new());
        assert!(!other.wait_for_end(Some(Duration::ZERO)).unwrap());
        other.signal_group(libc::SIGKILL).unwrap();
        other.wait_for_end(None).unwrap();
        other.reap().unwrap();
        marked.reap().unwrap();
    }
}
