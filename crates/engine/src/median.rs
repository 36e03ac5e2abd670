//! The running median of how long items take.
//!
//! It is the exact median of the last 101 samples, kept sorted: an update is a binary search and a move of less
//! than a kilobyte. Where a worker tells of many items at once, their mean counts as one sample.

use std::collections::VecDeque;
use std::time::Duration;

/// Odd, so that the median is one of the samples.
const SAMPLES: usize = 101;

/// The last samples, by age and by length.
#[derive(Debug, Clone, Default)]
pub(crate) struct Median {
    by_age: VecDeque<Duration>,
    sorted: Vec<Duration>,
}

impl Median {
    pub(crate) fn add(&mut self, sample: Duration) {
        if self.by_age.len() == SAMPLES {
            let oldest = self.by_age.pop_front().expect("a full deque has a front");
            let place = self.sorted.partition_point(|kept| *kept < oldest);
            self.sorted.remove(place);
        }
        self.by_age.push_back(sample);
        let place = self.sorted.partition_point(|kept| *kept < sample);
        self.sorted.insert(place, sample);
    }

    pub(crate) fn get(&self) -> Option<Duration> {
        self.sorted.get(self.sorted.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_median_of_the_last_samples() {
        let mut median = Median::default();
        assert_eq!(median.get(), None);
        for sample in [5, 1, 9] {
            median.add(Duration::from_secs(sample));
        }
        assert_eq!(median.get(), Some(Duration::from_secs(5)));

        for sample in 0..1_000 {
            median.add(Duration::from_secs(sample));
        }

        assert_eq!(median.get(), Some(Duration::from_secs(949)));
    }
}
