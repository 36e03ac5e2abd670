//! Runs that were cut short, and go on where their log ends.

use std::fs::File;

use nix::sys::signal::Signal;
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::peer::numbers;

/// A file that is appended to, as `>> out` opens it.
fn appended(sandbox: &Sandbox, name: &str) -> File {
    File::options().append(true).create(true).open(sandbox.path(name)).expect("a file in our own directory")
}

fn log_lines(sandbox: &Sandbox) -> usize {
    sandbox.read("log").iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn a_run_that_was_killed_goes_on_and_every_result_is_there_once() {
    let sandbox = Sandbox::new();
    let command = ["-j2", "--shell", "echo $1"];
    let input = numbers(1, 500);
    let running = sandbox
        .map(["--log", "log"])
        .args(command)
        .input(input.clone())
        .stdout_file(appended(&sandbox, "out"))
        .start();
    wait_until(DEADLINE, "fifty items are logged", || log_lines(&sandbox) > 50);
    running.kill();
    wait_until(DEADLINE, "nothing writes any more", || sandbox.processes().is_empty());
    let done = log_lines(&sandbox);

    let again = sandbox
        .map(["--resume", "log"])
        .args(command)
        .input(input)
        .stdout_file(appended(&sandbox, "out"))
        .run();

    again.expect_code(0);
    let out = String::from_utf8(sandbox.read("out")).expect("numbers");
    assert!(
        out == numbers(1, 500),
        "{} results, {done} lines were logged when it was killed",
        out.lines().count()
    );
}

#[test]
fn what_is_done_is_skipped_and_what_failed_is_taken_again_where_asked_for() {
    let sandbox = Sandbox::new();
    let command = ["--shell", "echo x >> runs; [ $1 != 2 ] || [ -e mended ]"];
    sandbox.map(["--log", "log"]).args(command).input(numbers(1, 3)).run().expect_code(1);
    assert_eq!(sandbox.read("runs").len(), 6);

    sandbox.map(["--resume", "log"]).args(command).input(numbers(1, 3)).run().expect_code(0);
    assert_eq!(sandbox.read("runs").len(), 6, "all three have their outcome");
    sandbox.write("mended", "");
    sandbox
        .map(["--resume", "log", "--resume-failed"])
        .args(command)
        .input(numbers(1, 4))
        .run()
        .expect_code(0);

    assert_eq!(sandbox.read("runs").len(), 10, "the failed one and the new one");
}

#[test]
fn the_log_of_another_target_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.map(["--log", "log", "--", "echo"]).input("1\n").run().expect_code(0);

    let other = sandbox.map(["--resume", "log", "--", "printf"]).input("1\n").run();

    assert_ne!(other.code(), Some(0), "{other}");
    other.expect_words(&["log", "another target"]).expect_stdout("");
}

#[test]
fn an_interrupted_run_can_be_resumed() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let command = ["-j1", "--shell", "echo $1 >> ran; [ $1 != 5 ] || cat gate"];
    let running = sandbox.map(["--log", "log"]).args(command).input(numbers(1, 10)).start();
    wait_until(DEADLINE, "the fifth runs", || sandbox.read("ran").ends_with(b"5\n"));
    running.signal(Signal::SIGINT);
    running.wait_stderr("stopping");
    sandbox.release("gate");
    running.wait().expect_code(130);

    sandbox.map(["--resume", "log"]).args(command).input(numbers(1, 10)).run().expect_code(0);

    assert_eq!(String::from_utf8_lossy(&sandbox.read("ran")), numbers(1, 10));
}
