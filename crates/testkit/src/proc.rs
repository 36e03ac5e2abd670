//! What /proc says about processes: who carries a mark, who lives, what they hold.
//!
//! A zombie is dead: on some machines pid 1 never reaps what it adopts.

use std::fs;
use std::path::{Path, PathBuf};

/// The environment variable by which a test knows its processes, however they were started.
pub const MARK: &str = "POOLCTL_TEST_MARK";

/// One process, as /proc showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub state: char,
    /// Its command line, arguments separated by spaces.
    pub command: String,
}

impl Process {
    /// What /proc says about `pid`; none if there is no such process.
    #[must_use]
    pub fn look(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
        Some(Self { pid, parent, state, command })
    }

    /// Whether it is neither a zombie nor being taken away.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Whether `pid` is a process that lives (a zombie does not).
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    Process::look(pid).is_some_and(|process| process.is_alive())
}

/// Every living process whose environment has [`MARK`]`=mark`.
#[must_use]
pub fn marked(mark: &str) -> Vec<Process> {
    let entry = format!("{MARK}={mark}");
    pids()
        .filter(|pid| carries(*pid, entry.as_bytes()))
        .filter_map(Process::look)
        .filter(Process::is_alive)
        .collect()
}

/// Whether `pid` carries [`MARK`]`=mark`.
pub(crate) fn is_marked(pid: u32, mark: &str) -> bool {
    carries(pid, format!("{MARK}={mark}").as_bytes())
}

/// The living children of `pid`.
#[must_use]
pub fn children(pid: u32) -> Vec<Process> {
    pids().filter_map(Process::look).filter(|process| process.parent == pid && process.is_alive()).collect()
}

/// The open descriptors of `pid` and what they lead to, in ascending order; empty if it is gone.
#[must_use]
pub fn descriptors(pid: u32) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<(u32, PathBuf)> = names_in(Path::new(&format!("/proc/{pid}/fd")))
        .filter_map(|name| {
            let target = fs::read_link(format!("/proc/{pid}/fd/{name}")).ok()?;
            Some((name.parse().ok()?, target))
        })
        .collect();
    found.sort();
    found
}

/// A figure in KiB of `/proc/PID/status`, such as `VmHWM`, the most memory it ever had resident.
#[must_use]
pub fn status_kib(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// For how many nanoseconds the main thread of `pid` has run; none if it is gone.
#[must_use]
pub fn ran(pid: u32) -> Option<u64> {
    let schedule = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    schedule.split_ascii_whitespace().next()?.parse().ok()
}

/// The names in a directory, sorted; none if it cannot be read.
pub(crate) fn names_in(directory: &Path) -> impl Iterator<Item = String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names.into_iter()
}

fn pids() -> impl Iterator<Item = u32> {
    names_in(Path::new("/proc")).filter_map(|name| name.parse().ok())
}

fn carries(pid: u32, entry: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|found| found == entry))
}
