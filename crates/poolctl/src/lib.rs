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
//! # What becomes of an item
//! Each has exactly one outcome. A panic or an `Err` in a task is that item's error, with message and backtrace
//! ([`TaskError`]). A worker that dies takes with it exactly the item it had started; that one fails (or is tried
//! again, [`PoolBuilder::retries`]), the worker is replaced, everything else goes on. Time limits, cancels and the end of
//! the pool stop the work itself, and no process outlives the program, however that ends.
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
//! What a closure would capture becomes an argument, or the state that each worker has: an
//! [initializer](PoolBuilder::initializer) puts it there with [`set_state`], tasks use it by [`with_state`].
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
//! A [`Process`] runs one task in a process of its own. A [`ThreadPool`] has the calls of a pool, in threads.
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
pub use poolctl_worker::expansion;
pub use poolctl_worker::{
    Current, DecodeError, EncodeError, Level, StateError, Task, current, log, progress, set_state, with_state,
};
pub use process::{CurrentProcess, Process, ProcessBuilder, ProcessError, current_process};
pub use shared::{Array, Element, SharedMemory};
pub use task_error::{MapError, TaskError};
pub use thread_pool::{
    Failure, ThreadImap, ThreadMapResult, ThreadPool, ThreadPoolBuilder, ThreadResult, ThreadStartError,
};

#[cfg(doc)]
use std::future::Future;
