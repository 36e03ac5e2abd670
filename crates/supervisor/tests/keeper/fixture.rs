//! A program that is a keeper when asked to be, and otherwise a host that starts workers and then only waits.
//!
//! `keeper-fixture RUN_ID SCRIPT…` runs every script with `sh -c` as a worker, its stdout being the host's. It prints
//! `keeper PID`, then `worker PID` for each, or `failed STAGE ERRNO`. Where a script is `--hold` it starts a process
//! that is no worker and holds a copy of the keeper's socket, and prints `holder PID`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a test reads it")]

use std::error::Error;
use std::os::fd::AsFd;
use std::process::ExitCode;

use poolctl_supervisor::keeper::{self, Keeper, Report, Setup};
use poolctl_sys::poller::{Interest, Poller};
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_types::WorkerId;

fn main() -> ExitCode {
    if keeper::requested() {
        return keeper::serve();
    }
    match host() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn host() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let run_id = arguments.next().ok_or("usage: keeper-fixture RUN_ID SCRIPT…")?;
    let setup = Setup { run_id, env: std::env::vars_os().collect(), ..Setup::default() };
    let mut keeper = Keeper::start(&std::env::current_exe()?, setup)?;
    println!("keeper {}", keeper.pidfd().pid());
    let stdout = std::io::stdout();
    for (number, script) in (0..).zip(arguments) {
        if script == "--hold" {
            hold_socket(&keeper)?;
            continue;
        }
        let argv: [&[u8]; 3] = [b"sh", b"-c", script.as_bytes()];
        let fds = vec![(stdout.as_fd().try_clone_to_owned()?, 1)];
        keeper.spawn(WorkerId::new(number, 0), b"/bin/sh", &argv, &[], fds)?;
        keeper.flush()?;
    }
    let mut poller = Poller::new()?;
    poller.add(keeper.socket(), 0, Interest::Read)?;
    let (mut ready, mut reports) = (Vec::new(), Vec::new());
    loop {
        keeper.flush()?;
        poller.wait(&mut ready, None)?;
        keeper.receive(&mut reports)?;
        for report in reports.drain(..) {
            match report {
                Report::Spawned { pid, .. } => println!("worker {pid}"),
                Report::SpawnFailed { stage, errno, .. } => println!("failed {stage:?} {errno}"),
                Report::Dropped { .. } | Report::Exited { .. } => {}
            }
        }
    }
}

/// As a fork of the host would: the socket's other end does not end with the host.
fn hold_socket(keeper: &Keeper) -> Result<(), Box<dyn Error>> {
    let holder = Spawner::new()?.spawn(&Command {
        path: c"/bin/sh",
        argv: &[c"sh", c"-c", c"exec sleep 1000"],
        env: &[c"PATH=/usr/bin:/bin"],
        cwd: None,
        fds: &[(keeper.socket(), 5)],
        nice: None,
        open_files: None,
        die_with_parent: false,
    })?;
    println!("holder {}", holder.pid());
    Ok(())
}
