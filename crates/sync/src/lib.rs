//! Locks in shared memory that know their owner, and come back when it dies.
//!
//! What: one segment of a host ([`Host`]) holds a table of participants, each one thread of one process life, and the
//! words of every object. Processes map it ([`Member`]) and use its objects: [`RawLock`], [`RawRLock`], [`RawSemaphore`],
//! [`RawEvent`], [`RawCondition`], [`RawBarrier`], [`RawQueue`], [`RawJoinableQueue`].
//! Why: a holder may be killed at any instruction, and nobody who waits may hang for it, nor be handed torn data
//! without being told. Border: words and tokens; guards, values and how handles travel are `poolctl`'s, and when a
//! process is dead is for the supervisor to say ([`Host::recover`]).
//!
//! The host waits for nothing in shared memory and believes nothing that it finds there. States, steps, orderings and
//! what survivors see stand in this crate's `README.md`.
#![forbid(unsafe_code)]

mod atomics;
#[cfg(not(loom))]
mod barrier;
mod bell;
#[cfg(not(loom))]
mod blocks;
#[cfg(not(loom))]
mod condition;
#[cfg(not(loom))]
mod deadlock;
#[cfg(not(loom))]
mod entry;
#[cfg(not(loom))]
mod event;
#[cfg(not(loom))]
mod ground;
#[cfg(not(loom))]
mod hand;
#[cfg(not(loom))]
mod held;
#[cfg(not(loom))]
mod host;
#[cfg(not(loom))]
mod joined;
#[cfg(not(loom))]
mod lines;
#[cfg(not(loom))]
mod lock;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(not(loom))]
mod member;
#[cfg(not(loom))]
mod nap;
#[cfg(not(loom))]
mod queue;
#[cfg(not(loom))]
mod rlock;
#[cfg(not(loom))]
mod semaphore;
#[cfg(not(loom))]
mod tally;
mod token;
mod word;

#[cfg(not(loom))]
pub use barrier::{BarrierError, RawBarrier};
#[cfg(not(loom))]
pub use blocks::{Blocks, NoBlock};
#[cfg(not(loom))]
pub use condition::{RawCondition, WaitError, Waited};
#[cfg(not(loom))]
pub use deadlock::{Deadlock, Link, Spot};
#[cfg(not(loom))]
pub use event::RawEvent;
#[cfg(not(loom))]
pub use ground::Place;
#[cfg(not(loom))]
pub use host::{Capacity, CreateError, Host, Recovered};
#[cfg(not(loom))]
pub use joined::{JoinError, RawJoinableQueue};
#[cfg(not(loom))]
pub use lock::{Detection, LockError, Owner, RawLock, ReleaseError};
#[cfg(not(loom))]
pub use member::{AttachError, Member, NoEntry, Participant, Ticket};
#[cfg(not(loom))]
pub use queue::{QueueError, RawQueue};
#[cfg(not(loom))]
pub use rlock::RawRLock;
#[cfg(not(loom))]
pub use semaphore::{PermitError, RawSemaphore, ReturnError};
pub use word::Acquired;
