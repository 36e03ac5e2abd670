//! Where results go: order with limits, readers that go away, disks that are full, the log.

use std::fs::File;
use std::io::{Read, Write};

use poolctl_testkit::{DEADLINE, Sandbox, wait_until};
use serde_json::Value;

use crate::peer::numbers;

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["--lines", "cat"]).input(numbers(1, 200_000)).hold_stdout().start();
    let mut stdout = running.take_stdout();

    let mut first = [0; 2];
    stdout.read_exact(&mut first).expect("there is a first line");
    drop(stdout);

    assert_eq!(&first, b"1\n");
    let finished = running.wait().expect_code(141);
    assert_eq!(finished.errors(), "");
}

#[test]
fn a_reader_that_goes_away_ends_an_endless_input() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["--lines", "cat", "--ahead", "64"]).open_input().hold_stdout().start();
    let mut stdin = running.take_stdin();
    let feeder = std::thread::spawn(move || while stdin.write_all(b"again\n").is_ok() {});
    let mut stdout = running.take_stdout();

    let mut some = vec![0; 60_000];
    stdout.read_exact(&mut some).expect("there are lines");
    drop(stdout);

    let finished = running.wait().expect_code(141);
    assert_eq!(finished.errors(), "");
    feeder.join().expect("it ends when nobody reads");
}

#[test]
fn a_full_disk_is_an_error_with_its_own_exit_code() {
    let sandbox = Sandbox::new();
    let full = File::options().write(true).open("/dev/full").expect("every Linux has it");

    let ours = sandbox.map(["--lines", "cat"]).input(numbers(1, 1_000)).stdout_file(full).run();

    ours.expect_code(74).expect_words(&["No space left on device"]);
}

#[test]
fn output_beyond_the_buffer_waits_in_a_file_and_stays_in_order() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    // Four megabytes wait for the first item, which waits for the test.
    let script =
        r#"if [ "$1" = 1 ]; then cat gate; fi; head -c 200000 /dev/zero | tr '\0' "$1"; echo $1 >> ran"#;
    let running = sandbox.map(["-j2", "--buffer", "1MiB", "--shell", script]).input(numbers(1, 9)).start();

    wait_until(DEADLINE, "five items have run", || sandbox.read("ran").len() >= 10);
    sandbox.release("gate");

    let expected: Vec<u8> = (b'1'..=b'9').flat_map(|digit| vec![digit; 200_000]).collect();
    running.wait().expect_quiet().expect_stdout(expected);
}

#[test]
fn one_output_of_many_megabytes_arrives_whole() {
    let sandbox = Sandbox::new();
    let script = r#"head -c 30000000 /dev/zero | tr '\0' "$1""#;

    let ours = sandbox.map(["-j2", "--shell", script, ":::", "a", "b"]).run().expect_quiet();

    assert_eq!(ours.stdout.len(), 60_000_000);
    assert!(ours.stdout[..30_000_000].iter().all(|byte| *byte == b'a'));
    assert!(ours.stdout[30_000_000..].iter().all(|byte| *byte == b'b'));
}

#[test]
fn a_window_bounds_how_far_items_run_ahead_of_a_slow_one() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let script = r#"if [ "$1" = 1 ]; then cat gate; fi; echo $1 >> ran"#;
    let running = sandbox.map(["-j2", "--window", "10", "--shell", script]).input(numbers(1, 30)).start();

    wait_until(DEADLINE, "nine items have run", || {
        sandbox.read("ran").iter().filter(|b| **b == b'\n').count() == 9
    });
    poolctl_testkit::pass(std::time::Duration::from_millis(200));
    let ran = sandbox.read("ran");
    sandbox.release("gate");

    assert_eq!(String::from_utf8_lossy(&ran), numbers(2, 10), "no further item may start");
    running.wait().expect_quiet();
    assert_eq!(sandbox.read("ran").iter().filter(|byte| **byte == b'\n').count(), 30);
}

#[test]
fn the_log_has_one_line_per_item_and_the_offset_of_its_result() {
    let sandbox = Sandbox::new();
    let out = File::create(sandbox.path("out")).expect("a file in our own directory");
    let script = r#"[ "$1" != 2 ] || exit 4; echo "result $1""#;

    let ours = sandbox.map(["--log", "log", "--shell", script]).input(numbers(1, 5)).stdout_file(out).run();

    ours.expect_code(1);
    let log = String::from_utf8(sandbox.read("log")).expect("a log is text");
    let entries: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let items: Vec<&Value> = entries.iter().filter(|entry| entry.get("index").is_some()).collect();
    assert_eq!(items.len(), 5, "{log}");
    let failed: Vec<&&Value> = items.iter().filter(|entry| entry["status"] != "ok").collect();
    assert_eq!(failed.len(), 1, "{log}");
    assert_eq!(failed[0]["exit"], 4, "{log}");
    assert_eq!(sandbox.read("out").len(), 4 * "result 1\n".len());
}
