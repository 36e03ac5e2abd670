//! A counter and an array that several workers change under a lock.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Array, Lock, Pool, Value};

/// Counts one more, a thousand times, each under the counter's own lock.
#[poolctl::task]
fn count(counter: Value<i64>) -> Result<(), poolctl::LockError> {
    for _ in 0..1000 {
        *counter.lock()? += 1;
    }
    Ok(())
}

/// Moves one from a place of the array to the next. Under the lock nobody sees it on its way.
#[poolctl::task]
fn pass_on(lock: Lock, numbers: Array<i64>, from: usize) -> Result<i64, poolctl::LockError> {
    let to = (from + 1) % numbers.len();
    let _guard = lock.acquire()?;
    for (place, by) in [(from, -1), (to, 1)] {
        numbers.set(place, numbers.get(place).unwrap_or_default() + by);
    }
    Ok(numbers.iter().sum())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::new(3)?;

    let counter = Value::new(0)?;
    pool.map(count, (0..10).map(|_| counter.clone()))?;
    println!("counted to {}", counter.load());

    let (lock, numbers) = (Lock::new()?, Array::from_slice(&[10, 20, 30])?);
    let moves = (0..300).map(|at| (lock.clone(), numbers.clone(), at % 3));
    let sums = pool.starmap(pass_on, moves)?;
    println!("the sum was always 60: {}", sums.iter().all(|sum| *sum == 60));
    println!("at the end: {:?}", numbers.to_vec());
    Ok(())
}
