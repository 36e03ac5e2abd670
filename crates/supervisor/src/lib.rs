//! The loop around the engine: it turns what happens into engine events, and effects into system calls.
//!
//! Data flows one way: [`Block`]s of items come in ([`Supervisor::push`]), lie in the store until they are settled,
//! travel over a worker's link, and come back to the [`Sink`] as results. The engine alone decides what happens.

#![forbid(unsafe_code)]

mod block;
mod config;
mod output;
mod report;
mod resolve;
mod spill;
mod store;

pub mod keeper;

pub use block::Block;
pub use config::{ArgumentError, CommandLine, CommandTemplate, Detail, Framing, PoolConfig, Target};
pub use output::Output;
pub use poolctl_engine::{Config as EngineConfig, Gate, Halt, HaltAt, HaltHow, Lifecycle, Outcome, Stop, Timeout};
pub use poolctl_protocol::remote_error::RemoteError;
pub use report::{Attempt, BadReply, GaveUp, LastStart, Notice, Report, Sink, Stream, TaskError};
pub use resolve::ResolveError;
pub use spill::{Extent, Spill};
