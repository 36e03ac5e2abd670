//! Lazy in and lazy out over threads: items are taken as their outcomes are wanted.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::job::guarded;
use super::queue::{Claim, Queue, Work};
use crate::task_error::TaskError;

/// So long items are taken although an outcome is there already.
const TAKING: Duration = Duration::from_millis(1);

/// In which order outcomes are yielded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// That of the items.
    Items,
    /// That in which they end.
    Ends,
}

/// The outcomes of [`ThreadPool::imap`](super::ThreadPool::imap) and its kin.
pub struct ThreadImap<'a, I: Iterator, R> {
    queue: &'a Arc<Queue>,
    stream: Arc<Stream<I::Item, R>>,
    /// `None` when there are no more.
    items: Option<I>,
    /// Items handed in.
    taken: u64,
    /// Outcomes yielded.
    yielded: u64,
    refused: Option<TaskError>,
}

/// The part that the threads see.
struct Stream<A, R> {
    run: Box<dyn Fn(A) -> Result<R, TaskError> + Send + Sync>,
    order: Order,
    state: Mutex<State<A, R>>,
    changed: Condvar,
}

/// Bounded by the window: items are handed in only while fewer are ahead of what was yielded.
struct State<A, R> {
    waiting: VecDeque<(u64, A)>,
    /// By what orders them: their item, or how many ended before.
    ended: BTreeMap<u64, Result<R, TaskError>>,
    /// How many have ended.
    ends: u64,
    /// The queue has it.
    is_queued: bool,
}

impl<'a, I, R> ThreadImap<'a, I, R>
where
    I: Iterator,
    I::Item: Send + 'static,
    R: Send + 'static,
{
    pub(super) fn new<F>(queue: &'a Arc<Queue>, run: F, items: I, order: Order) -> Self
    where
        F: Fn(I::Item) -> Result<R, TaskError> + Send + Sync + 'static,
    {
        let state = State { waiting: VecDeque::new(), ended: BTreeMap::new(), ends: 0, is_queued: false };
        let stream = Stream { run: Box::new(run), order, state: Mutex::new(state), changed: Condvar::new() };
        Self { queue, stream: Arc::new(stream), items: Some(items), taken: 0, yielded: 0, refused: None }
    }

    fn ahead(&self) -> u64 {
        self.taken - self.yielded
    }

    /// Takes items until the window is full, or an outcome is there and it was tried for a while.
    fn refill(&mut self) {
        let since = Instant::now();
        while self.ahead() < self.queue.window() as u64 && self.refused.is_none() {
            let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                self.items = None;
                return;
            };
            match self.hand_in(item) {
                Ok(()) => self.taken += 1,
                Err(error) => {
                    self.refused = Some(error);
                    self.items = None;
                }
            }
            if since.elapsed() >= TAKING && self.stream.has_outcome(self.yielded) {
                return;
            }
        }
    }

    fn hand_in(&self, item: I::Item) -> Result<(), TaskError> {
        // The queue refuses it below only where it does not have the stream already.
        if self.queue.is_closed() {
            return Err(TaskError::PoolClosed);
        }
        let mut state = self.stream.lock();
        state.waiting.push_back((self.taken, item));
        let must_queue = !std::mem::replace(&mut state.is_queued, true);
        drop(state);
        if !must_queue {
            self.queue.wake_one();
            return Ok(());
        }
        let work: Arc<dyn Work> = Arc::clone(&self.stream) as _;
        self.queue.push(work, 1).inspect_err(|_| {
            let last = self.stream.lock().waiting.pop_back();
            drop(last);
        })
    }
}

impl<I, R> Iterator for ThreadImap<'_, I, R>
where
    I: Iterator,
    I::Item: Send + 'static,
    R: Send + 'static,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.queue.check_fork() {
            return self.items.take().map(|_| Err(error));
        }
        if self.items.is_some() && self.ahead() <= self.queue.window() as u64 / 2 {
            self.refill();
        }
        if self.ahead() == 0 {
            return self.refused.take().map(Err);
        }
        let work: Arc<dyn Work> = Arc::clone(&self.stream) as _;
        self.queue.lend_hand(&work, || self.stream.has_outcome(self.yielded));
        let outcome = self.stream.wait(self.yielded);
        self.yielded += 1;
        Some(outcome)
    }
}

impl<I: Iterator, R> Drop for ThreadImap<'_, I, R> {
    fn drop(&mut self) {
        if self.queue.check_fork().is_ok() {
            let waiting = std::mem::take(&mut self.stream.lock().waiting);
            drop(waiting);
        }
    }
}

impl<I: Iterator, R> fmt::Debug for ThreadImap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadImap")
            .field("taken", &self.taken)
            .field("yielded", &self.yielded)
            .finish_non_exhaustive()
    }
}

impl<A, R> Stream<A, R> {
    /// Waits for the outcome that is yielded as the `number`th.
    fn wait(&self, number: u64) -> Result<R, TaskError> {
        let mut state = self.lock();
        loop {
            if let Some(outcome) = state.ended.remove(&number) {
                return outcome;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn has_outcome(&self, number: u64) -> bool {
        self.lock().ended.contains_key(&number)
    }

    fn settle(&self, ended: impl IntoIterator<Item = (u64, Result<R, TaskError>)>) {
        let mut state = self.lock();
        for (item, outcome) in ended {
            let number = if self.order == Order::Items { item } else { state.ends };
            state.ends += 1;
            state.ended.insert(number, outcome);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<A, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Send + 'static, R: Send + 'static> Work for Stream<A, R> {
    fn claim(self: Arc<Self>) -> Option<Claim> {
        let mut state = self.lock();
        let first = state.waiting.pop_front();
        let more = !state.waiting.is_empty();
        // The queue lets go of it now: the next item brings it back.
        state.is_queued = more;
        drop(state);
        let (item, argument) = first?;
        let unit = move || {
            let outcome = guarded(item, || (self.run)(argument));
            self.settle([(item, outcome)]);
        };
        Some(Claim { unit: Box::new(unit), more })
    }

    fn cancel(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        self.settle(waiting.iter().map(|(item, _)| (*item, Err(TaskError::Cancelled))));
    }

    fn is_spent(&self) -> bool {
        // Asked only to make room, and a stream comes back by itself only once the queue has let go of it by a claim.
        false
    }
}
