//! One simulated worker, as it really is: what it was sent, what it runs, how it will end.

use std::collections::VecDeque;

use poolctl_types::{Item, Moment};

/// What an item does to the worker that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    Ok,
    Fails,
    FailsForGood,
    Dies,
    DiesForMemory,
    Faults,
    Hangs,
}

/// An item that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) item: Item,
    pub(crate) since: Moment,
    pub(crate) course: Course,
}

/// A worker as it really is.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) queue: VecDeque<Item>,
    pub(crate) running: Vec<Running>,
    /// Results published and not told yet, the oldest ones in order.
    pub(crate) published: u32,
    pub(crate) is_closed: bool,
    pub(crate) is_deaf: bool,
    /// It has done its last thing; its exit is on the way.
    pub(crate) is_dead: bool,
    /// It dies right after its hello, before it begins anything.
    pub(crate) is_doomed: bool,
    pub(crate) has_spawned: bool,
    pub(crate) is_condemned: bool,
}

impl Life {
    /// Ends the run of `item`, if it runs.
    pub(crate) fn end(&mut self, item: Item) -> Option<Running> {
        let place = self.running.iter().position(|running| running.item == item)?;
        Some(self.running.remove(place))
    }
}
