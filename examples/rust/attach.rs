//! What another program has published under the name that is the argument, without a copy: [publish.rs](publish.rs).

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use poolctl::{Array, AttachError, Lock, attach};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "no name was given".to_owned());
    let attached = match attach::<(Array<f64>, Lock)>(&name) {
        Err(error @ AttachError::NotFound { .. }) => {
            println!("attach: {error}");
            return Ok(());
        }
        attached => attached?,
    };
    let (weights, lock) = &*attached;
    println!("attach: {} numbers", weights.len());

    let _guard = lock.acquire()?;
    let ends = [weights.get(0), weights.get(weights.len() - 1)];
    println!("attach: {} at the beginning, {} at the end", ends[0].unwrap_or(0.0), ends[1].unwrap_or(0.0));
    weights.set(0, 42.0);
    Ok(())
}
