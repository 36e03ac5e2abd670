//! Which locks this thread holds, and where it took them: kept privately, so that it costs next to nothing.
//!
//! A note may be out of date where somebody else released the lock; the lock's word decides. The first few lie in place,
//! the others in a list, in which each lock stands once.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::panic::Location;

/// How many lie in place.
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
    /// Without a destructor, so that it is there for those of others; [`forget`] frees it.
    others: RefCell<ManuallyDrop<Vec<Note>>>,
}

thread_local! {
    static NOTES: Notes = const {
        Notes {
            count: Cell::new(0),
            notes: [const { Cell::new(None) }; MOST],
            others: RefCell::new(ManuallyDrop::new(Vec::new())),
        }
    };
}

/// Notes a lock that was taken.
#[inline]
pub(crate) fn push(note: Note) {
    NOTES.with(|all| {
        let count = all.count.get();
        if let Some(free) = all.notes.get(count) {
            free.set(Some(note));
            all.count.set(count + 1);
        } else {
            all.push_behind(note);
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
    fn push_behind(&self, note: Note) {
        let mut others = self.others.borrow_mut();
        // It was free until now, so an older note of it is out of date.
        others.retain(|old| (old.member, old.line) != (note.member, note.line));
        others.push(note);
    }

    #[cold]
    fn remove(&self, member: u64, line: u32) {
        let mut others = self.others.borrow_mut();
        if let Some(at) = others.iter().rposition(|note| (note.member, note.line) == (member, line)) {
            others.remove(at);
            return;
        }
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
    let (count, notes, others) = NOTES
        .with(|all| (all.count.get(), all.notes.each_ref().map(Cell::get), Vec::clone(&all.others.borrow())));
    let in_place = (0..count).rev().filter_map(move |at| notes[at]);
    others.into_iter().rev().chain(in_place).filter(move |note| note.member == member)
}

/// Frees the list, at the end of the thread: nothing is held any more.
pub(crate) fn forget(member: u64) {
    NOTES.with(|all| {
        let mut others = all.others.borrow_mut();
        others.retain(|note| note.member != member);
        if others.is_empty() {
            drop(ManuallyDrop::into_inner(std::mem::replace(&mut *others, ManuallyDrop::new(Vec::new()))));
        }
    });
}
