//! `poolctl map --pool` and `poolctl apply --pool`: items of any source through a pool of the service.

use std::io::Write;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use poolctl_testkit::{DEADLINE, Sandbox, poolctl_binary, wait_until};

use super::{POOLS, end, figure, gates, release, serve};

#[test]
fn results_come_in_the_order_of_the_items() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);
    let count = 20_000_u64;
    let items: String = (0..count).map(|item| format!("{item}\n")).collect();
    let expected: String = (0..count).map(|item| format!("{}\n", item * item)).collect();

    let squares = sandbox.poolctl(["map", "--pool", "square"]).input(items.clone()).run();
    let unordered =
        sandbox.poolctl(["map", "--pool", "square", "--unordered"]).input(items).run().expect_quiet();
    let roots = sandbox.poolctl(["map", "--pool", "sqrt", "4", "9"]).run();
    let lines = sandbox.poolctl(["map", "--pool", "lines"]).input("a\nca\n").run();

    squares.expect_quiet().expect_stdout(&expected);
    let mut sorted: Vec<u64> = unordered.lines().iter().map(|line| line.parse().expect("a number")).collect();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq((0..count).map(|item| item * item)));
    roots.expect_quiet().expect_stdout("2.0\n3.0\n");
    lines.expect_quiet().expect_stdout("b\ncb\n");
    end(service);
}

#[test]
fn items_that_fail_are_told_as_those_of_any_map() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    let python = sandbox.poolctl(["map", "--pool", "sqrt", "--", "4", "-1", "9"]).run();
    let command = sandbox.poolctl(["map", "--pool", "command", "1", "3"]).run();
    let json = sandbox.poolctl(["map", "--pool", "sqrt", "--json", "--", "-1"]).run().expect_code(1);

    let python = python.expect_code(1).expect_stdout("2.0\n3.0\n");
    python.expect_words(&["error: item 1 (-1): ValueError: math domain error", "1 of 3 items failed"]);
    // As of any map, what a command wrote before it failed is its output.
    let command = command.expect_code(1).expect_stdout("1\n3\n");
    command.expect_words(&["error: item 1 (\"3\"): exit code 1", "    no\n"]);
    let record: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&record["status"], &record["error"]["type"]), (&"failed".into(), &"ValueError".into()));
    end(service);
}

#[test]
fn items_that_are_no_json_are_65_with_their_place_and_those_before_are_done() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    let finished = sandbox.poolctl(["map", "--pool", "square"]).input("1\n2\nx\n4\n").run();

    finished.expect_code(65).expect_stdout("1\n4\n").expect_words(&["stdin, line 3, column 1"]);
    end(service);
}

#[test]
fn what_the_configuration_says_of_a_pool_is_no_flag_of_a_client() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    let jobs = sandbox.poolctl(["map", "-j2", "--pool", "square", "1"]).run();
    let raw = sandbox.poolctl(["map", "--raw", "--pool", "command", "1"]).run();
    let two = sandbox.poolctl(["map", "--pool", "square", "--shell", "x", "1"]).run();

    jobs.expect_code(2).expect_words(&["--jobs", "belongs to the pool"]);
    raw.expect_code(2).expect_words(&["--raw has no meaning"]);
    two.expect_code(2);
    end(service);
}

#[test]
fn apply_runs_one_task_and_ends_as_it_does() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    let good = sandbox.poolctl(["apply", "--pool", "sqrt", "16"]).run();
    let bad = sandbox.poolctl(["apply", "--pool", "sqrt", "--", "-1"]).run();
    let command = sandbox.poolctl(["apply", "--pool", "command", "3"]).run();

    good.expect_quiet().expect_stdout("4.0\n");
    bad.expect_code(2).expect_words(&["--pool"]);
    command.expect_code(1).expect_stdout("3\n");
    end(service);
}

#[test]
fn a_log_continues_where_it_stopped() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    sandbox.poolctl(["map", "--pool", "square", "--log", "log", "1", "2"]).run().expect_quiet();
    let resumed = sandbox.poolctl(["map", "--pool", "square", "--resume", "log", "1", "2", "3"]).run();

    resumed.expect_code(0).expect_stdout("9\n");
    end(service);
}

#[test]
fn ctrl_c_finishes_what_runs_and_sends_nothing_more() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b", "c"]);
    let service = serve(&sandbox, POOLS);
    let mut map = sandbox.poolctl(["map", "--pool", "gate"]).open_input().start();
    map.write("a\nb\nc\n");
    wait_until(DEADLINE, "an item runs", || figure(&sandbox, "gate", "running") == 1);

    map.signal(Signal::SIGINT);
    map.wait_stderr("stopping: no new items");
    release(&sandbox, &["a"]);

    map.wait_ended().expect_code(130).expect_stdout("through a\n");
    wait_until(DEADLINE, "the pool is idle", || figure(&sandbox, "gate", "queued") == 0);
    end(service);
}

#[test]
fn a_deadline_stops_what_runs_in_the_pool() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b"]);
    let service = serve(&sandbox, POOLS);

    let late = sandbox.poolctl(["map", "--pool", "gate", "--deadline", "50ms", "a", "b"]).run();

    late.expect_code(124).expect_stdout("").expect_words(&["the deadline has passed"]);
    wait_until(DEADLINE, "nothing runs", || figure(&sandbox, "gate", "running") == 0);
    end(service);
}

#[test]
fn a_reader_that_goes_away_ends_a_map_of_endless_input_quietly() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    let map = sandbox.peer("sh").args(["-c", "yes 3 | \"$0\" map --pool square | head -n 3; wait"]);
    let map = map.arg(poolctl_binary()).run();

    map.expect_quiet().expect_stdout("9\n9\n9\n");
    sandbox.poolctl(["map", "--pool", "square", "5"]).run().expect_quiet().expect_stdout("25\n");
    end(service);
}

#[test]
fn a_client_that_vanishes_takes_its_tasks_along_and_others_do_not_notice() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b", "c"]);
    let service = serve(&sandbox, POOLS);
    let map = sandbox.poolctl(["map", "--pool", "gate", "a", "b"]).start();
    wait_until(DEADLINE, "an item runs", || figure(&sandbox, "gate", "running") == 1);
    let socket = sandbox.run_directory().join("poolctl/poold.sock");
    let connect = || UnixStream::connect(&socket).expect("the service listens");
    let silent: Vec<UnixStream> = (0..10).map(|_| connect()).collect();
    // The hello of a client, and half of what follows it.
    let mut slow = connect();
    let hello = b"\x0d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0{\"poolctl\":1}";
    slow.write_all(hello).expect("it listens");
    slow.write_all(&[20, 0, 0, 0, 33]).expect("it listens");

    map.kill();
    (0..1000).for_each(|_| drop(connect()));
    wait_until(DEADLINE, "its tasks are gone", || {
        figure(&sandbox, "gate", "running") + figure(&sandbox, "gate", "queued") == 0
    });

    sandbox.poolctl(["map", "--pool", "square", "5"]).run().expect_quiet().expect_stdout("25\n");
    drop((silent, slow));
    end(service);
}
