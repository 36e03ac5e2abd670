//! A worker is killed at each instruction of what it does with its rings, and the host looks at what is left; or the
//! host acts while the worker stands at each instruction, and the worker must not sleep through it.
//!
//! The worker is this program again, with one argument ([`victim`]). `cargo test -p poolctl-shm --test sweep` stops it
//! at each place it comes to; with `--release` at each instruction.
#![expect(clippy::unwrap_used, reason = "what a test cannot get, it fails without")]

#[cfg(target_arch = "x86_64")]
mod harness;
#[cfg(target_arch = "x86_64")]
mod kick;
#[cfg(target_arch = "x86_64")]
mod link;
#[cfg(target_arch = "x86_64")]
mod message;
#[cfg(target_arch = "x86_64")]
mod room;
#[cfg(target_arch = "x86_64")]
mod work;

use std::process::ExitCode;

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    harness::run()
}

#[cfg(not(target_arch = "x86_64"))]
#[expect(clippy::print_stdout, reason = "it says what is skipped")]
fn main() -> ExitCode {
    println!("test result: ok. 0 passed; 0 failed; 1 ignored; the stepper is for x86-64");
    ExitCode::SUCCESS
}
