//! How many records lie before a position of a queue: a count that becomes true with the position's store.
//!
//! Four words: twice a count and the position it belongs to. One of the two belongs to the position as it stands; whoever
//! moves the position, under its lock, writes the other one before.
//!
//! # If a process dies
//! Before it stores the position, that has its old count still; what was written of the other is written over.

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const WORDS: usize = 4;
/// How often a position may move away while its count is read. Only one that moves all the time does so.
const TRIES: usize = 100;

/// The counts of one position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally<'a> {
    words: &'a [AtomicU64],
    position: &'a AtomicU64,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(words: &'a [AtomicU64], position: &'a AtomicU64) -> Self {
        Self { words, position }
    }

    /// One record more lies before `next`, to which the position is moved from `now` afterwards. Under the lock of those
    /// who move it. Whether a count was there to go on from: one is, unless somebody has damaged it.
    #[inline]
    pub(crate) fn count_up(self, now: u64, next: u64) -> bool {
        let Some(side) = self.side_of(now) else { return false };
        let count = self.words[side].load(Ordering::Relaxed).wrapping_add(1);
        let other = WORDS / 2 - side;
        // Release, behind the position's last move: who reads it and looks at the position again sees that it moved.
        self.words[other].store(count, Ordering::Release);
        self.words[other + 1].store(next, Ordering::Release);
        true
    }

    /// How many records lie before the position at this moment. `None` if it moves all the time.
    pub(crate) fn read(self) -> Option<u64> {
        (0..TRIES).find_map(|_| {
            let position = self.position.load(Ordering::Acquire);
            let count = self.words[self.side_of(position)?].load(Ordering::Acquire);
            (self.position.load(Ordering::Relaxed) == position).then_some(count)
        })
    }

    /// Where the count of a position is.
    #[inline]
    fn side_of(self, position: u64) -> Option<usize> {
        [0, WORDS / 2].into_iter().find(|side| self.words[side + 1].load(Ordering::Acquire) == position)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    fn words() -> [AtomicU64; WORDS + 1] {
        Default::default()
    }

    #[test]
    fn a_count_is_that_of_the_position_as_it_stands() {
        let words = words();
        let tally = Tally::new(&words[..WORDS], &words[WORDS]);

        assert!(tally.count_up(0, 7));
        assert_eq!(tally.read(), Some(0), "it is not moved yet");
        words[WORDS].store(7, Relaxed);
        assert_eq!(tally.read(), Some(1));
    }

    #[test]
    fn who_dies_before_the_move_has_counted_nothing() {
        let words = words();
        let tally = Tally::new(&words[..WORDS], &words[WORDS]);

        assert!(tally.count_up(0, 3));
        assert!(tally.count_up(0, 5), "the next one after a death");
        words[WORDS].store(5, Relaxed);
        assert!(tally.count_up(5, 6));
        words[WORDS].store(6, Relaxed);

        assert_eq!(tally.read(), Some(2));
    }

    #[test]
    fn a_position_without_a_count_is_damage() {
        let words = words();
        let tally = Tally::new(&words[..WORDS], &words[WORDS]);
        words[WORDS].store(9, Relaxed);

        assert!(!tally.count_up(9, 10));
        assert_eq!(tally.read(), None);
    }
}
