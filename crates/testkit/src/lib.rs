//! Fixtures for tests with real processes: a directory of one's own, programs run under a deadline, leak checks,
//! a seeded random generator, a killer of workers, and a stepper that kills at each instruction.
//!
//! Nothing here links the product: a test drives the `poolctl` binary as a person would.
//!
//! # Rules
//! - Every wait has a deadline and fails with what was running then; no test can hang.
//! - Every process a test starts carries [`MARK`] in its environment; a [`Sandbox`] finds by it whatever is left.
#![forbid(unsafe_code)]

mod binary;
mod capture;
mod finished;
mod harness;
mod invocation;
mod killer;
mod proc;
mod random;
mod running;
mod sandbox;
#[cfg(target_arch = "x86_64")]
pub mod stepper;
mod terminal;
mod wait;

pub use binary::{poolctl_binary, poold_binary, python};
pub use finished::Finished;
pub use harness::{Test, are_long_tests_wanted, run_tests};
pub use invocation::Invocation;
pub use killer::Killer;
pub use proc::{MARK, Process, children, descriptors, is_alive, marked, ran, status_kib};
pub use random::{Random, seed};
pub use running::Running;
pub use sandbox::Sandbox;
pub use terminal::Terminal;
pub use wait::{DEADLINE, Empty, pass, wait_until};
