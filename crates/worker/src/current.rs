//! What this thread is working on.

use std::cell::Cell;

use poolctl_types::{Item, Slot};

/// The task that runs in a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Current {
    /// The place of the worker in its pool, counted from 0. A worker that is replaced leaves its slot to the next.
    pub slot: Slot,
    /// The place of the item in the input.
    pub item: Item,
    /// Which attempt this is, from 1 on.
    pub attempt: u32,
}

impl Current {
    /// It.
    #[must_use]
    pub fn new(slot: Slot, item: Item, attempt: u32) -> Self {
        Self { slot, item, attempt }
    }
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// The task that runs in this thread: in a worker, or in a pool of threads. `None` elsewhere, also in initializers and
/// in threads that a task has started.
#[must_use]
pub fn current() -> Option<Current> {
    CURRENT.get()
}

/// From now on this runs in this thread.
#[inline]
pub(crate) fn set(current: Option<Current>) {
    CURRENT.set(current);
}

/// Runs `work` as that task, for pools whose workers are threads.
pub fn during<R>(task: Current, work: impl FnOnce() -> R) -> R {
    struct Before(Option<Current>);
    impl Drop for Before {
        fn drop(&mut self) {
            set(self.0);
        }
    }

    let _before = Before(CURRENT.replace(Some(task)));
    work()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_task_is_current_while_it_runs_and_not_behind_it() {
        let (outer, inner) = (Current::new(Slot(1), Item(7), 1), Current::new(Slot(1), Item(8), 2));

        let seen = during(outer, || {
            let seen = during(inner, current);
            let panicked = catch_unwind(|| during(inner, || panic!("in the middle")));
            (seen, panicked.is_err(), current())
        });

        assert_eq!(seen, (Some(inner), true, Some(outer)));
        assert_eq!(current(), None);
    }
}
