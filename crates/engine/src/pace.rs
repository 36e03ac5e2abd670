//! How long items take, and so how many travel together.
//!
//! A chunk aims at a millisecond of work: the hop to the supervisor and back costs some tens of microseconds, so
//! that a chunk hides it, and nobody waits long behind one. The size starts at 1 and grows at most fourfold each
//! time that as many items as a chunk has were finished; it shrinks at once.

use std::time::Duration;

/// The work in one chunk, in nanoseconds.
const AIM_NANOS: u64 = 1_000_000;
/// The same.
pub(crate) const AIM: Duration = Duration::from_nanos(AIM_NANOS);
/// Most items in one chunk.
const MAX_CHUNK: u32 = 4_096;
/// A chunk grows at most by this factor at once.
const GROWTH: u32 = 4;
/// One measurement weighs 1/8 against those before it.
const MEMORY: u64 = 8;
/// Fraction bits of `items`, so that its decay does not round few items away.
const ITEM_ONE: u64 = 256;
/// Longer measurements count as this long, which keeps the sums in range.
const MAX_SPAN_NANOS: u64 = 3_600_000_000_000;

/// Items faster than this are prefetched two chunks deep, so that a late supervisor starves no worker.
const QUICK_NANOS: u64 = 100_000;
/// Items slower than this are not prefetched at all: the hop is nothing to them, waiting behind one is.
const SLOW_NANOS: u64 = 5_000_000;

/// What was measured, with fading memory.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    nanos: u64,
    items: u64,
    chunk: u32,
    finished_since_growth: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { nanos: 0, items: 0, chunk: 1, finished_since_growth: 0 }
    }
}

impl Pace {
    /// A worker took `span` for `count` items.
    pub(crate) fn observe(&mut self, span: Duration, count: u32) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(MAX_SPAN_NANOS).min(MAX_SPAN_NANOS);
        self.nanos = self.nanos - self.nanos / MEMORY + nanos;
        self.items = self.items - self.items / MEMORY + u64::from(count) * ITEM_ONE;
        self.finished_since_growth = self.finished_since_growth.saturating_add(count);
        let aim = AIM_NANOS.saturating_mul(self.items) / self.nanos.max(1).saturating_mul(ITEM_ONE);
        let aim = u32::try_from(aim).unwrap_or(MAX_CHUNK).clamp(1, MAX_CHUNK);
        if aim <= self.chunk {
            self.chunk = aim;
        } else if self.finished_since_growth >= self.chunk {
            self.chunk = aim.min(self.chunk * GROWTH);
            self.finished_since_growth = 0;
        }
    }

    /// The mean time of one item.
    pub(crate) fn nanos_per_item(&self) -> Option<u64> {
        (self.items > 0).then(|| self.nanos.saturating_mul(ITEM_ONE) / self.items)
    }

    /// How many items shall travel together.
    pub(crate) fn chunk(&self) -> u32 {
        self.chunk
    }

    /// How many chunks a worker may hold, the running one included.
    pub(crate) fn depth(&self) -> u32 {
        match self.nanos_per_item() {
            None => 1,
            Some(nanos) if nanos >= SLOW_NANOS => 1,
            Some(nanos) if nanos >= QUICK_NANOS => 2,
            Some(_) => 3,
        }
    }

    /// Whether a prefetched item costs more when it waits behind another than it gains.
    pub(crate) fn is_quick(&self) -> bool {
        self.nanos_per_item().is_some_and(|nanos| nanos < QUICK_NANOS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_fourfold_up_to_a_millisecond_of_work() {
        let mut pace = Pace::default();
        let mut sizes = vec![pace.chunk()];
        for _ in 0..7 {
            let chunk = pace.chunk();
            pace.observe(Duration::from_micros(2) * chunk, chunk);
            sizes.push(pace.chunk());
        }

        assert_eq!(sizes, [1, 4, 16, 64, 256, 500, 500, 500]);
    }

    #[test]
    fn slow_items_travel_alone_and_are_not_prefetched() {
        let mut pace = Pace::default();
        pace.observe(Duration::from_millis(2), 1);
        assert_eq!((pace.chunk(), pace.depth()), (1, 2));

        pace.observe(Duration::from_secs(2), 1);

        assert_eq!((pace.chunk(), pace.depth()), (1, 1));
    }

    #[test]
    fn chunks_shrink_at_once_and_never_grow_over_the_limit() {
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.observe(Duration::ZERO, pace.chunk());
        }
        assert_eq!(pace.chunk(), MAX_CHUNK);

        pace.observe(Duration::from_secs(1_000_000), 1);

        assert_eq!(pace.chunk(), 1);
    }
}
