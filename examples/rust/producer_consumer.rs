//! Processes that produce, processes that consume, and a bounded queue between them.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Process, Queue, QueueError};

/// What is put for each consumer behind the last number.
const END: u64 = 0;

/// Finds the prime numbers of a range. Putting waits while the consumers are far behind.
#[poolctl::task]
fn produce(primes: Queue<u64>, from: u64, to: u64) -> Result<(), QueueError> {
    for number in from..to {
        if (2..number).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d)) {
            primes.put(&number)?;
        }
    }
    Ok(())
}

/// Adds up what comes until the end, and tells how many there were, and their sum.
#[poolctl::task]
fn consume(primes: Queue<u64>, sums: Queue<(u64, u64)>) -> Result<(), QueueError> {
    let (mut count, mut sum) = (0, 0);
    loop {
        match primes.get()? {
            END => return sums.put(&(count, sum)),
            prime => (count, sum) = (count + 1, sum + prime),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let primes = Queue::with_capacity(4096)?;
    let sums = Queue::new()?;

    let consumers = [1, 2].map(|number| {
        Process::builder(consume, (primes.clone(), sums.clone())).name(format!("consumer {number}")).build()
    });
    let producers = [(2, 5000), (5000, 10_000)].map(|(from, to)| {
        Process::builder(produce, (primes.clone(), from, to)).name(format!("producer from {from}")).build()
    });
    for process in consumers.iter().chain(&producers) {
        process.start()?;
    }
    for producer in &producers {
        println!("{} ended with {}", producer.name(), producer.join()?);
    }
    for _ in &consumers {
        primes.put(&END)?;
    }

    let (mut count, mut sum) = (0, 0);
    for _ in &consumers {
        let (counted, added) = sums.get()?;
        (count, sum) = (count + counted, sum + added);
    }
    println!("{count} primes below 10000, {sum} in all");
    Ok(())
}
