//! A pool of worker processes that loses nothing when one of them dies: what Python's `multiprocessing` offers, for Rust.
//!
//! ```no_run
//! use poolctl::Pool;
//!
//! /// What workers can run is written as a function with this above it.
//! #[poolctl::task]
//! fn square(x: i64) -> i64 {
//!     x * x
//! }
//!
//! #[poolctl::task]
//! fn distance(from: (f64, f64), to: (f64, f64)) -> Result<f64, String> {
//!     let distance = (from.0 - to.0).hypot(from.1 - to.1);
//!     if distance.is_nan() { Err("nowhere".to_owned()) } else { Ok(distance) }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // First thing in `main`: the workers are this same program, started again.
//!     poolctl::init();
//!     let pool = Pool::new(4)?;
//!
//!     // One call, and one whose result is wanted later.
//!     assert_eq!(pool.apply(square, 7)?, 49);
//!     let later = pool.apply_async(distance, ((0.0, 0.0), (3.0, 4.0)))?;
//!
//!     // Many, in parallel: results in the order of the items.
//!     let squares: Vec<i64> = pool.map(square, 0..1_000_000)?;
//!     assert_eq!(squares[1000], 1_000_000);
//!
//!     // Lazily, from an endless input.
//!     for result in pool.imap(square, 1..) {
//!         if result? > 1_000_000 {
//!             break;
//!         }
//!     }
//!
//!     // Plain data in place, with nothing encoded.
//!     let (input, mut output) = (vec![3; 1 << 20], vec![0; 1 << 20]);
//!     pool.map_slice(square, &input, &mut output)?;
//!
//!     assert_eq!(later.get()?, 5.0);
//!     Ok(())
//! }
//! ```
//!
//! # Pools: many items
//! [`Pool::map`] returns when all items have ended, [`Pool::imap`] and [`Pool::imap_unordered`] take items as outcomes
//! are wanted, [`Pool::map_slice`] turns one slice of plain data into another. [`Pool::starmap`] is `map` under the name
//! that it has in `multiprocessing`: the arguments of a task with several parameters are a tuple. How a pool treats its
//! workers and items is said once, by its builder:
//!
//! ```no_run
//! # #[poolctl::task]
//! # fn square(x: i64) -> i64 {
//! #     x * x
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # poolctl::init();
//! use std::time::Duration;
//!
//! use poolctl::Pool;
//!
//! let pool = Pool::builder()
//!     .workers(8)
//!     .timeout(Duration::from_secs(60)) // of one item; the work itself is stopped
//!     .retries(2) // of an item that failed, timed out, or took its worker along
//!     .max_tasks(100_000) // then a worker is replaced
//!     .on_progress(|counts| eprintln!("{counts:?}"))
//!     .build()?;
//! assert_eq!(pool.map(square, [1, 2, 3])?, [1, 4, 9]);
//! pool.join()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Results: later, and in time
//! [`Pool::apply_async`] and [`Pool::map_async`] give an [`AsyncResult`]: to be waited for, with or without a limit, to be
//! asked whether it is ready, to be cancelled, or to be awaited. [`Pool::apply_async_with`] calls back.
//!
//! ```no_run
//! # #[poolctl::task]
//! # fn square(x: i64) -> i64 {
//! #     x * x
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # poolctl::init();
//! use std::time::Duration;
//!
//! use poolctl::Pool;
//!
//! let pool = Pool::new(2)?;
//! let result = pool.apply_async(square, 4)?;
//! match result.get_timeout(Duration::from_secs(1)) {
//!     Ok(squared) => println!("{}", squared?),
//!     Err(not_yet) => not_yet.cancel()?,
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Errors: what becomes of an item
//! Each has exactly one outcome. A panic or an `Err` in a task is that item's error, with message and backtrace
//! ([`TaskError`]). A worker that dies takes with it exactly the item it had started; that one fails (or is tried
//! again, [`PoolBuilder::retries`]), the worker is replaced, everything else goes on. Time limits, cancels and the end of
//! the pool stop the work itself, and no process outlives the program, however that ends.
//!
//! ```no_run
//! # #[poolctl::task]
//! # fn parsed(text: String) -> Result<i64, std::num::ParseIntError> {
//! #     text.parse()
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # poolctl::init();
//! use poolctl::{Pool, TaskError};
//!
//! let pool = Pool::new(2)?;
//! match pool.apply(parsed, "seven".to_owned()) {
//!     Ok(number) => println!("{number}"),
//!     Err(TaskError::Failed { type_name, message, .. }) => println!("{type_name}: {message}"),
//!     Err(TaskError::Panicked { message, trace, .. }) => println!("{message}\n{}", trace.unwrap_or_default()),
//!     Err(TaskError::WorkerDied { exit: Some(exit), stderr, .. }) => println!("{exit}: {stderr}"),
//!     Err(other) => return Err(other.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Tasks
//! [`task`] makes a function one that workers know by name. Arguments and results are anything that serde knows; large
//! vectors of numbers travel as raw bytes, and [`Array`] and [`SharedMemory`] do not travel at all. Closures cannot be
//! tasks, which the compiler says:
//!
//! ```compile_fail
//! # let pool = poolctl::Pool::new(1).unwrap();
//! let factor = 3;
//! let tripled = pool.map(|x: i64| x * factor, 0..10);
//! ```
//!
//! What a closure would capture becomes an argument, or the state that each worker has. In a task, [`current`] says which
//! one it is, [`current_pool`] lets it hand in further tasks and wait for them, [`log`] and [`progress`] tell the pool.
//!
//! # Workers
//! They are this program, started again, so [`init`] comes first in `main`; [`PoolBuilder::worker_executable`] names
//! another one. They start when there is work, and keep what their initializer made:
//!
//! ```no_run
//! use poolctl::{Pool, StateError, set_state, with_state};
//!
//! struct Model {
//!     weights: Vec<f64>,
//! }
//!
//! /// Once in each worker, before its first task.
//! #[poolctl::task]
//! fn load(weights: Vec<f64>) {
//!     set_state(Model { weights });
//! }
//!
//! #[poolctl::task]
//! fn score(x: f64) -> Result<f64, StateError> {
//!     with_state(|model: &mut Model| model.weights.iter().rev().fold(0.0, |sum, weight| sum * x + weight))
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     poolctl::init();
//!     let pool = Pool::builder().initializer(load, vec![1.0, 0.5]).build()?;
//!     assert_eq!(pool.apply(score, 2.0)?, 2.0);
//!     Ok(())
//! }
//! ```
//!
//! # Big data
//! A `Vec` of plain numbers goes through shared memory and is copied once each way. An [`Array`] (numbers) or a
//! [`SharedMemory`] (bytes) is a handle: given to a task, it is the same memory there, whatever its size.
//!
//! ```no_run
//! use poolctl::{Array, Pool};
//!
//! #[poolctl::task]
//! fn fill(numbers: Array<f64>, from: usize, to: usize) {
//!     for place in from..to {
//!         numbers.set(place, (place as f64).sqrt());
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     poolctl::init();
//!     let roots = Array::new(1 << 20)?;
//!     let halves = [(roots.clone(), 0, 1 << 19), (roots.clone(), 1 << 19, 1 << 20)];
//!     Pool::new(2)?.starmap(fill, halves)?;
//!     assert_eq!(roots.get(81), Some(9.0));
//!     Ok(())
//! }
//! ```
//!
//! # Shared objects
//! [`Lock`], [`RLock`], [`Semaphore`], [`Event`], [`Condition`], [`Barrier`], [`Value`], [`ShareableList`], [`Queue`] and
//! [`JoinableQueue`] are handles, too: given to a task or a process, they are the same object there. Each survives the death
//! of any process at any instruction: a lock comes back and the next owner is told ([`LockGuard::recovered`]), a permit comes
//! back, a barrier breaks, a queue has whole values and knows what was in the hands of the dead. A deadlock is an error that
//! names everybody in it. A process uses its own objects, and those of the one that started it; that one cannot use what a
//! worker of its makes. A program that this one did not start gets them by a name: [`publish`] and [`attach`].
//!
//! ```no_run
//! use poolctl::{LockError, Pool, Value};
//!
//! #[poolctl::task]
//! fn count(counter: Value<i64>) -> Result<(), LockError> {
//!     *counter.lock()? += 1;
//!     Ok(())
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     poolctl::init();
//!     let counter = Value::new(0)?;
//!     Pool::new(2)?.map(count, (0..1000).map(|_| counter.clone()))?;
//!     assert_eq!(counter.load(), 1000);
//!     Ok(())
//! }
//! ```
//!
//! # Processes and pipes
//! A [`Process`] runs one task in a process of its own, and can be joined, polled, asked to end and killed. A [`pipe()`]
//! joins two processes, a [`channel()`] goes one way; their ends are arguments like any other.
//!
//! ```no_run
//! use poolctl::{Connection, PipeError, Process, pipe};
//!
//! #[poolctl::task]
//! fn answer(line: Connection<usize, String>) -> Result<(), PipeError> {
//!     line.iter().try_for_each(|question| line.send(question?.len()))
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     poolctl::init();
//!     let (near, far) = pipe::<String, usize>()?;
//!     let process = Process::builder(answer, far).name("answerer").start()?;
//!     near.send("how long is this?".to_owned())?;
//!     assert_eq!(near.recv()?, 17);
//!     near.close();
//!     assert!(process.join()?.is_success());
//!     Ok(())
//! }
//! ```
//!
//! # Threads
//! A [`ThreadPool`] has the calls of a pool, in threads of this process, for work that waits and for debugging. It also
//! runs closures:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use poolctl::ThreadPool;
//!
//! let factor = 3;
//! assert_eq!(ThreadPool::new(4)?.map_fn(move |x| x * factor, [1, 2, 3])?, [3, 6, 9]);
//! # Ok(())
//! # }
//! ```
//!
//! # Beside tasks
//! Pools also run a Python function ([`PoolBuilder::python`]), a program in any language that speaks the worker protocol
//! ([`PoolBuilder::worker`]), a line filter ([`PoolBuilder::lines`]) or a command per item ([`PoolBuilder::command`]). What
//! they run is named once, so that their calls take items alone:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # poolctl::init();
//! use poolctl::Pool;
//!
//! let pool = Pool::builder().python("math", "factorial").workers(4).retries(1).build()?;
//! let factorials: Vec<u64> = pool.map(0..10)?;
//! assert_eq!(factorials[4], 24);
//! # Ok(())
//! # }
//! ```
//!
//! # Who does the work in this process
//! No runtime is needed. A thread that waits for a result drives the pool meanwhile, so that a loop of
//! [`Pool::apply`] costs no change of threads; one thread per pool sees to deaths, deadlines and futures when nobody
//! waits. An [`AsyncResult`] is a [`Future`] for any executor. Callbacks run on a thread of their own, started when there
//! is a first one. In a forked copy of the process every call answers [`TaskError::ForkedHost`].
//!
//! What workers print and log goes to `tracing`, target `poolctl::worker`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod arguments;
mod async_result;
mod block;
mod builder;
mod imap;
mod init;
mod kind;
mod map;
mod names;
mod nested;
mod outcomes;
mod pipe;
mod pool;
mod process;
mod raw;
mod shared;
mod slice;
mod task_error;
mod template;
mod thread_pool;

pub mod ipc;

pub use async_result::AsyncResult;
pub use builder::{BuildError, PoolBuilder};
pub use imap::{Imap, ImapUnordered};
pub use init::init;
pub use kind::{Commands, Gives, Kind, Lines, Native, OneTarget, Takes, Values};
pub use names::{
    AttachError, Attached, MAX_NAME_BYTES, NameError, PublishError, Published, attach, attach_timeout,
    publish,
};
pub use nested::{CurrentPool, NestedResult, current_pool};
pub use pipe::{Connection, PipeError, Receiver, Sender, channel, pipe};
pub use pool::{ExitResult, MapResult, Pool};
pub use poolctl_macros::task;
pub use poolctl_shm::SharedError;
pub use poolctl_supervisor::host::DeathPolicy;
pub use poolctl_supervisor::{
    Counts, Exit, GaveUp, Insight, ParcelError, ResolveError, SlowItem, StartError, TaskError as Fault,
    WorkerId, WorkerInsight,
};
#[doc(hidden)]
pub use poolctl_sync::{
    BarrierError, Deadlock, JoinError, Link as DeadlockLink, LockError, NoEntry, Owner, Participant,
    PermitError, ReleaseError, ReturnError, Spot, WaitError,
};
pub use poolctl_worker::expansion;
pub use poolctl_worker::{
    Current, DecodeError, EncodeError, Level, StateError, Task, current, log, progress, set_state, with_state,
};
pub use process::{CurrentProcess, Process, ProcessBuilder, ProcessError, current_process};
pub use shared::{
    Array, Barrier, BoundedSemaphore, Condition, Element, Event, JoinableQueue, Lock, LockGuard, Locked,
    LockedArray, LockedArrayGuard, NothingUnfinished, ObjectError, Permit, Queue, QueueError, RLock,
    RLockGuard, Semaphore, ShareableItem, ShareableList, ShareableListError, SharedMemory, SimpleQueue,
    Value, ValueGuard, set_shm_limit, shm_used,
};
pub use task_error::{MapError, TaskError};
pub use thread_pool::{
    Failure, ThreadImap, ThreadMapResult, ThreadPool, ThreadPoolBuilder, ThreadResult, ThreadStartError,
};

#[cfg(doc)]
use std::future::Future;
