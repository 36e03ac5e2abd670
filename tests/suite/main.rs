//! Black-box tests of `poolctl`: real processes, real signals, real deaths.
//!
//! `POOLCTL_BIN` names the binary under test; without it the one of this build's profile is built and used.
//! `POOLCTL_TEST_SEED` repeats a random run, `POOLCTL_TEST_LONG=1` runs the sizes that take minutes.
#![forbid(unsafe_code)]

mod fault;
mod peer;
mod zoo;

mod apply;
mod bad_bytes;
mod bad_claims;
mod between_items;
mod clients;
mod commands;
mod deaths;
mod errors;
mod exit_codes;
mod flags;
mod floods;
mod functions;
mod gone;
mod inheritance;
mod input;
mod json;
mod limits;
mod lines;
mod memory;
mod native;
mod native_deaths;
mod native_memory;
mod native_rules;
mod nothing_lost;
mod offers;
mod output;
mod poold;
mod replacement;
mod resume;
mod retries;
mod shell_locks;
mod shell_runs;
mod shell_terminal;
mod signals;
mod starts;
mod worker_examples;
