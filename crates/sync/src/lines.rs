//! Which lines of the segment have an object, and which are free.

use std::collections::BTreeMap;

/// The lines of a segment.
#[derive(Debug)]
pub(crate) struct Lines {
    all: u32,
    /// Lines behind the last one that ever had an object.
    fresh: u32,
    /// Runs of lines that had one, by their first: how many. No two touch.
    gone: BTreeMap<u32, u32>,
}

impl Lines {
    pub(crate) fn new(all: u32) -> Self {
        Self { all, fresh: 0, gone: BTreeMap::new() }
    }

    /// Takes so many lines in a row. Those that never had an object come first: who uses one that is gone by mistake finds
    /// no other there for long.
    pub(crate) fn take(&mut self, count: u32) -> Option<u32> {
        if count <= self.all - self.fresh {
            let first = self.fresh;
            self.fresh += count;
            return Some(first);
        }
        let (&first, &run) = self.gone.iter().find(|(_, run)| **run >= count)?;
        self.gone.remove(&first);
        if run > count {
            self.gone.insert(first + count, run - count);
        }
        Some(first)
    }

    /// Takes lines back.
    pub(crate) fn give_back(&mut self, first: u32, mut count: u32) {
        if let Some(behind) = self.gone.remove(&(first + count)) {
            count += behind;
        }
        if let Some((&before, run)) = self.gone.range_mut(..first).next_back()
            && before + *run == first
        {
            *run += count;
            return;
        }
        self.gone.insert(first, count);
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        let gone: u32 = self.gone.values().sum();
        (self.all - self.fresh + gone) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_gone_make_room_for_something_longer() {
        let mut lines = Lines::new(10);
        let taken: Vec<u32> = (0..10).map(|_| lines.take(1).unwrap()).collect();
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
        assert_eq!(lines.take(1), None);

        [4, 2, 3, 7].into_iter().for_each(|line| lines.give_back(line, 1));

        assert_eq!((lines.free(), lines.take(4)), (4, None));
        assert_eq!((lines.take(3), lines.take(1), lines.take(1)), (Some(2), Some(7), None));
    }

    #[test]
    fn what_is_left_of_a_run_is_used_too() {
        let mut lines = Lines::new(6);
        assert_eq!((lines.take(6), lines.take(1)), (Some(0), None));
        lines.give_back(0, 6);

        assert_eq!((lines.take(4), lines.take(2), lines.take(1)), (Some(0), Some(4), None));
        lines.give_back(4, 2);
        lines.give_back(0, 4);
        assert_eq!((lines.free(), lines.take(6)), (6, Some(0)));
    }
}
