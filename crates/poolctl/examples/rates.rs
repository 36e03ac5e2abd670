//! How long calls take on this machine: `cargo run --release -p poolctl --example rates [rounds]`.
//!
//! Lines through `cat` and numbers through a Python function; one line per measurement, its best of several rounds.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use poolctl::{Lines, Pool, Values};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    poolctl::init();
    let rounds = std::env::args().nth(1).map_or(Ok(5), |rounds| rounds.parse())?;
    let cat = Pool::builder().lines(["cat"]).workers(1).build()?;
    measure("apply, in a loop", rounds, 20_000, |count| (0..count).try_for_each(|_| apply(&cat)));
    measure("apply, after 100 µs of other work (included)", rounds, 2000, |count| {
        (0..count).try_for_each(|_| {
            work(Duration::from_micros(100));
            apply(&cat)
        })
    });
    measure("apply, from 8 threads at once", rounds, 16_000, |count| {
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..count / 8).try_for_each(|_| apply(&cat)))).collect();
            threads.into_iter().flat_map(|thread| thread.join()).collect::<Result<(), _>>()
        })
    });
    measure("map, lines", rounds, 100_000, |count| {
        cat.map((0..count).map(|_| "a")).map(drop).map_err(|error| error.source)
    });
    let python: Pool<Values> = Pool::builder().python("operator", "neg").workers(2).build()?;
    measure("apply, Python", rounds, 5000, |count| {
        (0..count).try_for_each(|number| python.apply::<_, i64>(number).map(drop))
    });
    measure("map, Python", rounds, 300_000, |count| {
        python.map::<_, i64>(0..count).map(drop).map_err(|error| error.source)
    });
    measure("imap, Python", rounds, 300_000, |count| {
        python.imap::<_, i64, _>(0..count).try_for_each(|result| result.map(drop))
    });
    Ok(ExitCode::SUCCESS)
}

fn apply(pool: &Pool<Lines>) -> Result<(), poolctl::TaskError> {
    pool.apply("a").map(drop)
}

/// Keeps a processor busy.
fn work(span: Duration) {
    let start = Instant::now();
    while start.elapsed() < span {
        std::hint::spin_loop();
    }
}

/// Prints the best of `rounds` measurements, per call.
#[expect(clippy::print_stdout, reason = "what it measures is what it is for")]
fn measure<T, F>(what: &str, rounds: u32, count: u32, mut run: F)
where
    F: FnMut(u32) -> Result<T, poolctl::TaskError>,
{
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        if let Err(error) = run(count) {
            println!("{what}: {error}");
            return;
        }
        best = best.min(start.elapsed() / count);
    }
    println!("{what}: {:.2} µs", best.as_secs_f64() * 1e6);
}
