//! A daemon: a process that works in the background for as long as somebody holds its handle, and never longer.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{PipeError, Process, Sender, channel};

/// Tells every Fibonacci number there is.
#[poolctl::task]
fn tell_fibonacci_numbers(listener: Sender<u128>) -> Result<(), PipeError> {
    let (mut this, mut next) = (0_u128, 1_u128);
    loop {
        listener.send(this)?;
        (this, next) = (next, this.wrapping_add(next));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let (sender, numbers) = channel()?;
    let daemon = Process::builder(tell_fibonacci_numbers, sender).name("fibonacci").daemon(true).start()?;

    for number in numbers.iter().take(10) {
        print!("{} ", number?);
    }
    println!("and so on");

    println!("{} runs: {}", daemon.name(), daemon.is_alive());
    drop(daemon);
    let rest = numbers.iter().all(|number| number.is_ok());
    println!("it is gone, and all it had sent came whole: {rest}");
    Ok(())
}
