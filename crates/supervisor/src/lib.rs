//! The loop around the engine: it turns what happens into engine events, and effects into system calls.
//!
//! Data flows one way: [`Block`]s of items come in ([`Supervisor::push`]), lie in the store until they are settled,
//! travel over a worker's link, and come back to the [`Sink`] as results. The engine alone decides what happens.

#![forbid(unsafe_code)]

mod block;
mod capture;
mod config;
mod constant;
mod desk;
mod held;
mod insight;
mod launch;
mod life;
mod link;
mod memory_kills;
mod output;
mod parcels;
mod report;
mod resolve;
mod results;
mod spill;
mod store;
mod supervisor;

pub mod channel;
pub mod host;
pub mod keeper;

pub use block::{Attachment, Block, Shape};
pub use config::{
    ArgumentError, CommandLine, CommandTemplate, Detail, Framing, Native, PoolConfig, Seat, Seats, Taken,
    Target,
};
pub use constant::{Constant, Content};
pub use insight::{Insight, SlowItem, WorkerInsight};
pub use output::{Held, Lodged, Output};
pub use parcels::{Parcel, ParcelError, Parcels};
pub use poolctl_engine::Counts;
pub use poolctl_engine::{
    Config as EngineConfig, Gate, Halt, HaltAt, HaltHow, Lifecycle, Outcome, Stop, Timeout,
};
pub use poolctl_protocol::{Encoding, Hello, Level, RemoteError};
pub use poolctl_sys::clock::now;
pub use poolctl_sys::cpu::available as available_cpus;
pub use poolctl_sys::file_lock;
pub use poolctl_sys::inherited::all as inherited_descriptors;
pub use poolctl_sys::limits::raise_open_files;
pub use poolctl_sys::pidfd::Pidfd;
pub use poolctl_sys::process::{Change, next_change, set_subreaper};
pub use poolctl_sys::signals::keep_dead_children;
pub use poolctl_sys::spawn;
pub use poolctl_sys::waker::Waker;
pub use poolctl_types::{Exit, ExitCode, Item, ItemRange, Moment, Slot, WorkerId};
pub use report::{
    Attempt, BadReply, ExitResult, GaveUp, LastStart, NestedOutcome, Notice, Report, Sink, Stream, TaskError,
};
pub use resolve::{ResolveError, resolve};
pub use results::{Form, Results};
pub use spill::{Extent, Spill};
pub use supervisor::{Rest, Running, StartError, Supervisor, Turn};
