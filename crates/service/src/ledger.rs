//! Whose the items in a supervisor's hands are: it takes what the supervisor tells, and addresses it.

use std::collections::VecDeque;

use poolctl_supervisor::{Item, ItemRange};

/// A connection. Numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(pub(crate) u64);

/// What items are to the client that sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) client: ClientId,
    /// The request.
    pub(crate) id: u64,
    /// Of a map: the place of the item in it. The items of others are requests, numbered one after another.
    pub(crate) index: Option<u64>,
}

impl Place {
    /// The place `count` items further on.
    pub(crate) fn plus(self, count: u64) -> Self {
        match self.index {
            Some(index) => Self { index: Some(index + count), ..self },
            None => Self { id: self.id + count, ..self },
        }
    }
}

/// The items in the hands of a supervisor.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The number of the item that is pushed next.
    next: u64,
    /// By first item; what is settled is gone once nothing unsettled is before it.
    entries: VecDeque<Entry>,
    unsettled: u64,
}

#[derive(Debug)]
struct Entry {
    first: u64,
    end: u64,
    unsettled: u64,
    place: Place,
}

impl Ledger {
    /// The `count` items that are pushed next begin at this place.
    pub(crate) fn enter(&mut self, place: Place, count: u64) {
        let first = self.next;
        self.next += count;
        self.unsettled += count;
        self.entries.push_back(Entry { first, end: self.next, unsettled: count, place });
    }

    /// How many items have no outcome.
    pub(crate) fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// Takes items off that have their outcome: `tell` learns whose they are, in parts that belong together.
    pub(crate) fn settle(&mut self, items: ItemRange, mut tell: impl FnMut(Place, ItemRange)) {
        let mut at = items.first.0;
        while at < items.end().0 {
            let place = self.position(at);
            let Some(entry) = self.entries.get_mut(place) else { return };
            let end = items.end().0.min(entry.end);
            if entry.first > at || entry.unsettled < end - at {
                tracing::error!(item = at, "an outcome for an item that has one, or was never handed in");
                return;
            }
            let count = u32::try_from(end - at).expect("a run's items are counted in 32 bits");
            let whose = entry.place.plus(at - entry.first);
            entry.unsettled -= u64::from(count);
            self.unsettled -= u64::from(count);
            while self.entries.front().is_some_and(|oldest| oldest.unsettled == 0) {
                self.entries.pop_front();
            }
            tell(whose, ItemRange::new(Item(at), count));
            at = end;
        }
    }

    /// Whose an item is, if it has no outcome as far as known.
    pub(crate) fn whose(&self, item: Item) -> Option<Place> {
        let entry = self.entries.get(self.position(item.0))?;
        (entry.first <= item.0).then(|| entry.place.plus(item.0 - entry.first))
    }

    /// The items of a client that may be without outcome: those of `count` requests from `id` on, or of the map `id`.
    pub(crate) fn items_of(&self, client: ClientId, id: u64, count: u64) -> Vec<ItemRange> {
        let ranges = self.entries.iter().filter(|entry| entry.unsettled > 0 && entry.place.client == client);
        let ranges = ranges.filter_map(|entry| match entry.place.index {
            Some(_) => (entry.place.id == id).then_some((entry.first, entry.end)),
            None => {
                let (from, to) = (entry.place.id, entry.place.id + (entry.end - entry.first));
                let (begin, end) = (from.max(id), to.min(id.saturating_add(count)));
                (begin < end).then(|| (entry.first + (begin - from), entry.first + (end - from)))
            }
        });
        ranges.map(range_of).collect()
    }

    /// All items of a client that may be without outcome.
    pub(crate) fn all_of(&self, client: ClientId) -> Vec<ItemRange> {
        let ranges = self.entries.iter().filter(|entry| entry.unsettled > 0 && entry.place.client == client);
        ranges.map(|entry| range_of((entry.first, entry.end))).collect()
    }

    /// Where the entry of an item is. The oldest is asked for most, so look there first.
    fn position(&self, item: u64) -> usize {
        if self.entries.front().is_some_and(|oldest| item < oldest.end) {
            return 0;
        }
        self.entries.partition_point(|entry| entry.end <= item)
    }
}

fn range_of((first, end): (u64, u64)) -> ItemRange {
    ItemRange::new(Item(first), u32::try_from(end - first).expect("a block's items are counted in 32 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ClientId = ClientId(1);
    const OTHER: ClientId = ClientId(2);

    fn tasks(client: ClientId, id: u64) -> Place {
        Place { client, id, index: None }
    }

    fn map(client: ClientId, id: u64, index: u64) -> Place {
        Place { client, id, index: Some(index) }
    }

    #[test]
    fn a_run_is_cut_where_it_changes_hands() {
        let mut ledger = Ledger::default();
        ledger.enter(tasks(ONE, 70), 2);
        ledger.enter(map(OTHER, 5, 10), 3);
        let mut told = Vec::new();

        ledger.settle(ItemRange::new(Item(1), 3), |place, items| told.push((place, items)));

        let expected =
            [(tasks(ONE, 71), ItemRange::new(Item(1), 1)), (map(OTHER, 5, 10), ItemRange::new(Item(2), 2))];
        assert_eq!(told, expected);
        assert_eq!(ledger.unsettled(), 2);
        assert_eq!(ledger.whose(Item(4)), Some(map(OTHER, 5, 12)));
    }

    #[test]
    fn items_are_found_by_client_and_request() {
        let mut ledger = Ledger::default();
        ledger.enter(tasks(ONE, 70), 10);
        ledger.enter(map(ONE, 5, 0), 4);
        ledger.enter(tasks(OTHER, 70), 10);

        assert_eq!(ledger.items_of(ONE, 75, 2), [ItemRange::new(Item(5), 2)]);
        assert_eq!(ledger.items_of(ONE, 5, 1), [ItemRange::new(Item(10), 4)]);
        assert_eq!(ledger.items_of(ONE, 200, 1), []);
        assert_eq!(ledger.all_of(OTHER), [ItemRange::new(Item(14), 10)]);
    }
}
