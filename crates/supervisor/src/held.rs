//! The items a worker holds: sent and not answered yet, oldest first.

use std::collections::VecDeque;

use poolctl_types::{Item, ItemRange};

/// The items sent to a worker and not answered yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Held {
    ranges: VecDeque<ItemRange>,
    count: u64,
}

impl Held {
    /// Adds items behind the others.
    pub(crate) fn push(&mut self, items: ItemRange) {
        self.count += u64::from(items.count);
        match self.ranges.back_mut() {
            Some(last) if last.end() == items.first => match last.count.checked_add(items.count) {
                Some(count) => last.count = count,
                None => self.ranges.push_back(items),
            },
            _ => self.ranges.push_back(items),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The oldest items that stand next to each other in the input, at most `most` of them; none if none is held.
    pub(crate) fn front(&self, most: u64) -> Option<ItemRange> {
        let front = self.ranges.front()?;
        let count = u32::try_from(most).map_or(front.count, |most| most.min(front.count));
        (count > 0).then(|| ItemRange::new(front.first, count))
    }

    /// The oldest item.
    pub(crate) fn oldest(&self) -> Option<Item> {
        self.ranges.front().map(|front| front.first)
    }

    /// The item that has so many older ones before it.
    pub(crate) fn nth(&self, mut before: u64) -> Option<Item> {
        for range in &self.ranges {
            match before.checked_sub(u64::from(range.count)) {
                None => return Some(range.first.plus(before)),
                Some(left) => before = left,
            }
        }
        None
    }

    /// Takes the oldest `count` items away; they stand next to each other.
    pub(crate) fn pop(&mut self, count: u32) {
        let front = self.ranges.front_mut().expect("only what is held is taken away");
        front.first = front.first.plus(u64::from(count));
        front.count -= count;
        self.count -= u64::from(count);
        if front.count == 0 {
            self.ranges.pop_front();
        }
    }

    /// Takes up to `count` items behind the oldest away, and says which.
    pub(crate) fn take_behind_front(&mut self, count: u32) -> Vec<ItemRange> {
        let Some(oldest) = self.oldest() else { return Vec::new() };
        self.pop(1);
        let mut gone = Vec::new();
        let mut left = count;
        while left > 0
            && let Some(items) = self.front(u64::from(left))
        {
            self.pop(items.count);
            left -= items.count;
            gone.push(items);
        }
        self.count += 1;
        match self.ranges.front_mut() {
            Some(front) if front.first == oldest.plus(1) && front.count < u32::MAX => {
                *front = ItemRange::new(oldest, front.count + 1);
            }
            _ => self.ranges.push_front(ItemRange::one(oldest)),
        }
        gone
    }

    /// Takes one item away, wherever it stands; false if it is not held.
    pub(crate) fn take(&mut self, item: Item) -> bool {
        let Some(at) = self.ranges.iter().position(|range| range.contains(item)) else {
            return false;
        };
        let range = self.ranges[at];
        let before = u32::try_from(item.0 - range.first.0).expect("shorter than the range");
        let after = range.count - before - 1;
        self.ranges.remove(at);
        if after > 0 {
            self.ranges.insert(at, ItemRange::new(item.plus(1), after));
        }
        if before > 0 {
            self.ranges.insert(at, ItemRange::new(range.first, before));
        }
        self.count -= 1;
        true
    }

    /// The items, oldest first.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = ItemRange> {
        self.ranges.iter().copied()
    }

    /// Whether `item` is held.
    pub(crate) fn contains(&self, item: Item) -> bool {
        self.ranges.iter().any(|range| range.contains(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_join_and_an_item_can_be_taken_from_the_middle() {
        let mut held = Held::default();
        held.push(ItemRange::new(Item(5), 3));
        held.push(ItemRange::new(Item(8), 2));
        held.push(ItemRange::new(Item(20), 1));

        assert_eq!(held.front(100), Some(ItemRange::new(Item(5), 5)));
        assert!(held.take(Item(7)));
        assert!(!held.take(Item(7)));
        assert_eq!(held.front(100), Some(ItemRange::new(Item(5), 2)));
        held.pop(2);
        assert_eq!(held.front(1), Some(ItemRange::new(Item(8), 1)));
        assert_eq!(held.count(), 3);
        assert!(held.contains(Item(20)) && !held.contains(Item(5)));
    }

    #[test]
    fn what_stands_behind_the_oldest_can_be_taken_and_the_oldest_stays() {
        let mut held = Held::default();
        held.push(ItemRange::new(Item(5), 4));
        held.push(ItemRange::new(Item(20), 2));

        assert_eq!(held.take_behind_front(1), [ItemRange::one(Item(6))]);
        assert_eq!(held.ranges().next(), Some(ItemRange::one(Item(5))));
        let gone = held.take_behind_front(9);
        assert_eq!(gone, [ItemRange::new(Item(7), 2), ItemRange::new(Item(20), 2)]);
        assert_eq!((held.count(), held.oldest()), (1, Some(Item(5))));
        assert_eq!(held.take_behind_front(9), []);
    }
}
