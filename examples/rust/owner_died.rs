//! A process that is killed while it holds a lock, and what the next one sees.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Array, Event, Lock, Process};

/// Moves money from one account to the other, and is killed in the middle.
#[poolctl::task]
fn transfer(lock: Lock, accounts: Array<i64>, halfway: Event) -> Result<(), Box<dyn Error + Send + Sync>> {
    let _guard = lock.acquire()?;
    accounts.set(0, accounts.get(0).unwrap_or_default() - 10);
    halfway.set();
    // Nobody sets it: this is where it is killed.
    let never = Event::new()?;
    never.wait()?;
    accounts.set(1, accounts.get(1).unwrap_or_default() + 10);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let (lock, accounts, halfway) = (Lock::new()?, Array::from_slice(&[100, 100])?, Event::new()?);
    let process = Process::new(transfer, (lock.clone(), accounts.clone(), halfway.clone()));
    process.start()?;

    halfway.wait()?;
    println!("held by the other process: {}", lock.owner().is_some());
    process.kill()?;
    println!("it ended with {}", process.join()?);

    let mut guard = lock.acquire()?;
    println!("the lock came back, and its owner died: {}", guard.recovered());
    println!("the accounts: {:?}", accounts.to_vec());
    accounts.set(0, accounts.get(0).unwrap_or_default() + 10);
    guard.make_consistent();
    drop(guard);

    println!(
        "mended: {:?}, and nobody is told any more: {}",
        accounts.to_vec(),
        !lock.acquire()?.recovered()
    );
    Ok(())
}
