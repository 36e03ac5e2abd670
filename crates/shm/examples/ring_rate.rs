//! How fast the rings are: `cargo run --release -p poolctl-shm --example ring_rate`.
//!
//! The first figures are of one process that is both ends; the others of two, the second being this program again.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::ffi::CString;
use std::hint::{black_box, spin_loop};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};
use std::{env, error, thread};

use poolctl_shm::{HostEnd, RING_BYTES, WorkerEnd};
use poolctl_sys::inherited;
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::spawn::{Command, Spawner};

type Outcome<T> = Result<T, Box<dyn error::Error>>;

/// The first argument of the second process.
const ECHO: &str = "--echo";
/// How long to let results gather at most.
const PAUSES: u64 = 100;
/// What ends it.
const LAST: u64 = u64::MAX;

fn main() -> Outcome<()> {
    if env::args().nth(1).as_deref() == Some(ECHO) {
        echo(WorkerEnd::attach(inherited::take(3)?, inherited::take(4)?)?);
        return Ok(());
    }
    one_process()?;
    for batch in [1, 16, 256, 4096] {
        let nanos = echoed(batch, Duration::from_millis(1))?;
        println!("echo, {batch:4} items at once, both looking: {nanos:9.1} ns an item");
    }
    let nanos = echoed(1, Duration::ZERO)?;
    println!("echo, one by one, worker asleep: {nanos:20.1} ns an item");
    Ok(())
}

/// What each step costs where nobody else touches the lines.
fn one_process() -> Outcome<()> {
    const ROUNDS: u32 = 2_000_000;
    let (mut host, fds) = HostEnd::new(RING_BYTES, RING_BYTES)?;
    let mut worker = WorkerEnd::attach(fds.tasks, fds.results)?;
    let mut drained = Vec::with_capacity(RING_BYTES);
    let per = |begun: Instant, rounds: u32| begun.elapsed().as_nanos() as f64 / f64::from(rounds);

    let begun = Instant::now();
    for round in 0..ROUNDS {
        if !host.post(&[&[0; 8], &u64::from(round).to_le_bytes()]) {
            host.publish();
            worker.consume(worker.posted().len());
            worker.publish();
        }
    }
    println!("post a message of 16 bytes: {:25.1} ns", per(begun, ROUNDS));

    let begun = Instant::now();
    for _ in 0..ROUNDS {
        host.publish();
    }
    println!("publish it (a full fence, nobody asleep): {:11.1} ns", per(begun, ROUNDS));
    worker.consume(worker.posted().len());
    worker.publish();

    let begun = Instant::now();
    for round in 0..ROUNDS {
        if worker.spare().len() < 16 {
            drained.clear();
            host.drain(&mut drained)?;
        }
        worker.begin(u64::from(round), None);
        worker.spare()[..8].copy_from_slice(&8_u64.to_le_bytes());
        worker.spare()[8..16].copy_from_slice(&u64::from(round).to_le_bytes());
        worker.advance(16);
        worker.publish();
    }
    println!("begin, record of 16 bytes, publish, drain: {:10.1} ns", per(begun, ROUNDS));

    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(host.has_news());
    }
    println!("ask for news: {:39.1} ns", per(begun, ROUNDS));
    Ok(())
}

/// Nanoseconds an item takes through a second process and back, `batch` of them published at once.
fn echoed(batch: u64, spin: Duration) -> Outcome<f64> {
    let (mut host, fds) = HostEnd::new(RING_BYTES, RING_BYTES)?;
    host.set_spin(spin);
    let path = CString::new(env::current_exe()?.as_os_str().as_bytes())?;
    let argument = CString::new(ECHO)?;
    let child = Spawner::new()?.spawn(&Command {
        path: &path,
        argv: &[&path, &argument],
        env: &[],
        cwd: None,
        fds: &[(fds.tasks.as_fd(), 3), (fds.results.as_fd(), 4)],
        nice: None,
        open_files: None,
        die_with_parent: true,
    })?;
    let rounds = if batch == 1 { 100_000 } else { 4_000_000 / batch };
    let mut drained = Vec::with_capacity(RING_BYTES);
    let mut begun = Instant::now();

    for round in 0..rounds + rounds / 10 {
        if round == rounds / 10 {
            begun = Instant::now();
        }
        for item in 0..batch {
            assert!(host.post(&[&item.to_le_bytes()]), "an empty ring has room");
        }
        host.publish();
        drained.clear();
        while (drained.len() as u64) < batch * 8 {
            // One look is enough for one item. For more, a look at each would take the line that says how many there are
            // away from the worker each time it wants to write there.
            while !host.has_news() {
                look_again(spin);
            }
            for _ in 0..batch.min(PAUSES) - 1 {
                spin_loop();
            }
            host.drain(&mut drained)?;
        }
    }
    let nanos = begun.elapsed().as_nanos() as f64 / (rounds * batch) as f64;
    assert!(host.post(&[&LAST.to_le_bytes()]), "an empty ring has room");
    host.publish();
    end(&child)?;
    Ok(nanos)
}

/// The host of these figures never sleeps; on one processor with its worker it gives way.
fn look_again(spin: Duration) {
    if spin.is_zero() { thread::yield_now() } else { spin_loop() }
}

fn end(child: &Pidfd) -> Outcome<()> {
    child.wait_for_end(None)?;
    child.reap()?;
    Ok(())
}

/// Echoes words until the last.
fn echo(mut worker: WorkerEnd) {
    let mut count = 0;
    loop {
        worker.wait();
        let (posted, outbox) = worker.split();
        let bytes = posted.len();
        for item in posted.chunks_exact(8) {
            if item == LAST.to_le_bytes() {
                return;
            }
            count += 1;
            outbox.begin(count, None);
            outbox.spare()[..8].copy_from_slice(item);
            outbox.advance(8);
            outbox.publish();
        }
        worker.consume(bytes);
        worker.publish();
    }
}
