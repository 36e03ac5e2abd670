//! The `main` of a program of sweeps, which is its own victim: run one after another, since the thread that sweeps must be
//! the parent of every victim.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use super::{Refused, Swept};

/// The first argument of a victim; its part follows, and what it needs to know.
pub const VICTIM: &str = "--victim";

/// A sweep: its name, where it is run, and what it does.
pub type Sweep = (&'static str, Builds, fn() -> Result<Swept, Refused>);

/// Where a sweep is run: some take minutes where the compiler has not optimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builds {
    /// Wherever there are tests.
    All,
    /// In release builds.
    Release,
}

/// Runs the sweeps that the arguments name, all if they name none, and says how they ended as the usual harness does; or
/// is a victim, and does `victim` with its part and its further arguments.
#[must_use]
#[expect(clippy::print_stdout, reason = "a harness tells its results")]
pub fn run_sweeps(sweeps: &[Sweep], victim: impl FnOnce(&str, &[String])) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, part, rest @ ..] = arguments.as_slice()
        && first == VICTIM
    {
        victim(part, rest);
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let sweeps = sweeps.iter().filter(|sweep| filter.is_none_or(|filter| sweep.0.contains(filter.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        sweeps.for_each(|(name, ..)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, builds, sweep) in sweeps {
        if *builds == Builds::Release && cfg!(debug_assertions) {
            println!("test {name} ... skipped: for release builds");
            skipped += 1;
            continue;
        }
        let begun = Instant::now();
        match catch_unwind(sweep) {
            Ok(Ok(Swept { points, instructions, astray })) => {
                let took = begun.elapsed();
                println!(
                    "test {name} ... ok ({points} of {instructions} instructions in {took:.1?}, {astray} astray)"
                );
                passed += 1;
            }
            Ok(Err(refused)) => {
                println!("test {name} ... skipped: {refused}");
                skipped += 1;
            }
            Err(_) => {
                println!("test {name} ... FAILED");
                failed += 1;
            }
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
