//! What holders and waiters write about themselves, and how they know each other.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::str::FromStr;

use poolctl_supervisor::Moment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::name::Object;

/// Names the holders above a command, innermost last, separated by commas.
pub(crate) const LOCKS_HELD: &str = "POOLCTL_LOCKS_HELD";

/// The longest record that is read; nothing of ours writes a longer one.
const MAX_RECORD: u64 = 1 << 20;

/// The longest name of a run that is written down.
const MAX_RUN_ID: usize = 100;

/// The most of a command line that is written down.
const MAX_COMMAND: usize = 4096;

/// One life of a process: no two of a machine have both numbers in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub(crate) started: u64,
}

impl Life {
    /// The life of the process that has `pid` now.
    ///
    /// # Errors
    /// There is none, or `/proc` cannot be read.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The 20th field behind the name, which may hold anything (proc_pid_stat(5), field 22).
        let behind = stat.rsplit_once(')').map(|(_, behind)| behind);
        let started = behind.and_then(|behind| behind.split_ascii_whitespace().nth(19)?.parse().ok());
        started.map(|started| Self { pid, started }).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Those above this process, as its environment says.
    pub(crate) fn above() -> Vec<Self> {
        let held = std::env::var(LOCKS_HELD).unwrap_or_default();
        lives_in(&held)
    }

    /// The processes that were started below it, as far as this user may look. Dead ones have no environment any more.
    pub(crate) fn processes_below(self) -> Vec<u32> {
        let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut pids: Vec<u32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
        pids.retain(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| {
                let value = str::from_utf8(entry)
                    .ok()
                    .and_then(|entry| entry.strip_prefix(LOCKS_HELD)?.strip_prefix('='));
                value.is_some_and(|value| lives_in(value).contains(&self))
            })
        });
        pids
    }
}

fn lives_in(text: &str) -> Vec<Life> {
    text.split(',').filter_map(|text| text.parse().ok()).collect()
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

/// A text that names no life.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no life of a process")]
pub(crate) struct NoLife;

impl FromStr for Life {
    type Err = NoLife;

    fn from_str(text: &str) -> Result<Self, NoLife> {
        let (pid, started) = text.split_once('-').ok_or(NoLife)?;
        Ok(Self { pid: pid.parse().map_err(|_| NoLife)?, started: started.parse().map_err(|_| NoLife)? })
    }
}

/// The place in a run of poolctl from which a process was started, as its environment says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) id: String,
    /// Of a warm worker: which of the places for workers.
    pub(crate) slot: Option<u32>,
    /// Of a command: its item, counted from 0.
    pub(crate) item: Option<u64>,
}

impl Run {
    /// That of this process; none if it is below no run.
    pub(crate) fn above() -> Option<Self> {
        // Of a longer one nobody knows what it is.
        let id = std::env::var("POOLCTL_RUN_ID").ok().filter(|id| id.len() <= MAX_RUN_ID)?;
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let slot = number("POOLCTL_SLOT").and_then(|slot| u32::try_from(slot).ok());
        Some(Self { id, slot, item: number("POOLCTL_ITEM") })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(item) = self.item {
            write!(f, "item {item} of ")?;
        } else if let Some(slot) = self.slot {
            write!(f, "slot {slot} of ")?;
        }
        write!(f, "run {}", self.id.escape_debug())
    }
}

/// Who holds or waits, what for, since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Party {
    #[serde(flatten)]
    pub(crate) life: Life,
    /// On the monotonic clock, which all processes of a machine share.
    pub(crate) since: u64,
    /// The command that runs, or is to run.
    pub(crate) command: String,
    /// How many permits it says that there are; a lock has one.
    pub(crate) permits: u32,
    /// Where it was started, if below a run.
    pub(crate) run: Option<Run>,
}

impl Party {
    /// How long it has held or waited.
    pub(crate) fn age(&self, now: Moment) -> std::time::Duration {
        std::time::Duration::from_nanos(now.0.saturating_sub(self.since))
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} (`{}`", self.life.pid, self.command)?;
        match &self.run {
            Some(run) => write!(f, ", {run})"),
            None => f.write_str(")"),
        }
    }
}

/// Somebody who waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiter {
    #[serde(flatten)]
    pub(crate) party: Party,
    pub(crate) wants: Object,
    /// The holders that it is below, which therefore wait for it.
    pub(crate) under: Vec<Life>,
}

/// A command line for people: one line, not endless.
pub(crate) fn shown_command(words: &[impl AsRef<std::ffi::OsStr>]) -> String {
    let words: Vec<String> = words.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect();
    let line = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "));
    let visible = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.take(MAX_COMMAND).collect()
}

/// Writes a record into an empty file.
pub(crate) fn write(file: &File, record: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(record).expect("records are texts and numbers");
    bytes.push(b'\n');
    file.set_len(0)?;
    file.write_all_at(&bytes, 0)
}

/// Hands a record on to an empty file, sense or no sense.
pub(crate) fn hand_on(from: &File, to: &File) -> io::Result<()> {
    let len = from.metadata()?.len().min(MAX_RECORD);
    let mut bytes = vec![0; usize::try_from(len).expect("a mebibyte fits")];
    from.read_exact_at(&mut bytes, 0)?;
    to.write_all_at(&bytes, 0)?;
    from.set_len(0)
}

/// What stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<T> {
    Nothing,
    Record(T),
    /// Something, of which no sense can be made: its writer died at it.
    Torn,
}

impl<T> Found<T> {
    /// The record.
    pub(crate) fn record(self) -> Option<T> {
        match self {
            Self::Record(record) => Some(record),
            Self::Nothing | Self::Torn => None,
        }
    }
}

/// Reads what stands in a file.
pub(crate) fn read<T: DeserializeOwned>(file: &File) -> io::Result<Found<T>> {
    let len = file.metadata()?.len();
    if len == 0 {
        return Ok(Found::Nothing);
    }
    let mut bytes = vec![0; usize::try_from(len.min(MAX_RECORD)).expect("a mebibyte fits")];
    Ok(match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => serde_json::from_slice(&bytes).map_or(Found::Torn, Found::Record),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Found::Torn,
        Err(error) => return Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_known_by_its_text() {
        let me = Life::of(std::process::id()).unwrap();

        assert_eq!(me.to_string().parse(), Ok(me));
        assert_eq!("12".parse::<Life>(), Err(NoLife));
        assert!(Life::of(u32::MAX).is_err());
    }

    #[test]
    fn a_torn_record_is_told_from_none() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(read::<Life>(&file).unwrap(), Found::Nothing);

        write(&file, &Life { pid: 1, started: 2 }).unwrap();
        assert_eq!(read(&file).unwrap(), Found::Record(Life { pid: 1, started: 2 }));
        file.set_len(5).unwrap();

        assert_eq!(read::<Life>(&file).unwrap(), Found::Torn);
    }
}
