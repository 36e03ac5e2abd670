//! A bounded queue of byte strings for any number of producers and consumers: a ring behind two locks that come back.
//!
//! Producers take turns by one lock, consumers by another. Positions count words of 8 bytes and only grow; a record is
//! a word with its length in bytes, then its bytes. How many records lie before a position is kept beside it (`tally.rs`).
//!
//! # Protocol
//! 1. A producer takes the put lock, writes the record behind the end, stores the new end (that commits it), gives the
//!    lock back and rings. When `put` has returned the record is in the queue.
//! 2. A consumer takes the get lock, copies the record at the beginning, stores the new beginning (that takes it), gives
//!    the lock back and rings.
//!
//! Nobody sleeps with a lock: who finds no room, or no record, listens, gives the lock back and sleeps then.
//!
//! # If a process dies
//! A producer before its store has put nothing, and the next one writes over it; after it, the record is there. A
//! consumer before its store has taken nothing, and the next one gets the record; after it, it was delivered. Nothing in
//! between, so the next owner of either lock may call it consistent at once. Rings that are missed are made up for by the
//! host's waking all.

use std::os::fd::OwnedFd;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use poolctl_shm::{SharedCells, SharedError};

use crate::bell;
use crate::ground::{LINE, Place};
use crate::hand;
use crate::lock::{Detection, LockError, RawLock};
use crate::member::{Member, NoEntry, Participant, Ticket};
use crate::nap::{Nap, TimedOut};
use crate::tally::{self, Tally};
use crate::word::Acquired;

/// Lines of a queue: put lock, get lock, the bell of those who wait for records, that of those who wait for room.
pub(crate) const LINES: u32 = 4;
/// The words of the queue's own segment before its records. Each is written under the lock it is beside.
const END: usize = 0;
/// The beginning as producers last saw it.
const SEEN_BEGINNING: usize = 1;
/// How many were put before the end.
const PUTS: usize = 2;
const BEGINNING: usize = 16;
/// The end as consumers last saw it.
const SEEN_END: usize = 17;
/// How many were got before the beginning.
const GETS: usize = 18;
/// From 32 on are those of a joinable queue.
const RECORDS: usize = 48;
/// How long is waited for the turns of others at least: far longer than they take, unless one of them stands still.
const TURN: Duration = Duration::from_secs(1);
/// How often to look again before sleeping.
const SPINS: u32 = 300;

/// Why a record was not put or not got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The time was up: the queue was full, or empty.
    #[error("the time was up")]
    TimedOut,
    /// It would not fit into the empty queue.
    #[error("a record of {bytes} bytes is longer than the {most} that fit")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// The longest that fits.
        most: usize,
    },
    /// What stands in the queue is nothing that a producer writes.
    #[error("the queue is damaged")]
    Damaged,
    /// A lock of the queue could not be taken.
    #[error("failed to lock a queue")]
    Lock {
        /// Why.
        source: LockError,
    },
    /// This thread cannot take part.
    #[error("failed to use a queue")]
    NoEntry {
        /// Why.
        #[from]
        source: NoEntry,
    },
}

impl From<LockError> for QueueError {
    fn from(source: LockError) -> Self {
        if matches!(source, LockError::TimedOut) { Self::TimedOut } else { Self::Lock { source } }
    }
}

/// A queue. Clones are the same one.
#[derive(Debug, Clone)]
pub struct RawQueue {
    member: Member,
    place: Place,
    put: RawLock,
    get: RawLock,
    ring: SharedCells<AtomicU64>,
    /// How many words of records there is room for: a power of two.
    words: usize,
    /// How many hands follow them, and which cell is that of this process: none, unless the queue is joinable.
    hands: u32,
    hand: Option<usize>,
}

impl RawQueue {
    /// A queue for `bytes` bytes of records (rounded up to a power of two), whose memory is taken here, with the locks
    /// at `place`, which [`crate::Host::create_queue`] made in the segment of `member`. `None` if they are not there.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn new(member: &Member, place: Place, bytes: usize) -> Result<Option<Self>, SharedError> {
        Self::with_hands(member, place, bytes, 0)
    }

    /// The same queue in another process, with its file and the `bytes` it was made for.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn attach(
        member: &Member,
        place: Place,
        file: OwnedFd,
        bytes: usize,
    ) -> Result<Option<Self>, SharedError> {
        Self::attach_with_hands(member, place, file, bytes, 0)
    }

    /// A queue for [`crate::RawJoinableQueue`], at a place of [`crate::Host::create_joinable_queue`], with `hands` of
    /// [`crate::Host::hands`]; else as [`RawQueue::new`].
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn with_hands(
        member: &Member,
        place: Place,
        bytes: usize,
        hands: u32,
    ) -> Result<Option<Self>, SharedError> {
        let words = words_for(bytes);
        let ring = SharedCells::new(RECORDS + words + hands as usize)?;
        Ok(Self::with_ring(member, place, ring, words, hands))
    }

    /// The same queue in another process, with its file and the numbers it was made with.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn attach_with_hands(
        member: &Member,
        place: Place,
        file: OwnedFd,
        bytes: usize,
        hands: u32,
    ) -> Result<Option<Self>, SharedError> {
        let words = words_for(bytes);
        let ring = SharedCells::attach(file, RECORDS + words + hands as usize)?;
        Ok(Self::with_ring(member, place, ring, words, hands))
    }

    fn with_ring(
        member: &Member,
        place: Place,
        ring: SharedCells<AtomicU64>,
        words: usize,
        hands: u32,
    ) -> Option<Self> {
        member.ground().object(place)?;
        let lock = |line| {
            let place = Place { line: place.line + line, extra: 0 };
            Some(RawLock::at(member, place)?.with_detection(Detection::Off))
        };
        let (put, get) = (lock(0)?, lock(1)?);
        let hand = hand_of(member.ticket(), hands).map(|hand| RECORDS + words + hand);
        Some(Self { member: member.clone(), place, put, get, ring, words, hands, hand })
    }

    /// The file of the records, for [`RawQueue::attach`].
    #[must_use]
    pub fn file(&self) -> &Arc<OwnedFd> {
        self.ring.file()
    }

    /// How many hands it was made with: none, unless it is joinable.
    #[must_use]
    pub fn hand_count(&self) -> u32 {
        self.hands
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The longest record that fits.
    #[must_use]
    pub fn longest(&self) -> usize {
        (self.words - 1) * 8
    }

    pub(crate) fn cells(&self) -> &[AtomicU64] {
        self.ring.cells()
    }

    /// The hands of all processes, if it is joinable.
    pub(crate) fn hands(&self) -> &[AtomicU64] {
        &self.cells()[RECORDS + self.words..]
    }

    /// That of a process.
    pub(crate) fn hand_of(&self, ticket: Ticket) -> Option<&AtomicU64> {
        self.hands().get(hand_of(ticket, self.hands)?)
    }

    /// That of this process.
    #[inline]
    pub(crate) fn hand(&self) -> Option<&AtomicU64> {
        self.hand.map(|hand| &self.cells()[hand])
    }

    pub(crate) fn beginning(&self) -> u64 {
        self.cells()[BEGINNING].load(Ordering::Acquire)
    }

    /// How many words of records there is room for.
    pub(crate) fn room(&self) -> u64 {
        self.words as u64
    }

    pub(crate) fn bell(&self, line: usize) -> &AtomicU32 {
        let words = self.member.ground().object(self.place).expect("a queue lies in its segment");
        &words[line * LINE]
    }

    /// Appends a record, if need be after waiting for room for `limit` (`None` is for ever). When this returns, it is in
    /// the queue, whatever becomes of this process.
    ///
    /// # Errors
    /// [`QueueError`]; nothing was put then.
    #[track_caller]
    pub fn put(&self, record: &[u8], limit: Option<Duration>) -> Result<(), QueueError> {
        if record.len() > self.longest() {
            return Err(QueueError::TooLong { bytes: record.len(), most: self.longest() });
        }
        let not_full = self.bell(3);
        self.turn(
            &self.put,
            not_full,
            limit,
            Location::caller(),
            || self.put_now(record),
            || self.has_room(8 + record.len()),
        )?;
        bell::ring(self.bell(2));
        Ok(())
    }

    /// Takes the oldest record, appended to `into`, if need be after waiting for one for `limit` (`None` is for ever).
    ///
    /// # Errors
    /// [`QueueError`]; nothing was taken then.
    #[track_caller]
    pub fn get(&self, into: &mut Vec<u8>, limit: Option<Duration>) -> Result<(), QueueError> {
        let not_empty = self.bell(2);
        self.turn(
            &self.get,
            not_empty,
            limit,
            Location::caller(),
            || self.get_now(into),
            || !self.is_empty(),
        )?;
        bell::ring(self.bell(3));
        Ok(())
    }

    /// Does something under a lock, as soon as it can be done; in between it sleeps on the bell.
    fn turn(
        &self,
        lock: &RawLock,
        bell: &AtomicU32,
        limit: Option<Duration>,
        at: &'static Location<'static>,
        mut act: impl FnMut() -> Result<bool, QueueError>,
        is_worth_it: impl Fn() -> bool,
    ) -> Result<(), QueueError> {
        let mut nap: Option<Nap<'_>> = None;
        loop {
            // Who has no time has as much as a turn takes: others who take theirs do not make the queue full, or empty.
            let left = nap.as_ref().map_or(limit, Nap::left).map(|left| left.max(TURN));
            // What a dead owner had not committed was never there.
            if lock.acquire(left)? == Acquired::OwnerDied && lock.consistent().is_err() {
                return Err(QueueError::Damaged);
            }
            let mut done = act();
            let mut said = None;
            if matches!(done, Ok(false)) && nap.is_some() {
                said = Some(bell::listen(bell));
                done = act();
            }
            if lock.release().is_err() {
                return Err(QueueError::Damaged);
            }
            if done? {
                return Ok(());
            }
            let me = self.member.me()?;
            let nap = nap.get_or_insert_with(|| Nap::new(&self.member, me, self.place.line, limit, at));
            match said {
                Some(said) => nap.sleep(bell, said).map_err(|TimedOut| QueueError::TimedOut)?,
                None => {
                    let mut spins = (0..SPINS).take_while(|_| !is_worth_it());
                    spins.by_ref().for_each(|_| std::hint::spin_loop());
                }
            }
        }
    }

    /// Under the put lock.
    fn put_now(&self, record: &[u8]) -> Result<bool, QueueError> {
        let cells = self.ring.cells();
        let end = cells[END].load(Ordering::Relaxed);
        let needed = 1 + record.len().div_ceil(8) as u64;
        let fits = |beginning: u64| end.wrapping_sub(beginning).saturating_add(needed) <= self.words as u64;
        if !fits(cells[SEEN_BEGINNING].load(Ordering::Relaxed)) {
            // Acquire: consumers have read what is written over.
            let beginning = cells[BEGINNING].load(Ordering::Acquire);
            cells[SEEN_BEGINNING].store(beginning, Ordering::Relaxed);
            if !fits(beginning) {
                return Ok(false);
            }
        }
        if !self.tally(PUTS, END).count_up(end, end + needed) {
            return Err(QueueError::Damaged);
        }
        self.record(end).store(record.len() as u64, Ordering::Relaxed);
        for (at, bytes) in (end + 1..).zip(record.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.record(at).store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        // Release: the record is there before the end says so.
        cells[END].store(end + needed, Ordering::Release);
        Ok(true)
    }

    /// Under the get lock.
    fn get_now(&self, into: &mut Vec<u8>) -> Result<bool, QueueError> {
        let cells = self.ring.cells();
        let beginning = cells[BEGINNING].load(Ordering::Relaxed);
        let mut end = cells[SEEN_END].load(Ordering::Relaxed);
        if end == beginning {
            // Acquire: what it says is there can be read.
            end = cells[END].load(Ordering::Acquire);
            cells[SEEN_END].store(end, Ordering::Relaxed);
        }
        let waiting = end.wrapping_sub(beginning);
        if waiting == 0 {
            return Ok(false);
        }
        let bytes = self.record(beginning).load(Ordering::Relaxed);
        let words = bytes.div_ceil(8).saturating_add(1);
        if waiting > self.words as u64 || words > waiting {
            return Err(QueueError::Damaged);
        }
        let mut left = usize::try_from(bytes).map_err(|_| QueueError::Damaged)?;
        for at in beginning + 1..beginning + words {
            let word = self.record(at).load(Ordering::Relaxed).to_le_bytes();
            into.extend_from_slice(&word[..left.min(8)]);
            left = left.saturating_sub(8);
        }
        let next = beginning + words;
        if !self.tally(GETS, BEGINNING).count_up(beginning, next) {
            return Err(QueueError::Damaged);
        }
        if let Some(hand) = self.hand() {
            hand::take(hand, next);
        }
        // Release: it has been read before it is written over.
        cells[BEGINNING].store(next, Ordering::Release);
        Ok(true)
    }

    #[inline]
    fn tally(&self, counts: usize, position: usize) -> Tally<'_> {
        let cells = self.ring.cells();
        Tally::new(&cells[counts..][..tally::WORDS], &cells[position])
    }

    #[inline]
    fn record(&self, at: u64) -> &AtomicU64 {
        #[expect(clippy::cast_possible_truncation, reason = "the rest is below a usize")]
        let at = (at & (self.words as u64 - 1)) as usize;
        &self.ring.cells()[RECORDS + at]
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes().saturating_add(bytes) <= self.words * 8
    }

    /// Everybody who waits at this moment, for a record, for room or for the end of all work.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.member.waiters(self.place)
    }

    /// How many bytes are taken at this moment: each record with 8 bytes for its length, rounded up to 8.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let cells = self.ring.cells();
        let words = cells[END].load(Ordering::Relaxed).wrapping_sub(cells[BEGINNING].load(Ordering::Relaxed));
        usize::try_from(words).unwrap_or(usize::MAX).saturating_mul(8)
    }

    /// How many records there are at this moment; a guess from their bytes while others put and get all the time.
    #[must_use]
    pub fn len(&self) -> usize {
        let count = self.count().unwrap_or_else(|| self.bytes() as u64 / 16);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// `None` while others put and get all the time.
    pub(crate) fn count(&self) -> Option<u64> {
        // The gets first: what is put and got meanwhile is counted, rather than taken off.
        let gets = self.tally(GETS, BEGINNING).read()?;
        Some(self.tally(PUTS, END).read()?.saturating_sub(gets))
    }

    /// Whether there is no record at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let cells = self.ring.cells();
        cells[END].load(Ordering::Relaxed) == cells[BEGINNING].load(Ordering::Relaxed)
    }
}

/// Which hand is that of a process.
fn hand_of(ticket: Ticket, hands: u32) -> Option<usize> {
    Some(ticket.row()).filter(|hand| *hand < hands as usize)
}

fn words_for(bytes: usize) -> usize {
    bytes.div_ceil(8).max(16).next_power_of_two()
}
