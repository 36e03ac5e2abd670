//! The sum of a large array, in parallel, without copying it; and a slice mapped to another.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Array, Pool};

const LENGTH: usize = 4_000_000;
const PART: usize = 250_000;

/// The sum of some of the numbers. What travels is a handle: the workers read the array where it is.
#[poolctl::task]
fn sum_of(numbers: Array<i64>, from: usize, to: usize) -> i64 {
    numbers.range(from..to).sum()
}

#[poolctl::task]
fn double(x: f64) -> f64 {
    x * 2.0
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::new(2)?;

    let numbers: Vec<i64> = (1..).take(LENGTH).collect();
    let shared = Array::from_slice(&numbers)?;
    let parts = (0..LENGTH).step_by(PART).map(|from| (shared.clone(), from, from + PART));
    let sums = pool.starmap(sum_of, parts)?;
    println!("{} parts, sum {}", sums.len(), sums.iter().sum::<i64>());
    println!("in one go: {}", numbers.iter().sum::<i64>());

    let halves: Vec<f64> = (0_u32..1_000_000).map(|n| f64::from(n) / 2.0).collect();
    let mut wholes = vec![0.0; halves.len()];
    pool.map_slice(double, &halves, &mut wholes)?;
    println!("doubled: {:?} … {:?}", &wholes[..3], &wholes[999_999]);
    Ok(())
}
