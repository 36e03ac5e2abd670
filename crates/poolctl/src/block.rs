//! Items on their way into a pool, in pieces of a good size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poolctl_supervisor::host::Intent;
use poolctl_supervisor::{Attachment, Block, Parcels};

use crate::task_error::TaskError;

/// How long an item may be as it travels, in bytes.
pub(crate) const MAX_ITEM_BYTES: usize = 64 << 20;

/// A piece is handed in when it has so many items, or bytes, or has waited so long for the next item.
const ITEMS: usize = 8192;
const BYTES: usize = 64 << 10;
const WAIT: Duration = Duration::from_millis(1);

/// A block holds 4 GiB at most: this, and the longest item.
const MOST_BYTES: usize = 1 << 30;

/// The clock is looked at every so many items at most: as many may be held back by an input that suddenly slows down.
const MAX_STRIDE: u32 = 16;

/// Items that were not handed in yet.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    block: Block,
    /// Bytes of items that lie in parcels.
    parcel_bytes: u64,
    /// Where large items go.
    parcels: &'a Parcels,
    clock: Clock,
}

/// When to look at the clock, which takes longer than a small item: seldom while items come quickly.
#[derive(Debug)]
struct Clock {
    /// When the piece was begun, and what the clock said last, once it was looked at.
    seen: Option<(Instant, Instant)>,
    /// How many items there are from one look to the next.
    stride: u32,
    /// How many are left until the next look.
    left: u32,
}

impl<'a> Batch<'a> {
    /// No items for the pool's one target.
    pub(crate) fn new(parcels: &'a Parcels) -> Self {
        Self::of(Block::new(), parcels)
    }

    /// No items for this function of a native worker.
    pub(crate) fn calling(function: &Arc<str>, parcels: &'a Parcels) -> Self {
        Self::of(Block { function: Some(Arc::clone(function)), ..Block::new() }, parcels)
    }

    /// Items that stand in `block` already.
    pub(crate) fn of(block: Block, parcels: &'a Parcels) -> Self {
        Self { block, parcel_bytes: 0, parcels, clock: Clock::new() }
    }

    /// Where large items go.
    pub(crate) fn parcels(&self) -> &'a Parcels {
        self.parcels
    }

    /// Adds an item, which `write` appends as it travels.
    ///
    /// # Errors
    /// It cannot travel; nothing was added.
    #[inline]
    pub(crate) fn push(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let bytes = &mut self.block.bytes;
        let start = bytes.len();
        let mut written = write(bytes);
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

    /// Has descriptors go along with the item that was added last, `parcel_bytes` of which lie in parcels.
    pub(crate) fn attach(&mut self, attachments: Vec<Attachment>, parcel_bytes: u64) {
        let last = self.block.len().checked_sub(1).and_then(|last| u32::try_from(last).ok());
        self.block.attachments.push((last.expect("an item was added, and few are"), attachments));
        self.parcel_bytes += parcel_bytes;
    }

    /// Whether it should be handed in though more items may follow. Asked once per item.
    #[inline]
    pub(crate) fn is_due(&mut self) -> bool {
        self.block.len() >= ITEMS
            || self.block.byte_len() >= BYTES
            || self.parcel_bytes > 0
            || self.clock.is_late()
    }

    /// Whether who hands it in now is back at once: he is if items come quickly.
    pub(crate) fn intent(&self) -> Intent {
        if self.clock.stride == MAX_STRIDE { Intent::Wait } else { Intent::Leave }
    }

    /// Whether no more items fit.
    pub(crate) fn is_full(&self) -> bool {
        self.block.byte_len() >= MOST_BYTES
    }

    /// The items since last time.
    pub(crate) fn take(&mut self) -> Block {
        self.clock.restart();
        self.parcel_bytes = 0;
        let next = Block { function: self.block.function.clone(), ..Block::new() };
        std::mem::replace(&mut self.block, next)
    }

    /// All items.
    pub(crate) fn into_block(self) -> Block {
        self.block
    }
}

impl Clock {
    fn new() -> Self {
        Self { seen: None, stride: 1, left: 1 }
    }

    /// Counts an item. Whether the piece has waited long enough, as far as was looked.
    #[inline]
    fn is_late(&mut self) -> bool {
        self.left -= 1;
        self.left == 0 && self.look()
    }

    #[cold]
    fn look(&mut self) -> bool {
        let now = Instant::now();
        let (since, seen) = self.seen.unwrap_or((now, now));
        let is_quick = now - seen < WAIT / MAX_STRIDE;
        self.stride = if is_quick { (self.stride * 2).min(MAX_STRIDE) } else { 1 };
        self.left = self.stride;
        self.seen = Some((since, now));
        now - since >= WAIT
    }

    fn restart(&mut self) {
        let now = Instant::now();
        self.seen = Some((now, now));
    }
}
