//! Which locks this thread holds, and where it took them: kept privately, so that it costs next to nothing.
//!
//! A note may be out of date where somebody else released the lock; the lock's word decides. There is room for 32: what
//! is held beyond that is held as well, but nobody will be told where it was taken.

use std::cell::Cell;
use std::panic::Location;

/// How many are noted.
const MOST: usize = 32;

/// A lock that this thread took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    /// By which membership.
    pub(crate) member: u64,
    /// The lock.
    pub(crate) line: u32,
    /// Where it was taken.
    pub(crate) at: &'static Location<'static>,
}

struct Notes {
    count: Cell<usize>,
    notes: [Cell<Option<Note>>; MOST],
}

thread_local! {
    static NOTES: Notes = const { Notes { count: Cell::new(0), notes: [const { Cell::new(None) }; MOST] } };
}

/// Notes a lock that was taken.
#[inline]
pub(crate) fn push(note: Note) {
    NOTES.with(|all| {
        let count = all.count.get();
        if let Some(free) = all.notes.get(count) {
            free.set(Some(note));
            all.count.set(count + 1);
        }
    });
}

/// Forgets a lock that was given back: the one taken last, mostly.
#[inline]
pub(crate) fn pop(member: u64, line: u32) {
    NOTES.with(|all| {
        let last = all.count.get().wrapping_sub(1);
        let note = all.notes.get(last).and_then(Cell::get);
        if note.is_some_and(|note| note.line == line && note.member == member) {
            all.count.set(last);
        } else {
            all.remove(member, line);
        }
    });
}

impl Notes {
    #[cold]
    fn remove(&self, member: u64, line: u32) {
        let count = self.count.get();
        let is_it = |cell: &Cell<Option<Note>>| {
            cell.get().is_some_and(|note| note.member == member && note.line == line)
        };
        if let Some(at) = self.notes[..count].iter().rposition(is_it) {
            for later in at + 1..count {
                self.notes[later - 1].set(self.notes[later].get());
            }
            self.count.set(count - 1);
        }
    }
}

/// What is noted, the latest first.
pub(crate) fn notes(member: u64) -> impl Iterator<Item = Note> {
    let (count, notes) = NOTES.with(|all| (all.count.get(), all.notes.each_ref().map(Cell::get)));
    (0..count).rev().filter_map(move |at| notes[at]).filter(move |note| note.member == member)
}
