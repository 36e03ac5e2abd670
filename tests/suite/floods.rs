//! Workers that print far too much: nothing blocks, memory stays flat, the tail is kept.

use poolctl_testkit::{Sandbox, status_kib};

use crate::peer::numbers;
use crate::zoo::{BAD_WORKER, FRAMINGS};

/// What poolctl may have resident.
const MOST_KIB: u64 = 64 * 1024;

fn mebibytes() -> u64 {
    if poolctl_testkit::are_long_tests_wanted() { 1024 } else { 200 }
}

#[test]
fn a_worker_that_floods_stdout_or_stderr_blocks_nothing() {
    for framing in FRAMINGS {
        for stream in ["out", "err"] {
            let sandbox = Sandbox::new();
            let worker = format!("{BAD_WORKER} at=taken how=flood-{stream}:{}", mebibytes());
            // Its flood goes where the items' prints go, to stderr: into a file, which the test looks at from the end.
            let arguments = ["-j", "2", "--framing", framing, "--worker", &worker];
            let mut running = sandbox.map(arguments).open_input().after_shell("exec 2> errors").start();
            running.write(numbers(1, 20));
            running.wait_stdout("twenty results", |bytes| bytes == numbers(1, 20).as_bytes());
            let most = status_kib(running.pid(), "VmHWM").expect("it runs");

            running.wait().expect_code(0);

            assert!(most < MOST_KIB, "{framing} {stream}: {most} KiB resident");
            let errors = sandbox.read("errors");
            let tail = String::from_utf8_lossy(&errors[errors.len().saturating_sub(2000)..]).into_owned();
            assert!(tail.contains("the tail of the flood"), "{framing} {stream}: {tail}");
        }
    }
}

#[test]
fn a_command_that_floods_is_passed_on_whole_in_flat_memory() {
    let sandbox = Sandbox::new();
    let bytes = mebibytes() * 1024 * 1024;
    let script = format!("head -c {bytes} /dev/zero");
    let out = std::fs::File::create(sandbox.path("out")).expect("a file in our own directory");
    let mut running = sandbox.map(["-j", "2", "--shell", &script]).open_input().stdout_file(out).start();

    running.write("1\n2\n");
    poolctl_testkit::wait_until(std::time::Duration::from_secs(120), "both results are written", || {
        std::fs::metadata(sandbox.path("out")).is_ok_and(|meta| meta.len() == 2 * bytes)
    });
    let most = status_kib(running.pid(), "VmHWM").expect("it runs");

    running.wait().expect_quiet();
    assert!(most < MOST_KIB, "{most} KiB resident");
}

#[test]
fn a_failed_command_that_floods_stderr_shows_its_last_lines() {
    let sandbox = Sandbox::new();
    let script = "yes noise | head -c 50000000 >&2; echo 'the real reason' >&2; exit 3";

    let finished = sandbox.map(["--shell", script, ":::", "a"]).run();

    let finished = finished.expect_code(1).expect_words(&["the real reason", "exit code 3"]);
    let tail = finished.stderr[finished.stderr.len().saturating_sub(2000)..].to_vec();
    assert!(String::from_utf8_lossy(&tail).contains("the real reason"), "the reason must be at the end");
}
