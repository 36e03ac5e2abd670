//! Items on their way into a pool, in pieces of a good size.

use std::time::{Duration, Instant};

use poolctl_supervisor::Block;

use crate::kind::Takes;
use crate::pool::MAX_ITEM_BYTES;
use crate::task_error::TaskError;

/// A piece is handed in when it has so many items, or bytes, or has waited so long for the next item.
const ITEMS: usize = 1024;
const BYTES: usize = 64 << 10;
const WAIT: Duration = Duration::from_millis(1);

/// Items that were not handed in yet.
#[derive(Debug)]
pub(crate) struct Batch {
    block: Block,
    since: Instant,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { block: Block::new(), since: Instant::now() }
    }

    /// Adds an item.
    ///
    /// # Errors
    /// It cannot travel; nothing was added.
    pub(crate) fn push<K: Takes<I>, I: ?Sized>(&mut self, item: &I) -> Result<(), TaskError> {
        let bytes = &mut self.block.bytes;
        let start = bytes.len();
        let mut written = K::write(item, bytes);
        let len = bytes.len() - start;
        if written.is_ok() && len > MAX_ITEM_BYTES {
            written = Err(TaskError::TooLarge { len, most: MAX_ITEM_BYTES });
        }
        if written.is_err() {
            bytes.truncate(start);
            return written;
        }
        bytes.push(b'\n');
        self.block.ends.push(u32::try_from(bytes.len()).expect("less than a piece and the longest item"));
        Ok(())
    }

    /// Whether it should be handed in though more items may follow.
    pub(crate) fn is_due(&self) -> bool {
        self.block.len() >= ITEMS || self.block.byte_len() >= BYTES || self.since.elapsed() >= WAIT
    }

    /// The items since last time.
    pub(crate) fn take(&mut self) -> Block {
        self.since = Instant::now();
        std::mem::take(&mut self.block)
    }
}

/// A block of one item.
pub(crate) fn single<K: Takes<I>, I: ?Sized>(item: &I) -> Result<Block, TaskError> {
    let mut batch = Batch { block: Block::new(), since: Instant::now() };
    batch.push::<K, I>(item)?;
    Ok(batch.block)
}
