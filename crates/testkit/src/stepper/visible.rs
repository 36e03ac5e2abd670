//! What others can see of a victim: the memory that it shares with them, and its system calls.
//!
//! Between two instructions behind which others see the same it makes no difference at which of them the victim is
//! killed: what it has in registers and in memory of its own is gone with it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::victim::{Place, Victim};

/// What was seen on the way of one victim.
#[derive(Debug)]
pub(super) struct Visible {
    memory: File,
    shared: Vec<Range<u64>>,
    content: Option<u64>,
    is_behind_call: bool,
    steps: usize,
    turns: BTreeSet<usize>,
}

impl Visible {
    pub(super) fn of(victim: &Victim) -> Self {
        let memory = File::open(format!("/proc/{}/mem", victim.pid())).expect("a child's memory can be read");
        Self {
            memory,
            shared: shared_memory(victim.pid()),
            content: None,
            is_behind_call: false,
            steps: 0,
            turns: BTreeSet::new(),
        }
    }

    /// Looks, before the victim's next step. Not where it reads the clock: a slow reader has to begin again, since the
    /// clock was set meanwhile, and others would never go that way.
    pub(super) fn look(&mut self, victim: &Victim, place: &Place) {
        if place.is_clock() {
            self.steps += 1;
            return;
        }
        let is_before_call = victim.is_before_call();
        if self.is_behind_call {
            self.shared = shared_memory(victim.pid());
        }
        let content = self.content();
        if self.content.is_some_and(|before| before != content) || self.is_behind_call {
            // The last point of what was, and the first of what is.
            self.turns.extend([self.steps.saturating_sub(1), self.steps]);
        }
        if is_before_call {
            self.turns.insert(self.steps);
        }
        self.content = Some(content);
        self.is_behind_call = is_before_call;
        self.steps += 1;
    }

    /// Before which steps something had just become visible, or was just about to.
    pub(super) fn turns(self) -> BTreeSet<usize> {
        self.turns
    }

    fn content(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut bytes = Vec::new();
        for range in &self.shared {
            bytes.resize(usize::try_from(range.end - range.start).expect("it is mapped here"), 0);
            // Beyond the end of its file nothing can be read.
            if self.memory.read_exact_at(&mut bytes, range.start).is_ok() {
                hasher.write(&bytes);
            }
        }
        hasher.finish()
    }
}

/// Where the process can write what others can read.
fn shared_memory(pid: u32) -> Vec<Range<u64>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a child's maps can be read");
    maps.lines().filter_map(shared_range).collect()
}

/// A line such as `7f0000000000-7f0000010000 rw-s 00000000 00:01 1234   /memfd:x (deleted)`.
fn shared_range(line: &str) -> Option<Range<u64>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let permissions = fields.next()?;
    (permissions.contains('w') && permissions.ends_with('s')).then_some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memory_that_is_shared_and_written_to_is_looked_at() {
        let line = |permissions| format!("7f00-7f80 {permissions} 00000000 00:01 1234   /memfd:x (deleted)");

        assert_eq!(shared_range(&line("rw-s")), Some(0x7f00..0x7f80));
        assert_eq!(shared_range(&line("r--s")), None);
        assert_eq!(shared_range(&line("rw-p")), None);
    }
}
