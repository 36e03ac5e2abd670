//! Pools of tasks: the task is named with each call.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};

use bytemuck::Pod;
use poolctl_supervisor::host::{Call, Intent};
use poolctl_supervisor::{Block, WorkerId};
use poolctl_worker::Task;

use super::Pool;
use crate::arguments::{read_output, write_arguments};
use crate::async_result::{AsyncResult, Finish, Read};
use crate::block::Batch;
use crate::builder::BuildError;
use crate::imap::{Feed, Imap, ImapUnordered};
use crate::kind::Native;
use crate::map;
use crate::outcomes::{Gathered, Outcomes};
use crate::raw::Raw;
use crate::slice::SliceMap;
use crate::task_error::{MapError, TaskError};

/// A worker, and what its exit function gave.
pub type ExitResult<R> = (WorkerId, Result<R, TaskError>);

/// The results of a map, now or later.
pub type MapResult<R> = AsyncResult<Vec<R>, MapError>;

thread_local! {
    /// The block of the last single call: empty, for its memory.
    static SCRATCH: Cell<Block> = Cell::default();
}

impl Pool<Native> {
    /// A pool of so many workers, which are this same program: its `main` calls [`init`](crate::init()) first.
    ///
    /// # Errors
    /// [`BuildError`], when nothing could run.
    pub fn new(workers: u32) -> Result<Self, BuildError> {
        Self::builder().workers(workers).build()
    }

    /// Runs a task once and waits for its result.
    ///
    /// `args` are the arguments: of a task with one parameter the one itself, of several a tuple, of none `()`.
    ///
    /// # Errors
    /// [`TaskError`] says how it ended instead.
    pub fn apply<T: Task>(&self, task: T, args: T::Args) -> Result<T::Output, TaskError> {
        self.submit(task, &args, Call::new(), Intent::Wait)?.get()
    }

    /// Hands a call in and does not wait for its result.
    ///
    /// Blocks only while as many items are in flight as the pool's window allows. The task is run also if the
    /// [`AsyncResult`] is dropped.
    ///
    /// # Errors
    /// The call cannot be handed in.
    pub fn apply_async<T: Task>(&self, task: T, args: T::Args) -> Result<AsyncResult<T::Output>, TaskError> {
        self.submit(task, &args, Call::new(), Intent::Leave)
    }

    /// As [`Pool::apply_async`], and calls `on_ok` with the result, or `on_error`, when there is one.
    ///
    /// They are called once, on a thread of the pool that runs callbacks one after another, before
    /// [`AsyncResult::get`] returns. A panic in one is logged and changes nothing else.
    ///
    /// # Errors
    /// The call cannot be handed in; nothing is called then.
    pub fn apply_async_with<T: Task>(
        &self,
        task: T,
        args: T::Args,
        on_ok: impl FnOnce(&T::Output) + Send + 'static,
        on_error: impl FnOnce(&TaskError) + Send + 'static,
    ) -> Result<AsyncResult<T::Output>, TaskError> {
        let (call, read) = calling_back(1, one::<T>, on_ok, on_error);
        drop(self.submit(task, &args, Arc::clone(&call), Intent::Leave)?);
        self.handle().seal(&call)?;
        Ok(AsyncResult::called(self.handle().clone(), call, 1, one::<T>, read))
    }

    /// Runs a task on every item, in parallel, and returns the results in the order of the items.
    ///
    /// Blocks until all have ended, whatever becomes of the first. The items are taken as there is room for them. If
    /// one cannot travel, or `items` panics, those before it are cancelled.
    ///
    /// # Errors
    /// The first item, in the order of the items, that has no result.
    pub fn map<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<Vec<T::Output>, MapError> {
        let batch = self.calling(task);
        map::map(self.handle(), items.into_iter(), batch, write_arguments::<T>, read_output::<T>)
    }

    /// Hands a task in for every item and does not wait for the results.
    ///
    /// All items are taken now and wait in memory for their turn. Blocks only while as many items are in flight as the
    /// pool's window allows.
    ///
    /// # Errors
    /// The first item that cannot be handed in. None of them is run then, or those before are cancelled.
    pub fn map_async<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<MapResult<T::Output>, MapError> {
        let blocks = self.encode_all(task, items)?;
        let call = Call::new();
        let count = self.submit_all(&call, blocks)?;
        Ok(AsyncResult::new(self.handle().clone(), call, count, all::<T>))
    }

    /// As [`Pool::map_async`], and calls `on_ok` with the results, or `on_error`, as [`Pool::apply_async_with`] does.
    ///
    /// # Errors
    /// As [`Pool::map_async`]; nothing is called then.
    pub fn map_async_with<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
        on_ok: impl FnOnce(&Vec<T::Output>) + Send + 'static,
        on_error: impl FnOnce(&MapError) + Send + 'static,
    ) -> Result<MapResult<T::Output>, MapError> {
        let blocks = self.encode_all(task, items)?;
        let count = blocks.iter().map(|block| block.len() as u64).sum();
        let (call, read) = calling_back(count, all::<T>, on_ok, on_error);
        self.submit_all(&call, blocks)?;
        self.handle().seal(&call).map_err(TaskError::from)?;
        Ok(AsyncResult::called(self.handle().clone(), call, count, all::<T>, read))
    }

    /// [`Pool::map`] of a task with several parameters: each item is a tuple of its arguments.
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn starmap<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<Vec<T::Output>, MapError> {
        self.map(task, items)
    }

    /// [`Pool::map_async`] of a task with several parameters: each item is a tuple of its arguments.
    ///
    /// # Errors
    /// As [`Pool::map_async`].
    pub fn starmap_async<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<MapResult<T::Output>, MapError> {
        self.map_async(task, items)
    }

    /// Runs a task on the items as they are wanted and yields the outcomes in the order of the items.
    ///
    /// At most the pool's window of items is taken ahead of the outcomes that were yielded, so `items` may be endless.
    /// They are taken on the calling thread, inside `next`. An item without result is yielded as its error, and does
    /// not end the rest. Dropping the iterator cancels what is in flight.
    ///
    /// `next` may ask for several items before it yields the first outcome. Where an item comes only once the outcome
    /// before is known (a dialogue), have a [`window`](crate::PoolBuilder::window) of 1, or use [`Pool::apply`].
    pub fn imap<T, S>(&self, task: T, items: S) -> Imap<'_, S::IntoIter, T::Output>
    where
        T: Task,
        S: IntoIterator<Item = T::Args>,
    {
        Imap::new(self.feed(task, Call::new(), items), read_output::<T>)
    }

    /// As [`Pool::imap`], and yields the outcomes as they come.
    ///
    /// An error names its item by its place among those that were handed in.
    pub fn imap_unordered<T, S>(&self, task: T, items: S) -> ImapUnordered<'_, S::IntoIter, T::Output>
    where
        T: Task,
        S: IntoIterator<Item = T::Args>,
    {
        ImapUnordered::new(self.feed(task, Call::unordered(), items), read_output::<T>)
    }

    /// Runs a task on every element of a slice of plain data and puts the results into another, in place.
    ///
    /// Nothing is encoded: pieces of the slices are copied through shared memory as they are, which the pool keeps for
    /// next time. Blocks until all pieces have ended.
    ///
    /// - `output`: as long as `input`.
    ///
    /// # Errors
    /// The first element known to have failed; where a worker's death takes a piece of the slice with it, the first of
    /// that piece. Elements of pieces that failed are left as they were.
    ///
    /// # Panics
    /// If the slices are not equally long.
    pub fn map_slice<T: Task<Args: Pod, Output: Pod>>(
        &self,
        _task: T,
        input: &[T::Args],
        output: &mut [T::Output],
    ) -> Result<(), MapError> {
        assert_eq!(input.len(), output.len(), "a slice is mapped to one as long");
        SliceMap::new::<T>(self.handle(), &self.parcels, input, output).run()
    }

    /// What the exit function gave in each worker that has ended and could run it, in the order of their ends. All have
    /// after [`Pool::join`].
    ///
    /// `task` is the one that was given to [`PoolBuilder::exit_function`](crate::PoolBuilder::exit_function).
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`]. Each worker has its own result or error besides.
    pub fn exit_results<T: Task>(&self, _task: T) -> Result<Vec<ExitResult<T::Output>>, TaskError> {
        let results = self.handle().exit_results()?.into_iter().map(|exit| {
            let worker = exit.worker;
            let result = match exit.result {
                Ok(bytes) => read_output::<T>(Raw::Bytes(&bytes)),
                Err(error) => Err(TaskError::remote(error, Some(worker))),
            };
            (worker, result)
        });
        Ok(results.collect())
    }

    fn feed<T, S>(&self, task: T, call: Arc<Call>, items: S) -> Feed<'_, S::IntoIter>
    where
        T: Task,
        S: IntoIterator<Item = T::Args>,
    {
        let batch = self.calling(task);
        Feed::new(self.handle(), call, items.into_iter(), batch, write_arguments::<T>, self.window)
    }

    fn submit<T: Task>(
        &self,
        _task: T,
        args: &T::Args,
        call: Arc<Call>,
        intent: Intent,
    ) -> Result<AsyncResult<T::Output>, TaskError> {
        let mut block = SCRATCH.take();
        block.function = Some(Arc::clone(T::key()));
        let mut batch = Batch::of(block, &self.parcels);
        write_arguments::<T>(args, &mut batch)?;
        let mut block = batch.into_block();
        self.handle().submit_from(&call, &mut block, intent)?;
        block.clear();
        SCRATCH.set(block);
        Ok(AsyncResult::new(self.handle().clone(), call, 1, one::<T>))
    }

    /// Blocks of all items: one, if they are not very many.
    fn encode_all<T: Task>(
        &self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<Vec<Block>, MapError> {
        let mut batch = self.calling(task);
        let mut blocks = Vec::new();
        for (item, args) in (0..).zip(items) {
            write_arguments::<T>(&args, &mut batch).map_err(|source| MapError { item, source })?;
            if batch.is_full() {
                blocks.push(batch.take());
            }
        }
        blocks.push(batch.into_block());
        Ok(blocks)
    }

    /// Hands the blocks in; says how many items they have.
    fn submit_all(&self, call: &Arc<Call>, blocks: Vec<Block>) -> Result<u64, MapError> {
        let mut handed_in = 0;
        for block in blocks {
            let count = block.len() as u64;
            let submitted = self.handle().submit(call, block, Intent::Leave);
            if let Err(why) = submitted {
                // What was handed in is of no use without the rest.
                self.handle().cancel(call).unwrap_or_default();
                return Err(MapError { item: handed_in, source: why.into() });
            }
            handed_in += count;
        }
        Ok(handed_in)
    }

    /// No calls of a task yet.
    fn calling<T: Task>(&self, _task: T) -> Batch<'_> {
        Batch::calling(T::key(), &self.parcels)
    }
}

/// The result of a call of one item.
fn one<T: Task>(call: &Call, _: u64) -> Result<T::Output, TaskError> {
    Outcomes::new().take(call, read_output::<T>).unwrap_or(Err(TaskError::PoolBroken))
}

/// The results of a call of many.
fn all<T: Task>(call: &Call, count: u64) -> Result<Vec<T::Output>, MapError> {
    let mut gathered = Gathered::expecting(usize::try_from(count).unwrap_or_default());
    gathered.gather(call, count, &read_output::<T>);
    match gathered.next_item() {
        next if next < count => Err(MapError { item: next, source: TaskError::PoolBroken }),
        _ => gathered.finish(),
    }
}

/// A call that reads its result and shows it to callbacks, and where the result is kept then.
fn calling_back<R: Send + 'static, E: Send + 'static>(
    count: u64,
    finish: Finish<R, E>,
    on_ok: impl FnOnce(&R) + Send + 'static,
    on_error: impl FnOnce(&E) + Send + 'static,
) -> (Arc<Call>, Arc<Read<R, E>>) {
    let read = Arc::new(Read::<R, E>::default());
    let kept = Arc::clone(&read);
    let call = Call::with_callback(move |call| {
        let result = finish(call, count);
        let called = catch_unwind(AssertUnwindSafe(|| match &result {
            Ok(result) => on_ok(result),
            Err(error) => on_error(error),
        }));
        // Kept in any case: a panic is the callback's, not the result's.
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(result));
        if let Err(panic) = called {
            resume_unwind(panic);
        }
    });
    (call, read)
}
