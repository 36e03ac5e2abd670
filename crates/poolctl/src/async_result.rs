//! The result of a call that nobody waits for yet.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use poolctl_supervisor::host::{Call, Handle, Need};

use crate::task_error::TaskError;

/// The result of one item, or of all items of a map, now or later: to be waited for by a thread, or awaited in any
/// executor.
///
/// It may outlive its pool: it is then what it was, or [`TaskError::Cancelled`]. Dropping it does not cancel the item.
///
/// `E` is [`TaskError`] for one item and [`MapError`](crate::MapError) for many.
pub struct AsyncResult<R, E = TaskError> {
    handle: Handle,
    call: Arc<Call>,
    /// How many items the call has.
    count: u64,
    /// Reads the result, once the call has all its outcomes.
    finish: Finish<R, E>,
    answer: Answer<R, E>,
}

/// Reads the result of a call of so many items.
pub(crate) type Finish<R, E> = fn(&Call, u64) -> Result<R, E>;

/// A result that was read and is not taken yet. Boxed, since most never are here, and a handle should be small.
pub(crate) type Read<R, E> = Mutex<Option<Box<Result<R, E>>>>;

/// Where the result is once it was read.
enum Answer<R, E> {
    /// It is read when it is asked for.
    OnDemand(Read<R, E>),
    /// It was read for a callback, before anybody could ask.
    Called(Arc<Read<R, E>>),
}

impl<R, E: From<TaskError>> AsyncResult<R, E> {
    pub(crate) fn new(handle: Handle, call: Arc<Call>, count: u64, finish: Finish<R, E>) -> Self {
        Self { handle, call, count, finish, answer: Answer::OnDemand(Mutex::new(None)) }
    }

    /// The same, whose result the call's callback puts into `read`.
    pub(crate) fn called(
        handle: Handle,
        call: Arc<Call>,
        count: u64,
        finish: Finish<R, E>,
        read: Arc<Read<R, E>>,
    ) -> Self {
        Self { handle, call, count, finish, answer: Answer::Called(read) }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// How the item, or the first in the order of items that has no result, ended instead.
    pub fn get(self) -> Result<R, E> {
        self.wait().map_err(E::from)?;
        self.take()
    }

    /// Waits for the result for `limit` at most; [`Duration::ZERO`] only looks.
    ///
    /// # Errors
    /// It is not there yet: gives the handle back, to be asked again.
    pub fn get_timeout(self, limit: Duration) -> Result<Result<R, E>, Self> {
        match self.wait_timeout(limit) {
            Ok(true) => Ok(self.take()),
            Ok(false) => Err(self),
            Err(error) => Ok(Err(error.into())),
        }
    }

    /// Waits until all items have ended, well or not.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn wait(&self) -> Result<(), TaskError> {
        self.handle.wait(&self.call, Need::All, None)?;
        Ok(())
    }

    /// Waits until all items have ended, for `limit` at most. Says whether they have.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, TaskError> {
        let until = Instant::now().checked_add(limit);
        Ok(self.handle.wait(&self.call, Need::All, until)?)
    }

    /// Whether all items have ended, well or not.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.handle.check_fork().is_ok() && self.call.is_met(Need::All)
    }

    /// Whether all items have ended well; none: they have not ended.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        self.ready().then(|| {
            let mut read = self.answer.lock();
            read.get_or_insert_with(|| Box::new((self.finish)(&self.call, self.count))).is_ok()
        })
    }

    /// Asks that what has not begun is not run, and what runs is stopped. It ends as [`TaskError::Cancelled`], unless it
    /// ends otherwise before.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn cancel(&self) -> Result<(), TaskError> {
        Ok(self.handle.cancel(&self.call)?)
    }

    /// The result, all outcomes being there.
    fn take(&self) -> Result<R, E> {
        let read = self.answer.lock().take();
        match (read, &self.answer) {
            (Some(read), _) => *read,
            (None, Answer::OnDemand(_)) => (self.finish)(&self.call, self.count),
            // The callback was not called, or this is another task's second look.
            (None, Answer::Called(_)) => Err(TaskError::PoolBroken.into()),
        }
    }
}

impl<R, E> Answer<R, E> {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Result<R, E>>>> {
        let read = match self {
            Answer::OnDemand(read) => read,
            Answer::Called(read) => read,
        };
        read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R, E: From<TaskError>> Future for AsyncResult<R, E> {
    type Output = Result<R, E>;

    /// Polled again after it was ready, it is an error.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(why) = self.handle.check_fork() {
            return Poll::Ready(Err(TaskError::from(why).into()));
        }
        if self.call.poll(Need::All, context.waker()) { Poll::Ready(self.take()) } else { Poll::Pending }
    }
}

/// Nothing in it is ever pinned.
impl<R, E> Unpin for AsyncResult<R, E> {}

impl<R, E> Drop for AsyncResult<R, E> {
    fn drop(&mut self) {
        if self.handle.check_fork().is_ok() {
            self.call.forget_task();
        }
    }
}

impl<R, E> fmt::Debug for AsyncResult<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("is_ready", &self.call.is_met(Need::All)).finish_non_exhaustive()
    }
}
