//! One element of a map, known by its place in the input.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The place of an item in the input, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Item(pub u64);

impl Item {
    /// The item `count` places further on.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Items that stand next to each other in the input: `first, first + 1, … first + count − 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ItemRange {
    /// The first of them.
    pub first: Item,
    /// How many; never 0.
    pub count: u32,
}

impl ItemRange {
    /// `count` items from `first` on.
    #[must_use]
    pub fn new(first: Item, count: u32) -> Self {
        Self { first, count }
    }

    /// The range of one item.
    #[must_use]
    pub fn one(item: Item) -> Self {
        Self { first: item, count: 1 }
    }

    /// The item behind the last one.
    #[must_use]
    pub fn end(self) -> Item {
        self.first.plus(u64::from(self.count))
    }

    /// Whether `item` is one of them.
    #[must_use]
    pub fn contains(self, item: Item) -> bool {
        self.first <= item && item < self.end()
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Item> {
        (self.first.0..self.end().0).map(Item)
    }
}
