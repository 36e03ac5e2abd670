//! What a pool offers: `apply`, `map`, `starmap`, lazy `imap`, and a list of results to be fetched later.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use poolctl::{AsyncResult, Pool, TaskError};

/// Fails on zero, as a task that returns a `Result` may.
#[poolctl::task]
fn divided(dividend: i64, divisor: i64) -> Result<i64, String> {
    dividend.checked_div(divisor).ok_or_else(|| format!("{dividend} / {divisor} is no number"))
}

#[poolctl::task]
fn cube(x: i64) -> i64 {
    assert!(x < 1_000_000, "{x} is too large for me");
    x * x * x
}

fn main() -> Result<(), Box<dyn Error>> {
    poolctl::init();
    let pool = Pool::builder().workers(2).timeout(Duration::from_secs(60)).build()?;

    println!("apply:   {}", pool.apply(cube, 3)?);
    println!("map:     {:?}", pool.map(cube, 1..=5)?);
    println!("starmap: {:?}", pool.starmap(divided, [(7, 2), (9, 3)])?);

    let results: Vec<AsyncResult<i64>> =
        (1..=4).map(|x| pool.apply_async(cube, x)).collect::<Result<_, _>>()?;
    for (x, result) in (1..).zip(results) {
        println!("later:   {x} cubed is {}", result.get()?);
    }

    let first_large = pool.imap(cube, 1..).flatten().find(|found| *found > 100_000);
    println!("imap:    the first cube over 100000 is {first_large:?}");

    match pool.apply(divided, (1, 0)) {
        Err(TaskError::Failed { message, .. }) => println!("failed:  {message}"),
        other => println!("strange: {other:?}"),
    }
    match pool.map(cube, [1, 2, 3_000_000]) {
        Err(error) => println!("panic:   {error}: {}", error.source),
        other => println!("strange: {other:?}"),
    }
    Ok(())
}
