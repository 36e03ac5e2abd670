//! `cargo xtask ci`: all that a change must pass, on a machine with Rust, Python 3 and a C compiler.
//!
//! Programs that only some tests run (jq, node, perl, strace) are installed by apt where that is possible; the tests
//! that lack one say that they skip. Every step runs, whatever the ones before it said, so that one run tells all.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::tidy::{self, Tables};
use crate::{python, root, tools};

/// Why a step could not even begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CiError {
    /// A program could not be run.
    #[error("failed to run {program}")]
    Run { program: String, source: io::Error },
    /// The rules could not be checked.
    #[error("failed to check the rules")]
    Tidy {
        #[from]
        source: tidy::TidyError,
    },
}

/// How many tests ended how, over all runners.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    /// Adds what a runner's closing line says; other lines say nothing.
    fn read(&mut self, line: &str) {
        let number =
            |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |word: &str| {
                let part = result.split([';', '.']).map(str::trim).find(|part| part.ends_with(word));
                part.and_then(number).unwrap_or(0)
            };
            self.passed += count(" passed");
            self.failed += count(" failed");
            self.skipped += count(" ignored");
        } else if let Some(ran) = line.strip_prefix("Ran ").and_then(number) {
            self.passed += ran;
        } else if line.starts_with("FAILED (") || line.starts_with("OK (") {
            let count = |word: &str| line.split_once(word).and_then(|(_, rest)| number(rest)).unwrap_or(0);
            let (failed, skipped) = (count("failures=") + count("errors="), count("skipped="));
            self.passed = self.passed.saturating_sub(failed + skipped);
            self.failed += failed;
            self.skipped += skipped;
        }
    }
}

/// Runs every step and prints what each said; success means that all passed.
pub(crate) fn run() -> Result<ExitCode, CiError> {
    let top = root::folder();
    tools::install_missing();
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    let mut step = |name: &'static str, work: &mut dyn FnMut() -> Result<bool, CiError>| {
        println!("\n== {name}");
        let begun = Instant::now();
        let passed = work()?;
        println!("== {name}: {} in {:.0?}", if passed { "ok" } else { "FAILED" }, begun.elapsed());
        if !passed {
            failed.push(name);
        }
        Ok::<_, CiError>(())
    };
    step("format", &mut || succeeds(&top, "cargo", &["fmt", "--all", "--check"]))?;
    step("clippy", &mut || succeeds(&top, "cargo", &CLIPPY))?;
    step("tidy", &mut || Ok(tidy::run(Tables::Compare)? == ExitCode::SUCCESS))?;
    step("release build", &mut || succeeds(&top, "cargo", &RELEASE_BUILD))?;
    step("tests", &mut || counted(&top, "cargo", &TESTS, &mut tally))?;
    step("sweeps of rings and locks", &mut || counted(&top, "cargo", &SWEEPS, &mut tally))?;
    step("models of rings and locks", &mut || counted(&top, "env", &MODELS, &mut tally))?;
    step("tests of the Python worker", &mut || counted(&top, "python3", &WORKER_TESTS, &mut tally))?;
    let (sources, python) = (format!("PYTHONPATH={}", top.join("python/src").display()), interpreter(&top));
    for (name, arguments) in PYTHON_STEPS {
        let arguments = [&[sources.as_str(), python.as_str()], arguments].concat();
        step(name, &mut || counted(&top, "env", &arguments, &mut tally))?;
    }
    println!("\nfailed steps: {}", if failed.is_empty() { "none".to_owned() } else { failed.join(", ") });
    let Tally { passed, failed: failures, skipped } = tally;
    println!("{passed} passed, {failures} failed, {skipped} skipped");
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The service and the stock worker lie beside the `poolctl` that the tests run.
const RELEASE_BUILD: [&str; 9] =
    ["build", "--release", "--locked", "--bin", "poolctl", "--bin", "poold", "--bin", "pool-worker"];
const CLIPPY: [&str; 7] = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
const TESTS: [&str; 4] = ["test", "--workspace", "--locked", "--no-fail-fast"];
/// Release builds are stopped at every instruction; the debug builds of the step before are not.
const SWEEPS: [&str; 6] =
    ["test", "--package=poolctl-shm", "--package=poolctl-sync", "--release", "--locked", "--test=sweep"];
/// In a folder of its own, since everything is built anew for loom.
const MODELS: [&str; 10] = [
    "RUSTFLAGS=--cfg loom",
    "CARGO_TARGET_DIR=target/loom",
    "cargo",
    "test",
    "--package=poolctl-shm",
    "--package=poolctl-sync",
    "--release",
    "--locked",
    "--lib",
    "--quiet",
];
const WORKER_TESTS: [&str; 5] = ["-m", "unittest", "discover", "-s", "tests/python"];
/// The package, the suites that others wrote, and the wheel; each says what it skips, and why.
const PYTHON_STEPS: [(&str, &[&str]); 4] = [
    ("tests of the Python package", &["-m", "unittest", "discover", "-s", "python/tests"]),
    ("CPython's tests of pools and executors", &["python/tests/cpython/run.py"]),
    ("joblib's tests of parallel loops", &["python/tests/joblib_suite/run.py"]),
    ("the wheel in a fresh environment", &["python/tests/wheel_checks.py"]),
];
/// What the suites of others need.
const PYTHON_PACKAGES: &str = "python/tests/requirements.txt";

/// A Python with these packages; where they cannot be had, what needs them is skipped.
fn interpreter(top: &Path) -> String {
    match python::environment(top, "python-tests", PYTHON_PACKAGES) {
        Ok(interpreter) => interpreter.display().to_string(),
        Err(error) => {
            println!("no environment with the packages of {PYTHON_PACKAGES}: {error}");
            "python3".to_owned()
        }
    }
}

/// Whether the program ends with 0; it talks to the terminal itself.
fn succeeds(top: &Path, program: &str, arguments: &[&str]) -> Result<bool, CiError> {
    let status = Command::new(program).args(arguments).current_dir(top).status();
    Ok(status.map_err(|source| CiError::Run { program: program.to_owned(), source })?.success())
}

/// As [`succeeds`], adding to `tally` what the closing lines say. The tests run the release build of `poolctl`.
fn counted(top: &Path, program: &str, arguments: &[&str], tally: &mut Tally) -> Result<bool, CiError> {
    let failed = |source| CiError::Run { program: program.to_owned(), source };
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh", program]).args(arguments).current_dir(top);
    let binary = root::release_binary(top);
    command.env("POOLCTL_BIN", &binary).env("POOLCTL_BINARY", &binary).stdout(Stdio::piped());
    #[expect(clippy::disallowed_methods, reason = "a test runner, waited for below")]
    let mut child = command.spawn().map_err(failed)?;
    let output = child.stdout.take().expect("stdout was asked for as a pipe");
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        io::stdout().write_all(&line).map_err(failed)?;
        tally.read(String::from_utf8_lossy(&line).trim());
        line.clear();
    }
    Ok(child.wait().map_err(failed)?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        tally
    }

    #[test]
    fn the_closing_lines_of_both_runners_are_counted() {
        let tally = tally(&[
            "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "Ran 7 tests in 0.4s",
            "FAILED (failures=1, errors=2, skipped=1)",
            "Ran 2 tests in 0.4s",
            "OK",
        ]);

        assert_eq!(tally, Tally { passed: 20, failed: 4, skipped: 3 });
    }

    #[test]
    fn other_lines_count_nothing() {
        let tally = tally(&["running 5 tests", "test a ... ok", "Random", ""]);

        assert_eq!(tally, Tally::default());
    }
}
