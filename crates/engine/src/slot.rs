//! A place for a worker, and the life in it.

use poolctl_types::{Generation, Item, Moment};

use crate::effect::Outcome;
use crate::event::{Accounting, Capacity};
use crate::held::Held;

/// Where the life in a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No process; the next life may begin then.
    Vacant { not_before: Option<Moment> },
    /// Asked for. Warm: until its hello, `deadline` once the process runs. Per item: until the process runs.
    Starting { deadline: Option<Moment> },
    /// It takes items, or (per item) works on its one.
    Serving,
    /// It gets no further items and ends when it holds none.
    Draining,
    /// It was asked to end, so hard; at `deadline` harder.
    Stopping { why: Why, level: Level, deadline: Option<Moment> },
}

/// How hard a life was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Its input was closed.
    Closed,
    /// TERM.
    Terminated,
    /// KILL.
    Killed,
}

/// Why a life was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It holds nothing and is not needed any more, or is to be replaced.
    LetGo,
    /// It never said hello: too late, not needed any more, or it talked nonsense.
    Unready,
    /// An item it runs must not run on (see [`Pursuit`]).
    Pursuit,
    /// One of the items it holds has run too long; nobody knows which.
    Suspicion,
    /// It broke the protocol; this item is to blame, else the one it had started.
    Fault(Option<Item>),
    /// The pool stops.
    Stop,
}

/// A held item that must not run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pursuit {
    pub(crate) item: Item,
    /// What becomes of it: timed out or cancelled.
    pub(crate) outcome: Outcome,
    /// Set once it is known to run and was told to stop: when patience ends.
    pub(crate) deadline: Option<Moment>,
}

/// A place for a worker, and the life in it.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Of the present life; of the next one while vacant.
    pub(crate) generation: Generation,
    pub(crate) stage: Stage,
    /// What its hello said; per item, what is true of every process.
    pub(crate) capacity: Option<Capacity>,
    pub(crate) held: Held,
    pub(crate) pursuits: Vec<Pursuit>,
    /// Whether the process is known to run.
    pub(crate) has_begun: bool,
    /// Whether its claim was asked for and not told yet.
    pub(crate) is_probing: bool,
    /// Whether it holds an item that runs alone.
    pub(crate) holds_solo: bool,
    /// Whether its item in hand waits for others, and it gets none.
    pub(crate) is_parked: bool,
    /// The oldest item cannot have begun before; while nothing is held: idle since.
    pub(crate) since: Moment,
    /// The last news of answers, or the dispatch to it when it held nothing.
    pub(crate) last_news: Moment,
    /// Items dispatched in this life.
    pub(crate) given: u64,
    /// Items answered in this life.
    pub(crate) answered: u64,
    /// Lives in a row that ended without an answer and with nobody to blame.
    pub(crate) fruitless: u32,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            generation: Generation(0),
            stage: Stage::Vacant { not_before: None },
            capacity: None,
            held: Held::default(),
            pursuits: Vec::new(),
            has_begun: false,
            is_probing: false,
            holds_solo: false,
            is_parked: false,
            since: Moment(0),
            last_news: Moment(0),
            given: 0,
            answered: 0,
            fruitless: 0,
        }
    }

    /// The life ends; the next one may begin at `not_before`.
    pub(crate) fn bury(&mut self, not_before: Option<Moment>) {
        *self = Self {
            generation: self.generation.next(),
            stage: Stage::Vacant { not_before },
            fruitless: self.fruitless,
            ..Self::new()
        };
    }

    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.stage, Stage::Vacant { .. })
    }

    /// What is known, should it die, of what it holds.
    pub(crate) fn accounting(&self) -> Accounting {
        self.capacity.map_or(Accounting::InOrder, |capacity| capacity.accounting)
    }

    pub(crate) fn understands_cancel(&self) -> bool {
        self.capacity.is_some_and(|capacity| capacity.cancel)
    }

    /// Most items it may hold.
    pub(crate) fn ahead(&self) -> u32 {
        self.capacity.and_then(|capacity| capacity.ahead).map_or(u32::MAX, std::num::NonZeroU32::get)
    }

    pub(crate) fn pursuit(&self, item: Item) -> Option<&Pursuit> {
        self.pursuits.iter().find(|pursuit| pursuit.item == item)
    }

    /// Ends the hunt for `item` and tells what becomes of it.
    pub(crate) fn end_pursuit(&mut self, item: Item) -> Option<Outcome> {
        let place = self.pursuits.iter().position(|pursuit| pursuit.item == item)?;
        Some(self.pursuits.remove(place).outcome)
    }

    /// Whether it may be handed items now, as far as it is concerned.
    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Serving && self.pursuits.is_empty() && !self.holds_solo && !self.is_parked
    }

    /// Whether it serves and holds nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.stage == Stage::Serving && self.held.is_empty()
    }
}
