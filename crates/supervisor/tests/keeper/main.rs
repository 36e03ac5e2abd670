//! The keeper, with real processes: what a worker finds, what the host hears, and that nothing is left.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "what a test cannot get, it fails without")]

mod deaths;
mod kept;
mod orphans;
mod pressure;
mod spawns;
