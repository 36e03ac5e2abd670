//! Who leads, who wants to, and what was handed in: the little that all threads share.
//!
//! Only plain transitions here; who calls them with which mutex held is in [`super`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use poolctl_engine::{Counts, Stop};

use super::call::Call;
use super::ledger::Freed;
use super::seat::{Seat, Wake};
use super::{Intent, Last, Refusal, Room};
use crate::block::Block;
use crate::supervisor::Supervisor;

/// How long the driver sleeps before it looks whether a caller has left the lead lying.
pub(super) const NAP: Duration = Duration::from_millis(1);

/// What is handed in.
#[derive(Debug)]
pub(super) enum Letter {
    /// Items, and whose they are, one part after another.
    Items { parts: Vec<Part>, block: Block },
    /// What this call has not got is not wanted any more.
    Cancel(Arc<Call>),
    /// No items follow.
    Close,
    /// No items follow, and those here are stopped.
    Stop(Stop),
    /// There are to be this many workers.
    Resize(u32),
    /// Something that only the loop can answer.
    Question(Question),
}

/// Asks the loop; what it answers is the asker's business.
pub(super) struct Question(pub(super) Box<dyn FnOnce(&Supervisor) + Send>);

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

impl Letter {
    /// The host has ended: items that came too late are refused.
    pub(super) fn refuse(self, why: &Refusal, wakes: &mut Vec<Wake>) {
        if let Letter::Items { parts, .. } = self {
            for part in parts {
                part.call.refuse(why.clone(), wakes);
            }
        }
    }
}

/// Neighbouring items in a block that are those of `call` from `index` on.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) call: Arc<Call>,
    pub(super) index: u64,
    pub(super) count: u64,
}

/// Small blocks that are handed in one after another are joined up to this many bytes, so that single calls in quick
/// succession cost the loop what one block costs.
const JOIN_BYTES: usize = 32 << 10;

/// Who drives the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    /// Nobody.
    None,
    /// The host's own thread, this one.
    Driver(ThreadId),
    /// This thread was given the lead and is on its way.
    Named(ThreadId),
    /// This thread.
    Caller(ThreadId),
}

/// What the driver does while it does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// It looks at the door within a [`NAP`].
    Naps,
    /// It looks when it is called.
    Sleeps,
}

/// How far the host is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// It takes items in.
    Open,
    /// It takes none, and finishes what it has.
    Closing,
    /// Its workers are gone.
    Ended(Refusal),
}

#[derive(Debug)]
pub(super) struct Door {
    pub(super) leader: Leader,
    /// How often the lead was taken.
    pub(super) terms: u64,
    pub(super) driver: Driver,
    pub(super) stage: Stage,
    /// How the pool stood at the end of the last turn.
    pub(super) counts: Counts,
    /// What it said at its end.
    pub(super) last: Option<Last>,
    /// Callers that want to lead, the longest waiting first.
    pub(super) queue: VecDeque<Arc<Seat>>,
    /// Callers that wait for room, or for the end.
    pub(super) watchers: Vec<Arc<Seat>>,
    /// Bounded by `room`, but for one cancel per call in flight and the few letters that end the host.
    pub(super) inbox: Vec<Letter>,
    /// The leader has taken the inbox and may be waiting for events.
    pub(super) may_sleep: bool,
    room: Room,
    items: u64,
    bytes: usize,
    parcels: usize,
}

/// Whom a sender or a leaving leader has to wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nobody.
    Nobody,
    /// The leader, out of its wait for events.
    Leader,
    /// The driver, out of its sleep.
    Driver,
}

impl Door {
    pub(super) fn new(room: Room) -> Self {
        Self {
            leader: Leader::None,
            terms: 0,
            driver: Driver::Naps,
            stage: Stage::Open,
            counts: Counts::default(),
            last: None,
            queue: VecDeque::new(),
            watchers: Vec::new(),
            inbox: Vec::new(),
            may_sleep: false,
            room,
            items: 0,
            bytes: 0,
            parcels: 0,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    pub(super) fn has_room(&self) -> bool {
        self.items < self.room.items && self.bytes < self.room.bytes && self.parcels < self.room.parcels
    }

    /// Whether this thread is in the middle of leading.
    pub(super) fn is_led_by(&self, thread: ThreadId) -> bool {
        matches!(self.leader, Leader::Driver(leader) | Leader::Caller(leader) if leader == thread)
    }

    /// Takes the items of `block` in, which are those of `part`; says who must be woken for them, if nobody comes by
    /// himself. Few items are copied behind those handed in last, if they may stand in one block, and the caller keeps
    /// the block's memory.
    pub(super) fn put_items(&mut self, part: Part, block: &mut Block) -> Next {
        self.count(block);
        match self.inbox.last_mut() {
            Some(Letter::Items { parts, block: last })
                if last.weight() + block.weight() <= JOIN_BYTES && last.is_like(block) =>
            {
                last.append(block);
                parts.push(part);
            }
            _ => self.inbox.push(Letter::Items { parts: vec![part], block: std::mem::take(block) }),
        }
        self.whom_to_wake()
    }

    /// Takes a letter in; says who must be woken for it, if nobody comes by himself.
    pub(super) fn put(&mut self, letter: Letter) -> Next {
        match &letter {
            Letter::Items { block, .. } => self.count(block),
            Letter::Close | Letter::Stop(_) if !self.has_ended() => self.stage = Stage::Closing,
            Letter::Cancel(_) | Letter::Close | Letter::Stop(_) | Letter::Resize(_) | Letter::Question(_) => {
            }
        }
        self.inbox.push(letter);
        self.whom_to_wake()
    }

    fn count(&mut self, block: &Block) {
        self.items += block.len() as u64;
        self.bytes += block.weight();
        self.parcels += block.parcels().count();
    }

    fn whom_to_wake(&mut self) -> Next {
        match self.leader {
            Leader::None => Next::Driver,
            Leader::Driver(_) | Leader::Named(_) | Leader::Caller(_) => self.rouse(),
        }
    }

    /// Whether the leader must be woken so that it looks at the door. Once it is, it need not be again.
    pub(super) fn rouse(&mut self) -> Next {
        if std::mem::take(&mut self.may_sleep) { Next::Leader } else { Next::Nobody }
    }

    /// Gives room back. True if there is room now for who waits for it.
    pub(super) fn free(&mut self, freed: Freed) -> bool {
        self.items = self.items.saturating_sub(freed.items);
        self.bytes = self.bytes.saturating_sub(freed.bytes);
        self.parcels = self.parcels.saturating_sub(freed.parcels);
        self.has_room()
    }

    /// Somebody leads from here on.
    pub(super) fn lead(&mut self, leader: Leader) {
        self.leader = leader;
        self.terms += 1;
    }

    /// The leader leaves: gives the lead to the longest waiter, whose seat is to be woken, or to nobody. One who is back at
    /// once ([`Intent::Wait`]) is not worth the driver's awakening, as long as it only naps.
    pub(super) fn leave(&mut self, intent: Intent) -> (Option<Arc<Seat>>, Next) {
        self.may_sleep = false;
        if let Some(seat) = self.queue.pop_front() {
            self.lead(Leader::Named(seat.thread()));
            return (Some(seat), Next::Nobody);
        }
        self.leader = Leader::None;
        let is_back = intent == Intent::Wait && matches!(self.stage, Stage::Open);
        let in_flight = self.items > 0 || !self.inbox.is_empty() || !matches!(self.stage, Stage::Open);
        let is_wanted = in_flight && !is_back || self.driver == Driver::Sleeps;
        (None, if is_wanted { Next::Driver } else { Next::Nobody })
    }

    /// Puts a caller into the queue, unless it is there.
    pub(super) fn enqueue(&mut self, seat: &Arc<Seat>) {
        if !self.queue.iter().any(|known| Arc::ptr_eq(known, seat)) {
            self.queue.push_back(Arc::clone(seat));
        }
    }

    /// Takes a caller off the queue.
    pub(super) fn dequeue(&mut self, seat: &Arc<Seat>) {
        self.queue.retain(|known| !Arc::ptr_eq(known, seat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        Door::new(Room { items: 10, bytes: 100, parcels: 2 })
    }

    fn items(count: usize) -> Letter {
        let mut block = Block::new();
        for _ in 0..count {
            block.push(b"");
        }
        let parts = vec![Part { call: Call::new(), index: 0, count: count as u64 }];
        Letter::Items { parts, block }
    }

    #[test]
    fn a_leader_that_may_sleep_is_woken_once_for_many_letters() {
        let mut door = door();
        door.lead(Leader::Driver(Seat::new().thread()));
        door.may_sleep = true;

        assert_eq!([door.put(items(1)), door.put(items(1))], [Next::Leader, Next::Nobody]);
    }

    #[test]
    fn single_items_in_quick_succession_are_one_letter_and_stay_whose_they_are() {
        let mut door = door();
        let mut put = |letter: Letter| match letter {
            Letter::Items { mut parts, mut block } => {
                door.put_items(parts.remove(0), &mut block);
            }
            other => {
                door.put(other);
            }
        };
        put(items(1));
        put(items(2));
        put(Letter::Close);
        put(items(1));

        let counts = |letter: &Letter| match letter {
            Letter::Items { parts, block } => {
                assert_eq!(block.ends, (1..=u32::try_from(block.len()).unwrap()).collect::<Vec<_>>());
                parts.iter().map(|part| part.count).collect()
            }
            _ => Vec::new(),
        };
        assert_eq!(door.inbox.iter().map(counts).collect::<Vec<_>>(), [vec![1, 2], vec![], vec![1]]);
    }

    #[test]
    fn the_lead_goes_to_the_longest_waiter() {
        let mut door = door();
        let (first, second) = (Seat::new(), Seat::new());
        door.lead(Leader::Driver(Seat::new().thread()));
        door.enqueue(&first);
        door.enqueue(&second);
        door.enqueue(&first);

        let (named, next) = door.leave(Intent::Leave);

        assert!(named.is_some_and(|seat| Arc::ptr_eq(&seat, &first)));
        assert_eq!((door.leader, next), (Leader::Named(first.thread()), Next::Nobody));
        assert_eq!(door.queue.len(), 1);
    }

    #[test]
    fn a_napping_driver_is_let_nap_only_while_nothing_is_in_flight() {
        let mut door = door();
        door.lead(Leader::Caller(Seat::new().thread()));
        assert_eq!(door.leave(Intent::Leave).1, Next::Nobody);

        door.lead(Leader::Caller(Seat::new().thread()));
        door.driver = Driver::Sleeps;
        assert_eq!(door.leave(Intent::Leave).1, Next::Driver);

        door.driver = Driver::Naps;
        assert_eq!(door.put(items(1)), Next::Driver);
        door.inbox.clear();
        door.lead(Leader::Caller(Seat::new().thread()));
        assert_eq!(door.leave(Intent::Leave).1, Next::Driver, "an item is in flight");
        assert_eq!(door.leave(Intent::Wait).1, Next::Nobody, "but he is back at once");
        door.driver = Driver::Sleeps;
        assert_eq!(door.leave(Intent::Wait).1, Next::Driver, "which a sleeper would not notice if he is not");
        door.driver = Driver::Naps;
        door.free(Freed { items: 1, bytes: 1, parcels: 0 });
        assert_eq!(door.leave(Intent::Leave).1, Next::Nobody);
    }

    #[test]
    fn room_is_for_items_and_for_bytes() {
        let mut door = door();
        door.put(items(10));
        assert!(!door.has_room());
        assert!(door.free(Freed { items: 1, bytes: 0, parcels: 0 }));
        door.put(Letter::Items {
            parts: vec![Part { call: Call::new(), index: 0, count: 1 }],
            block: Block { bytes: vec![0; 100], ends: vec![100], ..Block::default() },
        });
        door.free(Freed { items: 9, bytes: 0, parcels: 0 });
        assert!(!door.has_room(), "too many bytes");
    }
}
