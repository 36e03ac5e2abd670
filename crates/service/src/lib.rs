//! Pools for other programs: the server of the client protocol, one loop for all its clients and pools, and a client of it.
//!
//! What is said between the two ends is in docs/protocol.md ("The client protocol").

#![forbid(unsafe_code)]

mod spec;

mod server;

pub use server::{Allowed, Control, Controller, Server, Setup};
pub use spec::{FramingSpec, OnWorkerDeath, PoolSpec, TargetSpec};
