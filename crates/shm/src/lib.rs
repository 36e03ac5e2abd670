//! The shared memory between a host and one native worker: two byte rings, one each way. And, for users' arrays, cells
//! that any number of processes share ([`SharedCells`]).
//!
//! What: [`HostEnd`] posts messages and drains records; [`WorkerEnd`] takes messages and publishes records. Neither
//! makes a system call but to wake a sleeping worker, or to sleep in it. Why: an item costs a few nanoseconds here and
//! some microseconds over a pipe. Border: bytes only; what messages and records mean is `protocol`'s.
//!
//! The host believes nothing that the worker wrote: each of its numbers is loaded once and checked against what the
//! host keeps privately, and what it published is copied out before anybody looks at it. The layout, the steps, why
//! each ordering is what it is, and what a death leaves behind stand in this crate's `README.md`.

mod bell;
mod budget;
mod claim;
#[cfg(not(loom))]
mod host_end;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(not(loom))]
mod page;
mod reading;
mod ring;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod shared;
mod sync;
#[cfg(not(loom))]
mod worker_end;

pub use budget::{set_limit, used};
pub use claim::Claim;
#[cfg(not(loom))]
pub use host_end::{HostEnd, Lie, News, WorkerFds};
#[cfg(not(loom))]
pub use segment::{AttachError, RING_BYTES};
#[cfg(not(loom))]
pub use shared::{Cell, SharedCells, SharedError};
#[cfg(not(loom))]
pub use worker_end::{Outbox, WorkerEnd};

/// The version of everything in shared memory, as a native worker's hello names it.
pub const LAYOUT: u32 = 2;

/// The longest message, and the longest record, that always fits in time into a ring of [`RING_BYTES`].
#[cfg(not(loom))]
pub const MAX_MESSAGE: usize = RING_BYTES / 2;
