//! Leaving out the items that an earlier run has done.

use std::collections::HashMap;

use crate::map::log::{DoneKeys, ItemHash};

/// Knows what an earlier run has done. Equal items are told apart by how many came before.
#[derive(Debug)]
pub(crate) struct Skip {
    done: DoneKeys,
    target: ItemHash,
    seen: HashMap<ItemHash, u32>,
}

impl Skip {
    /// Leaves out what is in `done`, for the target with this hash.
    pub(crate) fn new(done: DoneKeys, target: ItemHash) -> Self {
        Self { done, target, seen: HashMap::new() }
    }

    /// Whether this item, the next of its kind, is done.
    pub(crate) fn is_done(&mut self, item: &[u8]) -> bool {
        let hash = self.target.with(item);
        let occurrence = self.seen.entry(hash).or_insert(0);
        let key = hash.key(*occurrence);
        *occurrence += 1;
        self.done.contains(key)
    }
}
