//! A process is killed at each instruction of what it does with a shared object, with others asleep behind it; the
//! host recovers, and nobody may hang, nor find torn data without being told.
//!
//! The victim is this program again, the others are threads of the test. `cargo test -p poolctl-sync --test sweep`
//! kills at each place the victim comes to; with `--release` at each instruction.
#![expect(clippy::unwrap_used, reason = "what a test cannot get, it fails without")]
#![expect(clippy::print_stdout, reason = "it is its own harness")]

#[cfg(target_arch = "x86_64")]
mod barrier;
#[cfg(target_arch = "x86_64")]
mod condition;
#[cfg(target_arch = "x86_64")]
mod event;
#[cfg(target_arch = "x86_64")]
mod harness;
#[cfg(target_arch = "x86_64")]
mod joined;
#[cfg(target_arch = "x86_64")]
mod lock;
#[cfg(target_arch = "x86_64")]
mod play;
#[cfg(target_arch = "x86_64")]
mod queue;
#[cfg(target_arch = "x86_64")]
mod semaphore;
#[cfg(target_arch = "x86_64")]
mod stage;

use std::process::ExitCode;

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    harness::run()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    println!("test result: ok. 0 passed; 0 failed; 1 ignored; the stepper is for x86-64");
    ExitCode::SUCCESS
}
