//! Limits of this process, and what others use.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows this process as many open files as it may allow itself, and says how many that is (`None`: no limit).
///
/// # Errors
/// None is known.
pub fn raise_open_files() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum)
}

/// How many files this process may have open (`None`: no limit).
#[must_use]
pub fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Whether `error` says that this process, or the whole machine, has as many files open as it may.
#[must_use]
pub fn ran_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// The bytes that process `pid` has resident.
///
/// # Errors
/// There is no such process.
pub fn memory_of(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split_ascii_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
    let pages = pages.ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// How much memory the machine could give now without pushing anything out, in bytes (`MemAvailable`, proc_meminfo(5)).
///
/// # Errors
/// There is no `/proc`, or it says nothing of that.
pub fn available_memory() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let available = field("MemAvailable:").ok_or(io::ErrorKind::InvalidData)?;
    Ok((available + field("SwapFree:").unwrap_or_default()).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_is_allowed() {
        let allowed = raise_open_files().unwrap();

        assert_eq!(open_files(), allowed);
    }

    #[test]
    fn this_process_has_memory_and_a_missing_one_has_none() {
        assert!(memory_of(std::process::id()).unwrap() > 100_000);
        assert!(memory_of(u32::MAX).is_err());
    }
}
