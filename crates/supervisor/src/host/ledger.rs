//! Which item belongs to which call: it takes what the supervisor tells, and addresses it.

use std::collections::VecDeque;
use std::sync::Arc;

use poolctl_engine::Outcome;
use poolctl_protocol::Level;
use poolctl_types::{Item, ItemRange, WorkerId};

use super::call::{Call, Settled};
use super::door::Part;
use super::nests::Request;
use super::seat::Wake;
use super::{DeathPolicy, Refusal};
use crate::block::Block;
use crate::report::{Notice, Report, Sink};
use crate::results::Results;

/// The items in the supervisor's hands, by call.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The number of the item that is pushed next.
    next: u64,
    /// What was handed in together, by first item; what is settled is gone, once nothing unsettled is before it.
    entries: VecDeque<Entry>,
    /// Outcomes that are not delivered yet.
    mail: Vec<Mail>,
    freed: Freed,
    /// Why the pool ends before its time.
    ended_by: Option<Refusal>,
    /// What items ask for.
    requests: Vec<Request>,
    /// What the death of a worker means for the others.
    policy: DeathPolicy,
}

#[derive(Debug)]
struct Entry {
    first: u64,
    end: u64,
    unsettled: u64,
    bytes: usize,
    parcels: usize,
    /// It is counted at the door.
    takes_room: bool,
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
    pub(super) parcels: usize,
}

impl Ledger {
    /// A ledger without items.
    pub(super) fn new(policy: DeathPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Whether the death of a worker is to end the pool.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.ended_by, Some(Refusal::WorkerDied { .. }))
    }

    /// As [`Ledger::enter`], for items that did not come through the door, and take no room there.
    pub(super) fn enter_nested(&mut self, parts: Vec<Part>, block: &Block) {
        let before = self.entries.len();
        self.enter(parts, block);
        for entry in self.entries.range_mut(before..) {
            entry.takes_room = false;
            (entry.bytes, entry.parcels) = (0, 0);
        }
    }

    /// What items ask for since last time.
    pub(super) fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// The items of `block`, which is pushed next, are these parts, whose bytes are counted with the last of them.
    pub(super) fn enter(&mut self, parts: Vec<Part>, block: &Block) {
        let mut bytes = 0;
        let mut items = 0;
        for Part { call, index, count } in parts {
            let first = self.next;
            self.next += count;
            items += usize::try_from(count).expect("a block's items fit in memory");
            let upto = items.checked_sub(1).map_or(0, |last| block.ends[last] as usize);
            call.post(Item(first), count);
            let entry = Entry {
                first,
                end: self.next,
                unsettled: count,
                bytes: upto - bytes,
                parcels: 0,
                takes_room: true,
                call,
                index,
            };
            bytes = upto;
            self.entries.push_back(entry);
        }
        if let Some(last) = self.entries.back_mut() {
            // A block with parcels is too heavy to have more than one part.
            last.bytes += block.parcel_bytes();
            last.parcels = block.parcels().count();
        }
    }

    /// The items of `call` that may be without an outcome; some may have one.
    pub(super) fn items_of(&self, call: &Arc<Call>) -> Vec<ItemRange> {
        let Some((first, mut left)) = call.posted() else { return Vec::new() };
        let mut found = Vec::new();
        for entry in self.entries.range(self.place(first.0)..) {
            if left == 0 {
                break;
            }
            if entry.unsettled > 0 && Arc::ptr_eq(&entry.call, call) {
                left = left.saturating_sub(entry.unsettled);
                let count = u32::try_from(entry.end - entry.first);
                let count = count.expect("a block's items are counted in 32 bits");
                found.push(ItemRange::new(Item(entry.first), count));
            }
        }
        found
    }

    /// What was told since, and what it freed.
    pub(super) fn take_mail(&mut self) -> (Vec<Mail>, Freed) {
        // Now it is known whether items ended because the pool gave up.
        if let Some(why) = &self.ended_by {
            for mail in &mut self.mail {
                let is_cancelled = match &mail.settled {
                    Settled::One(report) => report.outcome == Outcome::Cancelled,
                    Settled::NeverRan { .. } => true,
                    Settled::Run { .. } | Settled::Refused { .. } => false,
                };
                if is_cancelled {
                    let count = mail.settled.count();
                    mail.settled = Settled::Refused { why: why.clone(), count };
                }
            }
        }
        (std::mem::take(&mut self.mail), std::mem::take(&mut self.freed))
    }

    /// Every call with items left is refused what it lacks.
    pub(super) fn refuse_all(&mut self, why: &Refusal, wakes: &mut Vec<Wake>) {
        while let Some(entry) = self.entries.pop_front() {
            if entry.unsettled == 0 {
                continue;
            }
            entry.call.refuse(why.clone(), wakes);
            self.freed.items += if entry.takes_room { entry.unsettled } else { 0 };
            self.freed.bytes += entry.bytes;
            self.freed.parcels += entry.parcels;
        }
    }

    /// Why nothing more is taken in, the loop having ended.
    pub(super) fn refusal(&self) -> Refusal {
        self.ended_by.clone().unwrap_or(Refusal::Closed)
    }

    /// Addresses the outcome of `items`, which may belong to several calls.
    fn address(&mut self, items: ItemRange, mut outcome: impl FnMut(ItemRange) -> Settled) {
        let mut at = items.first.0;
        while at < items.end().0 {
            let place = self.place(at);
            let Some(entry) = self.entries.get_mut(place) else { return };
            let end = items.end().0.min(entry.end);
            if entry.first > at || entry.unsettled < end - at {
                tracing::error!(item = at, "an outcome for an item that has one, or was never handed in");
                return;
            }
            let count = u32::try_from(end - at).expect("a run's items are counted in 32 bits");
            let settled = outcome(ItemRange::new(Item(at), count));
            self.mail.push(Mail {
                call: Arc::clone(&entry.call),
                index: entry.index + (at - entry.first),
                settled,
            });
            entry.unsettled -= u64::from(count);
            self.freed.items += if entry.takes_room { u64::from(count) } else { 0 };
            if entry.unsettled == 0 {
                self.freed.bytes += std::mem::take(&mut entry.bytes);
                self.freed.parcels += std::mem::take(&mut entry.parcels);
                while self.entries.front().is_some_and(|oldest| oldest.unsettled == 0) {
                    self.entries.pop_front();
                }
            }
            at = end;
        }
    }

    /// Where the entry of an item is. The oldest is asked for most, so look there first.
    fn place(&self, item: u64) -> usize {
        if self.entries.front().is_some_and(|oldest| item < oldest.end) {
            return 0;
        }
        self.entries.partition_point(|entry| entry.end <= item)
    }
}

impl Sink for Ledger {
    fn run(&mut self, items: ItemRange, results: Results<'_>) {
        let mut rest = results;
        self.address(items, |part| {
            let of_part = if part == items { rest } else { take_first(&mut rest, part.count) };
            Settled::Run { count: part.count, results: of_part.bytes.into(), form: of_part.form }
        });
    }

    fn never_ran(&mut self, items: ItemRange) {
        self.address(items, |part| Settled::NeverRan { count: part.count });
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
            Notice::Greeted { worker, .. } => tracing::debug!(%worker, "a worker said hello"),
            Notice::WorkerDied { worker, pid, exit } => {
                tracing::info!(%worker, pid, %exit, "a worker died");
                if self.policy == DeathPolicy::Break {
                    self.ended_by.get_or_insert(Refusal::WorkerDied { worker, exit });
                }
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
                self.ended_by.get_or_insert(Refusal::GaveUp(Arc::new(reason)));
            }
            Notice::Nested { worker, id, function, payload } => {
                self.requests.push(Request::Submit { worker, id, function, payload });
            }
            Notice::NestedForget { worker, id } => self.requests.push(Request::Forget { worker, id }),
            Notice::NestedWait { worker, id } => self.requests.push(Request::Wait { worker, id }),
            Notice::Halted | Notice::KeeperLost => tracing::warn!(?notice, "the pool goes on"),
        }
    }
}

/// Takes the first `count` results off `rest`.
fn take_first<'a>(rest: &mut Results<'a>, count: u32) -> Results<'a> {
    let (first, behind) = rest.split(u64::from(count));
    *rest = behind;
    first
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
    use crate::block::Attachment;
    use crate::parcels::Parcels;
    use crate::results::Form;

    fn part(call: &Arc<Call>, index: u64, count: u64) -> Vec<Part> {
        vec![Part { call: Arc::clone(call), index, count }]
    }

    fn lines(bytes: &[u8]) -> Results<'_> {
        Results { bytes, form: Form::Lines }
    }

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
        ledger.enter(part(&one, 5, 2), &block(2));
        ledger.enter(part(&other, 0, 3), &block(3));

        ledger.run(ItemRange::new(Item(1), 3), lines(b"x\ny\nz\n"));
        let (mail, freed) = ledger.take_mail();

        let told: Vec<_> = mail.iter().map(|mail| (mail.index, format!("{:?}", mail.settled))).collect();
        let run = |count, results: &[u8]| {
            format!("{:?}", Settled::Run { count, results: results.into(), form: Form::Lines })
        };
        assert_eq!(told, [(6, run(1, b"x\n")), (0, run(2, b"y\nz\n"))]);
        assert!(Arc::ptr_eq(&mail[0].call, &one) && Arc::ptr_eq(&mail[1].call, &other));
        assert_eq!((freed.items, freed.bytes), (3, 0), "the bytes of a block are free with its last item");
        ledger.run(ItemRange::new(Item(0), 1), lines(b"w\n"));
        assert_eq!(ledger.take_mail().1.bytes, 6);
    }

    #[test]
    fn parcels_take_room_until_their_item_has_ended() {
        let mut ledger = Ledger::default();
        let mut heavy = block(1);
        let parcel = Parcels::default().take(100_000).expect("there is memory");
        heavy.attachments.push((0, vec![Attachment::Reader(parcel.into())]));

        ledger.enter(vec![Part { call: Call::new(), index: 0, count: 1 }], &heavy);
        ledger.run(ItemRange::one(Item(0)), lines(b"x\n"));

        assert_eq!(heavy.weight(), 3 + (128 << 10));
        let freed = ledger.take_mail().1;
        assert_eq!((freed.bytes, freed.parcels), (heavy.weight(), 1));
    }

    #[test]
    fn only_the_items_of_the_call_itself_are_cancelled() {
        let (one, other) = (Call::new(), Call::new());
        let mut ledger = Ledger::default();
        ledger.enter(part(&one, 0, 2), &block(2));
        ledger.enter(part(&other, 0, 3), &block(3));
        ledger.enter(part(&one, 2, 1), &block(1));

        assert_eq!(ledger.items_of(&one), [ItemRange::new(Item(0), 2), ItemRange::one(Item(5))]);
        assert_eq!(ledger.items_of(&Call::new()), []);
    }
}
