//! What a process has in hand: records it got from a joinable queue and has not said to be done with.
//!
//! One word for each process: in its upper half how many, in its lower half where its last get ended. It is written
//! under the queue's get lock before the get is committed; saying *done* counts down from anywhere.
//!
//! # If a process dies
//! The host takes what the word says away. One that died holding the get lock may not have committed its last get: then
//! the end of that lies ahead of the queue's beginning, and it is not counted.

use std::sync::atomic::{AtomicU64, Ordering};

const ONE: u64 = 1 << 32;

/// A get that ends at `next` is about to be committed.
#[inline]
pub(crate) fn take(hand: &AtomicU64, next: u64) {
    let taken = |hand: u64| Some((hand & !(ONE - 1)).wrapping_add(ONE) | next & (ONE - 1));
    // Release: who sees the record gone, by way of the beginning, sees it here.
    let _ = hand.fetch_update(Ordering::Release, Ordering::Relaxed, taken);
}

/// How many there are.
pub(crate) fn count(hand: &AtomicU64) -> u64 {
    hand.load(Ordering::Acquire) >> 32
}

/// One is done, of those there are; how many are left. `None` if there was none.
pub(crate) fn done(hand: &AtomicU64) -> Option<u64> {
    let less = |hand: u64| hand.checked_sub(ONE);
    hand.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less).ok().map(|before| (before >> 32) - 1)
}

/// How many a dead process had; it has none now. `beginning`: that of the queue, of `room` words, if the process died
/// holding the get lock.
pub(crate) fn bury(hand: &AtomicU64, beginning: Option<u64>, room: u64) -> u64 {
    let hand = hand.swap(0, Ordering::AcqRel);
    let ahead = beginning.map_or(0, |beginning| hand.wrapping_sub(beginning) & (ONE - 1));
    (hand >> 32).saturating_sub(u64::from((1..=room).contains(&ahead)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_and_not_done_is_buried() {
        let hand = AtomicU64::new(0);
        (1..=3).for_each(|end| take(&hand, end * 2));

        assert_eq!(done(&hand), Some(2));
        assert_eq!(bury(&hand, None, 64), 2);
        assert_eq!((count(&hand), done(&hand)), (0, None));
    }

    #[test]
    fn a_get_that_was_not_committed_is_none() {
        let buried = |beginning| {
            let hand = AtomicU64::new(0);
            [1 << 32, (1 << 32) + 5].into_iter().for_each(|end| take(&hand, end));
            bury(&hand, Some(beginning), 64)
        };

        assert_eq!(buried(1 << 32), 1);
        assert_eq!(buried((1 << 32) + 5), 2, "it was committed");
        assert_eq!(buried((1 << 32) + 9), 2, "others went on since");
    }
}
