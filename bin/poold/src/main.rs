//! `poold`, the service: named pools, warm for many clients, on a Unix socket.
//!
//! The same executable is the keeper of its workers when it is started with `--keeper`.

#![forbid(unsafe_code)]

mod cli;
mod config;
mod failure;
mod log;
mod serve;
mod signals;

use std::process::ExitCode;

fn main() -> ExitCode {
    if poolctl_supervisor::keeper::requested() {
        return poolctl_supervisor::keeper::serve();
    }
    cli::run().into()
}
