//! Where links and engine meet: news goes to the engine, and what it settles goes to the sink with its details.
//!
//! An event and the bytes that belong to it are told together ([`Desk::tell`]), because only the engine knows whether
//! an answer settles its item, is the last of several attempts, or comes too late. Effects that concern processes are
//! queued for the supervisor, which carries them out when no link is borrowed.

use std::collections::VecDeque;
use std::sync::Arc;

use poolctl_engine::{Effect, Engine, Event, Outcome};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};

use crate::config::Detail;
use crate::report::{Attempt, Notice, Report, Sink};
use crate::spill::Spill;
use crate::store::Store;

/// Engine, payloads and what is to be done next.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) spill: Arc<Spill>,
    pub(crate) detail: Detail,
    /// The time of this pass of the loop.
    pub(crate) now: Moment,
    /// Effects that concern processes, in order.
    pub(crate) effects: VecDeque<Effect>,
    /// The interpreter that a worker said it runs on.
    pub(crate) interpreter: Option<String>,
    /// Room to read into, for everybody.
    pub(crate) scratch: Vec<u8>,
    fresh: Vec<Effect>,
}

/// What belongs to an event, for the items that it settles.
pub(crate) enum Delivery<'a> {
    /// Nothing is known.
    Nothing,
    /// Results of items that stand next to each other, each ended by LF.
    Lines { worker: WorkerId, items: ItemRange, results: &'a [u8] },
    /// One attempt per item, on demand.
    Each(&'a mut dyn FnMut(Item) -> Attempt),
}

impl Desk {
    pub(crate) fn new(engine: Engine, spill: Arc<Spill>, detail: Detail, now: Moment) -> Self {
        Self {
            engine,
            store: Store::default(),
            spill,
            detail,
            now,
            effects: VecDeque::new(),
            interpreter: None,
            scratch: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Tells the engine what happened, and the sink what that settles.
    pub(crate) fn tell(&mut self, event: Event, mut delivery: Delivery<'_>, sink: &mut dyn Sink) {
        let mut fresh = std::mem::take(&mut self.fresh);
        self.engine.step(self.now, event, &mut fresh);
        for effect in fresh.drain(..) {
            match effect {
                Effect::Settle { items, outcome, attempts } => {
                    self.settle(items, outcome, attempts, &mut delivery, sink);
                }
                Effect::Retry { item, attempt, why } => {
                    let known = Box::new(delivery.attempt(item));
                    sink.notice(Notice::Retry { item, next: attempt, why, attempt: known });
                }
                other => self.effects.push_back(other),
            }
        }
        self.fresh = fresh;
    }

    /// Tells the engine something that comes without details.
    pub(crate) fn tell_plain(&mut self, event: Event, sink: &mut dyn Sink) {
        self.tell(event, Delivery::Nothing, sink);
    }

    fn settle(
        &mut self,
        items: ItemRange,
        outcome: Outcome,
        attempts: u32,
        delivery: &mut Delivery<'_>,
        sink: &mut dyn Sink,
    ) {
        if let Delivery::Lines { items: told, results, .. } = delivery
            && outcome == Outcome::Ok
            && attempts == 1
            && self.detail == Detail::Bulk
        {
            sink.run(items, lines_of(*told, results, items));
        } else if attempts == 0 && outcome == Outcome::Cancelled && self.detail == Detail::Bulk {
            sink.never_ran(items);
        } else {
            for item in items.iter() {
                let attempt = if attempts == 0 { Attempt::default() } else { delivery.attempt(item) };
                let payload = self.store.item(item).to_vec();
                sink.settled(Report { item, payload, outcome, attempts, attempt });
            }
        }
        self.store.settle(items);
    }
}

impl Delivery<'_> {
    fn attempt(&mut self, item: Item) -> Attempt {
        match self {
            Delivery::Nothing => Attempt::default(),
            Delivery::Lines { worker, items, results } => {
                let line = lines_of(*items, results, ItemRange::one(item));
                let out = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
                Attempt { worker: Some(*worker), out: out.into(), ..Attempt::default() }
            }
            Delivery::Each(attempt) => attempt(item),
        }
    }
}

/// The lines that belong to `wanted`, out of one line for each of `told`.
fn lines_of(told: ItemRange, lines: &[u8], wanted: ItemRange) -> &[u8] {
    if told == wanted {
        return lines;
    }
    let before = wanted.first.0 - told.first.0;
    let start = line_start(lines, before);
    let rest = &lines[start..];
    &rest[..line_start(rest, u64::from(wanted.count))]
}

/// Where the line begins that has `before` lines before it.
pub(crate) fn line_start(lines: &[u8], before: u64) -> usize {
    match before.checked_sub(1) {
        None => 0,
        Some(nth) => memchr::memchr_iter(b'\n', lines)
            .nth(usize::try_from(nth).unwrap_or(usize::MAX))
            .map_or(lines.len(), |at| at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_some_items_are_cut_out_of_the_lines_of_all() {
        let told = ItemRange::new(Item(10), 4);

        assert_eq!(lines_of(told, b"a\nb\nc\nd\n", told), b"a\nb\nc\nd\n");
        assert_eq!(lines_of(told, b"a\nb\nc\nd\n", ItemRange::new(Item(11), 2)), b"b\nc\n");
        assert_eq!(lines_of(told, b"a\nb\nc\nd\n", ItemRange::one(Item(13))), b"d\n");
    }
}
