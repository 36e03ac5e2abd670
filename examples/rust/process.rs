//! A task in a process of its own, with a name, and how it ended.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Process, current_process};

#[poolctl::task]
fn greet(whom: String) {
    println!("{}: hello {whom}", current_process().name());
}

#[poolctl::task]
fn give_up(why: String) -> Result<(), String> {
    Err(why)
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    println!("{}: I start a greeter", current_process().name());

    let greeter = Process::builder(greet, "bob".to_owned()).name("greeter").start()?;
    let exit = greeter.join()?;

    println!("{} ended with {exit}, alive: {}", greeter.name(), greeter.is_alive());

    let pessimist = Process::builder(give_up, "it rains".to_owned()).name("pessimist").start()?;
    let exit = pessimist.join()?;
    println!("{} ended with {exit}: {}", pessimist.name(), pessimist.error().ok_or("it said nothing")?);
    Ok(())
}
