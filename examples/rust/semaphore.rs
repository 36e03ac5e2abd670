//! Five workers, of which two at a time may be in a room.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{BoundedSemaphore, PermitError, Pool, Value};

/// Enters the room a hundred times, and notes how many were ever inside at once.
#[poolctl::task]
fn visit(room: BoundedSemaphore, inside: Value<u64>, most: Value<u64>) -> Result<(), PermitError> {
    for _ in 0..100 {
        let _permit = room.acquire()?;
        let now = inside.update(|inside| inside + 1) + 1;
        most.update(|most| most.max(now));
        inside.update(|inside| inside - 1);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::new(5)?;
    let room = BoundedSemaphore::new(2)?;
    let (inside, most) = (Value::new(0)?, Value::new(0)?);

    pool.starmap(visit, (0..5).map(|_| (room.clone(), inside.clone(), most.clone())))?;

    println!("never more than two were inside: {}", most.load() <= 2);
    println!("{} permits are free again", room.value());
    Ok(())
}
