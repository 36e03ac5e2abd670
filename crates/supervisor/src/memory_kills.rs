//! Whether the kernel killed something for want of memory lately.
//!
//! The kernel does not tell a parent why its child got SIGKILL. It counts its own kills, of the whole machine and of
//! memory cgroups alike, in `/proc/vmstat` (`oom_kill`); a SIGKILL that nobody here sent while that number grew is
//! taken for one. A hint, not a proof: another process may have been the victim.

use std::fs;

/// The number of kills for want of memory, as it was last seen.
#[derive(Debug)]
pub(crate) struct MemoryKills {
    seen: Option<u64>,
}

impl MemoryKills {
    pub(crate) fn watch() -> Self {
        Self { seen: count() }
    }

    /// Whether there were more since the last time.
    pub(crate) fn have_grown(&mut self) -> bool {
        let now = count();
        let grown = now > self.seen;
        self.seen = now;
        grown
    }
}

fn count() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.trim().parse().ok())
}
