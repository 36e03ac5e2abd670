//! What one worker holds unanswered, oldest first, as runs of neighbouring items.

use std::collections::VecDeque;

use poolctl_types::{Item, ItemRange, Moment};

/// Items that were dispatched together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) items: ItemRange,
    /// Which attempt at them this is, from 1.
    pub(crate) attempt: u32,
    pub(crate) dispatched: Moment,
}

/// What a worker holds, in the order in which it was dispatched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    runs: VecDeque<Run>,
    count: u32,
}

impl Held {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// The oldest item.
    pub(crate) fn front(&self) -> Option<Item> {
        self.runs.front().map(|run| run.items.first)
    }

    /// Which attempt at `item` it holds.
    pub(crate) fn attempt(&self, item: Item) -> Option<u32> {
        self.runs.iter().find(|run| run.items.contains(item)).map(|run| run.attempt)
    }

    pub(crate) fn push(&mut self, run: Run) {
        self.count = self.count.saturating_add(run.items.count);
        self.runs.push_back(run);
    }

    /// Takes up to `limit` items of the oldest run.
    pub(crate) fn pop(&mut self, limit: u32) -> Option<Run> {
        let front = self.runs.front_mut()?;
        let taken = limit.min(front.items.count);
        let popped = Run { items: ItemRange::new(front.items.first, taken), ..*front };
        if taken == front.items.count {
            self.runs.pop_front();
        } else {
            front.items = ItemRange::new(front.items.first.plus(u64::from(taken)), front.items.count - taken);
        }
        self.count -= taken;
        Some(popped)
    }

    /// Takes `item`, wherever it is; what stood around it stays in order.
    pub(crate) fn remove(&mut self, item: Item) -> Option<Run> {
        if self.front() == Some(item) {
            return self.pop(1);
        }
        let place = self.runs.iter().position(|run| run.items.contains(item))?;
        let run = self.runs[place];
        self.count -= 1;
        let before = ItemRange { first: run.items.first, count: distance(run.items.first, item) };
        let after = ItemRange { first: item.plus(1), count: distance(item.plus(1), run.items.end()) };
        self.runs.remove(place);
        for items in [after, before].into_iter().filter(|items| items.count > 0) {
            self.runs.insert(place, Run { items, ..run });
        }
        Some(Run { items: ItemRange::one(item), ..run })
    }

    /// Takes up to `limit` items behind the oldest one.
    pub(crate) fn take_behind_front(&mut self, limit: u32) -> Vec<Run> {
        let Some(front) = self.pop(1) else { return Vec::new() };
        let mut taken = Vec::new();
        let mut left = limit;
        while left > 0
            && let Some(run) = self.pop(left)
        {
            left -= run.items.count;
            taken.push(run);
        }
        self.count += 1;
        self.runs.push_front(front);
        taken
    }

    /// Takes everything.
    pub(crate) fn take(&mut self) -> VecDeque<Run> {
        self.count = 0;
        std::mem::take(&mut self.runs)
    }
}

/// How many items lie from `from` up to `to`, both of one range.
fn distance(from: Item, to: Item) -> u32 {
    u32::try_from(to.0 - from.0).expect("both ends lie in one range")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(ranges: &[(u64, u32)]) -> Held {
        let mut held = Held::default();
        for &(first, count) in ranges {
            held.push(Run { items: ItemRange::new(Item(first), count), attempt: 1, dispatched: Moment(0) });
        }
        held
    }

    fn items(held: &Held) -> Vec<u64> {
        held.runs().flat_map(|run| run.items.iter().map(|item| item.0).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn the_oldest_items_are_popped_run_by_run() {
        let mut held = held(&[(0, 3), (8, 2)]);

        assert_eq!(held.pop(2).map(|run| run.items), Some(ItemRange::new(Item(0), 2)));
        assert_eq!(held.pop(9).map(|run| run.items), Some(ItemRange::new(Item(2), 1)));

        assert_eq!((items(&held), held.count()), (vec![8, 9], 2));
    }

    #[test]
    fn an_item_is_removed_from_any_place() {
        for (gone, left) in [(0, [1, 2, 3, 9]), (1, [0, 2, 3, 9]), (3, [0, 1, 2, 9]), (9, [0, 1, 2, 3])] {
            let mut held = held(&[(0, 4), (9, 1)]);

            assert_eq!(held.remove(Item(gone)).map(|run| run.items), Some(ItemRange::one(Item(gone))));

            assert_eq!((items(&held), held.count()), (left.to_vec(), 4));
            assert_eq!(held.remove(Item(gone)), None);
        }
    }
}
