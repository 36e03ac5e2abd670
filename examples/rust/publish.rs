//! An array and a lock under a name, for a program that this one did not start as a worker: [attach.rs](attach.rs).
//!
//! An argument says how many MiB the array has, 8 if there is none: `cargo run -p poolctl-examples --bin publish 1024`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::process::Command;

use poolctl::{Array, Lock, publish};

fn main() -> Result<(), Box<dyn Error>> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(8), |mib| mib.parse())?;
    let weights = Array::<f64>::new(mib << 17)?;
    weights.set(0, 0.5);
    weights.set(weights.len() - 1, 0.25);
    let lock = Lock::new()?;

    let name = format!("weights of {}", std::process::id());
    let published = publish(&name, &(weights.clone(), lock.clone()))?;
    println!("publish: {mib} MiB under a name");

    // Any program of this user could do that, whoever starts it.
    let other = std::env::current_exe()?.with_file_name("attach");
    let ended = Command::new(other).arg(published.name()).status()?;

    println!("publish: the other program ended with {}", ended.code().unwrap_or(-1));
    println!("publish: the first number is {} now", weights.get(0).unwrap_or_default());
    println!("publish: the lock is {}", if lock.is_locked() { "taken" } else { "free" });
    Ok(())
}
