//! One byte for every item from the oldest unfinished to the newest dispatched.
//!
//! This is all that a first attempt that goes well costs per item: its byte is written when it is dispatched and
//! again, unless it is the oldest, when it is done; both for whole ranges.

use std::collections::VecDeque;

use poolctl_types::{Item, ItemRange};

/// Where a dispatched item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Standing {
    /// A worker has it.
    Held,
    /// It was dispatched and is to be dispatched again.
    Waiting,
    /// It has its outcome.
    Done,
}

/// The items from the oldest unfinished to the newest dispatched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    base: u64,
    standings: VecDeque<Standing>,
}

impl Window {
    /// The oldest unfinished item; the next to be dispatched if there is none.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The item behind the newest dispatched one.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.standings.len() as u64
    }

    /// Whether everything dispatched is finished.
    pub(crate) fn is_empty(&self) -> bool {
        self.standings.is_empty()
    }

    pub(crate) fn standings(&self) -> impl Iterator<Item = (u64, Standing)> {
        (self.base..).zip(self.standings.iter().copied())
    }

    /// `None`: not dispatched yet.
    pub(crate) fn standing(&self, item: Item) -> Option<Standing> {
        match item.0.checked_sub(self.base) {
            Some(place) => self.standings.get(usize::try_from(place).ok()?).copied(),
            None => Some(Standing::Done),
        }
    }

    /// The next `count` items are dispatched.
    pub(crate) fn open(&mut self, count: u32) {
        let filled = self.standings.len() + count as usize;
        self.standings.resize(filled, Standing::Held);
    }

    /// The next item has its outcome without having been dispatched.
    pub(crate) fn skip(&mut self) {
        self.standings.push_back(Standing::Done);
        self.advance();
    }

    /// These dispatched items are held, or wait.
    pub(crate) fn mark(&mut self, items: ItemRange, standing: Standing) {
        let Some(first) = self.place(items.first) else { return };
        let end = (first + items.count as usize).min(self.standings.len());
        let (front, back) = self.standings.as_mut_slices();
        let split = front.len();
        front[first.min(split)..end.min(split)].fill(standing);
        back[first.max(split) - split..end.max(split) - split].fill(standing);
    }

    /// These items have their outcome.
    pub(crate) fn finish(&mut self, items: ItemRange) {
        if items.first.0 == self.base && items.count as usize <= self.standings.len() {
            self.standings.drain(..items.count as usize);
            self.base += u64::from(items.count);
        } else {
            self.mark(items, Standing::Done);
        }
        self.advance();
    }

    fn place(&self, item: Item) -> Option<usize> {
        usize::try_from(item.0.checked_sub(self.base)?).ok()
    }

    /// Forgets what is done at the front.
    fn advance(&mut self) {
        if self.standings.front() != Some(&Standing::Done) {
            return;
        }
        let done = self.standings.iter().take_while(|standing| **standing == Standing::Done).count();
        self.standings.drain(..done);
        self.base += done as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, count: u32) -> ItemRange {
        ItemRange::new(Item(first), count)
    }

    #[test]
    fn the_base_stays_at_the_oldest_unfinished_item() {
        let mut window = Window::default();
        window.open(6);

        window.finish(range(2, 2));
        assert_eq!(window.base(), 0);
        window.finish(range(0, 2));

        assert_eq!((window.base(), window.end()), (4, 6));
        assert_eq!(window.standing(Item(3)), Some(Standing::Done));
        assert_eq!(window.standing(Item(4)), Some(Standing::Held));
        assert_eq!(window.standing(Item(6)), None);
    }

    #[test]
    fn ranges_are_marked_across_the_seam_of_the_ring() {
        let mut window = Window::default();
        for _ in 0..100 {
            window.open(7);
            let base = window.base();
            window.mark(range(base + 1, 5), Standing::Waiting);
            let kinds: Vec<_> = window.standings().map(|(_, standing)| standing).collect();

            assert_eq!(kinds[0], Standing::Held);
            assert!(kinds[1..6].iter().all(|standing| *standing == Standing::Waiting));
            assert_eq!(kinds[6], Standing::Held);
            window.finish(range(base, 7));
        }
        assert!(window.is_empty());
    }

    #[test]
    fn a_skipped_item_counts_as_finished() {
        let mut window = Window::default();
        window.open(1);
        window.skip();
        window.open(1);

        window.finish(range(0, 1));

        assert_eq!((window.base(), window.end()), (2, 3));
    }
}
