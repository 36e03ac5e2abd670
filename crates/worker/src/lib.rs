//! What a native worker is made of: tasks and their registry, how their arguments and results travel, and the loop that
//! runs them.

#![forbid(unsafe_code)]

pub mod travel;

mod failure;
mod outlet;
mod task;

mod slice;

#[doc(hidden)]
pub mod expansion;

pub use outlet::{Given, Granted, Grants, Outlet};
pub use slice::{Piece, SliceFn};
pub use task::{BinaryFn, Entry, JsonFn, Task, entries};
pub use travel::{DecodeError, Decoder, EncodeError, Encoder, Landed, attachments};
