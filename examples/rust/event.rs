//! An event that one sets and many wait for.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Event, NoEntry, Pool, Value};

/// Waits for the start, and then counts itself in.
#[poolctl::task]
fn run(start: Event, runners: Value<u32>) -> Result<u32, NoEntry> {
    start.wait()?;
    Ok(runners.update(|runners| runners + 1))
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::new(4)?;
    let (start, runners) = (Event::new()?, Value::new(0)?);

    let running = pool.starmap_async(run, (0..4).map(|_| (start.clone(), runners.clone())))?;
    println!("before the start {} have run", runners.load());
    start.set();
    let mut places = running.get()?;

    places.sort_unstable();
    println!("after it all have: {places:?}");
    Ok(())
}
