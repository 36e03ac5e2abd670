//! Putting results into the order of the input: what comes before its turn waits here.

use std::collections::BTreeMap;

use poolctl_types::{Item, ItemRange};

/// Results that wait for an earlier one. Each item is offered once, alone or in a run of neighbours.
#[derive(Debug)]
pub(crate) struct Order<T> {
    next: Item,
    waiting: BTreeMap<Item, (u32, T)>,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { next: Item(0), waiting: BTreeMap::new() }
    }
}

impl<T> Order<T> {
    /// Whether it is the turn of these items, so that their results need not be kept.
    pub(crate) fn is_turn_of(&self, items: ItemRange) -> bool {
        items.first == self.next
    }

    /// The turn of these items, which it was, is over.
    pub(crate) fn pass(&mut self, items: ItemRange) {
        self.next = items.end();
    }

    /// Keeps results until it is their turn.
    pub(crate) fn keep(&mut self, items: ItemRange, results: T) {
        self.waiting.insert(items.first, (items.count, results));
    }

    /// The results whose turn it is now, if they are here.
    pub(crate) fn take(&mut self) -> Option<T> {
        let (first, (count, _)) = self.waiting.first_key_value()?;
        if *first != self.next {
            return None;
        }
        self.next = first.plus(u64::from(*count));
        self.waiting.pop_first().map(|(_, (_, results))| results)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the simplest model there is: sort everything by its first item.
        #[test]
        fn whatever_the_order_of_the_answers_results_leave_in_the_order_of_the_input(
            counts in prop::collection::vec(1_u32..5, 0..40), seed in prop::collection::vec(any::<u32>(), 40),
        ) {
            let mut runs = Vec::new();
            let mut next = 0;
            for count in counts {
                runs.push(ItemRange::new(Item(next), count));
                next += u64::from(count);
            }
            let expected: Vec<u64> = runs.iter().map(|run| run.first.0).collect();
            let mut shuffled: Vec<_> = runs.into_iter().zip(seed).collect();
            shuffled.sort_by_key(|(_, seed)| *seed);

            let mut order = Order::default();
            let mut left = Vec::new();
            for (run, _) in shuffled {
                if order.is_turn_of(run) {
                    left.push(run.first.0);
                    order.pass(run);
                } else {
                    order.keep(run, run.first.0);
                }
                while let Some(first) = order.take() {
                    left.push(first);
                }
                prop_assert_eq!(&left[..], &expected[..left.len()], "never early, never out of order");
            }
            prop_assert_eq!(left, expected);
            prop_assert!(order.waiting.is_empty());
        }
    }

    #[test]
    fn nothing_is_given_out_before_its_turn_and_everything_as_soon_as_it_comes() {
        let mut order = Order::default();
        order.keep(ItemRange::new(Item(2), 3), "c");
        order.keep(ItemRange::one(Item(1)), "b");
        assert_eq!(order.take(), None);

        order.pass(ItemRange::one(Item(0)));

        assert_eq!([order.take(), order.take(), order.take()], [Some("b"), Some("c"), None]);
        assert!(order.is_turn_of(ItemRange::one(Item(5))));
    }
}
