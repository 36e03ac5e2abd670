//! The brain of a pool: which item runs when, on which worker, and what a death means.
//!
//! Pure: [`Event`]s go in, [`Effect`]s come out, and time is an argument. No I/O, clock or thread.

#![forbid(unsafe_code)]

mod config;
mod effect;
mod event;

mod clock;
mod counts;
mod halt;
mod held;
mod intensity;
mod median;
mod pace;
mod window;

mod backlog;
mod slot;

mod lifecycle;

mod engine;

mod account;
mod ending;
mod feed;
mod invariants;
mod settle;
mod timing;

pub use config::{Config, Halt, HaltAt, HaltHow, Lifecycle, Timeout};
pub use counts::Counts;
pub use effect::{Effect, GiveUp, Outcome};
pub use engine::Engine;
pub use event::{Accounting, Answer, Capacity, Claim, End, EndCause, Event, Gate, Lasting, Stop};
