//! The outcome of a call in a pool of threads, now or later.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::queue::{Queue, Work};
use crate::task_error::{MapError, TaskError};

/// The result of a task that a [`ThreadPool`](super::ThreadPool) runs, now or later: to be waited for by a thread, or
/// awaited in any executor.
///
/// It may outlive its pool. Dropping it does not cancel the task.
pub struct ThreadResult<V, E = TaskError> {
    slot: Arc<Slot<V, E>>,
    work: Arc<dyn Work>,
    queue: Arc<Queue>,
}

/// The results of a map that a [`ThreadPool`](super::ThreadPool) runs.
pub type ThreadMapResult<R> = ThreadResult<Vec<R>, MapError>;

/// Where the outcome is put.
pub(super) struct Slot<V, E> {
    state: Mutex<State<V, E>>,
    ended: Condvar,
}

struct State<V, E> {
    /// Taken by the one result there is.
    outcome: Option<Result<V, E>>,
    /// Whether it has ended, and well.
    is_ok: Option<bool>,
    waker: Option<Waker>,
}

impl<V, E> Slot<V, E> {
    pub(super) fn new() -> Self {
        let state = State { outcome: None, is_ok: None, waker: None };
        Self { state: Mutex::new(state), ended: Condvar::new() }
    }

    /// Puts the outcome in, after `callback` has seen it.
    pub(super) fn settle(&self, outcome: Result<V, E>, callback: Option<Callback<V, E>>) {
        if let Some(callback) = callback {
            // The panic hook has reported it, and the thread has other tasks to run.
            drop(catch_unwind(AssertUnwindSafe(|| callback(&outcome))));
        }
        let mut state = self.lock();
        state.is_ok = Some(outcome.is_ok());
        state.outcome = Some(outcome);
        let waker = state.waker.take();
        drop(state);
        self.ended.notify_all();
        if let Some(waker) = waker {
            drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<V, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is called with the outcome before anybody gets it.
pub(super) type Callback<V, E> = Box<dyn FnOnce(&Result<V, E>) + Send>;

/// What a call can end with other than well: [`TaskError`], or [`MapError`] for many items.
pub trait Failure: sealed::Sealed {
    #[doc(hidden)]
    fn of(error: TaskError) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TaskError {}
    impl Sealed for super::MapError {}
}

impl Failure for TaskError {
    fn of(error: TaskError) -> Self {
        error
    }
}

impl Failure for MapError {
    fn of(source: TaskError) -> Self {
        MapError { item: 0, source }
    }
}

impl<V, E: Failure> ThreadResult<V, E> {
    pub(super) fn new(slot: Arc<Slot<V, E>>, work: Arc<dyn Work>, queue: Arc<Queue>) -> Self {
        Self { slot, work, queue }
    }

    /// Waits for the result. A thread of the pool runs the task itself if no other has begun it.
    ///
    /// # Errors
    /// How the task ended instead.
    pub fn get(self) -> Result<V, E> {
        self.wait()?;
        self.take()
    }

    /// Waits for the result for `limit` at most; [`Duration::ZERO`] only looks.
    ///
    /// # Errors
    /// It is not there yet: gives the handle back, to be asked again.
    pub fn get_timeout(self, limit: Duration) -> Result<Result<V, E>, Self> {
        match self.wait_timeout(limit) {
            Ok(true) => Ok(self.take()),
            Ok(false) => Err(self),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Waits until the task has ended, well or not.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn wait(&self) -> Result<(), E> {
        self.queue.check_fork().map_err(E::of)?;
        self.queue.lend_hand(&self.work, || false);
        let waiting = self.slot.ended.wait_while(self.slot.lock(), |state| state.is_ok.is_none());
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// Waits until the task has ended, for `limit` at most. Says whether it has.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, E> {
        let Some(until) = Instant::now().checked_add(limit) else {
            self.wait()?;
            return Ok(true);
        };
        self.queue.check_fork().map_err(E::of)?;
        let mut state = self.slot.lock();
        while state.is_ok.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            state = self.slot.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(true)
    }

    /// Whether the task has ended, well or not.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.successful().is_some()
    }

    /// Whether the task has ended well; none: it has not ended.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        self.queue.check_fork().ok()?;
        self.slot.lock().is_ok
    }

    /// Sees to it that what no thread has begun is not run: that ends as [`TaskError::Cancelled`]. What runs goes on,
    /// since a thread cannot be stopped.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn cancel(&self) -> Result<(), E> {
        self.queue.check_fork().map_err(E::of)?;
        self.work.cancel();
        Ok(())
    }

    /// The outcome, which is there.
    fn take(&self) -> Result<V, E> {
        self.slot.lock().outcome.take().unwrap_or_else(|| Err(E::of(TaskError::PoolBroken)))
    }
}

impl<V, E: Failure> Future for ThreadResult<V, E> {
    type Output = Result<V, E>;

    /// Polled again after it was ready, it is an error.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(error) = self.queue.check_fork() {
            return Poll::Ready(Err(E::of(error)));
        }
        let mut state = self.slot.lock();
        if state.is_ok.is_some() {
            drop(state);
            return Poll::Ready(self.take());
        }
        let known = state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        let old = if known { None } else { state.waker.replace(context.waker().clone()) };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<V, E> fmt::Debug for ThreadResult<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_ready = self.slot.lock().is_ok.is_some();
        f.debug_struct("ThreadResult").field("is_ready", &is_ready).finish_non_exhaustive()
    }
}
