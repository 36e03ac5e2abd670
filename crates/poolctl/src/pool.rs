//! A pool, and what can be asked of it.

use std::marker::PhantomData;
use std::sync::Arc;

use poolctl_supervisor::Stop;
use poolctl_supervisor::host::{Call, Handle, Host, Intent, Need};

use crate::async_result::AsyncResult;
use crate::block::{Batch, single};
use crate::builder::{NoTarget, PoolBuilder};
use crate::imap::Imap;
use crate::kind::{Gives, Kind, Takes, Values};
use crate::outcomes::Outcomes;
use crate::task_error::{MapError, TaskError};

/// What a frame or line can carry.
pub(crate) const MAX_ITEM_BYTES: usize = 64 << 20;

/// A pool of worker processes, usable from many threads at once. Dropping it terminates it, and waits until no process
/// of it is left.
///
/// `K` says what items and results are: [`Values`] for functions, [`Lines`](crate::Lines) for line filters,
/// [`Commands`](crate::Commands) for commands.
#[derive(Debug)]
pub struct Pool<K: Kind = Values> {
    host: Host,
    window: u64,
    kind: PhantomData<fn() -> K>,
}

impl Pool {
    /// How long an item may be as it travels, in bytes.
    pub const MAX_ITEM_BYTES: usize = MAX_ITEM_BYTES;

    /// Describes a pool. The target comes first: [`PoolBuilder::python`], [`PoolBuilder::worker`],
    /// [`PoolBuilder::lines`] or [`PoolBuilder::command`].
    pub fn builder() -> PoolBuilder<NoTarget> {
        PoolBuilder::new()
    }
}

impl<K: Kind> Pool<K> {
    pub(crate) fn new(host: Host, window: u64) -> Self {
        Self { host, window, kind: PhantomData }
    }

    /// Runs one item and waits for its result.
    ///
    /// # Errors
    /// [`TaskError`] says how it ended instead.
    pub fn apply<I, R>(&self, item: I) -> Result<R, TaskError>
    where
        K: Takes<I> + Gives<R>,
    {
        self.submit(&item, Intent::Wait)?.get()
    }

    /// Hands one item in and does not wait for its result.
    ///
    /// Blocks only while as many items are in flight as the pool's window allows. The item is run also if the
    /// [`AsyncResult`] is dropped.
    ///
    /// # Errors
    /// The item cannot be handed in.
    pub fn apply_async<I, R>(&self, item: I) -> Result<AsyncResult<K, R>, TaskError>
    where
        K: Takes<I> + Gives<R>,
    {
        self.submit(&item, Intent::Leave)
    }

    /// Runs every item, in parallel, and returns the results in the order of the items.
    ///
    /// Blocks until all have ended, whatever becomes of the first. The items are taken as there is room for them. If
    /// one cannot travel, or `items` panics, those before it are cancelled.
    ///
    /// # Errors
    /// The first item, in the order of the items, that has no result.
    pub fn map<I, R>(&self, items: impl IntoIterator<Item = I>) -> Result<Vec<R>, MapError>
    where
        K: Takes<I> + Gives<R>,
    {
        let call = Call::new();
        let cancel = CancelOnDrop { handle: self.handle(), call: &call };
        let mut batch = Batch::new();
        let mut count = 0;
        for item in items {
            let place = count;
            let fail = |source| MapError { item: place, source };
            batch.push::<K, I>(&item).map_err(fail)?;
            count += 1;
            if batch.is_due() {
                self.handle().submit(&call, batch.take(), Intent::Leave).map_err(|why| fail(why.into()))?;
            }
        }
        let fail = |source: TaskError| MapError { item: count.saturating_sub(1), source };
        self.handle().submit(&call, batch.take(), Intent::Wait).map_err(|why| fail(why.into()))?;
        self.handle().wait(&call, Need::All, None).map_err(|why| fail(why.into()))?;
        drop(cancel);
        let mut outcomes = Outcomes::of(call);
        let mut results = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for item in 0..count {
            let outcome = outcomes.take::<K, R>().unwrap_or(Err(TaskError::PoolBroken));
            results.push(outcome.map_err(|source| MapError { item, source })?);
        }
        Ok(results)
    }

    /// Runs the items as they are wanted and yields the outcomes in the order of the items.
    ///
    /// At most the pool's window of items is taken ahead of the outcomes that were yielded, so `items` may be endless.
    /// They are taken on the calling thread, inside `next`. An item without result is yielded as its error, and does
    /// not end the rest. Dropping the iterator cancels what is in flight.
    pub fn imap<I, R, S>(&self, items: S) -> Imap<'_, K, S::IntoIter, R>
    where
        K: Takes<I> + Gives<R>,
        S: IntoIterator<Item = I>,
    {
        Imap::new(self.handle(), items.into_iter(), self.window)
    }

    /// Takes no item any more; those handed in go on. Idle workers are let go.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn close(&self) -> Result<(), TaskError> {
        Ok(self.handle().close()?)
    }

    /// Closes the pool and waits until all items have ended and no process of it is left.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn join(self) -> Result<(), TaskError> {
        self.close()?;
        Ok(self.handle().wait_for_end()?)
    }

    /// Takes no item any more and stops those that run, politely first (SIGTERM, then after the grace SIGKILL).
    /// Unfinished items end as [`TaskError::Cancelled`]. Does not wait for that.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn terminate(&self) -> Result<(), TaskError> {
        Ok(self.handle().stop(Stop::Term)?)
    }

    fn submit<I, R>(&self, item: &I, intent: Intent) -> Result<AsyncResult<K, R>, TaskError>
    where
        K: Takes<I> + Gives<R>,
    {
        let call = Call::new();
        self.handle().submit(&call, single::<K, I>(item)?, intent)?;
        Ok(AsyncResult::new(self.handle().clone(), call))
    }

    fn handle(&self) -> &Handle {
        self.host.handle()
    }
}

/// Cancels what is left of a call when its caller returns early or panics.
#[derive(Debug)]
pub(crate) struct CancelOnDrop<'a> {
    pub(crate) handle: &'a Handle,
    pub(crate) call: &'a Arc<Call>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        // In a forked copy nothing of ours runs.
        self.handle.cancel(self.call).unwrap_or_default();
    }
}
