//! What a native worker is made of: tasks and their registry, how their arguments and results travel, and the loop that
//! runs them.
//!
//! Border: what is posted and published is `protocol`'s, the memory it goes through is `shm`'s. Nothing here knows of
//! pools; whoever calls [`serve_if_asked`] first thing in `main` is a worker when a host has started it as one.

#![forbid(unsafe_code)]

pub mod travel;

mod current;
mod failure;
mod panics;
mod state;

mod outlet;
mod task;

mod slice;

#[doc(hidden)]
pub mod expansion;

mod control;
mod pace;

mod link;

mod journal;

pub mod nested;

mod life;

pub mod seat;
mod serve;

#[cfg(test)]
mod tests;

pub use current::{Current, current, during};
pub use journal::{log, progress};
pub use outlet::{Given, Granted, Grants, Outlet};
pub use poolctl_protocol::Level;
pub use serve::{is_asked, serve_if_asked};
pub use slice::{Piece, SliceFn};
pub use state::{StateError, drop_states, set_state, with_state};
pub use task::{BinaryFn, Entry, JsonFn, Task, entries};
pub use travel::{DecodeError, Decoder, EncodeError, Encoder, Landed, attachments};
