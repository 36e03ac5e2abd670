//! The payloads of the items that are not settled yet.
//!
//! Blocks are kept whole and let go when the last of their items is settled, so the memory held is bounded by the
//! engine's window and by how far the input is read ahead.

use std::collections::VecDeque;

use poolctl_types::{Item, ItemRange};

use crate::block::Block;

/// The payloads of the items from the oldest unsettled one on.
#[derive(Debug, Default)]
pub(crate) struct Store {
    blocks: VecDeque<Stored>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Stored {
    first: u64,
    items: usize,
    unsettled: usize,
    block: Block,
}

impl Store {
    /// Keeps the items of `block` behind those before; returns how many there are.
    pub(crate) fn push(&mut self, block: Block) -> u64 {
        let count = block.len() as u64;
        if count > 0 {
            self.bytes += block.byte_len();
            let items = block.len();
            self.blocks.push_back(Stored { first: self.next, items, unsettled: items, block });
            self.next += count;
        }
        count
    }

    /// The bytes kept, settled neighbours in the same block included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The payload of one unsettled item.
    pub(crate) fn item(&self, item: Item) -> &[u8] {
        let stored = &self.blocks[self.position(item)];
        stored.block.item(stored.index(item))
    }

    /// The block in which unsettled items begin, the index of the first in it, and how many of them stand in it.
    pub(crate) fn part(&self, items: ItemRange) -> (&Block, usize, u32) {
        let stored = &self.blocks[self.position(items.first)];
        let end = items.end().0.min(stored.end());
        let count = u32::try_from(end - items.first.0).expect("part of a range");
        (&stored.block, stored.index(items.first), count)
    }

    /// The payloads of unsettled items, each with its LF, as few slices as can be.
    pub(crate) fn slices(&self, items: ItemRange) -> impl Iterator<Item = &[u8]> {
        let mut at = items.first;
        let mut position = self.position(at);
        std::iter::from_fn(move || {
            (at < items.end()).then(|| {
                let stored = &self.blocks[position];
                let from = stored.index(at);
                let end = items.end().0.min(stored.end());
                let to = stored.index(Item(end));
                at = Item(end);
                position += 1;
                stored.block.slice(from, to)
            })
        })
    }

    /// Lets go of settled items. Each item is settled once.
    pub(crate) fn settle(&mut self, items: ItemRange) {
        let mut at = items.first.0;
        let end = items.end().0;
        let mut position = self.position(items.first);
        while at < end {
            let stored = &mut self.blocks[position];
            let upto = end.min(stored.end());
            stored.unsettled -= usize::try_from(upto - at).expect("a block's items fit in memory");
            if stored.unsettled == 0 {
                self.bytes -= stored.block.byte_len();
                stored.block = Block::new();
            }
            at = upto;
            position += 1;
        }
        while self.blocks.front().is_some_and(|oldest| oldest.unsettled == 0) {
            self.blocks.pop_front();
        }
    }

    /// Where the block of `item` is. The oldest blocks are asked for most, so look there first.
    fn position(&self, item: Item) -> usize {
        if self.blocks.front().is_some_and(|oldest| item.0 < oldest.end()) {
            return 0;
        }
        self.blocks.partition_point(|stored| stored.end() <= item.0)
    }
}

impl Stored {
    fn end(&self) -> u64 {
        self.first + self.items as u64
    }

    fn index(&self, item: Item) -> usize {
        usize::try_from(item.0 - self.first).expect("a block's items fit in memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(items: &[&str]) -> Block {
        let mut block = Block::new();
        for item in items {
            block.push(item.as_bytes());
        }
        block
    }

    #[test]
    fn neighbours_in_one_block_are_one_slice_and_a_block_goes_with_its_last_item() {
        let mut store = Store::default();
        store.push(block(&["a", "bb", "c"]));
        store.push(block(&["d", "e"]));

        let slices: Vec<_> = store.slices(ItemRange::new(Item(1), 3)).collect();
        assert_eq!(slices, [&b"bb\nc\n"[..], b"d\n"]);
        assert_eq!(store.item(Item(4)), b"e");

        store.settle(ItemRange::new(Item(1), 4));
        assert_eq!(store.bytes(), 7, "the first block still holds an unsettled item");
        assert_eq!(store.item(Item(0)), b"a");
        store.settle(ItemRange::one(Item(0)));
        assert_eq!(store.bytes(), 0);
        assert!(store.blocks.is_empty());
    }
}
