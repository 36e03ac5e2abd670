//! A producer and a consumer that hand over one number at a time, each waiting for the other by a condition.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Condition, Lock, Process, Value};

/// A place for one number: 0 if there is none.
type Place = Value<u64>;

#[poolctl::task]
fn produce(lock: Lock, changed: Condition, place: Place) -> Result<(), Box<dyn Error + Send + Sync>> {
    for number in 1..=100 {
        let mut guard = lock.acquire()?;
        changed.wait_for(&mut guard, |_| place.load() == 0)?;
        place.store(number);
        changed.notify_all()?;
    }
    Ok(())
}

#[poolctl::task]
fn consume(
    lock: Lock,
    changed: Condition,
    place: Place,
    sum: Value<u64>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    for _ in 1..=100 {
        let mut guard = lock.acquire()?;
        changed.wait_for(&mut guard, |_| place.load() != 0)?;
        sum.update(|sum| sum + place.load());
        place.store(0);
        changed.notify_all()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let (lock, changed, place, sum) = (Lock::new()?, Condition::new()?, Place::new(0)?, Value::new(0)?);

    let given = (lock.clone(), changed.clone(), place.clone());
    let producer = Process::builder(produce, given).name("producer").start()?;
    let consumer = Process::builder(consume, (lock, changed, place, sum.clone())).name("consumer").start()?;

    for process in [&producer, &consumer] {
        println!("{} ended with {}", process.name(), process.join()?);
    }
    println!("the sum of what was handed over is {}", sum.load());
    Ok(())
}
