//! What workers spent their time on, for people who ask why a pool is slow.

use std::collections::VecDeque;
use std::time::Duration;

use poolctl_engine::Event;
use poolctl_types::{Item, Moment, WorkerId};

/// How many workers that have ended are remembered, the latest ones.
const REMEMBERED: usize = 1024;

/// How many of the slowest items are remembered.
const SLOWEST: usize = 10;

/// What the workers of a pool spent their time on so far.
#[derive(Debug, Clone, Default)]
pub struct Insight {
    /// Workers that live, and the latest that have ended, in the order of their start.
    pub workers: Vec<WorkerInsight>,
    /// The items that ran longest, the slowest first; only where each item's time is measured.
    pub slowest: Vec<SlowItem>,
}

/// What one worker spent its time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerInsight {
    /// Which.
    pub worker: WorkerId,
    /// From asking for it until it was ready; none: it never was.
    pub start_up: Option<Duration>,
    /// Ready, with nothing to do.
    pub waiting: Duration,
    /// With items in its hands.
    pub working: Duration,
    /// Items it has ended.
    pub tasks: u64,
}

/// An item that took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowItem {
    /// Its number in the pool, in the order in which items were handed in.
    pub item: Item,
    /// Who ran it.
    pub worker: WorkerId,
    /// How long it ran.
    pub wall: Duration,
}

/// Watches what the engine is told.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// By slot.
    living: Vec<Option<Observed>>,
    ended: VecDeque<WorkerInsight>,
    slowest: Vec<SlowItem>,
}

#[derive(Debug, Clone, Copy)]
struct Observed {
    insight: WorkerInsight,
    /// Asked for, or ready, or the last change between work and waiting.
    since: Moment,
    held: u64,
}

impl Observer {
    /// A worker is asked for.
    pub(crate) fn asked(&mut self, worker: WorkerId, now: Moment) {
        let index = worker.slot.index();
        if self.living.len() <= index {
            self.living.resize(index + 1, None);
        }
        let (waiting, working) = (Duration::ZERO, Duration::ZERO);
        let insight = WorkerInsight { worker, start_up: None, waiting, working, tasks: 0 };
        self.living[index] = Some(Observed { insight, since: now, held: 0 });
    }

    /// A worker is given so many items.
    pub(crate) fn dispatched(&mut self, worker: WorkerId, count: u32, now: Moment) {
        if let Some(observed) = self.living_mut(worker) {
            observed.account(now);
            observed.held += u64::from(count);
        }
    }

    /// Something is told to the engine.
    pub(crate) fn observe(&mut self, event: &Event, now: Moment) {
        match *event {
            Event::Ready(worker, _) => {
                if let Some(observed) = self.living_mut(worker) {
                    observed.insight.start_up = Some(now - observed.since);
                    observed.since = now;
                }
            }
            Event::Finished { worker, count } => self.finished(worker, count, now),
            Event::Answered { worker, .. } => self.finished(worker, 1, now),
            Event::Exited { worker, .. } => {
                let Some(observed) = self.living_mut(worker) else { return };
                observed.account(now);
                let insight = observed.insight;
                self.living[worker.slot.index()] = None;
                if self.ended.len() == REMEMBERED {
                    self.ended.pop_front();
                }
                self.ended.push_back(insight);
            }
            _ => {}
        }
    }

    /// An item ran so long.
    pub(crate) fn ran(&mut self, item: Item, worker: WorkerId, wall: Duration) {
        let is_full = self.slowest.len() == SLOWEST;
        if is_full && self.slowest.last().is_some_and(|last| last.wall >= wall) {
            return;
        }
        let at = self.slowest.partition_point(|known| known.wall >= wall);
        self.slowest.insert(at, SlowItem { item, worker, wall });
        self.slowest.truncate(SLOWEST);
    }

    /// What is known by now.
    pub(crate) fn insight(&self, now: Moment) -> Insight {
        let living = self.living.iter().flatten().map(|observed| {
            let mut observed = *observed;
            observed.account(now);
            observed.insight
        });
        let mut workers: Vec<_> = self.ended.iter().copied().chain(living).collect();
        workers.sort_by_key(|insight| (insight.worker.slot, insight.worker.generation));
        Insight { workers, slowest: self.slowest.clone() }
    }

    fn finished(&mut self, worker: WorkerId, count: u32, now: Moment) {
        if let Some(observed) = self.living_mut(worker) {
            observed.account(now);
            observed.held = observed.held.saturating_sub(u64::from(count));
            observed.insight.tasks += u64::from(count);
        }
    }

    fn living_mut(&mut self, worker: WorkerId) -> Option<&mut Observed> {
        let observed = self.living.get_mut(worker.slot.index())?.as_mut()?;
        (observed.insight.worker == worker).then_some(observed)
    }
}

impl Observed {
    /// Counts the time since the last change for what was done in it.
    fn account(&mut self, now: Moment) {
        if self.insight.start_up.is_none() {
            return;
        }
        let span = now - self.since;
        self.since = now;
        if self.held > 0 {
            self.insight.working += span;
        } else {
            self.insight.waiting += span;
        }
    }
}

#[cfg(test)]
mod tests {
    use poolctl_engine::{Accounting, Capacity, End, EndCause};

    use super::*;

    #[test]
    fn a_workers_time_is_start_up_waiting_and_work() {
        let worker = WorkerId::new(1, 0);
        let at = |millis: u64| Moment(millis * 1_000_000);
        let capacity = Capacity { ahead: None, accounting: Accounting::Claim, cancel: false };
        let mut observer = Observer::default();

        observer.asked(worker, at(0));
        observer.observe(&Event::Ready(worker, capacity), at(3));
        observer.dispatched(worker, 2, at(10));
        observer.observe(&Event::Finished { worker, count: 1 }, at(12));
        observer.observe(&Event::Finished { worker, count: 1 }, at(15));
        let end = End { claimed: None, cause: EndCause::Ended };
        observer.observe(&Event::Exited { worker, end }, at(16));

        let expected = WorkerInsight {
            worker,
            start_up: Some(Duration::from_millis(3)),
            waiting: Duration::from_millis(8),
            working: Duration::from_millis(5),
            tasks: 2,
        };
        assert_eq!(observer.insight(at(99)).workers, [expected]);
    }

    #[test]
    fn the_slowest_items_are_kept_the_slowest_first() {
        let worker = WorkerId::new(0, 0);
        let mut observer = Observer::default();
        for item in 0..30 {
            observer.ran(Item(item), worker, Duration::from_millis(item * 7 % 30));
        }

        let slowest = observer.insight(Moment(0)).slowest;

        let walls: Vec<_> = slowest.iter().map(|slow| slow.wall.as_millis()).collect();
        assert_eq!(walls, (20..30).rev().collect::<Vec<_>>());
    }
}
