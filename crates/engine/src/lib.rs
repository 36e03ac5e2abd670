//! The brain of a pool: which item runs when, on which worker, and what a death means.
//!
//! Pure: [`Event`]s go in, [`Effect`]s come out, and time is an argument. No I/O, clock or thread.

mod config;
mod effect;
mod event;

pub use config::{Config, Halt, HaltAt, HaltHow, Lifecycle, Timeout};
pub use effect::{Effect, GiveUp, Outcome};
pub use event::{Accounting, Answer, Capacity, Claim, End, EndCause, Event, Gate, Lasting, Stop};
