//! Work that the threads of a pool have not begun, and what its threads do.
//!
//! The queue is bounded by the pool's window; only the pool's own threads go beyond it, since they would otherwise wait
//! for room that nobody but they can make. That excess is bounded by what running tasks hand in.
//!
//! Nothing of the user's runs, and nothing of his is dropped, while the queue is locked.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::task_error::TaskError;

/// Something that a thread does without being disturbed.
pub(super) type Unit = Box<dyn FnOnce() + Send>;

/// A unit, and whether there are more.
pub(super) struct Claim {
    pub(super) unit: Unit,
    pub(super) more: bool,
}

/// One or more units that were handed in together.
pub(super) trait Work: Send + Sync {
    /// Takes the next unit that nobody has begun.
    fn claim(self: Arc<Self>) -> Option<Claim>;

    /// Ends, as cancelled, every unit that nobody has begun.
    fn cancel(&self);

    /// Whether [`Work::claim`] would give nothing.
    fn is_spent(&self) -> bool;
}

/// The queue of one pool.
pub(super) struct Queue {
    /// The process that has the threads.
    pid: u32,
    window: usize,
    state: Mutex<State>,
    /// For the threads: there is work, or they shall end.
    work: Condvar,
    /// For those that hand in: there is room.
    room: Condvar,
}

struct State {
    works: VecDeque<Arc<dyn Work>>,
    /// How many threads there shall be.
    wanted: u32,
    /// The slots of those there are.
    slots: BTreeSet<u32>,
    is_closed: bool,
}

thread_local! {
    /// The address of the queue that this thread serves; 0: none.
    static SERVES: Cell<usize> = const { Cell::new(0) };
    /// Its place in that pool.
    static SLOT: Cell<u32> = const { Cell::new(0) };
}

impl Queue {
    pub(super) fn new(window: usize) -> Self {
        let state = State { works: VecDeque::new(), wanted: 0, slots: BTreeSet::new(), is_closed: false };
        Self {
            pid: std::process::id(),
            window: window.max(1),
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
        }
    }

    /// How many units may be on their way.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Hands work in; blocks while the window is full.
    pub(super) fn push(&self, work: Arc<dyn Work>, units: usize) -> Result<(), TaskError> {
        self.check_fork()?;
        let is_ours = self.is_served_here();
        let mut spent = VecDeque::new();
        let mut state = self.lock();
        while !state.is_closed && !is_ours && state.works.len() >= self.window {
            let (kept, done): (VecDeque<_>, VecDeque<_>) =
                state.works.drain(..).partition(|work| !work.is_spent());
            let is_room = !done.is_empty();
            state.works = kept;
            spent.extend(done);
            if !is_room {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if state.is_closed {
            return Err(TaskError::PoolClosed);
        }
        state.works.push_back(work);
        drop(state);
        drop(spent);
        if units == 1 {
            self.work.notify_one()
        } else {
            self.work.notify_all()
        }
        Ok(())
    }

    /// Serves the queue with this thread until there are too many threads or the pool is closed and nothing is left.
    /// [`Queue::enlist`] was called for it.
    pub(super) fn serve(self: &Arc<Self>, slot: u32) {
        SERVES.set(self.address());
        SLOT.set(slot);
        while let Some(unit) = self.next(slot) {
            // Outcomes and callbacks see to their own panics; this one came out of dropping a value of the user's, and
            // the panic hook has reported it.
            drop(catch_unwind(AssertUnwindSafe(unit)));
        }
    }

    fn next(&self, slot: u32) -> Option<Unit> {
        loop {
            let mut spent = Vec::new();
            let mut state = self.lock();
            if state.living() > state.wanted {
                state.slots.remove(&slot);
                return None;
            }
            let unit = state.claim(&mut spent);
            if !spent.is_empty() {
                self.room.notify_all();
            }
            if unit.is_some() {
                drop(state);
                return unit;
            }
            if state.is_closed {
                state.slots.remove(&slot);
                return None;
            }
            if spent.is_empty() {
                drop(self.work.wait(state).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Runs, on this thread, what nobody has begun of a work that this thread is about to wait for, if this thread is
    /// one of the pool's: else all of them may wait for what none is left to do. Stops when `is_enough`.
    pub(super) fn lend_hand(&self, work: &Arc<dyn Work>, is_enough: impl Fn() -> bool) {
        if self.is_served_here() {
            while !is_enough()
                && let Some(Claim { unit, .. }) = Arc::clone(work).claim()
            {
                unit();
            }
        }
    }

    /// There is another unit of a work that is in the queue.
    pub(super) fn wake_one(&self) {
        self.work.notify_one();
    }

    /// Counts one more thread in, and gives it the first slot that is free; none if there are enough.
    pub(super) fn enlist(&self) -> Option<u32> {
        let mut state = self.lock();
        if state.living() >= state.wanted || state.is_closed {
            return None;
        }
        let slot = (0..).find(|slot| !state.slots.contains(slot))?;
        state.slots.insert(slot);
        Some(slot)
    }

    /// An enlisted thread could not begin to serve.
    pub(super) fn discharge(&self, slot: u32) {
        let mut state = self.lock();
        state.slots.remove(&slot);
        state.wanted = state.wanted.min(state.living());
    }

    /// Sets how many threads there shall be; those that are too many end after what they run.
    pub(super) fn set_wanted(&self, threads: u32) {
        self.lock().wanted = threads;
        self.work.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    pub(super) fn wanted(&self) -> u32 {
        self.lock().wanted
    }

    /// Takes no work any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Takes no work any more and cancels what nobody has begun.
    pub(super) fn terminate(&self) {
        self.close();
        let works = std::mem::take(&mut self.lock().works);
        for work in works {
            work.cancel();
        }
    }

    /// Whether this thread is one of the pool's.
    pub(super) fn is_served_here(&self) -> bool {
        SERVES.get() == self.address()
    }

    /// A forked copy of the process has no copy of the threads.
    pub(super) fn check_fork(&self) -> Result<(), TaskError> {
        if self.pid == std::process::id() { Ok(()) } else { Err(TaskError::ForkedHost) }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of this thread in the pool that it serves.
pub(super) fn slot() -> u32 {
    SLOT.get()
}

impl State {
    fn living(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Claims a unit of the first work that has one; moves what has none any more to `spent`.
    fn claim(&mut self, spent: &mut Vec<Arc<dyn Work>>) -> Option<Unit> {
        while let Some(front) = self.works.front() {
            let claim = Arc::clone(front).claim();
            if claim.as_ref().is_none_or(|claim| !claim.more) {
                spent.extend(self.works.pop_front());
            }
            if let Some(claim) = claim {
                return Some(claim.unit);
            }
        }
        None
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Queue")
            .field("works", &state.works.len())
            .field("slots", &state.slots)
            .field("is_closed", &state.is_closed)
            .finish_non_exhaustive()
    }
}
