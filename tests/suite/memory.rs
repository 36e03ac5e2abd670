//! Memory stays flat however long the input is and however late its first result.

use std::io::{Read, Write};
use std::time::Duration;

use poolctl_testkit::{DEADLINE, Invocation, Running, Sandbox, pass, status_kib, wait_until};

use crate::peer::numbers;

/// What `poolctl` may have resident at any time.
const MOST_KIB: u64 = 64 * 1024;

#[track_caller]
fn expect_flat(running: &Running) {
    let most = status_kib(running.pid(), "VmHWM").expect("it runs");
    assert!(most < MOST_KIB, "{most} KiB resident");
}

/// Feeds the numbers from 1 to `count` to `invocation`, which is to give them back in order and in little memory.
#[track_caller]
pub(crate) fn expect_flat_flow(invocation: Invocation, count: u64) {
    let mut running = invocation.open_input().hold_stdout().start();
    let mut stdin = running.take_stdin();
    let feeder = std::thread::spawn(move || {
        for first in (1..=count).step_by(10_000) {
            stdin.write_all(numbers(first, first + 9_999).as_bytes()).expect("poolctl reads");
        }
        stdin
    });

    let mut stdout = running.take_stdout();
    for first in (1..=count).step_by(10_000) {
        let expected = numbers(first, first + 9_999);
        let mut got = vec![0; expected.len()];
        stdout.read_exact(&mut got).expect("there are further results");
        assert!(got == expected.as_bytes(), "the results from {first} on are not in order");
    }

    expect_flat(&running);
    drop(feeder.join().expect("the feeder does not panic"));
    running.wait().expect_quiet();
}

/// How many items a test of flat memory is to have: `usual`, or `long` where the long tests are asked for.
pub(crate) fn items(usual: u64, long: u64) -> u64 {
    if poolctl_testkit::are_long_tests_wanted() { long } else { usual }
}

/// A million items through a function whose first waits for `gate`, and which makes `far` at the 50,000th and `too_far` at
/// the 70,000th.
#[track_caller]
pub(crate) fn expect_window_kept(sandbox: &Sandbox, invocation: Invocation) {
    sandbox.fifo("gate");
    let count = 1_000_000;
    let running = invocation.input(numbers(1, count)).start();

    wait_until(DEADLINE, "items far behind have run", || sandbox.path("far").exists());
    pass(Duration::from_millis(300));
    expect_flat(&running);
    assert!(!sandbox.path("too_far").exists(), "the window is 65,536 items");
    sandbox.release("gate");

    running.wait().expect_quiet().expect_stdout(numbers(1, count));
}

/// 2,000 items, with a buffer of 4 MiB, through a function whose first waits for `gate`, and which adds a byte to `ran` for
/// each and gives text of 100,000 letters.
#[track_caller]
pub(crate) fn expect_buffer_kept(sandbox: &Sandbox, invocation: Invocation) {
    sandbox.fifo("gate");
    let running = invocation.args(["--buffer=4MiB"]).input(numbers(1, 2_000)).start();

    // A buffer holds forty; some more are under way.
    wait_until(DEADLINE, "the buffer is full", || sandbox.read("ran").len() >= 40);
    pass(Duration::from_millis(500));
    let ran = sandbox.read("ran").len();
    expect_flat(&running);
    sandbox.release("gate");

    let finished = running.wait().expect_quiet();
    assert_eq!(finished.stdout.len(), 2_000 * 100_003);
    assert!(ran < 1_000, "{ran} items ran behind a full buffer");
}

#[test]
fn millions_of_lines_through_a_filter_take_no_memory() {
    let sandbox = Sandbox::new();
    expect_flat_flow(sandbox.map(["--lines", "cat", "--ahead", "64"]), items(2_000_000, 20_000_000));
}

#[test]
fn an_endless_input_with_a_reader_that_stops_reading_takes_no_memory() {
    for target in [vec!["--lines", "cat", "--ahead", "64"], vec!["python:f.py:f"], vec!["echo"]] {
        let sandbox = Sandbox::new();
        sandbox.write("f.py", "def f(x):\n    return x\n");
        let mut running = sandbox.map(target).open_input().hold_stdout().start();
        let mut stdin = running.take_stdin();
        let fed = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let count = std::sync::Arc::clone(&fed);
        let feeder = std::thread::spawn(move || {
            let block = numbers(1_000_000, 1_001_000);
            while stdin.write_all(block.as_bytes()).is_ok() {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        let mut stdout = running.take_stdout();
        let mut some = vec![0; 1_000_000];
        stdout.read_exact(&mut some).expect("there are results");

        // Nobody reads on: the input must come to a halt too.
        let mut last = u64::MAX;
        wait_until(DEADLINE, "the input has come to a halt", || {
            pass(Duration::from_millis(300));
            let now = fed.load(std::sync::atomic::Ordering::Relaxed);
            std::mem::replace(&mut last, now) == now
        });

        expect_flat(&running);
        drop(stdout);
        let finished = running.wait().expect_code(141);
        assert_eq!(finished.errors(), "");
        feeder.join().expect("it ends when nobody reads");
    }
}

#[test]
fn a_million_items_behind_a_slow_first_one_stay_within_the_buffer() {
    let sandbox = Sandbox::new();
    let function = "
def f(x):
    if x == 1:
        open('gate').read()
    if x == 50_000:
        open('far', 'w').close()
    if x == 70_000:
        open('too_far', 'w').close()
    return x
";
    sandbox.write("f.py", function);
    expect_window_kept(&sandbox, sandbox.map(["-j2", "python:f.py:f"]));
}

#[test]
fn large_results_behind_a_slow_first_one_stay_within_the_buffer() {
    let sandbox = Sandbox::new();
    let function = "
def f(x):
    if x == 1:
        open('gate').read()
    open('ran', 'a').write('x')
    return 'y' * 100_000
";
    sandbox.write("f.py", function);
    expect_buffer_kept(&sandbox, sandbox.map(["-j2", "python:f.py:f"]));
}
