//! The `poolctl` command: runs work through pools of worker processes.
//!
//! The same executable is the keeper of those processes when it is started with `--keeper`.

#![forbid(unsafe_code)]

mod apply;
mod cli;
mod completions;
mod config;
mod end;
mod failure;
mod functions;
mod lock;
mod locks;
mod map;
mod nearest;
mod own_process;
mod serve;
mod service;
mod stderr;
mod value;

use std::process::ExitCode;

fn main() -> ExitCode {
    if poolctl_supervisor::keeper::requested() {
        return poolctl_supervisor::keeper::serve();
    }
    cli::run().into()
}
