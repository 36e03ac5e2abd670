//! A process that produces, a process that consumes, and a bounded way from one to the other.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{PipeError, Process, Receiver, Sender, channel};

/// Finds the prime numbers below a limit. Sending waits while the consumer is far behind.
#[poolctl::task]
fn produce(primes: Sender<u64>, below: u64) -> Result<(), PipeError> {
    for number in 2..below {
        if (2..number).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d)) {
            primes.send(number)?;
        }
    }
    Ok(())
}

/// Adds up what comes until the producer is done, and tells how many there were, and their sum.
#[poolctl::task]
fn consume(primes: Receiver<u64>, sums: Sender<(u64, u64)>) -> Result<(), PipeError> {
    let (mut count, mut sum) = (0, 0);
    for prime in primes.iter() {
        count += 1;
        sum += prime?;
    }
    sums.send((count, sum))
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let (into_queue, from_queue) = channel()?;
    let (result, results) = channel()?;

    let producer = Process::builder(produce, (into_queue, 10_000)).name("producer").start()?;
    let consumer = Process::builder(consume, (from_queue, result)).name("consumer").start()?;

    let (count, sum) = results.recv()?;
    println!("{count} primes below 10000, {sum} in all");
    for process in [&producer, &consumer] {
        println!("{} ended with {}", process.name(), process.join()?);
    }
    Ok(())
}
