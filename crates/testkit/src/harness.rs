//! Running tests in a program with a `main` of its own: one that must also be able to serve as worker or keeper, and so
//! cannot have the usual harness.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// No test takes so long, however loaded the machine is. One that does hangs.
const LIMIT: Duration = Duration::from_secs(180);
/// Nor do the long ones, where they are asked for.
const LONG_LIMIT: Duration = Duration::from_secs(3600);
/// Asks for the long tests.
const LONG: &str = "POOLCTL_TEST_LONG";

/// Whether tests should take minutes instead of seconds.
#[must_use]
pub fn are_long_tests_wanted() -> bool {
    std::env::var_os(LONG).is_some()
}

/// A test and its name.
pub type Test = (&'static str, fn());

/// Tests by module: `tests! { module: one_test, another; other: a_third; }` is a list of [`Test`].
#[macro_export]
macro_rules! tests {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn())),+),+]
    };
}

/// Runs the tests one after another, and says how they ended as the usual harness does. One that hangs ends the program.
///
/// The program's arguments that are no options choose the tests whose names contain one of them.
#[must_use]
#[expect(clippy::print_stdout, reason = "a harness tells its results")]
pub fn run_tests(tests: &[Test]) -> ExitCode {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let (mut passed, mut failed) = (0, Vec::new());
    let limit = if are_long_tests_wanted() { LONG_LIMIT } else { LIMIT };
    for (name, test) in tests.iter().filter(|(name, _)| is_wanted(name)) {
        let test = *test;
        let (done, ended) = channel();
        thread::spawn(move || done.send(catch_unwind(test).is_ok()));
        match ended.recv_timeout(limit) {
            Ok(true) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Ok(false) => {
                println!("test {name} ... FAILED");
                failed.push(*name);
            }
            Err(_) => {
                println!("test {name} hangs");
                return ExitCode::FAILURE;
            }
        }
    }
    let left_out = tests.len() - passed - failed.len();
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    let failures = failed.len();
    println!(
        "test result: {word}. {passed} passed; {failures} failed; 0 ignored; 0 measured; {left_out} filtered out"
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
