//! Fixtures for tests with real processes: a directory of one's own, programs run under a deadline, leak checks,
//! a seeded random generator and a killer of workers.
//!
//! Nothing here links the product: a test drives the `poolctl` binary as a person would.
//!
//! # Rules
//! - Every wait has a deadline and fails with what was running then; no test can hang.
//! - Every process a test starts carries [`MARK`] in its environment; a [`Sandbox`] finds by it whatever is left.
#![forbid(unsafe_code)]

mod wait;
mod random;
mod proc;
mod binary;
mod run;
mod finished;
mod sandbox;
mod killer;

pub use binary::{poolctl_binary, python};
pub use finished::Finished;
pub use killer::Killer;
pub use proc::{MARK, Process, children, descriptors, is_alive, marked, status_kib};
pub use random::{Random, seed};
pub use run::{Invocation, Running};
pub use sandbox::Sandbox;
pub use wait::{DEADLINE, Empty, pass, wait_until};
