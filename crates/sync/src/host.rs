//! The host's side: it makes the segment and the objects in it, admits processes, and recovers what dead ones held.
//!
//! It keeps privately which blocks and which objects there are, and looks only there for what is to be done; what it
//! reads in the segment decides about the one word it stands in. It waits for nothing.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use poolctl_shm::SharedError;
use poolctl_sys::futex;
use poolctl_types::WorkerId;

use crate::atomics::Ordering;
use crate::blocks::{Blocks, NoBlock};
use crate::entry::Entry;
use crate::ground::{Ground, LINE, Place};
use crate::joined::{Joined, RawJoinableQueue};
use crate::lines::Lines;
use crate::member::{HOSTS_ROW, Member, Ticket};
use crate::token::Token;
use crate::{barrier, joined, queue, semaphore, word};

/// How many objects are released at least before it is looked who uses them.
const LEAST_RELEASED: usize = 64;

/// How much a host has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Processes at the same time, the host included.
    pub processes: u32,
    /// Threads of each but the host that use objects at the same time.
    pub threads: u32,
    /// Threads of the host that do. With those of all other processes they are 65536 at most.
    pub host_threads: u32,
    /// Lines for objects: a lock, an event or a condition is one.
    pub lines: u32,
}

impl Default for Capacity {
    /// 2001 processes, 2048 threads of the host and 31 of each other, as many as tokens can say, and 262144 lines. It is
    /// 115 MiB of addresses, and memory where they are used.
    fn default() -> Self {
        Self { processes: 2001, threads: 31, host_threads: 2048, lines: 1 << 18 }
    }
}

/// Why an object, or the whole segment, could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// No participants, no threads, or more of them than tokens can say.
    #[error("{} processes of {} threads, {} of the host, are not from 1 to 65536",
        .capacity.processes, .capacity.threads, .capacity.host_threads)]
    Capacity {
        /// What was asked for.
        capacity: Capacity,
    },
    /// There is no memory for the segment.
    #[error("failed to make the segment of shared objects")]
    Segment {
        /// Why.
        source: SharedError,
    },
    /// The segment is full of objects.
    #[error("no room for an object of {lines} lines: {free} of {all} are free")]
    Full {
        /// How many it needs, one behind another.
        lines: usize,
        /// How many are free.
        free: usize,
        /// How many there are.
        all: usize,
    },
}

/// What an object is, as the host made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lock,
    /// An event, or a condition: nobody owns anything of it.
    Ownerless,
    Semaphore,
    Barrier,
    Queue,
}

/// What a dead process left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Locks it held; the next owner of each is told.
    pub locks: Vec<Place>,
    /// Permits of semaphores, free again.
    pub permits: usize,
    /// Barriers it was a party of, broken now.
    pub barriers: Vec<Place>,
    /// Queues it was putting into, or getting from; the next to do so goes on from the last record.
    pub queues: Vec<Place>,
}

/// A host of shared objects.
#[derive(Debug)]
pub struct Host {
    ground: Ground,
    blocks: Blocks,
    objects: BTreeMap<Place, Kind>,
    /// Joinable queues whose makers use them still.
    joined: BTreeMap<Place, Weak<Joined>>,
    /// Objects that the host has no use for, and others may.
    released: Vec<Place>,
    /// How many those may become before it is looked which of them others use still.
    most_released: usize,
    lines: Lines,
    member: Member,
}

impl Host {
    /// The host that is the process life `worker`, with its segment.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn new(worker: WorkerId, capacity: Capacity) -> Result<Self, CreateError> {
        Blocks::new(capacity).and_then(|blocks| Self::with_blocks(worker, blocks).map_err(|(error, _)| error))
    }

    /// The same, where processes may have their blocks already.
    ///
    /// # Errors
    /// [`CreateError::Segment`], and the blocks.
    pub fn with_blocks(worker: WorkerId, blocks: Blocks) -> Result<Self, (CreateError, Blocks)> {
        let ticket = blocks.of_host(worker);
        let ground = match Ground::new(ticket.entries as usize, ticket.lines as usize, ticket.rows as usize) {
            Ok(ground) => ground,
            Err(source) => return Err((CreateError::Segment { source }, blocks)),
        };
        ground.set_given(blocks.given());
        let member = Member::new(ground.clone(), ticket);
        Ok(Self {
            ground,
            blocks,
            objects: BTreeMap::new(),
            joined: BTreeMap::new(),
            released: Vec::new(),
            most_released: LEAST_RELEASED,
            lines: Lines::new(ticket.lines),
            member,
        })
    }

    /// The segment, for members to attach.
    #[must_use]
    pub fn file(&self) -> &Arc<OwnedFd> {
        self.ground.file()
    }

    /// The host's own membership.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Gives a block to a process life. It must have ended, and [`Host::recover`] have been called, before another gets
    /// the block.
    ///
    /// # Errors
    /// [`NoBlock`].
    pub fn admit(&mut self, worker: WorkerId) -> Result<Ticket, NoBlock> {
        let ticket = self.blocks.take(worker)?;
        self.ground.set_given(self.blocks.given());
        Ok(ticket)
    }

    /// A lock that nobody holds, for [`crate::RawLock`] or [`crate::RawRLock`].
    ///
    /// # Errors
    /// [`CreateError::Full`].
    pub fn create_lock(&mut self) -> Result<Place, CreateError> {
        self.create(Kind::Lock, 0)
    }

    /// A semaphore of which `value` permits are free, of `most` there can ever be.
    ///
    /// # Errors
    /// [`CreateError::Full`].
    pub fn create_semaphore(&mut self, value: u32, most: u32) -> Result<Place, CreateError> {
        let place = self.create(Kind::Semaphore, most.max(value))?;
        self.ground.object(place).into_iter().for_each(|words| semaphore::prepare(words, value));
        Ok(place)
    }

    /// An event that is not set.
    ///
    /// # Errors
    /// [`CreateError::Full`].
    pub fn create_event(&mut self) -> Result<Place, CreateError> {
        self.create(Kind::Ownerless, 0)
    }

    /// A condition.
    ///
    /// # Errors
    /// [`CreateError::Full`].
    pub fn create_condition(&mut self) -> Result<Place, CreateError> {
        self.create(Kind::Ownerless, 0)
    }

    /// A barrier of `parties` parties, one at least.
    ///
    /// # Errors
    /// [`CreateError::Full`].
    pub fn create_barrier(&mut self, parties: u32) -> Result<Place, CreateError> {
        self.create(Kind::Barrier, parties.max(1))
    }

    /// The locks and bells of a queue; its records have a segment of their own, see [`crate::RawQueue::new`].
    ///
    /// # Errors
    /// [`CreateError::Full`].
    pub fn create_queue(&mut self) -> Result<Place, CreateError> {
        self.create(Kind::Queue, (queue::LINES - 1) * 16)
    }

    /// The locks and bells of a joinable queue, see [`crate::RawQueue::with_hands`].
    ///
    /// # Errors
    /// [`CreateError::Full`].
    pub fn create_joinable_queue(&mut self) -> Result<Place, CreateError> {
        self.create(Kind::Queue, (joined::LINES - 1) * 16)
    }

    /// How many hands a joinable queue is to have: one for each process there can be.
    #[must_use]
    pub fn hands(&self) -> u32 {
        self.blocks.rows()
    }

    /// From now on says for the dead what they had in hand, as long as somebody here has the queue.
    pub fn watch(&mut self, queue: &RawJoinableQueue) {
        self.joined.retain(|_, joined| joined.strong_count() > 0);
        self.joined.insert(queue.queue().place(), Arc::downgrade(queue.joined()));
    }

    /// Forgets an object of which the host has no handle and sends none any more, as soon as no process holds it
    /// ([`Member::set_held`]); its words may be another's then.
    pub fn release(&mut self, place: Place) {
        self.released.push(place);
        if self.released.len() >= self.most_released {
            self.sweep();
        }
    }

    /// Forgets what was released and nobody holds.
    fn sweep(&mut self) {
        let is_held =
            |place: &Place| self.blocks.given_rows().any(|row| self.ground.is_held(row, place.line));
        let is_pinned = |place: &Place| self.ground.is_held(HOSTS_ROW, place.line);
        let (stays, goes): (Vec<Place>, Vec<Place>) = self.released.iter().partition(|place| is_held(place));
        // Behind that: who sends a handle on and drops its own pins the object first.
        let goes: Vec<Place> = goes.into_iter().filter(|place| !is_pinned(place)).collect();
        self.most_released = (2 * stays.len()).max(LEAST_RELEASED);
        self.released = stays;
        goes.into_iter().for_each(|place| self.remove(place));
    }

    /// Forgets an object that nobody uses any more; its words may be another's soon.
    pub fn remove(&mut self, place: Place) {
        self.joined.remove(&place);
        if self.objects.remove(&place).is_some() {
            self.lines.give_back(place.line, place.lines());
        }
    }

    fn create(&mut self, kind: Kind, extra: u32) -> Result<Place, CreateError> {
        self.place(kind, extra).or_else(|_| {
            self.sweep();
            self.place(kind, extra)
        })
    }

    fn place(&mut self, kind: Kind, extra: u32) -> Result<Place, CreateError> {
        let lines = Place { line: 0, extra }.lines();
        let line = self.lines.take(lines);
        let lines = lines as usize;
        let full = || CreateError::Full { lines, free: self.lines.free(), all: self.ground.lines() };
        let place = Place { line: line.ok_or_else(full)?, extra };
        let words = self.ground.object(place).expect("an object lies in the segment");
        words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.objects.insert(place, kind);
        Ok(place)
    }

    /// After a process life has ended, which its pidfd says, and nobody of its group writes any more: marks what it
    /// held, wakes every waiter of every object, and takes back its block. Answers at once, whatever stands in the
    /// segment.
    pub fn recover(&mut self, ticket: Ticket) -> Recovered {
        let recovered = self.mark(ticket);
        self.wake_all();
        self.blocks.give_back(ticket);
        self.sweep();
        recovered
    }

    /// The first half of [`Host::recover`]: marks what the process held, and wakes nobody. Without the second half
    /// those sleep on whom it should have woken, or who slept behind it.
    pub fn mark(&mut self, ticket: Ticket) -> Recovered {
        let block = ticket.first..ticket.first.saturating_add(ticket.threads);
        let is_dead = |owner: Token| block.contains(&owner.index());
        let mut recovered = Recovered::default();
        for (&place, kind) in &self.objects {
            let Some(words) = self.ground.object(place) else { continue };
            if self.ground.is_held(ticket.row(), place.line) {
                self.ground.set_held(ticket.row(), place.line, false);
            }
            match kind {
                Kind::Lock if word::mark_dead(&words[0], is_dead) => recovered.locks.push(place),
                Kind::Barrier if barrier::recover(words, is_dead) => recovered.barriers.push(place),
                Kind::Queue => {
                    // Before the lock is free: others go on with the queue then.
                    if let Some(joined) = self.joined.get(&place).and_then(Weak::upgrade) {
                        joined.bury(ticket, word::is_owned(&words[LINE], is_dead));
                    }
                    let [put, get] = [0, LINE].map(|lock| word::mark_dead(&words[lock], is_dead));
                    if put || get {
                        recovered.queues.push(place);
                    }
                }
                Kind::Semaphore => recovered.permits += semaphore::recover(words, is_dead),
                Kind::Lock | Kind::Barrier | Kind::Ownerless => {}
            }
        }
        for index in block {
            if let Some(entry) = self.ground.entry(index) {
                Entry(entry).clear();
            }
        }
        recovered
    }

    /// The second half of [`Host::recover`]: wakes every waiter on every word, also of free ones. For them it is a
    /// wake-up for nothing at worst.
    pub fn wake_all(&self) {
        for (place, kind) in &self.objects {
            let words = if *kind == Kind::Queue { place.lines() } else { 1 };
            for word in (place.line..place.line + words).filter_map(|line| self.ground.word(line)) {
                futex::wake(word, u32::MAX);
            }
        }
    }
}
