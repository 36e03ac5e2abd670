//! The result of an item that nobody waits for yet.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use poolctl_supervisor::Outcome;
use poolctl_supervisor::host::{Call, Handle, Need, Settled};

use crate::kind::{Gives, Kind};
use crate::outcomes::Outcomes;
use crate::task_error::TaskError;

/// The result of one item, now or later: to be waited for by a thread, or awaited in any executor.
///
/// It may outlive its pool: it is then what it was, or [`TaskError::Cancelled`]. Dropping it does not cancel the item.
pub struct AsyncResult<K: Kind, R> {
    handle: Handle,
    call: Arc<Call>,
    kind: PhantomData<fn() -> (K, R)>,
}

impl<K: Gives<R>, R> AsyncResult<K, R> {
    pub(crate) fn new(handle: Handle, call: Arc<Call>) -> Self {
        Self { handle, call, kind: PhantomData }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// [`TaskError`] says how the item ended instead.
    pub fn get(self) -> Result<R, TaskError> {
        self.handle.wait(&self.call, Need::All, None)?;
        self.take()
    }

    /// Waits for the result for `limit` at most; [`Duration::ZERO`] only looks.
    ///
    /// # Errors
    /// It is not there yet: gives the handle back, to be asked again.
    pub fn get_timeout(self, limit: Duration) -> Result<Result<R, TaskError>, Self> {
        match self.wait_timeout(limit) {
            Ok(true) => Ok(self.take()),
            Ok(false) => Err(self),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Waits until the item has ended, well or not.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn wait(&self) -> Result<(), TaskError> {
        self.handle.wait(&self.call, Need::All, None)?;
        Ok(())
    }

    /// Waits until the item has ended, for `limit` at most. Says whether it has.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, TaskError> {
        let until = Instant::now().checked_add(limit);
        Ok(self.handle.wait(&self.call, Need::All, until)?)
    }

    /// Whether the item has ended, well or not.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.handle.check_fork().is_ok() && self.call.is_met(Need::All)
    }

    /// Whether the item has ended well; none: it has not ended. Whether its result can be read as `R` is not known
    /// before it is taken.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        let is_ok = |settled: &Settled| match settled {
            Settled::Run { .. } => true,
            Settled::One(report) => report.outcome == Outcome::Ok,
            _ => false,
        };
        self.ready().then(|| self.call.peek(is_ok).unwrap_or(false))
    }

    /// Asks that the item is not run, or is stopped if it runs. It ends as [`TaskError::Cancelled`], unless it ends
    /// otherwise before.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn cancel(&self) -> Result<(), TaskError> {
        Ok(self.handle.cancel(&self.call)?)
    }

    /// The result, which is there unless the pool has ended by a bug.
    fn take(&self) -> Result<R, TaskError> {
        Outcomes::of(Arc::clone(&self.call)).take::<K, R>().unwrap_or(Err(TaskError::PoolBroken))
    }
}

impl<K: Gives<R>, R> Future for AsyncResult<K, R> {
    type Output = Result<R, TaskError>;

    /// Polled again after it was ready, it is an error.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(why) = self.handle.check_fork() {
            return Poll::Ready(Err(why.into()));
        }
        if self.call.poll(Need::All, context.waker()) { Poll::Ready(self.take()) } else { Poll::Pending }
    }
}

impl<K: Kind, R> Drop for AsyncResult<K, R> {
    fn drop(&mut self) {
        if self.handle.check_fork().is_ok() {
            self.call.forget_task();
        }
    }
}

impl<K: Kind, R> fmt::Debug for AsyncResult<K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("is_ready", &self.call.is_met(Need::All)).finish_non_exhaustive()
    }
}
