//! How fast pools of tasks are beside what Rust programs use today: one measurement a run, for `cargo xtask bench`.
//!
//! usage: `native_rates WHAT WHO N`. The figure goes to the file that `$figure` names, what proves the work to stdout.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what it prints is compared")]

use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{env, fs};

use poolctl::{Array, Connection, PipeError, Pool, pipe};
use rayon::prelude::*;

type Done = Result<(), Box<dyn Error>>;

/// Workers and threads, where there is more than one.
const WORKERS: usize = 2;

/// How many of what `apply_async` has handed in are not yet fetched.
const IN_FLIGHT: usize = 10_000;

/// Numbers in an array of 16 MiB.
const NUMBERS: usize = 2 << 20;

#[poolctl::task]
fn square(x: i64) -> i64 {
    squared(x)
}

/// What all of them do to a number.
fn squared(x: i64) -> i64 {
    x.wrapping_mul(x)
}

/// What is done is next to nothing, so that what is measured is the way there and back.
#[poolctl::task]
fn with_ends_swapped(mut numbers: Vec<f64>) -> Vec<f64> {
    let last = numbers.len() - 1;
    numbers.swap(0, last);
    numbers
}

#[poolctl::task]
fn first(numbers: Array<f64>) -> Option<f64> {
    numbers.get(0)
}

/// Says who it is, and waits until it is let go.
#[poolctl::task]
fn hold(line: Connection<u32, ()>) -> Result<(), PipeError> {
    line.send(std::process::id())?;
    line.recv()
}

fn main() -> Done {
    procspawn::init();
    poolctl::init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [what, who, count] = arguments[..] else { return Err("usage: native_rates WHAT WHO N".into()) };
    let count: usize = count.parse()?;
    match (what, who) {
        ("map", _) => map(who, count),
        ("million", _) => million(count),
        ("slice", _) => slice(who, count),
        ("slice-first", _) => slice_first(who, count),
        ("apply", _) => apply(who, count),
        ("apply-async", _) => apply_async(who, count),
        ("arrays", _) => arrays(who, count),
        ("handle", "large") => handle(NUMBERS, count),
        ("handle", "small") => handle(1, count),
        ("start", _) => start(who, count),
        ("workers", "poolctl") => workers(count),
        ("parent", "large") => parent(1 << 30, count),
        ("parent", "small") => parent(0, count),
        _ => Err("it measures no such thing".into()),
    }
}

/// The squares of the numbers from 0 on; the pool has run something before.
fn map(who: &str, count: usize) -> Done {
    let numbers = 0..i64::try_from(count)?;
    let (time, squares) = match who {
        "poolctl" => {
            let pool = warm_pool(WORKERS)?;
            timed(|| pool.map(square, numbers))?
        }
        "rayon" => {
            let pool = threads()?;
            timed(|| {
                Ok::<_, poolctl::MapError>(pool.install(|| numbers.into_par_iter().map(squared).collect()))
            })?
        }
        _ => timed(|| Ok::<_, poolctl::MapError>(numbers.map(squared).collect()))?,
    };
    tell_sum(&squares);
    tell(count as f64 / time.as_secs_f64())
}

/// A new pool and nothing else: for who counts what that takes.
fn million(count: usize) -> Done {
    let pool = Pool::new(u32::try_from(WORKERS)?)?;
    let squares = pool.map(square, 0..i64::try_from(count)?)?;
    pool.join()?;
    tell_sum(&squares);
    Ok(())
}

/// The same as [`map`] from one slice to another, both in memory already; the second time.
fn slice(who: &str, count: usize) -> Done {
    let (input, mut output): (Vec<i64>, _) = ((0..i64::try_from(count)?).collect(), vec![1; count]);
    let (pool, threads) = (warm_pool(WORKERS)?, threads()?);
    let mut run = || match who {
        "poolctl" => pool.map_slice(square, &input, &mut output),
        "rayon" => {
            threads.install(|| output.par_iter_mut().zip(&input).for_each(|(to, x)| *to = squared(*x)));
            Ok(())
        }
        _ => {
            output.iter_mut().zip(&input).for_each(|(to, x)| *to = squared(*x));
            Ok(())
        }
    };
    run()?;
    let (time, ()) = timed(run)?;
    tell_sum(&output);
    tell(count as f64 / time.as_secs_f64())
}

/// The same by a pool that has done nothing yet, into memory that nobody has touched.
fn slice_first(who: &str, count: usize) -> Done {
    let input: Vec<i64> = (0..i64::try_from(count)?).collect();
    let (pool, threads) = (Pool::new(u32::try_from(WORKERS)?)?, threads()?);
    let mut output = vec![0; count];
    let (time, ()) = timed(|| match who {
        "poolctl" => pool.map_slice(square, &input, &mut output),
        _ => {
            threads.install(|| output.par_iter_mut().zip(&input).for_each(|(to, x)| *to = squared(*x)));
            Ok(())
        }
    })?;
    tell_sum(&output);
    tell(count as f64 / time.as_secs_f64())
}

/// One call after another; the median of their times.
fn apply(who: &str, count: usize) -> Done {
    let numbers = 0..i64::try_from(count)?;
    let mut times = Vec::with_capacity(count);
    let mut squares = Vec::with_capacity(count);
    if who == "procspawn" {
        let pool = procspawn::Pool::new(1)?;
        pool.spawn(1, squared).join()?;
        for x in numbers {
            let (time, result) = timed(|| pool.spawn(x, squared).join())?;
            times.push(time);
            squares.push(result);
        }
        pool.shutdown();
    } else {
        let pool = warm_pool(who.parse()?)?;
        for x in numbers {
            let (time, result) = timed(|| pool.apply(square, x))?;
            times.push(time);
            squares.push(result);
        }
    }
    tell_sum(&squares);
    tell(median(&mut times).as_secs_f64() * 1e6)
}

/// Calls handed in one by one, and fetched one by one.
fn apply_async(who: &str, count: usize) -> Done {
    let numbers = 0..i64::try_from(count)?;
    let mut squares = Vec::with_capacity(count);
    let begun = Instant::now();
    if who == "procspawn" {
        let pool = procspawn::Pool::new(WORKERS)?;
        let handles: Vec<_> = numbers.map(|x| pool.spawn(x, squared)).collect();
        for handle in handles {
            squares.push(handle.join()?);
        }
    } else {
        let pool = warm_pool(WORKERS)?;
        let mut handles = VecDeque::with_capacity(IN_FLIGHT);
        for x in numbers {
            if handles.len() == IN_FLIGHT
                && let Some(oldest) = handles.pop_front()
            {
                squares.push(poolctl::AsyncResult::get(oldest)?);
            }
            handles.push_back(pool.apply_async(square, x)?);
        }
        for handle in handles {
            squares.push(handle.get()?);
        }
    }
    let time = begun.elapsed();
    tell_sum(&squares);
    tell(count as f64 / time.as_secs_f64())
}

/// 16 MiB there and as much back, after the first time: gigabytes a second each way.
fn arrays(who: &str, count: usize) -> Done {
    let numbers: Vec<f64> = (0_u32..).map(f64::from).take(NUMBERS).collect();
    let swapped = with_ends_swapped(numbers.clone());
    let (pool, theirs) = (warm_pool(1)?, procspawn::Pool::new(1)?);
    let mut times = Vec::new();
    for _ in 0..=count {
        let sent = numbers.clone();
        let (time, back) = match who {
            "poolctl" => timed(|| pool.apply(with_ends_swapped, sent))?,
            _ => timed(|| theirs.spawn(sent, |numbers: Vec<f64>| with_ends_swapped(numbers)).join())?,
        };
        times.push(time);
        if back != swapped {
            return Err("the numbers did not come back".into());
        }
    }
    println!("swapped");
    let time = median(&mut times[1..]);
    tell(2.0 * (NUMBERS * size_of::<f64>()) as f64 / time.as_secs_f64() / 1e9)
}

/// An array in shared memory as an argument: the median of the times of a call.
fn handle(numbers: usize, count: usize) -> Done {
    let array = Array::from_slice(&vec![7.0; numbers])?;
    let pool = warm_pool(1)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let (time, seven) = timed(|| pool.apply(first, array.clone()))?;
        times.push(time);
        if seven != Some(7.0) {
            return Err("the number is another".into());
        }
    }
    tell(median(&mut times).as_secs_f64() * 1e6)
}

/// A pool of two from beginning to end: the median, in milliseconds. `workers` leaves the start of the pool itself out,
/// which is that of its keeper.
fn start(who: &str, count: usize) -> Done {
    let mut times = Vec::with_capacity(count);
    for round in 0..count {
        let begun = Instant::now();
        let (squares, time) = if who == "procspawn" {
            let pool = procspawn::Pool::new(WORKERS)?;
            let handles = [1, 2].map(|x| pool.spawn(x, squared));
            let [one, two] = handles.map(procspawn::JoinHandle::join);
            let squares = vec![one?, two?];
            pool.shutdown();
            (squares, begun.elapsed())
        } else {
            let pool = Pool::new(u32::try_from(WORKERS)?)?;
            let begun = if who == "workers" { Instant::now() } else { begun };
            let squares = pool.map(square, [1, 2])?;
            pool.join()?;
            (squares, begun.elapsed())
        };
        times.push(time);
        if round == 0 {
            println!("{} {}", squares[0], squares[1]);
        }
    }
    tell(median(&mut times).as_secs_f64() * 1e3)
}

/// So many workers, each of which runs something at the same time as all the others; from beginning to end, in
/// milliseconds.
fn workers(count: usize) -> Done {
    let begun = Instant::now();
    let pool = Pool::new(u32::try_from(count)?)?;
    let (mut lines, mut results) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let (near, far) = pipe()?;
        results.push(pool.apply_async(hold, far)?);
        lines.push(near);
    }
    let pids: BTreeSet<u32> = lines.iter().map(Connection::recv).collect::<Result<_, _>>()?;
    lines.iter().try_for_each(|line| line.send(()))?;
    for result in results {
        result.get()?;
    }
    pool.join()?;
    println!("{}", pids.len());
    tell(begun.elapsed().as_secs_f64() * 1e3)
}

/// A pool of one from nothing to its first result, in a program with so many bytes in memory: the median, in milliseconds.
fn parent(bytes: usize, count: usize) -> Done {
    let resident = vec![1_u8; bytes];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let (time, pool) = timed(|| {
            let pool = Pool::new(1)?;
            pool.apply(square, 1)?;
            Ok::<_, Box<dyn Error>>(pool)
        })?;
        times.push(time);
        pool.join()?;
    }
    black_box(&resident);
    tell(median(&mut times).as_secs_f64() * 1e3)
}

/// A pool whose workers all live.
fn warm_pool(workers: usize) -> Result<Pool, Box<dyn Error>> {
    let pool = Pool::new(u32::try_from(workers)?)?;
    pool.map(square, 0..100_000)?;
    Ok(pool)
}

fn threads() -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(Duration, T), E> {
    let begun = Instant::now();
    let result = work()?;
    Ok((begun.elapsed(), result))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Prints the sum of the numbers, which wraps at 2^64.
fn tell_sum(numbers: &[i64]) {
    let sum = numbers.iter().fold(0_u64, |sum, number| sum.wrapping_add_signed(*number));
    println!("{sum}");
}

fn tell(figure: f64) -> Done {
    match env::var_os("figure") {
        Some(file) => Ok(fs::write(file, figure.to_string())?),
        None => {
            println!("{figure}");
            Ok(())
        }
    }
}
