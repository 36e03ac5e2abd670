//! A participant's entry in the table: who it is, and, while it sleeps, what it waits for and what it holds.
//!
//! One writer: the thread that the entry belongs to, and the host once that is dead. What is said of a wait stands
//! between two counts of `seq`, which is odd meanwhile, so that no reader takes half of one wait for another. Texts are
//! copied, and not pointed to, since every program has its own addresses; that happens before sleeping alone.
//!
//! # If a process dies
//! The entry says what it said. The host clears it when it recovers the process.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use poolctl_types::{Moment, WorkerId};

use crate::held::Note;

const GENERATION: usize = 0;
const PID: usize = 1;
const TID: usize = 2;
const SLOT: usize = 3;
const LIFE: usize = 4;
const SEQ: usize = 6;
const WAITS_FOR: usize = 7;
const SINCE: usize = 8;
const HELD: usize = 10;
/// Where it waits; the locks it holds follow.
const SPOTS: usize = 16;
const SPOT: usize = 16;
/// How many held locks are told.
pub(crate) const MOST_HELD: usize = 6;
/// How much of a file's name is told: its end.
const NAME: usize = 4 * (SPOT - 3);
/// In `WAITS_FOR`: it waits for a lock, which has an owner.
const IS_LOCK: u32 = 1 << 31;

/// The words of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a>(pub(crate) &'a [AtomicU32]);

/// What a participant waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A lock, by its line.
    Lock(u32),
    /// Anything else.
    Other(u32),
}

/// A line of a source file, with the end of the file's name if that is long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The file, as the compiler knows it.
    pub file: String,
    /// The line in it.
    pub line: u32,
}

/// What an entry says of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Which wait of this entry.
    pub(crate) seq: u32,
    pub(crate) lock: u32,
    pub(crate) since: Moment,
    pub(crate) at: Spot,
    pub(crate) held: Vec<(u32, Spot)>,
}

impl Entry<'_> {
    fn load(self, at: usize) -> u32 {
        self.0[at].load(Ordering::Relaxed)
    }

    fn store(self, at: usize, value: u32) {
        self.0[at].store(value, Ordering::Relaxed);
    }

    fn load_long(self, at: usize) -> u64 {
        u64::from(self.load(at)) | u64::from(self.load(at + 1)) << 32
    }

    fn store_long(self, at: usize, value: u64) {
        self.store(at, low(value));
        self.store(at + 1, low(value >> 32));
    }

    pub(crate) fn generation(self) -> u32 {
        self.load(GENERATION)
    }

    pub(crate) fn pid(self) -> u32 {
        self.load(PID)
    }

    pub(crate) fn tid(self) -> u32 {
        self.load(TID)
    }

    pub(crate) fn worker(self) -> WorkerId {
        WorkerId::new(self.load(SLOT), self.load_long(LIFE))
    }

    /// Whether anybody has it: it says which thread then.
    pub(crate) fn is_taken(self) -> bool {
        self.tid() != 0
    }

    /// Writes down whose it is from now on.
    pub(crate) fn take(self, generation: u32, worker: WorkerId, pid: u32, tid: u32) {
        self.clear();
        self.store(PID, pid);
        self.store(SLOT, worker.slot.0);
        self.store_long(LIFE, worker.generation.0);
        self.store(TID, tid);
        // Release: who finds the generation finds the rest.
        self.0[GENERATION].store(generation, Ordering::Release);
    }

    /// Nobody's, and waiting for nothing. The generation stays, for the next one to count on from.
    pub(crate) fn clear(self) {
        self.end_wait();
        self.store(TID, 0);
    }

    /// Says, before a sleep, what it waits for and what it holds.
    pub(crate) fn begin_wait(
        self,
        awaited: Awaited,
        since: Moment,
        at: &Location<'_>,
        held: impl Iterator<Item = Note>,
    ) {
        self.change(|| {
            self.store_long(SINCE, since.0);
            self.store_spot(0, 0, at);
            let mut count = 0;
            for note in held.take(MOST_HELD) {
                count += 1;
                self.store_spot(count as usize, note.line, note.at);
            }
            self.store(HELD, count);
            self.store(
                WAITS_FOR,
                match awaited {
                    Awaited::Lock(line) => (line + 1) | IS_LOCK,
                    Awaited::Other(line) => line + 1,
                },
            );
        });
    }

    /// Says that the wait is over.
    pub(crate) fn end_wait(self) {
        self.change(|| self.store(WAITS_FOR, 0));
    }

    fn change(self, change: impl FnOnce()) {
        let seq = self.load(SEQ) | 1;
        self.store(SEQ, seq);
        // Release: a reader that sees anything of the change sees that the count is odd.
        fence(Ordering::Release);
        change();
        self.0[SEQ].store(seq.wrapping_add(1), Ordering::Release);
    }

    /// What it waits for.
    pub(crate) fn awaited(self) -> Option<Awaited> {
        let word = self.load(WAITS_FOR);
        let line = (word & !IS_LOCK).checked_sub(1)?;
        Some(if word & IS_LOCK == 0 { Awaited::Other(line) } else { Awaited::Lock(line) })
    }

    /// The wait for a lock, if it is in one and says so all the time this looks.
    pub(crate) fn wait(self) -> Option<Wait> {
        let seq = self.0[SEQ].load(Ordering::Acquire);
        let Some(Awaited::Lock(lock)) = self.awaited() else { return None };
        let held = (self.load(HELD) as usize).min(MOST_HELD);
        let wait = Wait {
            seq,
            lock,
            since: Moment(self.load_long(SINCE)),
            at: self.load_spot(0).1,
            held: (1..=held).map(|slot| self.load_spot(slot)).collect(),
        };
        fence(Ordering::Acquire);
        (seq.is_multiple_of(2) && self.load(SEQ) == seq).then_some(wait)
    }

    fn store_spot(self, slot: usize, lock: u32, at: &Location<'_>) {
        let from = SPOTS + slot * SPOT;
        let name = at.file().as_bytes();
        let name = &name[name.len().saturating_sub(NAME)..];
        self.store(from, lock);
        self.store(from + 1, at.line());
        self.store(from + 2, low(name.len() as u64));
        for (word, bytes) in (from + 3..).zip(name.chunks(4)) {
            let mut whole = [0; 4];
            whole[..bytes.len()].copy_from_slice(bytes);
            self.store(word, u32::from_le_bytes(whole));
        }
    }

    fn load_spot(self, slot: usize) -> (u32, Spot) {
        let from = SPOTS + slot * SPOT;
        let mut name: Vec<u8> =
            (from + 3..from + SPOT).flat_map(|word| self.load(word).to_le_bytes()).collect();
        name.truncate(self.load(from + 2) as usize);
        let file = String::from_utf8_lossy(&name).into_owned();
        (self.load(from), Spot { file, line: self.load(from + 1) })
    }
}

/// The lower half.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
pub(crate) fn low(value: u64) -> u32 {
    value as u32
}
