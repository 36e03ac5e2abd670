//! What is still to be dispatched, and what is remembered of every unfinished item.
//!
//! Four kinds of work wait, and are handed out in this order:
//! 1. *solo* items: run alone on a worker that holds nothing else, to find out which one takes workers with it;
//! 2. *retries*: further attempts, one by one, after their delay (*later*);
//! 3. *returned* ranges: held by a worker that died or never ran, and not begun;
//! 4. *fresh* items: read and never dispatched; only these are subject to the window and the gate.

use std::collections::{BTreeMap, BTreeSet};

use poolctl_types::{Item, ItemRange, Moment};

use crate::window::{Standing, Window};

/// More items than anybody reads in a lifetime; what is over is not believed.
const MAX_ITEMS: u64 = 1 << 48;

/// What is remembered of an item whose first attempt did not simply go well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// Attempts that are over.
    pub(crate) attempts: u32,
    /// Workers that died of it.
    pub(crate) crashes: u32,
    /// It is run alone from now on.
    pub(crate) solo: bool,
    /// Until when it waits among the later ones.
    pub(crate) due: Option<Moment>,
}

/// Work for one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) items: ItemRange,
    pub(crate) attempt: u32,
    /// Nothing may be dispatched behind it.
    pub(crate) solo: bool,
}

/// Everything read and not finished.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    limit: u64,
    window: Window,
    /// The next fresh item: the one behind the newest dispatched, until all that waits was drained.
    fresh_start: u64,
    /// The item behind the last one read; fresh items end there.
    fresh_end: u64,
    /// Fresh items that were cancelled; never the next one.
    skipped: BTreeSet<u64>,
    returned: BTreeMap<u64, u32>,
    returned_count: u64,
    retries: BTreeSet<u64>,
    solo: BTreeSet<u64>,
    later: BTreeSet<(Moment, u64)>,
    past: BTreeMap<u64, Past>,
}

impl Backlog {
    /// `limit`: most items from the oldest unfinished to the newest dispatched.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit: limit.max(1),
            window: Window::default(),
            fresh_start: 0,
            fresh_end: 0,
            skipped: BTreeSet::new(),
            returned: BTreeMap::new(),
            returned_count: 0,
            retries: BTreeSet::new(),
            solo: BTreeSet::new(),
            later: BTreeSet::new(),
            past: BTreeMap::new(),
        }
    }

    pub(crate) fn read(&mut self, count: u64) {
        self.fresh_end = self.fresh_end.saturating_add(count).min(MAX_ITEMS);
    }

    /// The item behind the last one read.
    pub(crate) fn read_end(&self) -> u64 {
        self.fresh_end
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Items read and never dispatched, the cancelled ones left out.
    pub(crate) fn fresh(&self) -> u64 {
        self.fresh_end - self.fresh_start - self.skipped.len() as u64
    }

    /// Items that no worker has.
    pub(crate) fn unposted(&self) -> u64 {
        self.fresh() + self.ready() + self.later.len() as u64
    }

    fn ready(&self) -> u64 {
        (self.retries.len() + self.solo.len()) as u64 + self.returned_count
    }

    /// About how many items may be dispatched now, fresh ones too if `with_fresh`.
    pub(crate) fn postable(&self, with_fresh: bool) -> u64 {
        self.ready() + if with_fresh { self.fresh().min(self.room()) } else { 0 }
    }

    /// How many fresh items the window has room for.
    fn room(&self) -> u64 {
        self.window.base().saturating_add(self.limit).saturating_sub(self.window.end())
    }

    /// Whether the window keeps fresh items from being dispatched.
    pub(crate) fn is_window_bound(&self) -> bool {
        self.room() < self.fresh()
    }

    pub(crate) fn has_solo(&self) -> bool {
        !self.solo.is_empty()
    }

    /// Whether every item read has its outcome.
    pub(crate) fn is_empty(&self) -> bool {
        self.window.is_empty() && self.unposted() == 0
    }

    /// When the next delayed retry is due.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.later.first().map(|(due, _)| *due)
    }

    /// Makes what is due by `now` ready; tells whether anything was.
    pub(crate) fn wake(&mut self, now: Moment) -> bool {
        let waiting = self.later.len();
        while let Some(&(due, item)) = self.later.first().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, item));
            self.make_ready(Item(item));
        }
        self.later.len() < waiting
    }

    fn make_ready(&mut self, item: Item) {
        let past = self.past.entry(item.0).or_default();
        past.due = None;
        let queue = if past.solo { &mut self.solo } else { &mut self.retries };
        queue.insert(item.0);
    }

    /// Takes work of at most `most` items; solo items only if `alone`, fresh ones only if `with_fresh`.
    pub(crate) fn take(&mut self, most: u32, alone: bool, with_fresh: bool) -> Option<Work> {
        if alone && let Some(item) = self.solo.pop_first() {
            return Some(self.take_one(Item(item)));
        }
        if let Some(item) = self.retries.pop_first() {
            return Some(self.take_one(Item(item)));
        }
        let items = match self.returned.pop_first() {
            Some((first, count)) => self.take_returned(ItemRange::new(Item(first), count), most),
            None if with_fresh => self.take_fresh(most)?,
            None => return None,
        };
        Some(Work { items, attempt: 1, solo: false })
    }

    fn take_one(&mut self, item: Item) -> Work {
        let past = self.past(item);
        self.window.mark(ItemRange::one(item), Standing::Held);
        Work { items: ItemRange::one(item), attempt: past.attempts.saturating_add(1), solo: past.solo }
    }

    fn take_returned(&mut self, range: ItemRange, most: u32) -> ItemRange {
        let taken = ItemRange::new(range.first, range.count.min(most.max(1)));
        if taken.count < range.count {
            self.returned.insert(taken.end().0, range.count - taken.count);
        }
        self.returned_count -= u64::from(taken.count);
        self.window.mark(taken, Standing::Held);
        taken
    }

    fn take_fresh(&mut self, most: u32) -> Option<ItemRange> {
        let next = self.fresh_start;
        let end = self.skipped.first().copied().unwrap_or(self.fresh_end);
        let count = (end - next).min(self.room()).min(u64::from(most));
        let count = u32::try_from(count).expect("at most `most`");
        if count == 0 {
            return None;
        }
        self.window.open(count);
        self.fresh_start += u64::from(count);
        self.skip_cancelled();
        Some(ItemRange::new(Item(next), count))
    }

    /// Moves over cancelled items that are next.
    fn skip_cancelled(&mut self) {
        while self.skipped.first() == Some(&self.fresh_start) {
            self.skipped.pop_first();
            self.window.skip();
            self.fresh_start += 1;
        }
    }

    /// What is remembered of `item`.
    pub(crate) fn past(&self, item: Item) -> Past {
        self.past.get(&item.0).copied().unwrap_or_default()
    }

    /// A held item is to be run again, not before `due`, with this past.
    pub(crate) fn put_back_one(&mut self, item: Item, past: Past, due: Option<Moment>) {
        self.window.mark(ItemRange::one(item), Standing::Waiting);
        self.past.insert(item.0, Past { due, ..past });
        match due {
            Some(due) => drop(self.later.insert((due, item.0))),
            None => self.make_ready(item),
        }
    }

    /// Held items that were not begun are to be dispatched again.
    pub(crate) fn put_back(&mut self, items: ItemRange) {
        if let Some(past) = self.past.get(&items.first.0).filter(|_| items.count == 1).copied() {
            self.put_back_one(items.first, past, None);
            return;
        }
        self.window.mark(items, Standing::Waiting);
        self.returned.insert(items.first.0, items.count);
        self.returned_count += u64::from(items.count);
    }

    /// Held items have their outcome.
    pub(crate) fn finish(&mut self, items: ItemRange) {
        self.window.finish(items);
        if !self.past.is_empty() {
            self.forget(items);
        }
    }

    fn forget(&mut self, items: ItemRange) {
        while let Some((&item, _)) = self.past.range(items.first.0..items.end().0).next() {
            self.past.remove(&item);
        }
    }

    /// Where `item` stands; `None`: it was never dispatched.
    pub(crate) fn standing(&self, item: Item) -> Option<Standing> {
        self.window.standing(item)
    }

    /// Whether `item` is fresh and not cancelled.
    pub(crate) fn is_fresh(&self, item: Item) -> bool {
        item.0 >= self.fresh_start && item.0 < self.fresh_end && !self.skipped.contains(&item.0)
    }

    /// A fresh item is not wanted any more.
    pub(crate) fn cancel_fresh(&mut self, item: Item) {
        self.skipped.insert(item.0);
        self.skip_cancelled();
    }

    /// The first item that was never dispatched.
    pub(crate) fn fresh_start(&self) -> u64 {
        self.fresh_start
    }

    /// The first fresh items in `within` that stand next to each other are not wanted any more; says which.
    pub(crate) fn cancel_next_fresh(&mut self, within: ItemRange) -> Option<ItemRange> {
        let end = within.end().0.min(self.fresh_end);
        let mut first = within.first.0.max(self.fresh_start);
        if first >= end {
            return None;
        }
        for skipped in self.skipped.range(first..end) {
            if *skipped != first {
                break;
            }
            first += 1;
        }
        let end = self.skipped.range(first..end).next().copied().unwrap_or(end);
        let count = u32::try_from(end.checked_sub(first)?).unwrap_or(u32::MAX);
        if count == 0 {
            return None;
        }
        let items = ItemRange::new(Item(first), count);
        if first == self.fresh_start {
            (0..count).for_each(|_| self.window.skip());
            self.fresh_start += u64::from(count);
            self.skip_cancelled();
        } else {
            self.skipped.extend(items.first.0..items.end().0);
        }
        Some(items)
    }

    /// A waiting item is not wanted any more; returns the attempts it has had.
    pub(crate) fn cancel_waiting(&mut self, item: Item) -> u32 {
        let past = self.past(item);
        let alone = self.retries.remove(&item.0)
            || self.solo.remove(&item.0)
            || past.due.is_some_and(|due| self.later.remove(&(due, item.0)));
        if !alone {
            self.cut_returned(item);
        }
        self.finish(ItemRange::one(item));
        past.attempts
    }

    fn cut_returned(&mut self, item: Item) {
        let Some((&first, &count)) = self.returned.range(..=item.0).next_back() else { return };
        let range = ItemRange::new(Item(first), count);
        if !range.contains(item) {
            return;
        }
        self.returned.remove(&first);
        self.returned_count -= 1;
        let before = u32::try_from(item.0 - first).expect("within a range");
        let after = count - before - 1;
        for (first, count) in [(first, before), (item.0 + 1, after)] {
            if count > 0 {
                self.returned.insert(first, count);
            }
        }
    }

    /// Takes out everything that waits: tells `settle` each range and the attempts it has had. From then on nothing
    /// is dispatched any more; what is read later is to be drained too.
    pub(crate) fn drain(&mut self, mut settle: impl FnMut(ItemRange, u32)) {
        self.wake(Moment(u64::MAX));
        let solo = std::mem::take(&mut self.solo);
        let retries = std::mem::take(&mut self.retries);
        let returned = std::mem::take(&mut self.returned);
        self.returned_count = 0;
        for item in solo.into_iter().chain(retries) {
            let item = ItemRange::one(Item(item));
            settle(item, self.past(item.first).attempts);
            self.finish(item);
        }
        for (first, count) in returned {
            let range = ItemRange::new(Item(first), count);
            settle(range, 0);
            self.finish(range);
        }
        let mut first = self.fresh_start;
        let skipped = std::mem::take(&mut self.skipped);
        for end in skipped.into_iter().chain([self.fresh_end]) {
            for items in ranges(first, end) {
                settle(items, 0);
            }
            first = end.saturating_add(1);
        }
        self.fresh_start = self.fresh_end;
    }

    /// The parts, for `invariants`.
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts {
            window: &self.window,
            fresh_start: self.fresh_start,
            fresh_end: self.fresh_end,
            skipped: &self.skipped,
            returned: &self.returned,
            returned_count: self.returned_count,
            retries: &self.retries,
            solo: &self.solo,
            later: &self.later,
            past: &self.past,
        }
    }
}

/// A look inside, for `invariants`.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) window: &'a Window,
    pub(crate) fresh_start: u64,
    pub(crate) fresh_end: u64,
    pub(crate) skipped: &'a BTreeSet<u64>,
    pub(crate) returned: &'a BTreeMap<u64, u32>,
    pub(crate) returned_count: u64,
    pub(crate) retries: &'a BTreeSet<u64>,
    pub(crate) solo: &'a BTreeSet<u64>,
    pub(crate) later: &'a BTreeSet<(Moment, u64)>,
    pub(crate) past: &'a BTreeMap<u64, Past>,
}

/// The items from `first` up to `end`, in as few ranges as their counts can say.
pub(crate) fn ranges(first: u64, end: u64) -> impl Iterator<Item = ItemRange> {
    let step = u64::from(u32::MAX);
    (0..end.saturating_sub(first).div_ceil(step)).map(move |index| {
        let start = first + index * step;
        let count = u32::try_from((end - start).min(step)).expect("at most a step");
        ItemRange::new(Item(start), count)
    })
}
