//! What `poolctl map` promises, for native functions: time, retries, halts, recycling, logs, windows, signals, memory.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use nix::sys::signal::Signal;
use poolctl_testkit::{DEADLINE, Finished, Process, Running, Sandbox, pass, wait_until};

use crate::fault::{self, FAULT_WORKER, faulty};
use crate::memory::{expect_buffer_kept, expect_flat_flow, expect_window_kept, items};
use crate::peer::numbers;
use crate::zoo::expect_all;

fn log_lines(sandbox: &Sandbox) -> usize {
    sandbox.read("log").iter().filter(|byte| **byte == b'\n').count()
}

fn appended(sandbox: &Sandbox) -> File {
    File::options().append(true).create(true).open(sandbox.path("out")).expect("a file in our own directory")
}

#[test]
fn a_run_that_was_killed_goes_on_and_every_result_is_there_once() {
    let sandbox = Sandbox::new();
    let input = numbers(1, 200_000);
    let running = fault::map(&sandbox, "fault")
        .args(["-j2", "--log", "log"])
        .input(input.clone())
        .stdout_file(appended(&sandbox))
        .start();
    wait_until(DEADLINE, "some items are logged", || log_lines(&sandbox) > 2_000);
    running.kill();
    wait_until(DEADLINE, "nothing writes any more", || sandbox.processes().is_empty());
    let done = log_lines(&sandbox);

    let again = fault::map(&sandbox, "fault")
        .args(["-j2", "--resume", "log"])
        .input(input)
        .stdout_file(appended(&sandbox));

    again.run().expect_code(0);
    let out = sandbox.read("out");
    assert!(out == numbers(1, 200_000).as_bytes(), "{done} lines were logged when it was killed");
    assert!(done < 200_000, "it was through when it was killed: this has shown nothing");
}

#[test]
fn what_failed_is_taken_again_where_asked_for_and_another_function_is_another_target() {
    let sandbox = Sandbox::new();
    let input = "1\n-2\n3\n";
    let map = |function: &str, flags: &[&str]| fault::map(&sandbox, function).args(flags).input(input).run();

    map("note", &["--log", "log"]).expect_code(1).expect_stdout("1\n3\n");
    map("note", &["--resume", "log"]).expect_code(0).expect_stdout("");
    assert_eq!(sandbox.read("ran").len(), 3, "all three have their outcome");
    map("note", &["--resume", "log", "--resume-failed"]).expect_code(1).expect_stdout("");
    assert_eq!(sandbox.read("ran").len(), 4, "the failed one alone");
    map("fault", &["--resume", "log"]).expect_words(&["another target"]).expect_stdout("");
    sandbox.map(["note", "--resume", "log"]).input(input).run().expect_words(&["another target"]);
}

#[test]
fn a_failed_item_has_so_many_further_attempts_and_each_is_its_own() {
    let sandbox = Sandbox::new();

    let ours =
        fault::map(&sandbox, "note").args(["--retries=2", "--retry-delay=10ms"]).input("1\n-2\n3\n").run();

    ours.expect_code(1).expect_stdout("1\n3\n").expect_words(&["attempt 3 of 3", "below zero"]);
    assert_eq!(sandbox.read("ran").len(), 5);
}

#[test]
fn time_is_that_of_the_item_and_not_of_what_it_travels_with() {
    let sandbox = Sandbox::new();
    let input = "0.02\n".repeat(60);

    // All of them together take longer than one may.
    let ours = sandbox.map(["-j1", "--timeout=1s", "sleep"]).input(input).run();

    ours.expect_quiet().expect_stdout("null\n".repeat(60));
}

#[test]
fn a_deadline_ends_the_run_with_its_own_code() {
    let sandbox = Sandbox::new();

    let ours = faulty(&sandbox, "1", "hang 7").args(["--deadline=1s", "--grace=100ms"]).run();

    ours.expect_code(124).expect_stdout(numbers(1, 6));
    sandbox.expect_nothing_left();
}

#[test]
fn a_halt_ends_the_run_with_its_own_code() {
    for rule in ["now,fail=1", "soon,fail=1"] {
        let sandbox = Sandbox::new();

        let ours = fault::map(&sandbox, "fault").args(["-j2", "--halt", rule]).env("FAULT", "fail 7");
        let ours =
            ours.input(numbers(1, 10_000_000)).run().expect_code(3).expect_words(&["halt", "told to fail"]);

        // Neighbours of the failed one may have run in the other worker just then.
        let results: Vec<u64> = ours.lines().iter().map(|line| line.parse().expect("a number")).collect();
        assert!(results.is_sorted() && !results.contains(&7), "{ours}");
        assert!(results.len() < 9_000_000, "it went on to the end");
    }
}

#[test]
fn workers_are_recycled_after_so_many_items() {
    let sandbox = Sandbox::new();

    let ours = fault::map(&sandbox, "pid").args(["-j1", "--max-tasks=10"]).input(numbers(1, 50)).run();

    let mut pids = ours.expect_quiet().lines();
    for chunk in pids.chunks(10) {
        assert!(chunk.iter().all(|pid| *pid == chunk[0]), "{pids:?}");
    }
    pids.dedup();
    assert_eq!(pids.len(), 5, "{pids:?}");
}

#[test]
fn a_worker_that_has_grown_too_large_is_replaced() {
    let sandbox = Sandbox::new();

    let ours =
        fault::map(&sandbox, "hoard").args(["-j1", "--max-rss=400MiB"]).input("100\n".repeat(30)).run();

    let mut pids = ours.expect_quiet().lines();
    assert_eq!(pids.len(), 30);
    pids.dedup();
    assert!(pids.len() >= 2, "one worker took three gigabytes");
}

#[test]
fn a_function_that_takes_more_memory_than_there_is_hurts_its_item_alone() {
    let sandbox = Sandbox::new();

    let ours =
        fault::map(&sandbox, "hoard").arg("-j1").input("1\n3000\n1\n").after_shell("ulimit -v 1500000").run();

    let ours = ours.expect_code(1).expect_words(&["item 1", "SIGABRT", "memory allocation"]);
    assert_eq!(ours.lines().len(), 2, "{ours}");
}

#[test]
fn a_million_items_behind_a_slow_first_one_stay_within_the_window() {
    let sandbox = Sandbox::new();
    expect_window_kept(&sandbox, fault::map(&sandbox, "gated").arg("-j2"));
}

#[test]
fn large_results_behind_a_slow_first_one_stay_within_the_buffer() {
    let sandbox = Sandbox::new();
    expect_buffer_kept(&sandbox, fault::map(&sandbox, "heavy").arg("-j2"));
}

#[test]
fn ten_million_items_take_no_memory() {
    let sandbox = Sandbox::new();
    expect_flat_flow(fault::map(&sandbox, "fault").arg("-j2"), items(10_000_000, 50_000_000));
}

#[test]
fn a_reader_that_goes_away_ends_an_endless_input_quietly() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["-j2", "square"]).open_input().hold_stdout().start();
    let mut stdin = running.take_stdin();
    let feeder = std::thread::spawn(move || while stdin.write_all(b"7\n").is_ok() {});
    let mut stdout = running.take_stdout();

    let mut first = [0; 3];
    stdout.read_exact(&mut first).expect("there are results");
    drop(stdout);

    assert_eq!(&first, b"49\n");
    let finished = running.wait().expect_code(141);
    assert_eq!(finished.errors(), "");
    feeder.join().expect("it ends when nobody reads");
}

#[test]
fn results_go_to_a_file_each_where_asked_for() {
    let sandbox = Sandbox::new();

    sandbox
        .map(["-j2", "--output", "results", "square"])
        .input(numbers(1, 30))
        .run()
        .expect_code(0)
        .expect_stdout("");

    let read = std::fs::read_dir(sandbox.path("results")).expect("it was made");
    assert_eq!(read.count(), 30);
}

#[test]
fn many_workers_and_few_descriptors_are_no_matter() {
    let sandbox = Sandbox::new();

    let many = fault::map(&sandbox, "fault").args(["-j", "100"]).input(numbers(1, 50_000)).run();
    let few =
        fault::map(&sandbox, "fault").args(["-j2"]).input(numbers(1, 200)).after_shell("ulimit -n 64").run();
    let none = sandbox.map(["square"]).input("").run();

    many.expect_quiet().expect_stdout(numbers(1, 50_000));
    few.expect_quiet().expect_stdout(numbers(1, 200));
    none.expect_quiet().expect_stdout("");
}

#[test]
fn progress_is_told_one_object_a_line() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--progress=json", "square"]).input(numbers(1, 1_000)).run().expect_code(0);

    let last = ours.errors().lines().last().map(str::to_owned).expect("it is told at the end");
    let object: serde_json::Value = serde_json::from_str(&last).expect("each line is JSON");
    assert_eq!((object["done"].as_u64(), object["total"].as_u64()), (Some(1_000), Some(1_000)));
}

/// One worker whose seventh item hangs.
fn hanging(sandbox: &Sandbox, flags: &[&str]) -> Running {
    let running = faulty(sandbox, "1", "hang 7").args(flags).start();
    running.wait_stdout("six results", |bytes| bytes == numbers(1, 6).as_bytes());
    running
}

#[track_caller]
fn expect_ended(finished: Finished, code: i32, sandbox: &Sandbox) {
    finished.expect_code(code).expect_stdout(numbers(1, 6));
    sandbox.expect_nothing_left();
}

#[test]
fn an_interrupt_lets_the_running_item_finish_and_a_second_one_ends_it() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let mut patient = fault::map(&sandbox, "gated").arg("-j1").open_input().start();
    patient.write("1\n");
    wait_until(DEADLINE, "the item runs", || {
        sandbox.processes().iter().any(|process| process.command == FAULT_WORKER)
    });
    pass(Duration::from_millis(100));

    patient.signal(Signal::SIGINT);
    patient.wait_stderr("Ctrl-C again to kill");
    sandbox.release("gate");
    patient.wait_ended().expect_code(130).expect_stdout("1\n");

    let sandbox = Sandbox::new();
    let running = hanging(&sandbox, &["--grace=200ms"]);
    running.signal(Signal::SIGINT);
    running.wait_stderr("1 running; Ctrl-C again to kill");
    running.signal(Signal::SIGINT);
    expect_ended(running.wait(), 130, &sandbox);
}

#[test]
fn terminate_ends_the_running_item_after_the_grace() {
    let sandbox = Sandbox::new();
    let running = hanging(&sandbox, &["--grace=200ms"]);

    running.signal(Signal::SIGTERM);

    expect_ended(running.wait(), 143, &sandbox);
}

#[test]
fn stop_and_continue_reach_the_workers_and_stop_the_clocks() {
    let sandbox = Sandbox::new();
    let state = |pid: u32| Process::look(pid).map(|process| process.state);
    let running = faulty(&sandbox, "1", "wait:1500 7").arg("--timeout=4s").start();
    running.wait_stdout("six results", |bytes| bytes == numbers(1, 6).as_bytes());
    let worker =
        sandbox.processes().into_iter().find(|process| process.command == FAULT_WORKER).expect("it runs").pid;

    running.signal(Signal::SIGTSTP);
    wait_until(DEADLINE, "both are stopped", || {
        state(worker) == Some('T') && state(running.pid()) == Some('T')
    });
    // Longer than the item may run: the clock stands still.
    pass(Duration::from_secs(5));
    running.signal(Signal::SIGCONT);

    expect_all(running.wait());
}

#[test]
fn usr1_prints_what_is_running() {
    let sandbox = Sandbox::new();
    let running = hanging(&sandbox, &["--grace=100ms"]);

    running.signal(Signal::SIGUSR1);
    let told = running.wait_stderr("running");

    assert!(told.contains('7'), "{told}");
    running.signal(Signal::SIGTERM);
    running.wait().expect_code(143);
}
