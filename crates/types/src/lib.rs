//! The words of poolctl as types: ids, time, outcomes, exit codes.
//!
//! The lowest floor. Nothing here does I/O; everything else may import it.

#![forbid(unsafe_code)]

mod death;
mod exit_code;
mod id;
mod item;
mod moment;

pub use death::{Exit, SignalName};
pub use exit_code::ExitCode;
pub use id::{Generation, Slot, WorkerId};
pub use item::{Item, ItemRange};
pub use moment::Moment;
