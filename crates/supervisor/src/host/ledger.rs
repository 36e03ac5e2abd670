//! Which item belongs to which call: it takes what the supervisor tells, and addresses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use poolctl_engine::Outcome;
use poolctl_protocol::Level;
use poolctl_types::{Item, ItemRange, WorkerId};

use super::Refusal;
use super::call::{Call, Settled};
use super::seat::Wake;
use crate::block::Block;
use crate::desk::line_start;
use crate::report::{GaveUp, Notice, Report, Sink};

/// The items in the supervisor's hands, by call.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The number of the item that is pushed next.
    next: u64,
    /// By first item; a block that was handed in each.
    entries: BTreeMap<u64, Entry>,
    /// Outcomes that are not delivered yet.
    mail: Vec<Mail>,
    freed: Freed,
    gave_up: Option<Arc<GaveUp>>,
}

#[derive(Debug)]
struct Entry {
    end: u64,
    unsettled: u64,
    bytes: usize,
    call: Arc<Call>,
    /// The index of the first item in its call.
    index: u64,
}

/// An outcome and where it belongs.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) call: Arc<Call>,
    pub(super) index: u64,
    pub(super) settled: Settled,
}

/// What is not in flight any more.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Freed {
    pub(super) items: u64,
    pub(super) bytes: usize,
}

impl Ledger {
    /// The items of `block`, which is pushed next, are those of `call` from `index` on.
    pub(super) fn enter(&mut self, call: Arc<Call>, index: u64, block: &Block) {
        let count = block.len() as u64;
        let first = self.next;
        self.next += count;
        call.post(Item(first), count);
        let entry = Entry { end: self.next, unsettled: count, bytes: block.byte_len(), call, index };
        self.entries.insert(first, entry);
    }

    /// The items of `call` that may be without an outcome; some may have one.
    pub(super) fn items_of(&self, call: &Arc<Call>) -> Vec<ItemRange> {
        let Some((first, mut left)) = call.posted() else { return Vec::new() };
        let mut found = Vec::new();
        for (first, entry) in self.entries.range(first.0..) {
            if left == 0 {
                break;
            }
            if Arc::ptr_eq(&entry.call, call) {
                left = left.saturating_sub(entry.unsettled);
                let count = u32::try_from(entry.end - first).expect("a block's items are counted in 32 bits");
                found.push(ItemRange::new(Item(*first), count));
            }
        }
        found
    }

    /// What was told since, and what it freed.
    pub(super) fn take_mail(&mut self) -> (Vec<Mail>, Freed) {
        // Now it is known whether items ended because the pool gave up.
        if let Some(reason) = &self.gave_up {
            for mail in &mut self.mail {
                if matches!(&mail.settled, Settled::One(report) if report.outcome == Outcome::Cancelled) {
                    mail.settled = Settled::Refused { why: Refusal::GaveUp(Arc::clone(reason)) };
                }
            }
        }
        (std::mem::take(&mut self.mail), std::mem::take(&mut self.freed))
    }

    /// Every call with items left is refused what it lacks.
    pub(super) fn refuse_all(&mut self, why: &Refusal, wakes: &mut Vec<Wake>) {
        while let Some((_, entry)) = self.entries.pop_first() {
            entry.call.refuse(why.clone(), wakes);
            self.freed.items += entry.unsettled;
            self.freed.bytes += entry.bytes;
        }
    }

    /// Why nothing more is taken in, the loop having ended.
    pub(super) fn refusal(&self) -> Refusal {
        self.gave_up.as_ref().map_or(Refusal::Closed, |reason| Refusal::GaveUp(Arc::clone(reason)))
    }

    /// Addresses the outcome of `items`, which may belong to several calls.
    fn address(&mut self, items: ItemRange, mut outcome: impl FnMut(ItemRange) -> Settled) {
        let mut at = items.first.0;
        while at < items.end().0 {
            let Some((&first, entry)) = self.entries.range_mut(..=at).next_back() else { return };
            let end = items.end().0.min(entry.end);
            if end <= at {
                tracing::error!(item = at, "an outcome for an item that has one, or was never handed in");
                return;
            }
            let count = u32::try_from(end - at).expect("a run's items are counted in 32 bits");
            let settled = outcome(ItemRange::new(Item(at), count));
            self.mail.push(Mail {
                call: Arc::clone(&entry.call),
                index: entry.index + (at - first),
                settled,
            });
            entry.unsettled -= u64::from(count);
            self.freed.items += u64::from(count);
            if entry.unsettled == 0 {
                self.freed.bytes += entry.bytes;
                self.entries.remove(&first);
            }
            at = end;
        }
    }
}

impl Sink for Ledger {
    fn run(&mut self, items: ItemRange, results: &[u8]) {
        let mut rest = results;
        self.address(items, |part| {
            let (of_part, behind) = rest.split_at(line_start(rest, u64::from(part.count)));
            rest = behind;
            Settled::Run { count: part.count, results: of_part.to_vec() }
        });
    }

    fn settled(&mut self, report: Report) {
        let item = report.item;
        let mut report = Some(report);
        self.address(ItemRange::one(item), |_| match report.take() {
            Some(report) => Settled::One(Box::new(report)),
            None => unreachable!("one item has one outcome"),
        });
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Retry { item, next, why, .. } => {
                tracing::info!(%item, next, ?why, "an attempt did not go well, another follows");
            }
            Notice::WorkerDied { worker, pid, exit } => {
                tracing::info!(%worker, pid, %exit, "a worker died and is replaced");
            }
            Notice::WorkerOutput { worker, stream, bytes } => {
                let text = String::from_utf8_lossy(&bytes);
                tracing::info!(target: "poolctl::worker", %worker, ?stream, text = text.trim_end());
            }
            Notice::Log { worker, item, level, text } => log(worker, item, level, &text),
            Notice::Progress { item, fraction, note } => {
                tracing::debug!(target: "poolctl::worker", %item, fraction, note);
            }
            Notice::GaveUp(reason) => {
                tracing::error!(%reason, "the pool gives up");
                self.gave_up = Some(Arc::new(reason));
            }
            Notice::Halted | Notice::KeeperLost => tracing::warn!(?notice, "the pool goes on"),
        }
    }
}

/// A worker's log line becomes one of ours.
fn log(worker: WorkerId, item: Option<Item>, level: Level, text: &str) {
    let item = item.map(|item| item.0);
    match level {
        Level::Debug => tracing::debug!(target: "poolctl::worker", %worker, item, text),
        Level::Info => tracing::info!(target: "poolctl::worker", %worker, item, text),
        Level::Warn => tracing::warn!(target: "poolctl::worker", %worker, item, text),
        Level::Error => tracing::error!(target: "poolctl::worker", %worker, item, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(items: usize) -> Block {
        let mut block = Block::new();
        for _ in 0..items {
            block.push(b"ab");
        }
        block
    }

    #[test]
    fn a_run_over_the_items_of_two_calls_is_cut_where_they_meet() {
        let (one, other) = (Call::new(), Call::new());
        let mut ledger = Ledger::default();
        ledger.enter(Arc::clone(&one), 5, &block(2));
        ledger.enter(Arc::clone(&other), 0, &block(3));

        ledger.run(ItemRange::new(Item(1), 3), b"x\ny\nz\n");
        let (mail, freed) = ledger.take_mail();

        let told: Vec<_> = mail.iter().map(|mail| (mail.index, format!("{:?}", mail.settled))).collect();
        let run = |count, results: &[u8]| format!("{:?}", Settled::Run { count, results: results.to_vec() });
        assert_eq!(told, [(6, run(1, b"x\n")), (0, run(2, b"y\nz\n"))]);
        assert!(Arc::ptr_eq(&mail[0].call, &one) && Arc::ptr_eq(&mail[1].call, &other));
        assert_eq!((freed.items, freed.bytes), (3, 0), "the bytes of a block are free with its last item");
        ledger.run(ItemRange::new(Item(0), 1), b"w\n");
        assert_eq!(ledger.take_mail().1.bytes, 6);
    }

    #[test]
    fn only_the_items_of_the_call_itself_are_cancelled() {
        let (one, other) = (Call::new(), Call::new());
        let mut ledger = Ledger::default();
        ledger.enter(Arc::clone(&one), 0, &block(2));
        ledger.enter(Arc::clone(&other), 0, &block(3));
        ledger.enter(Arc::clone(&one), 2, &block(1));

        assert_eq!(ledger.items_of(&one), [ItemRange::new(Item(0), 2), ItemRange::one(Item(5))]);
        assert_eq!(ledger.items_of(&Call::new()), []);
    }
}
