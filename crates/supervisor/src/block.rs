//! Items as they come from an input: many in one piece of memory.

/// Items in input order, in one allocation.
///
/// Every item is followed by exactly one LF, whatever it holds itself, so that neighbouring one-line items can be
/// handed to a line filter or into a batch as one slice. A block holds at most 4 GiB.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// The items, each with its LF.
    pub bytes: Vec<u8>,
    /// For each item the offset in `bytes` behind its LF; ascending.
    pub ends: Vec<u32>,
}

impl Block {
    /// A block without items.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one item.
    ///
    /// # Panics
    /// If the block would grow over 4 GiB.
    pub fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.bytes.push(b'\n');
        self.ends.push(u32::try_from(self.bytes.len()).expect("a block holds at most 4 GiB"));
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all items with their LFs.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Item `index` without its LF.
    ///
    /// # Panics
    /// If there is no such item.
    #[must_use]
    pub fn item(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.ends[index] as usize - 1]
    }

    /// Items `from..to`, each with its LF.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.start(from)..self.start(to)]
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] as usize }
    }
}
