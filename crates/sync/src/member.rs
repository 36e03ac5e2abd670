//! A process's part in a host's segment: its block of the table, and who each of its threads is in it.
//!
//! A thread takes an entry of the block at its first use of any object, and gives it back when it ends; entries are
//! used again oldest first. What a thread still holds when it ends is treated as a dead process's: it can never be
//! released by its owner.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use poolctl_shm::SharedError;
use poolctl_sys::fork_mark::ForkMark;
use poolctl_sys::{futex, process};
use poolctl_types::WorkerId;

use crate::entry::Entry;
use crate::ground::{Ground, Place};
use crate::held;
use crate::token::{Token, next_generation};
use crate::word;

/// What a process needs besides the segment to become a member. Plain numbers, to be sent along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// How many entries the whole table has.
    pub entries: u32,
    /// How many lines of objects follow.
    pub lines: u32,
    /// How many processes there can be: as many rows follow.
    pub rows: u32,
    /// The first entry of the process's block.
    pub first: u32,
    /// How many entries its block has: as many threads may use objects at the same time.
    pub threads: u32,
    /// Who the process is.
    pub worker: WorkerId,
}

impl Ticket {
    /// Which row of bits is the process's, and which hand of a joinable queue.
    pub(crate) fn row(&self) -> usize {
        if self.threads == 0 { usize::MAX } else { self.first.div_ceil(self.threads) as usize }
    }
}

/// Why a process could not become a member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The ticket's numbers contradict each other.
    #[error("a block of {} entries from {} in a table of {}", .ticket.threads, .ticket.first, .ticket.entries)]
    Ticket {
        /// What it says.
        ticket: Ticket,
    },
    /// The segment could not be mapped, or is shorter than the ticket says.
    #[error("failed to attach the segment of shared objects")]
    Segment {
        /// Why.
        source: SharedError,
    },
}

/// Why a thread has no entry in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoEntry {
    /// This process was forked from the one that attached: it is nobody the host knows.
    #[error("this process is a forked copy of the one that has the object")]
    Forked,
    /// As many threads of this process use objects already as its block has entries.
    #[error(
        "{threads} threads of this process use shared objects already, as many as can; let one of them end, or use them \
         in fewer"
    )]
    Full {
        /// How many there are.
        threads: u32,
    },
    /// This thread is at its very end.
    #[error("the thread is ending")]
    Ending,
}

/// A participant as the table shows it. For display: every process that has the segment can write there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Participant {
    /// The process life.
    pub worker: WorkerId,
    /// Its pid.
    pub pid: u32,
    /// The thread's id in the kernel.
    pub tid: u32,
}

/// A process's membership. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Member(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Which membership of this process.
    id: u64,
    ground: Ground,
    ticket: Ticket,
    /// Entries nobody has, oldest first.
    free: Mutex<VecDeque<u16>>,
    here: ForkMark,
}

/// An entry that this thread has; given back when it ends.
#[derive(Debug)]
struct Taken {
    inner: Weak<Inner>,
    id: u64,
    token: Token,
}

/// The row of the host, whose handles it knows without: what can never go.
pub(crate) const HOSTS_ROW: usize = 0;

thread_local! {
    /// The membership that was used last, and who this thread is in it.
    static LAST: Cell<Option<(u64, Token)>> = const { Cell::new(None) };
    static TAKEN: RefCell<Vec<Taken>> = const { RefCell::new(Vec::new()) };
}

impl Member {
    /// Becomes a member with the segment of a host ([`crate::Host::file`]) and the ticket it gave to this process.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(file: OwnedFd, ticket: Ticket) -> Result<Self, AttachError> {
        let end = ticket.first.checked_add(ticket.threads);
        if end.is_none_or(|end| end > ticket.entries) || ticket.entries > 1 << 16 {
            return Err(AttachError::Ticket { ticket });
        }
        let Ticket { entries, lines, rows, .. } = ticket;
        let ground = Ground::attach(file, entries as usize, lines as usize, rows as usize)
            .map_err(|source| AttachError::Segment { source })?;
        Ok(Self::new(ground, ticket))
    }

    /// The block must lie in the table.
    pub(crate) fn new(ground: Ground, ticket: Ticket) -> Self {
        static MEMBERS: AtomicU64 = AtomicU64::new(0);
        let id = MEMBERS.fetch_add(1, Ordering::Relaxed);
        let entries = ticket.first..ticket.first + ticket.threads;
        let free = entries.map(|index| u16::try_from(index).expect("a table has 65536 entries at most"));
        let free = Mutex::new(free.collect());
        Self(Arc::new(Inner { id, ground, ticket, free, here: ForkMark::new() }))
    }

    /// The process life that this is.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        self.0.ticket.worker
    }

    /// Says that this process has a handle to an object, or has none any more. Until then the object stays.
    pub fn set_held(&self, place: Place, is_held: bool) {
        self.0.ground.set_held(self.0.ticket.row(), place.line, is_held);
    }

    /// Says that handles to an object are on their way to where nobody learns of their arrival: it stays as long as the
    /// host does.
    pub fn pin(&self, place: Place) {
        self.0.ground.set_held(HOSTS_ROW, place.line, true);
    }

    /// The segment, for others to attach.
    #[must_use]
    pub fn file(&self) -> &Arc<OwnedFd> {
        self.0.ground.file()
    }

    /// Whether this is the process that became the member, and no forked copy of it.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.0.here.is_here()
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.0.ticket
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.0.ground
    }

    /// Who this thread is.
    #[inline]
    pub(crate) fn me(&self) -> Result<Token, NoEntry> {
        if !self.0.here.is_here() {
            return Err(NoEntry::Forked);
        }
        match LAST.get() {
            Some((id, token)) if id == self.0.id => Ok(token),
            _ => self.me_first(),
        }
    }

    #[cold]
    fn me_first(&self) -> Result<Token, NoEntry> {
        let token = TAKEN.try_with(|taken| {
            let mut taken = taken.borrow_mut();
            if let Some(known) = taken.iter().find(|taken| taken.id == self.0.id) {
                return Ok(known.token);
            }
            taken.retain(|taken| taken.inner.strong_count() > 0);
            let token = self.0.take_entry()?;
            taken.push(Taken { inner: Arc::downgrade(&self.0), id: self.0.id, token });
            Ok(token)
        });
        let token = token.map_err(|_| NoEntry::Ending)??;
        LAST.set(Some((self.0.id, token)));
        Ok(token)
    }

    /// The entry of this thread, which is `me`.
    pub(crate) fn entry(&self, me: Token) -> Entry<'_> {
        Entry(self.0.ground.entry(me.index()).expect("a thread's entry is in the table"))
    }

    /// The entry of a participant, if it still has it.
    pub(crate) fn entry_of(&self, token: Token) -> Option<Entry<'_>> {
        let entry = Entry(self.0.ground.entry(token.index())?);
        (entry.generation() == token.generation() && entry.is_taken()).then_some(entry)
    }

    /// Who has this token, as far as the table knows.
    pub(crate) fn participant(&self, token: Token) -> Option<Participant> {
        let entry = self.entry_of(token)?;
        Some(Participant { worker: entry.worker(), pid: entry.pid(), tid: entry.tid() })
    }

    /// Everybody who says in the table that they wait for the object.
    pub(crate) fn waiters(&self, place: Place) -> Vec<Participant> {
        use crate::entry::Awaited::{Lock, Other};
        let all = (0..self.0.ground.given()).map_while(|index| self.0.ground.entry(index)).map(Entry);
        let waiting = all.filter(|entry| {
            entry.is_taken()
                && matches!(entry.awaited(), Some(Lock(line) | Other(line)) if line == place.line)
        });
        waiting
            .map(|entry| Participant { worker: entry.worker(), pid: entry.pid(), tid: entry.tid() })
            .collect()
    }
}

impl Inner {
    fn free(&self) -> MutexGuard<'_, VecDeque<u16>> {
        // A queue is as it was before or after a push: a panic in between does not matter.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_entry(&self) -> Result<Token, NoEntry> {
        let index = self.free().pop_front().ok_or(NoEntry::Full { threads: self.ticket.threads })?;
        let entry = Entry(self.ground.entry(u32::from(index)).expect("a block is in the table"));
        let generation = next_generation(entry.generation());
        entry.take(generation, self.ticket.worker, std::process::id(), process::thread_id());
        Ok(Token::new(index, generation))
    }

    /// The thread ends: what it holds it will never give back.
    fn give_back(&self, token: Token) {
        let is_it = |owner: Token| owner == token;
        for note in held::notes(self.id) {
            let Some(word) = self.ground.word(note.line) else { continue };
            if word::mark_dead(word, is_it) {
                futex::wake(word, u32::MAX);
            }
        }
        held::forget(self.id);
        Entry(self.ground.entry(token.index()).expect("a thread's entry is in the table")).clear();
        let index = u16::try_from(token.index()).expect("a token has an index of 16 bits");
        self.free().push_back(index);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // In a forked copy the table is its parent's.
        if let Some(inner) = self.inner.upgrade()
            && inner.here.is_here()
        {
            inner.give_back(self.token);
        }
    }
}

/// What stands in a word of shared memory.
pub(crate) fn load_long(words: &[AtomicU32]) -> u64 {
    u64::from(words[0].load(Ordering::Relaxed)) | u64::from(words[1].load(Ordering::Relaxed)) << 32
}
