//! Measures what the keeper adds to a spawn: `cargo run --release -p poolctl-supervisor --example keeper_rate`.
//!
//! Runs `/bin/true` many times, two at once: first spawned by this process itself, then by its keeper with one spawn
//! asked for ahead and both output streams captured. Prints microseconds for each, in turn, and the ratio.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a measurement is for reading")]

use std::collections::HashMap;
use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Instant;

use poolctl_supervisor::keeper::{self, Keeper, Report, Setup};
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::poller::{Interest, Poller};
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_sys::{pipe, transfer};
use poolctl_types::WorkerId;

const RUNS: u64 = 3000;
const AT_ONCE: usize = 2;
const AHEAD: usize = 1;
const SOCKET: u64 = u64::MAX;

fn main() -> ExitCode {
    if keeper::requested() {
        return keeper::serve();
    }
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Box<dyn Error>> {
    for _ in 0..5 {
        let bare = bare()?;
        let kept = kept()?;
        println!("bare {bare:.1} us, keeper {kept:.1} us, ratio {:.3}", kept / bare);
    }
    Ok(())
}

/// Spawned here, nothing captured.
fn bare() -> Result<f64, Box<dyn Error>> {
    let env: Vec<_> = std::env::vars()
        .map(|(n, v)| std::ffi::CString::new(format!("{n}={v}")))
        .collect::<Result<_, _>>()?;
    let env: Vec<_> = env.iter().map(|variable| variable.as_c_str()).collect();
    let mut spawner = Spawner::new()?;
    let mut poller = Poller::new()?;
    let mut living: HashMap<u64, Pidfd> = HashMap::new();
    let mut ready = Vec::new();
    let start = Instant::now();
    for number in 0..RUNS {
        while living.len() == AT_ONCE {
            poller.wait(&mut ready, None)?;
            for event in &ready {
                if let Some(pidfd) = living.remove(&event.token) {
                    pidfd.reap()?;
                }
            }
        }
        let pidfd = spawner.spawn(&Command {
            path: c"/bin/true",
            argv: &[c"/bin/true"],
            env: &env,
            cwd: None,
            fds: &[],
            nice: None,
            open_files: None,
            die_with_parent: false,
        })?;
        poller.add(pidfd.as_fd(), number, Interest::Read)?;
        living.insert(number, pidfd);
    }
    for pidfd in living.values() {
        pidfd.wait_for_end(None)?;
        pidfd.reap()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / RUNS as f64)
}

/// One run in flight: what is not over yet.
struct Flight {
    streams: [Option<OwnedFd>; 2],
    exited: bool,
}

/// Spawned by the keeper, everything captured, as a pool does it.
fn kept() -> Result<f64, Box<dyn Error>> {
    let setup = Setup {
        run_id: "rate".to_owned(),
        env: std::env::vars_os().collect(),
        max_running: Some(2),
        ..Setup::default()
    };
    let mut keeper = Keeper::start(&std::env::current_exe()?, setup)?;
    let mut poller = Poller::new()?;
    poller.add(keeper.socket(), SOCKET, Interest::Read)?;
    let mut flights: HashMap<u64, Flight> = HashMap::new();
    let (mut ready, mut reports, mut buffer) = (Vec::new(), Vec::new(), vec![0; 65536]);
    let (mut asked, mut done) = (0, 0);
    let start = Instant::now();
    while done < RUNS {
        while asked < RUNS && flights.len() < AT_ONCE + AHEAD {
            let (out, out_far) = pipe::pair()?;
            let (err, err_far) = pipe::pair()?;
            poller.add(out.as_fd(), asked * 2, Interest::Read)?;
            poller.add(err.as_fd(), asked * 2 + 1, Interest::Read)?;
            let worker = WorkerId::new(0, asked);
            keeper.spawn(worker, b"/bin/true", &[b"/bin/true"], &[], vec![(out_far, 1), (err_far, 2)])?;
            flights.insert(asked, Flight { streams: [Some(out), Some(err)], exited: false });
            asked += 1;
        }
        keeper.flush()?;
        poller.wait(&mut ready, None)?;
        for event in &ready {
            if event.token == SOCKET {
                keeper.receive(&mut reports)?;
                continue;
            }
            let stream = usize::from(event.token % 2 == 1);
            let Some(flight) = flights.get_mut(&(event.token / 2)) else { continue };
            let Some(end) = &flight.streams[stream] else { continue };
            if transfer::read(end.as_fd(), &mut buffer)? == 0 {
                flight.streams[stream] = None;
            }
        }
        for report in reports.drain(..) {
            match report {
                Report::Exited { worker, .. } => {
                    keeper.reap(worker);
                    if let Some(flight) = flights.get_mut(&worker.generation.0) {
                        flight.exited = true;
                    }
                }
                Report::Spawned { .. } => {}
                other => return Err(format!("{other:?}").into()),
            }
        }
        let before = flights.len();
        flights.retain(|_, flight| !(flight.exited && flight.streams.iter().all(Option::is_none)));
        done += (before - flights.len()) as u64;
    }
    let took = start.elapsed().as_secs_f64() * 1e6 / RUNS as f64;
    keeper.shut_down();
    Ok(took)
}
