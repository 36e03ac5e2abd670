//! Squares with a pool of five.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::Pool;

#[poolctl::task]
fn square(x: i64) -> i64 {
    x * x
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::new(5)?;

    let squares = pool.map(square, [1, 2, 3])?;

    println!("{squares:?}");
    Ok(())
}
