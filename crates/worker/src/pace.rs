//! When a worker in the middle of a message looks whether its host sleeps.
//!
//! The clock costs more than a quick item, so it is looked at every so many items; as many as take about
//! [`PERIOD_NS`], and never many, since a slow item may follow quick ones.

use poolctl_sys::clock;

/// A sleeping host is told of new results about so often, in nanoseconds.
const PERIOD_NS: u64 = 50_000;

/// The most items between two looks at the clock: that makes it about a nanosecond an item.
const MAX_ITEMS: u32 = 32;

/// How many items are between two looks at the clock, and how many are left.
#[derive(Debug)]
pub(crate) struct Pace {
    every: u32,
    left: u32,
    looked_ns: u64,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { every: 1, left: 1, looked_ns: clock::now().0 }
    }

    /// An item is done; whether it is time to look for a sleeping host.
    #[inline]
    pub(crate) fn is_due(&mut self) -> bool {
        self.left -= 1;
        self.left == 0 && self.look(clock::now().0)
    }

    fn look(&mut self, now_ns: u64) -> bool {
        let passed = now_ns.saturating_sub(self.looked_ns);
        if passed < PERIOD_NS {
            // The period goes on.
            self.every = (self.every * 2).min(MAX_ITEMS);
            self.left = self.every;
            return false;
        }
        self.every = if passed < 2 * PERIOD_NS { self.every } else { (self.every / 4).max(1) };
        self.left = self.every;
        self.looked_ns = now_ns;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many items of so many nanoseconds are done between the looks at the clock, and whether each was due.
    fn looks(pace: &mut Pace, item_ns: u64, count: usize) -> Vec<(u32, bool)> {
        let mut now = pace.looked_ns;
        let mut look = |_| {
            let items = pace.left;
            now += u64::from(items) * item_ns;
            (items, pace.look(now))
        };
        (0..count).map(&mut look).collect()
    }

    #[test]
    fn quick_items_are_many_between_two_looks_and_slow_ones_are_told_at_once() {
        let mut pace = Pace { every: 1, left: 1, looked_ns: 0 };

        let quick = looks(&mut pace, 10, 300);
        let slow = looks(&mut pace, 1_000_000, 4);

        assert_eq!(quick[..6], [1, 2, 4, 8, 16, 32].map(|items| (items, false)));
        let due = quick.iter().filter(|(_, is_due)| *is_due).count();
        assert_eq!(due, 1, "some 9600 items of 10 ns are one period and a half");
        assert_eq!(slow, [(32, true), (8, true), (2, true), (1, true)]);
    }
}
