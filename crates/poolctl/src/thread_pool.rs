//! A pool of threads in this process, with what a pool of processes offers.

mod closures;
mod imap;
mod job;
mod queue;
mod result;
mod tasks;

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

pub(crate) use self::job::message_of;
use poolctl_supervisor::WorkerId;
use poolctl_worker::drop_states;

use self::job::{Job, caught};
use self::queue::{Queue, Work};
use self::result::{Callback, Slot};
use crate::task_error::{MapError, TaskError};

pub use self::imap::ThreadImap;
pub use self::result::{Failure, ThreadMapResult, ThreadResult};

/// Items in flight, unless the user says otherwise.
const WINDOW: usize = 16_384;

/// On which a new thread says that it is ready, or why not.
type Readiness = Receiver<Result<(), TaskError>>;

/// What every thread runs first.
type Initializer = Arc<dyn Fn() -> Result<(), TaskError> + Send + Sync>;

/// What every thread runs last.
type ExitFunction = Arc<dyn Fn() -> Result<Box<dyn Any + Send>, TaskError> + Send + Sync>;

/// What that gave, by worker.
type ExitResults = Vec<(WorkerId, Result<Box<dyn Any + Send>, TaskError>)>;

/// A pool of threads with the calls of a [`Pool`](crate::Pool) of processes: for work that waits (network, disks) and
/// for debugging. Usable from many threads at once.
///
/// Nothing is serialised. Besides tasks it runs closures ([`ThreadPool::run`], [`ThreadPool::map_fn`] and their kin). A
/// panic becomes an error, after the panic hook of the program has reported it. What a thread cannot do: be stopped in
/// the middle of a task. So there are no time limits, [`ThreadResult::cancel`] reaches only what no thread has begun,
/// and a task that calls `exit` or crashes takes the program with it.
///
/// A task may hand in further ones and wait for them, to any depth: a thread of the pool that waits runs what it waits
/// for itself, if no other has begun that. (So the state of a worker should not be in use while its task waits.) It
/// reaches the pool by an [`Arc`] of its own; [`current_pool`](crate::current_pool) is for tasks in processes.
///
/// Dropping the pool cancels what no thread has begun and waits for the rest, except on one of its own threads.
///
/// ```
/// use poolctl::ThreadPool;
///
/// let pool = ThreadPool::new(4)?;
/// let lengths = pool.map_fn(|word: &str| word.len(), ["one", "three"])?;
/// assert_eq!(lengths, [3, 5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ThreadPool {
    queue: Arc<Queue>,
    initializer: Option<Initializer>,
    exit_function: Option<ExitFunction>,
    exit_results: Arc<Mutex<ExitResults>>,
    name: String,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// How many were started.
    started: u64,
}

/// A pool of threads in the making.
#[must_use = "a pool is made by `build`"]
pub struct ThreadPoolBuilder {
    workers: u32,
    window: usize,
    name: String,
    initializer: Option<Initializer>,
    exit_function: Option<ExitFunction>,
}

/// Why a pool does not have the threads it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadStartError {
    /// A pool without threads does nothing.
    #[error("a pool needs at least one thread")]
    NoThreads,
    /// The system gives no further thread.
    #[error("failed to start a thread")]
    Spawn(#[source] io::Error),
    /// The initializer failed or panicked.
    #[error("the initializer failed")]
    Initializer(#[source] TaskError),
    /// The pool is closed, or belongs to the process that this one was forked from.
    #[error("the pool starts no thread")]
    Refused(#[source] TaskError),
}

impl ThreadPoolBuilder {
    /// How many threads; by default as many as there are CPUs for this process.
    pub fn workers(mut self, count: u32) -> Self {
        self.workers = count;
        self
    }

    /// How many calls may wait for a thread, 16 384 by default: whoever hands in more blocks until there is room. Also
    /// how far [`ThreadPool::imap`] takes items ahead.
    pub fn window(mut self, calls: u64) -> Self {
        self.window = usize::try_from(calls.max(1)).unwrap_or(usize::MAX);
        self
    }

    /// What the threads are called, each with its number behind.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Runs a closure first in every thread.
    pub fn initializer_fn(mut self, run: impl Fn() + Send + Sync + 'static) -> Self {
        self.initializer = Some(Arc::new(move || {
            run();
            Ok(())
        }));
        self
    }

    /// Starts the threads and runs the initializer in each.
    ///
    /// # Errors
    /// A thread cannot be started, or its initializer failed; the others have ended then.
    pub fn build(self) -> Result<ThreadPool, ThreadStartError> {
        let pool = ThreadPool {
            queue: Arc::new(Queue::new(self.window)),
            initializer: self.initializer,
            exit_function: self.exit_function,
            exit_results: Arc::default(),
            name: self.name,
            threads: Mutex::new(Threads::default()),
        };
        pool.resize(self.workers)?;
        Ok(pool)
    }
}

impl ThreadPool {
    /// A pool of so many threads.
    ///
    /// # Errors
    /// [`ThreadStartError`].
    pub fn new(workers: u32) -> Result<Self, ThreadStartError> {
        Self::builder().workers(workers).build()
    }

    /// Describes a pool.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder {
            workers: u32::try_from(poolctl_supervisor::available_cpus()).unwrap_or(u32::MAX),
            window: WINDOW,
            name: "poolctl-thread".to_owned(),
            initializer: None,
            exit_function: None,
        }
    }

    /// How many threads there are, or will be once those that are too many have ended what they run.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.queue.wanted()
    }

    /// Sets how many threads there are. New ones are ready when this returns; those that are too many end after what
    /// they run.
    ///
    /// # Errors
    /// A thread cannot be started or initialised; the pool keeps those it has.
    pub fn resize(&self, workers: u32) -> Result<(), ThreadStartError> {
        if workers == 0 {
            return Err(ThreadStartError::NoThreads);
        }
        self.queue.check_fork().map_err(ThreadStartError::Refused)?;
        let mut threads = self.threads();
        if self.queue.is_closed() {
            return Err(ThreadStartError::Refused(TaskError::PoolClosed));
        }
        threads.handles.retain(|handle| !handle.is_finished());
        self.queue.set_wanted(workers);
        let mut starting = Vec::new();
        while let Some(slot) = self.queue.enlist() {
            let started = self.start_thread(slot, &mut threads);
            let failed = started.is_err();
            starting.push(started);
            if failed {
                break;
            }
        }
        for started in starting {
            // A thread that is gone without a word was ended by a panic outside of all that runs there.
            let ready = started?.recv().unwrap_or(Err(TaskError::PoolBroken));
            ready.map_err(ThreadStartError::Initializer)?;
        }
        Ok(())
    }

    /// Takes no task any more; those handed in go on.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn close(&self) -> Result<(), TaskError> {
        self.queue.check_fork()?;
        self.queue.close();
        Ok(())
    }

    /// Closes the pool and waits until all tasks and all threads have ended; on one of its own threads, not for that.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn join(&self) -> Result<(), TaskError> {
        self.close()?;
        if !self.queue.is_served_here() {
            let handles = std::mem::take(&mut self.threads().handles);
            for handle in handles {
                // What a thread runs does not unwind out of it.
                handle.join().map_err(|_| TaskError::PoolBroken)?;
            }
        }
        Ok(())
    }

    /// Takes no task any more and cancels those that no thread has begun. Those that run go on; does not wait for that.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn terminate(&self) -> Result<(), TaskError> {
        self.queue.check_fork()?;
        self.queue.terminate();
        Ok(())
    }

    /// Starts the thread that is enlisted for `slot`; it says when it is ready.
    fn start_thread(&self, slot: u32, threads: &mut Threads) -> Result<Readiness, ThreadStartError> {
        let (tell, told) = sync_channel(1);
        let (queue, results) = (Arc::clone(&self.queue), Arc::clone(&self.exit_results));
        let (initializer, exit_function) = (self.initializer.clone(), self.exit_function.clone());
        let worker = WorkerId::new(slot, threads.started);
        let body = move || {
            let ready = initializer.map_or(Ok(()), |initializer| caught(|| initializer()));
            let is_ready = ready.is_ok();
            if !is_ready {
                queue.discharge(slot);
            }
            // Nobody listens if an earlier thread has failed.
            tell.send(ready).unwrap_or_default();
            if is_ready {
                queue.serve(slot);
                if let Some(exit_function) = exit_function {
                    let result = caught(|| exit_function());
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((worker, result));
                }
            }
            drop_states();
        };
        let name = format!("{}-{slot}", self.name);
        let handle = thread::Builder::new().name(name).spawn(body).map_err(|error| {
            self.queue.discharge(slot);
            ThreadStartError::Spawn(error)
        })?;
        threads.started += 1;
        threads.handles.push(handle);
        Ok(told)
    }

    /// Hands one call in.
    fn submit_one<R: Send + 'static>(
        &self,
        run: impl FnOnce() -> Result<R, TaskError> + Send + 'static,
        callback: Option<Callback<R, TaskError>>,
    ) -> Result<ThreadResult<R>, TaskError> {
        let slot = Arc::new(Slot::new());
        let finish = {
            let slot = Arc::clone(&slot);
            move |outcome: Result<Vec<R>, MapError>| {
                let outcome = outcome.map_err(|error| error.source);
                let only = |mut all: Vec<R>| all.pop().ok_or(TaskError::PoolBroken);
                slot.settle(outcome.and_then(only), callback);
            }
        };
        let job = Arc::new(Job::single(run, Box::new(finish)));
        let work: Arc<dyn Work> = job;
        self.queue.push(Arc::clone(&work), 1)?;
        Ok(ThreadResult::new(slot, work, Arc::clone(&self.queue)))
    }

    /// Hands in one call per item.
    fn submit_many<A, R>(
        &self,
        run: impl Fn(A) -> Result<R, TaskError> + Send + Sync + 'static,
        items: Vec<A>,
        callback: Option<Callback<Vec<R>, MapError>>,
    ) -> Result<ThreadMapResult<R>, MapError>
    where
        A: Send + 'static,
        R: Send + 'static,
    {
        let slot = Arc::new(Slot::new());
        let finish = {
            let slot = Arc::clone(&slot);
            move |outcome| slot.settle(outcome, callback)
        };
        let job = Arc::new(Job::many(run, items, self.workers() as usize, Box::new(finish)));
        let units = job.begin();
        let work: Arc<dyn Work> = job;
        self.queue.push(Arc::clone(&work), units).map_err(|source| MapError { item: 0, source })?;
        Ok(ThreadResult::new(slot, work, Arc::clone(&self.queue)))
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        // In a forked copy there are no threads.
        if self.terminate().is_ok()
            && let Err(error) = self.join()
        {
            debug_assert!(thread::panicking(), "a thread of a pool has unwound: {error}");
        }
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("workers", &self.workers)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
