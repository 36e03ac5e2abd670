//! Runs that were cut short, and go on where their log ends.

use std::fs::File;
use std::io::Write;

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

#[test]
fn no_result_is_cut_off_a_file_that_errors_go_to_as_well() {
    let sandbox = Sandbox::new();
    let command = ["-j1", "--shell", "echo result-$1; [ $(($1 % 10)) != 3 ] || { echo oh $1 >&2; exit 1; }"];
    let input = numbers(1, 300);
    let both = "exec >> out 2>&1";
    let running = sandbox.map(["--log", "log"]).args(command).input(input.clone()).after_shell(both).start();
    wait_until(DEADLINE, "fifty items are logged", || log_lines(&sandbox) > 50);
    running.kill();
    wait_until(DEADLINE, "nothing writes any more", || sandbox.processes().is_empty());

    sandbox.map(["--resume", "log"]).args(command).input(input).after_shell(both).run().expect_code(1);

    let out = String::from_utf8(sandbox.read("out")).expect("text");
    let results: Vec<&str> = out.lines().filter(|line| line.contains("result-")).collect();
    for number in 1..=300 {
        assert!(results.contains(&format!("result-{number}").as_str()), "{number} is lost:\n{out}");
    }
}

#[test]
fn what_others_wrote_behind_a_run_that_ended_stays() {
    let sandbox = Sandbox::new();
    let command = ["--shell", "echo $1"];
    let log = |flag, last| {
        let run = sandbox.map([flag, "log"]).args(command).input(numbers(1, last));
        run.stdout_file(appended(&sandbox, "out")).run().expect_code(0)
    };
    log("--log", 3);
    appended(&sandbox, "out").write_all(b"theirs\n").expect("our own file");

    log("--resume", 5).expect_quiet();

    assert_eq!(String::from_utf8_lossy(&sandbox.read("out")), "1\n2\n3\ntheirs\n4\n5\n");
}

#[test]
fn nothing_is_cut_off_another_file_than_that_of_the_earlier_run() {
    let sandbox = Sandbox::new();
    let script = "echo $1 >> ran; echo $1; [ $1 != 3 ] || [ -e mended ] || exec sleep 1000";
    let run = |flag| sandbox.map([flag, "log", "-j1", "--shell", script]).input("1\n2\n3\n");
    let running = run("--log").stdout_file(appended(&sandbox, "out")).start();
    wait_until(DEADLINE, "two results are there", || sandbox.read("out") == b"1\n2\n");
    wait_until(DEADLINE, "the third runs", || sandbox.read("ran").ends_with(b"3\n"));
    running.kill();
    wait_until(DEADLINE, "nothing runs any more", || sandbox.processes().is_empty());
    sandbox.write("mended", "");
    sandbox.write("other", "something else, and longer\n");

    let again = run("--resume").stdout_file(appended(&sandbox, "other")).run();

    again.expect_code(0).expect_words(&["not the file of the earlier run", "nothing is cut"]);
    assert!(sandbox.read("other").starts_with(b"something else, and longer\n"));
}
