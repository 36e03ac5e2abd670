//! How fast tasks are on this machine: `cargo run --release -p poolctl --example task_rates [rounds]`.
//!
//! One line per measurement, its best of several rounds. With a part of their names only these are taken.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::{Duration, Instant};

use poolctl::{Array, Pool};

type Outcome = Result<(), Box<dyn Error>>;

#[poolctl::task]
fn square(x: i64) -> i64 {
    x.wrapping_mul(x)
}

#[poolctl::task]
fn reversed(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.reverse();
    numbers
}

#[poolctl::task]
fn length(numbers: Vec<f64>) -> usize {
    numbers.len()
}

#[poolctl::task]
fn zeroes(count: usize) -> Vec<f64> {
    vec![0.0; count]
}

#[poolctl::task]
fn front(numbers: Array<f64>) -> Option<f64> {
    numbers.get(0)
}

const MANY: i64 = 10_000_000;

fn main() -> Outcome {
    poolctl::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let wanted: Vec<&String> = arguments.iter().filter(|argument| argument.parse::<u32>().is_err()).collect();
    let bench = Bench { rounds, wanted };
    let one = Pool::new(1)?;
    bench.measure("apply, one worker", 20_000, || {
        for x in 0..20_000 {
            one.apply(square, x)?;
        }
        Ok(())
    })?;
    drop(one);
    let pool = Pool::new(2)?;
    bench.measure("apply_async, in windows of 1000", 1_000_000, || {
        let mut results = Vec::with_capacity(1000);
        for x in 0..1_000_000 {
            results.push(pool.apply_async(square, x)?);
            if results.len() == 1000 {
                for result in results.drain(..) {
                    result.get()?;
                }
            }
        }
        Ok(())
    })?;
    bench.measure("map, i64", MANY as u64, || {
        let squares = pool.map(square, 0..MANY)?;
        assert_eq!(squares.last(), Some(&((MANY - 1) * (MANY - 1))));
        Ok(())
    })?;
    bench.measure("imap, i64", MANY as u64, || {
        let mut sum = 0;
        for result in pool.imap(square, 0..MANY) {
            sum ^= result?;
        }
        assert_ne!(sum, 0);
        Ok(())
    })?;
    bench.measure("imap_unordered, i64", MANY as u64, || {
        let ok = pool.imap_unordered(square, 0..MANY).filter(Result::is_ok).count();
        assert_eq!(i64::try_from(ok), Ok(MANY));
        Ok(())
    })?;
    let input: Vec<i64> = (0..MANY).collect();
    let mut output = vec![0; input.len()];
    bench.measure("map_slice, i64", MANY as u64, || {
        pool.map_slice(square, &input, &mut output)?;
        assert_eq!(output.last(), Some(&((MANY - 1) * (MANY - 1))));
        Ok(())
    })?;
    let megabytes: Vec<f64> = vec![1.0; 2 << 20];
    bench.measure("16 MB there", 16 << 20, || {
        assert_eq!(pool.apply(length, megabytes.clone())?, megabytes.len());
        Ok(())
    })?;
    bench.measure("16 MB back", 16 << 20, || {
        assert_eq!(pool.apply(zeroes, 2 << 20)?.len(), 2 << 20);
        Ok(())
    })?;
    bench.measure("16 MB there and back", 16 << 20, || {
        assert_eq!(pool.apply(reversed, megabytes.clone())?.len(), megabytes.len());
        Ok(())
    })?;
    let shared = Array::from_slice(&megabytes)?;
    bench.measure("16 MB as a handle", 16 << 20, || {
        assert_eq!(pool.apply(front, shared.clone())?, Some(1.0));
        Ok(())
    })?;
    bench.measure("a pool of 2, 2 items", 1, || {
        let pool = Pool::new(2)?;
        assert_eq!(pool.map(square, [1, 2])?, [1, 4]);
        pool.join()?;
        Ok(())
    })
}

struct Bench<'a> {
    rounds: u32,
    wanted: Vec<&'a String>,
}

impl Bench<'_> {
    /// Prints the best of several measurements, in all and per second, and the first one.
    #[expect(clippy::print_stdout, reason = "what it measures is what it is for")]
    fn measure(&self, what: &str, count: u64, mut run: impl FnMut() -> Outcome) -> Outcome {
        if !self.wanted.is_empty() && !self.wanted.iter().any(|part| what.contains(part.as_str())) {
            return Ok(());
        }
        let mut first = None;
        let mut best = Duration::MAX;
        for _ in 0..self.rounds {
            let start = Instant::now();
            run()?;
            let took = start.elapsed();
            first.get_or_insert(took);
            best = best.min(took);
        }
        let rate = |took: Duration| count as f64 / took.as_secs_f64() / 1e6;
        let first = first.unwrap_or_default();
        println!(
            "{what}: {:.3} ms, {:.2} million/s ({:.1} ns each); the first time {:.3} ms, {:.2} million/s",
            best.as_secs_f64() * 1e3,
            rate(best),
            best.as_secs_f64() * 1e9 / count as f64,
            first.as_secs_f64() * 1e3,
            rate(first),
        );
        Ok(())
    }
}
