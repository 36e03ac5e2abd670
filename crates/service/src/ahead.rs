//! How many items a supervisor is given before others have their outcome.
//!
//! It runs items in the order in which it gets them. For one client alone it gets plenty. Where clients share a pool, who
//! comes next is to wait for what runs and for next to nothing more, so it gets as little as keeps its workers busy.
//!
//! # What is measured
//! A worker's time per item contains the way to it and back, once for all items that it was given together. With few of
//! them that is most of it: taken for the items' own time it would have the supervisor be given fewer still, down to one
//! at a time. So the way is taken off, as far as it is known.

use std::time::Duration;

/// How far ahead a supervisor is fed for one client alone, in work for all its workers.
const ALONE: Duration = Duration::from_millis(20);

/// How far it is fed ahead where clients share it.
const SHARED: Duration = Duration::from_micros(20);

/// Most items it is fed ahead.
const MOST: u64 = 65_536;

/// The same for each worker, where clients share it: their answers come together, and to tell them takes time too.
const MOST_SHARED: u64 = 64;

/// What the way to a worker and back takes at most, mostly.
const HOP: Duration = Duration::from_micros(80);

/// One part in so many of the time that was measured is the items' own in any case: the way may take longer.
const LEAST_PART: u32 = 8;

/// No item takes less, with what is done for it here.
const LEAST_TIME: Duration = Duration::from_nanos(100);

/// How much a supervisor is given ahead.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// How many items a worker takes at once.
    most_held: u64,
    /// How much of a way there was lately for each item.
    way: Duration,
}

impl Ahead {
    pub(crate) fn new(most_held: u64) -> Self {
        Self { most_held, way: HOP }
    }

    /// For one client alone, with `each` as the time that was measured for one item.
    pub(crate) fn alone(workers: u64, each: Option<Duration>) -> u64 {
        items_in(ALONE, workers, each).clamp(2 * workers, MOST.max(2 * workers))
    }

    /// Where clients share it.
    pub(crate) fn shared(&self, workers: u64, each: Option<Duration>) -> u64 {
        let own = each.map(|each| each.saturating_sub(self.way).max(each / LEAST_PART));
        items_in(SHARED, workers, own).clamp(workers, self.most_held.min(MOST_SHARED) * workers)
    }

    /// `items` are given ahead from now on.
    pub(crate) fn give(&mut self, workers: u64, items: u64) {
        let ways = u32::try_from(workers.min(items)).unwrap_or(u32::MAX);
        self.way = HOP * ways / u32::try_from(items.max(1)).unwrap_or(u32::MAX);
    }
}

/// How many items that take `each` so many workers work off in `span`; if that is not known, one each.
fn items_in(span: Duration, workers: u64, each: Option<Duration>) -> u64 {
    let each = each.map_or(span, |each| each.max(LEAST_TIME));
    u64::try_from(span.as_nanos() * u128::from(workers) / each.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// What two workers are given in the end, whose items take `own`, and the way `hop`.
    fn settled(most_held: u64, own: Duration, hop: Duration) -> u64 {
        let mut ahead = Ahead::new(most_held);
        let mut given = 2;
        for _ in 0..100 {
            ahead.give(2, given);
            given = ahead.shared(2, Some(own + hop * 2 / u32::try_from(given).unwrap()));
        }
        given
    }

    #[test]
    fn one_client_alone_is_taken_plenty_from() {
        assert_eq!(Ahead::alone(2, None), 4);
        assert_eq!(Ahead::alone(2, Some(Duration::from_millis(1))), 40);
        assert_eq!(Ahead::alone(2, Some(Duration::from_secs(1))), 4);
        assert_eq!(Ahead::alone(2, Some(Duration::ZERO)), MOST);
    }

    #[test]
    fn slow_items_are_given_to_who_is_free_alone() {
        assert_eq!(settled(64, Duration::from_millis(1), 50 * MICRO), 2);
    }

    #[test]
    fn quick_items_come_together_also_where_the_way_is_long() {
        for hop in [10, 30, 50, 70, 90] {
            let given = settled(1000, MICRO / 4, hop * MICRO);
            assert!(given >= 64, "{given} with a way of {hop} µs");
        }
    }

    #[test]
    fn a_worker_is_given_what_it_takes_at_once() {
        assert_eq!(settled(1, 50 * MICRO, 20 * MICRO), 2);
        assert_eq!(settled(3, MICRO, 20 * MICRO), 6);
    }
}
