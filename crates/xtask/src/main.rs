//! `cargo xtask`: the checks, the benchmark and the continuous integration of this repository.
//!
//! One verb each: `tidy` reads the repository and tells what breaks its rules, `bench` measures poolctl beside its
//! peers, `ci` runs everything that a change must pass. Nothing here is part of what a user installs.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod python;
mod root;
mod tools;
mod tree;

mod bench;
mod ci;
mod tidy;

use std::error::Error;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask tidy [--write]     check manifests, sizes, names, links and tables; --write renews the generated ones
       cargo xtask ci                 all that a change must pass
       cargo xtask bench [--rounds N] [--only NAME] [--dry]
                                      measure poolctl and its peers; renews docs/performance.md unless --dry or --only";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["tidy"] => tidy::run(tidy::Tables::Compare).map_err(Into::into),
        ["tidy", "--write"] => tidy::run(tidy::Tables::Write).map_err(Into::into),
        ["ci"] => ci::run().map_err(Into::into),
        ["bench", options @ ..] => bench::run(options).map_err(Into::into),
        ["measure", report, program, rest @ ..] => {
            bench::measure::child(report, program, rest).map_err(Into::into)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    ended(done)
}

/// Prints the error with all its causes.
fn ended(done: Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  caused by: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
