//! What must hold between any two steps, derived anew from scratch. Slow: for tests.

use std::collections::{BTreeMap, BTreeSet};

use poolctl_types::{Item, ItemRange};

use crate::config::Lifecycle;
use crate::engine::Engine;
use crate::event::Stop;
use crate::slot::{Level, Slot, Stage};
use crate::window::Standing;

impl Engine {
    /// Checks everything the engine believes against everything else it believes.
    ///
    /// # Panics
    /// If any two of them disagree: that is a bug in the engine.
    pub fn invariants(&self) {
        for (index, slot) in self.slots.iter().enumerate() {
            self.check_slot(index, slot);
        }
        let held = self.check_held();
        let waiting = self.check_waiting();
        self.check_window(&held, &waiting);
        let unfinished = held.len() as u64 + waiting.len() as u64 + self.backlog.fresh();
        let settled = self.totals.ok + self.totals.failed + self.totals.cancelled;
        assert_eq!(self.read, unfinished + settled, "every item read is unfinished or settled");
        self.check_stop();
        self.check_diligence();
    }

    fn check_slot(&self, index: usize, slot: &Slot) {
        let count: u32 = slot.held.runs().map(|run| run.items.count).sum();
        assert_eq!(count, slot.held.count(), "slot {index}: held items are counted");
        assert!(slot.held.runs().all(|run| run.items.count > 0), "slot {index}: no run is empty");
        assert!(
            slot.held.runs().all(|run| run.attempt == 1 || run.items.count == 1),
            "slot {index}: further attempts are held alone"
        );
        assert!(count <= slot.ahead(), "slot {index}: holds no more than it can take");
        assert!(!slot.holds_solo || count == 1, "slot {index}: a solo item has no company");
        for pursuit in &slot.pursuits {
            assert!(slot.held.attempt(pursuit.item).is_some(), "slot {index}: only held items are hunted");
        }
        if let Some(most) = self.config.max_tasks {
            assert!(slot.given <= most.max(1), "slot {index}: it gets no more than `max_tasks`");
        }
        let is_warm = self.config.lifecycle == Lifecycle::Warm;
        match slot.stage {
            Stage::Vacant { .. } => {
                assert_eq!(count, 0, "slot {index}: the vacant hold nothing");
                assert!(slot.capacity.is_none() && !slot.has_begun, "slot {index}: the vacant know nothing");
            }
            Stage::Starting { .. } => {
                assert_eq!(
                    count,
                    u32::from(!is_warm),
                    "slot {index}: only a process for an item starts with it"
                );
            }
            Stage::Serving => assert!(!is_warm || slot.capacity.is_some(), "slot {index}: it has said hello"),
            Stage::Draining => assert!(!is_warm || count > 0, "slot {index}: it drains what it holds"),
            Stage::Stopping { level, deadline, .. } => {
                assert_eq!(
                    deadline.is_none(),
                    level == Level::Killed,
                    "slot {index}: only KILL needs no patience"
                );
                assert!(
                    level != Level::Closed || count == 0,
                    "slot {index}: nothing held when input is closed"
                );
            }
        }
        let is_surplus = index >= self.wanted_slots as usize;
        let takes_work = matches!(slot.stage, Stage::Starting { .. } | Stage::Serving);
        assert!(!(is_surplus && is_warm && takes_work), "slot {index}: a surplus worker takes no work");
    }

    /// Every held item, by who holds it.
    fn check_held(&self) -> BTreeMap<u64, usize> {
        let mut held = BTreeMap::new();
        for (index, slot) in self.slots.iter().enumerate() {
            for item in slot.held.runs().flat_map(|run| run.items.iter()) {
                let other = held.insert(item.0, index);
                assert_eq!(other, None, "item {item} has one holder");
            }
        }
        held
    }

    /// Every item that is to be dispatched again.
    fn check_waiting(&self) -> BTreeSet<u64> {
        let parts = self.backlog.parts();
        let returned = parts.returned.iter().map(|(first, count)| ItemRange::new(Item(*first), *count));
        let returned: Vec<u64> =
            returned.flat_map(|range| range.iter().map(|item| item.0).collect::<Vec<_>>()).collect();
        assert_eq!(returned.len() as u64, parts.returned_count, "returned items are counted");
        let later = parts.later.iter().map(|(due, item)| {
            assert_eq!(
                parts.past.get(item).and_then(|past| past.due),
                Some(*due),
                "item {item} knows when it is due"
            );
            *item
        });
        let mut waiting = BTreeSet::new();
        for item in returned
            .into_iter()
            .chain(parts.retries.iter().copied())
            .chain(parts.solo.iter().copied())
            .chain(later)
        {
            assert!(waiting.insert(item), "item {item} waits in one place");
        }
        assert!(parts.solo.iter().all(|item| parts.past[item].solo), "solo items are known as such");
        waiting
    }

    fn check_window(&self, held: &BTreeMap<u64, usize>, waiting: &BTreeSet<u64>) {
        let parts = self.backlog.parts();
        let (mut in_hands, mut in_queues) = (0, 0);
        for (item, standing) in parts.window.standings() {
            match standing {
                Standing::Held => {
                    assert!(held.contains_key(&item), "item {item} is held by somebody");
                    in_hands += 1;
                }
                Standing::Waiting => {
                    assert!(waiting.contains(&item), "item {item} waits somewhere");
                    in_queues += 1;
                }
                Standing::Done => continue,
            }
            assert!(item - parts.window.base() < self.backlog.limit(), "item {item} is within the window");
        }
        assert_eq!(
            (held.len(), waiting.len()),
            (in_hands, in_queues),
            "the window knows every dispatched item"
        );
        let front = parts.window.standings().next();
        assert!(
            front.is_none_or(|(_, standing)| standing != Standing::Done),
            "the oldest item is unfinished"
        );
        for item in parts.past.keys() {
            assert!(
                held.contains_key(item) || waiting.contains(item),
                "item {item}: nothing finished is remembered"
            );
        }
        assert!(parts.fresh_start <= parts.fresh_end, "fresh items lie in order");
        if self.stop.is_none() {
            assert_eq!(parts.window.end(), parts.fresh_start, "fresh items follow the dispatched ones");
        }
        assert!(parts.skipped.iter().all(|item| *item > parts.fresh_start && *item < parts.fresh_end));
    }

    fn check_stop(&self) {
        let Some(stop) = self.stop else { return };
        assert_eq!(self.backlog.unposted(), 0, "nothing waits in a pool that stops");
        for (index, slot) in self.slots.iter().enumerate() {
            let is_stopped = match (slot.stage, stop) {
                (Stage::Vacant { .. }, _)
                | (Stage::Draining, Stop::Drain)
                | (Stage::Stopping { .. }, Stop::Drain) => true,
                (Stage::Stopping { level, .. }, Stop::Term) => level >= Level::Terminated,
                (Stage::Stopping { level, .. }, Stop::Kill) => level == Level::Killed,
                (Stage::Starting { .. } | Stage::Serving, _) | (Stage::Draining, Stop::Term | Stop::Kill) => {
                    false
                }
            };
            assert!(is_stopped, "slot {index}: as stopped as the pool");
        }
    }

    /// Nobody is idle, and no slot empty, while work waits that may be handed out.
    fn check_diligence(&self) {
        let waits = self.postable();
        if self.stop.is_some() || waits == 0 || !self.config.delay.is_zero() {
            return;
        }
        let idle = self.slots.iter().filter(|slot| slot.is_idle() && slot.is_open()).count();
        assert_eq!(idle, 0, "nobody is idle while {waits} items wait");
        let may_start = !self.cannot_start && !self.intensity.is_spent();
        if !may_start || self.intensity.wait(self.scanned_at).is_some() {
            return;
        }
        let wanted = &self.slots[..self.wanted_slots as usize];
        let is_starting = |slot: &&Slot| matches!(slot.stage, Stage::Starting { .. });
        let starting = wanted.iter().filter(is_starting).count() as u64;
        let is_free = |slot: &&Slot| match slot.stage {
            Stage::Vacant { not_before } => not_before.is_none_or(|moment| moment <= self.scanned_at),
            Stage::Starting { .. } | Stage::Serving | Stage::Draining | Stage::Stopping { .. } => false,
        };
        let free = wanted.iter().filter(is_free).count();
        let is_enough = self.config.lifecycle == Lifecycle::Warm && starting >= waits;
        assert!(free == 0 || is_enough, "no slot is empty while {waits} items wait");
    }
}
