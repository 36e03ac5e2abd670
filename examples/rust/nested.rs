//! A task that hands further tasks to its own pool and waits for them: also in a pool of one worker.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Pool, TaskError, current_pool};

/// Sorts by halves, each of them a task of its own.
#[poolctl::task]
fn sorted(mut numbers: Vec<u32>) -> Result<Vec<u32>, TaskError> {
    let pool = current_pool().ok_or(TaskError::PoolClosed)?;
    if numbers.len() <= 4 {
        numbers.sort_unstable();
        return Ok(numbers);
    }
    let back = numbers.split_off(numbers.len() / 2);
    let front = pool.apply_async(self::sorted, numbers)?;
    let back = pool.apply(self::sorted, back)?;
    let mut both = [front.get()?, back].concat();
    both.sort(); // finds two sorted runs, and merges them
    Ok(both)
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    // Each number up to 100 once, in no order: 7 has no factor in common with 101.
    let shuffled: Vec<u32> = (1..=100).map(|n| n * 7 % 101).collect();
    for workers in [1, 4] {
        let all = Pool::new(workers)?.apply(sorted, shuffled.clone())?;
        println!("{workers}: {:?} … {:?}, sorted: {}", &all[..3], all.last(), all.is_sorted());
    }
    Ok(())
}
