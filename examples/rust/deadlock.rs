//! Two processes that take two locks in different order, and what they are told.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Barrier, Lock, LockError, Pool};

/// Takes one lock, waits until the other has taken the other one, and wants that, too.
#[poolctl::task]
fn take_both(first: Lock, second: Lock, both: Barrier) -> Result<(), LockError> {
    let _first = first.acquire()?;
    // It is met: both processes live.
    both.wait().unwrap_or_default();
    let _second = second.acquire()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::new(2)?;
    let (one, two, both) = (Lock::new()?, Lock::new()?, Barrier::new(2)?);

    let here = pool.apply_async(take_both, (one.clone(), two.clone(), both.clone()))?;
    let there = pool.apply_async(take_both, (two, one, both))?;
    let ended = [here.get(), there.get()];

    println!("{} has both locks in the end", ended.iter().filter(|ended| ended.is_ok()).count());
    for error in ended.iter().filter_map(|ended| ended.as_ref().err()) {
        let text = told(error);
        println!("the other is told: deadlock: {}", text.contains("deadlock"));
        println!("two processes are named: {}", text.matches(" of process ").count() == 2);
        println!("and four places in this file: {}", text.matches("deadlock.rs:").count() == 4);
    }
    Ok(())
}

/// An error with its causes.
fn told(error: &dyn Error) -> String {
    let causes = error.source().map(|cause| format!(": {}", told(cause)));
    format!("{error}{}", causes.unwrap_or_default())
}
