//! A pool of worker processes that loses nothing when one of them dies.
//!
//! Workers are warm: a Python function, a program that speaks the worker protocol or a line filter is started once and
//! handed item after item; a command is started per item. A worker that dies takes with it exactly the item it had
//! started; that one fails (or is tried again), the worker is replaced, everything else goes on. Time limits, cancels
//! and the end of the pool stop the work itself, and no process outlives the program, however that ends.
//!
//! ```no_run
//! use poolctl::Pool;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // First thing in `main`: the program also serves as keeper of its own workers.
//!     poolctl::init();
//!
//!     let pool = Pool::builder().python("math", "factorial").workers(4).retries(1).build()?;
//!
//!     let one: u64 = pool.apply(5)?;
//!     assert_eq!(one, 120);
//!
//!     let many: Vec<u64> = pool.map(0..10)?;
//!     assert_eq!(many[4], 24);
//!
//!     for factorial in pool.imap(1_u64..) {
//!         let factorial: u64 = factorial?;
//!         if factorial > 1_000_000 {
//!             break;
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Who does the work in this process
//! No runtime is needed. A thread that waits for a result drives the pool meanwhile, so that a loop of
//! [`Pool::apply`] costs no change of threads; one thread per pool sees to deaths, deadlines and futures when nobody
//! waits. An [`AsyncResult`] is a [`Future`] for any executor. In a forked copy of the process every call answers
//! [`TaskError::ForkedHost`].
//!
//! What workers print and log goes to `tracing`, target `poolctl::worker`.
//!
//! Workers written in Rust, with functions registered by an attribute, are to come; until then a Rust program can be a
//! worker like any other, by [`PoolBuilder::worker`].

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
