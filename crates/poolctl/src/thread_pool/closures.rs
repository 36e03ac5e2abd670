//! Pools of threads: calls of closures, which only threads can run.

use super::ThreadPool;
use super::imap::{Order, ThreadImap};
use super::result::{ThreadMapResult, ThreadResult};
use crate::task_error::{MapError, TaskError};

impl ThreadPool {
    /// Runs a closure in a thread of the pool and waits for what it returns.
    ///
    /// # Errors
    /// It panicked ([`TaskError::Failed`]), or the pool takes none.
    pub fn run<R: Send + 'static>(&self, run: impl FnOnce() -> R + Send + 'static) -> Result<R, TaskError> {
        self.run_async(run)?.get()
    }

    /// Hands a closure in and does not wait for what it returns. Blocks only while the window is full.
    ///
    /// # Errors
    /// The pool takes none.
    pub fn run_async<R: Send + 'static>(
        &self,
        run: impl FnOnce() -> R + Send + 'static,
    ) -> Result<ThreadResult<R>, TaskError> {
        self.submit_one(|| Ok(run()), None)
    }

    /// Runs a closure on every item, in parallel, and returns what it returns, in the order of the items.
    ///
    /// Blocks until all have ended, whatever becomes of the first.
    ///
    /// # Errors
    /// The first item, in the order of the items, that has no result.
    pub fn map_fn<A, R>(
        &self,
        run: impl Fn(A) -> R + Send + Sync + 'static,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, MapError>
    where
        A: Send + 'static,
        R: Send + 'static,
    {
        self.map_fn_async(run, items)?.get()
    }

    /// As [`ThreadPool::map_fn`], and does not wait. The items are taken at once.
    ///
    /// # Errors
    /// The pool takes none.
    pub fn map_fn_async<A, R>(
        &self,
        run: impl Fn(A) -> R + Send + Sync + 'static,
        items: impl IntoIterator<Item = A>,
    ) -> Result<ThreadMapResult<R>, MapError>
    where
        A: Send + 'static,
        R: Send + 'static,
    {
        self.submit_many(move |item| Ok(run(item)), items.into_iter().collect(), None)
    }

    /// Runs a closure on the items as outcomes are wanted and yields these in the order of the items.
    ///
    /// As [`ThreadPool::imap`] otherwise.
    pub fn imap_fn<A, R, S>(
        &self,
        run: impl Fn(A) -> R + Send + Sync + 'static,
        items: S,
    ) -> ThreadImap<'_, S::IntoIter, R>
    where
        A: Send + 'static,
        R: Send + 'static,
        S: IntoIterator<Item = A>,
    {
        ThreadImap::new(&self.queue, move |item| Ok(run(item)), items.into_iter(), Order::Items)
    }

    /// As [`ThreadPool::imap_fn`], and yields the outcomes as they come.
    pub fn imap_unordered_fn<A, R, S>(
        &self,
        run: impl Fn(A) -> R + Send + Sync + 'static,
        items: S,
    ) -> ThreadImap<'_, S::IntoIter, R>
    where
        A: Send + 'static,
        R: Send + 'static,
        S: IntoIterator<Item = A>,
    {
        ThreadImap::new(&self.queue, move |item| Ok(run(item)), items.into_iter(), Order::Ends)
    }
}
