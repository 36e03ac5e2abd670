//! Pools of one target: items alone are handed in.

use poolctl_supervisor::host::{Call, Intent};

use super::Pool;
use crate::async_result::AsyncResult;
use crate::block::Batch;
use crate::imap::{Feed, Imap};
use crate::kind::{Gives, OneTarget, Takes, read_result, write_item};
use crate::map;
use crate::outcomes::Outcomes;
use crate::task_error::{MapError, TaskError};

impl<K: OneTarget> Pool<K> {
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
    pub fn apply_async<I, R>(&self, item: I) -> Result<AsyncResult<R>, TaskError>
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
        map::map(self.handle(), items.into_iter(), self.batch(), write_item::<K, I>, read_result::<K, R>)
    }

    /// Runs the items as they are wanted and yields the outcomes in the order of the items.
    ///
    /// At most the pool's window of items is taken ahead of the outcomes that were yielded, so `items` may be endless.
    /// They are taken on the calling thread, inside `next`. An item without result is yielded as its error, and does
    /// not end the rest. Dropping the iterator cancels what is in flight.
    ///
    /// `next` may ask for several items before it yields the first outcome. Where an item comes only once the outcome
    /// before is known (a dialogue), have a [`window`](crate::PoolBuilder::window) of 1, or use [`Pool::apply`].
    pub fn imap<I, R, S>(&self, items: S) -> Imap<'_, S::IntoIter, R>
    where
        K: Takes<I> + Gives<R>,
        S: IntoIterator<Item = I>,
    {
        let (items, batch) = (items.into_iter(), self.batch());
        let feed = Feed::new(self.handle(), Call::new(), items, batch, write_item::<K, I>, self.window);
        Imap::new(feed, read_result::<K, R>)
    }

    /// No items yet.
    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.parcels)
    }

    fn submit<I, R>(&self, item: &I, intent: Intent) -> Result<AsyncResult<R>, TaskError>
    where
        K: Takes<I> + Gives<R>,
    {
        let mut batch = self.batch();
        write_item::<K, I>(item, &mut batch)?;
        let call = Call::new();
        self.handle().submit(&call, batch.into_block(), intent)?;
        Ok(AsyncResult::new(self.handle().clone(), call, 1, finish::<K, R>))
    }
}

/// The result of a call of one item.
fn finish<K: Gives<R>, R>(call: &Call, _: u64) -> Result<R, TaskError> {
    Outcomes::new().take(call, read_result::<K, R>).unwrap_or(Err(TaskError::PoolBroken))
}
