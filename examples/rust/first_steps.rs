//! The program in the README.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use poolctl::{Pool, TaskError};

/// What workers can run is written as a function with this above it.
#[poolctl::task]
fn root(x: f64) -> Result<f64, String> {
    if x < 0.0 { Err(format!("{x} has no root")) } else { Ok(x.sqrt()) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    poolctl::init(); // first thing in `main`: the workers are this program, started again
    let pool = Pool::new(5)?;

    println!("{:?}", pool.map(root, [1.0, 4.0, 9.0])?);

    let later = pool.apply_async(root, 2.0)?;
    match pool.apply(root, -1.0) {
        Err(TaskError::Failed { message, .. }) => println!("failed: {message}"),
        other => println!("{other:?}"),
    }
    println!("{:.3}", later.get()?);

    let large = pool.imap(root, (1..).map(f64::from)).flatten().find(|x| *x > 99.0);
    println!("{large:?}");
    Ok(())
}
