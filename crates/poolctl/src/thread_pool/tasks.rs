//! Pools of threads: calls of tasks, as a pool of processes has them.

use std::any::Any;
use std::sync::{Arc, PoisonError};

use poolctl_worker::Task;

use super::imap::{Order, ThreadImap};
use super::result::{Callback, ThreadMapResult, ThreadResult};
use super::{ThreadPool, ThreadPoolBuilder};
use crate::pool::ExitResult;
use crate::task_error::{MapError, TaskError};

impl ThreadPoolBuilder {
    /// Runs a task with these arguments first in every thread.
    pub fn initializer<T: Task>(mut self, _task: T, args: T::Args) -> Self
    where
        T::Args: Clone + Sync,
    {
        self.initializer = Some(Arc::new(move || call::<T>(args.clone()).map(drop)));
        self
    }

    /// What each thread runs before it ends; see [`ThreadPool::exit_results`].
    pub fn exit_function<T: Task>(mut self, _task: T, args: T::Args) -> Self
    where
        T::Args: Clone + Sync,
    {
        self.exit_function = Some(Arc::new(move || Ok(Box::new(call::<T>(args.clone())?))));
        self
    }
}

impl ThreadPool {
    /// What the exit function gave in each thread that has ended, in the order of their ends; each result once. All have
    /// after [`ThreadPool::join`].
    ///
    /// `task` is the one that was given to [`ThreadPoolBuilder::exit_function`].
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`]. Each thread has its own result or error besides.
    ///
    /// # Panics
    /// If `task` gives something of another type.
    pub fn exit_results<T: Task>(&self, _task: T) -> Result<Vec<ExitResult<T::Output>>, TaskError> {
        self.queue.check_fork()?;
        let results = std::mem::take(&mut *self.exit_results.lock().unwrap_or_else(PoisonError::into_inner));
        let typed = |given: Box<dyn Any + Send>| *given.downcast().expect("the task is the exit function");
        Ok(results.into_iter().map(|(worker, result)| (worker, result.map(typed))).collect())
    }

    /// Runs a task in a thread of the pool and waits for its result.
    ///
    /// # Errors
    /// It failed or panicked ([`TaskError::Failed`]), or the pool takes none.
    pub fn apply<T: Task>(&self, task: T, args: T::Args) -> Result<T::Output, TaskError> {
        self.apply_async(task, args)?.get()
    }

    /// Hands a task in and does not wait for its result. Blocks only while the window is full.
    ///
    /// # Errors
    /// The pool takes none.
    pub fn apply_async<T: Task>(
        &self,
        _task: T,
        args: T::Args,
    ) -> Result<ThreadResult<T::Output>, TaskError> {
        self.submit_one(|| call::<T>(args), None)
    }

    /// As [`ThreadPool::apply_async`], and calls `on_ok` with the result, or `on_error`, when there is one.
    ///
    /// They are called once, in the thread that ran the task (or cancelled it), before [`ThreadResult::get`] returns. A
    /// panic in one is reported by the panic hook and changes nothing else.
    ///
    /// # Errors
    /// The pool takes none.
    pub fn apply_async_with<T: Task>(
        &self,
        _task: T,
        args: T::Args,
        on_ok: impl FnOnce(&T::Output) + Send + 'static,
        on_error: impl FnOnce(&TaskError) + Send + 'static,
    ) -> Result<ThreadResult<T::Output>, TaskError> {
        self.submit_one(|| call::<T>(args), Some(either(on_ok, on_error)))
    }

    /// Runs a task on every item, in parallel, and returns the results in the order of the items. The item of a task
    /// of several parameters is the tuple of them.
    ///
    /// Blocks until all have ended, whatever becomes of the first. The items are taken at once.
    ///
    /// # Errors
    /// The first item, in the order of the items, that has no result.
    pub fn map<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<Vec<T::Output>, MapError> {
        self.map_async(task, items)?.get()
    }

    /// As [`ThreadPool::map`], and does not wait.
    ///
    /// # Errors
    /// The pool takes none.
    pub fn map_async<T: Task>(
        &self,
        _task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<ThreadMapResult<T::Output>, MapError> {
        self.submit_many(call::<T>, items.into_iter().collect(), None)
    }

    /// As [`ThreadPool::map_async`], and calls `on_ok` with all results, or `on_error` with the first error, as
    /// [`ThreadPool::apply_async_with`] does.
    ///
    /// # Errors
    /// The pool takes none.
    pub fn map_async_with<T: Task>(
        &self,
        _task: T,
        items: impl IntoIterator<Item = T::Args>,
        on_ok: impl FnOnce(&Vec<T::Output>) + Send + 'static,
        on_error: impl FnOnce(&MapError) + Send + 'static,
    ) -> Result<ThreadMapResult<T::Output>, MapError> {
        self.submit_many(call::<T>, items.into_iter().collect(), Some(either(on_ok, on_error)))
    }

    /// [`ThreadPool::map`] under the name by which those know it who come from `multiprocessing`: each item is the
    /// tuple of a task's arguments.
    ///
    /// # Errors
    /// As [`ThreadPool::map`].
    pub fn starmap<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<Vec<T::Output>, MapError> {
        self.map(task, items)
    }

    /// As [`ThreadPool::starmap`], and does not wait.
    ///
    /// # Errors
    /// The pool takes none.
    pub fn starmap_async<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<ThreadMapResult<T::Output>, MapError> {
        self.map_async(task, items)
    }

    /// Runs a task on every element of a slice of plain data and puts the results into another, which keeps what it had
    /// if there is an error.
    ///
    /// # Errors
    /// As [`ThreadPool::map`].
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn map_slice<T: Task<Args: Copy>>(
        &self,
        task: T,
        input: &[T::Args],
        output: &mut [T::Output],
    ) -> Result<(), MapError> {
        assert_eq!(input.len(), output.len(), "a slice is mapped to one as long");
        let results = self.map(task, input.iter().copied())?;
        for (place, result) in output.iter_mut().zip(results) {
            *place = result;
        }
        Ok(())
    }

    /// Runs a task on the items as outcomes are wanted and yields these in the order of the items.
    ///
    /// At most the pool's window of items is taken ahead of the outcomes that were yielded, so `items` may be endless.
    /// They are taken on the calling thread, inside `next`. An item without result is yielded as its error, and does
    /// not end the rest. Dropping the iterator cancels what no thread has begun.
    pub fn imap<T: Task, S>(&self, _task: T, items: S) -> ThreadImap<'_, S::IntoIter, T::Output>
    where
        S: IntoIterator<Item = T::Args>,
    {
        ThreadImap::new(&self.queue, call::<T>, items.into_iter(), Order::Items)
    }

    /// As [`ThreadPool::imap`], and yields the outcomes as they come.
    pub fn imap_unordered<T: Task, S>(&self, _task: T, items: S) -> ThreadImap<'_, S::IntoIter, T::Output>
    where
        S: IntoIterator<Item = T::Args>,
    {
        ThreadImap::new(&self.queue, call::<T>, items.into_iter(), Order::Ends)
    }
}

/// Runs it in this thread.
fn call<T: Task>(args: T::Args) -> Result<T::Output, TaskError> {
    T::call(args).map_err(|error| TaskError::remote(error, None))
}

/// One callback of two.
fn either<V: 'static, E: 'static>(
    on_ok: impl FnOnce(&V) + Send + 'static,
    on_error: impl FnOnce(&E) + Send + 'static,
) -> Callback<V, E> {
    Box::new(|outcome| match outcome {
        Ok(result) => on_ok(result),
        Err(error) => on_error(error),
    })
}
