//! Names for items that are the same in every run: FNV-1a with 128 bits.

use std::collections::HashMap;
use std::fmt;

use super::resume::DoneKeys;
use crate::map::target::TargetSpec;

/// The hash of a target, or of a target and an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ItemHash(u128);

/// The name of one item: the hash of target, item and occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(super) u128);

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

impl ItemHash {
    /// The hash of what runs. Flags that only change how it runs are no part of it.
    pub(crate) fn of_target(target: &TargetSpec) -> Self {
        let empty = Self(OFFSET_BASIS);
        match target {
            TargetSpec::Command { words } => {
                words.iter().fold(empty.with(b"command"), |hash, word| hash.with(word))
            }
            TargetSpec::Lines { argv } => {
                argv.iter().fold(empty.with(b"lines"), |hash, word| hash.with(word))
            }
            TargetSpec::Worker { argv, function, .. } => {
                let worker = argv.iter().fold(empty.with(b"worker"), |hash, word| hash.with(word));
                match function {
                    Some(function) => worker.with(b"function").with(function.as_bytes()),
                    None => worker,
                }
            }
            // Wherever its executable lies.
            TargetSpec::Native { function } => empty.with(b"native").with(function.as_bytes()),
            TargetSpec::Python { module, function } => {
                empty.with(b"python").with(module).with(function.as_bytes())
            }
            TargetSpec::Served { pool, .. } => empty.with(b"served").with(pool.as_bytes()),
        }
    }

    /// The hash of this and `bytes`; their length goes in too, so that neighbours stay apart.
    pub(crate) fn with(self, bytes: &[u8]) -> Self {
        let add = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        let hash = bytes.iter().fold(self.0, add);
        Self((bytes.len() as u64).to_le_bytes().iter().fold(hash, add))
    }

    /// The name of the item with this hash that has so many equals before it.
    pub(crate) fn key(self, occurrence: u32) -> Key {
        Key(self.with(&occurrence.to_le_bytes()).0)
    }
}

impl fmt::Display for ItemHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Gives items their names as they are settled. Equal items are interchangeable, so the order among them is free.
#[derive(Debug)]
pub(crate) struct Occurrences {
    target: ItemHash,
    done: DoneKeys,
    seen: HashMap<ItemHash, u32>,
}

impl Occurrences {
    /// Names for the items of a target, but none of those that are done.
    pub(crate) fn new(target: ItemHash, done: DoneKeys) -> Self {
        Self { target, done, seen: HashMap::new() }
    }

    /// The name of the next item with these bytes.
    pub(crate) fn next(&mut self, item: &[u8]) -> Key {
        let hash = self.target.with(item);
        let seen = self.seen.entry(hash).or_insert(0);
        loop {
            let key = hash.key(*seen);
            *seen += 1;
            if !self.done.contains(key) {
                return key;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_get_names_of_their_own_that_no_earlier_run_used() {
        let target = ItemHash(OFFSET_BASIS);
        let done: DoneKeys = [target.with(b"x").key(1)].into_iter().collect();
        let mut names = Occurrences::new(target, done);

        let first = names.next(b"x");
        let second = names.next(b"x");

        assert_eq!(first, target.with(b"x").key(0));
        assert_eq!(second, target.with(b"x").key(2));
        assert_ne!(names.next(b"y"), first);
    }

    #[test]
    fn neighbours_do_not_run_into_each_other() {
        let hash = |words: &[&str]| {
            let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            ItemHash::of_target(&TargetSpec::Command { words })
        };

        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_eq!(hash(&["a"]).to_string(), hash(&["a"]).to_string());
        assert_eq!(hash(&["a"]).to_string().len(), 32);
    }
}
