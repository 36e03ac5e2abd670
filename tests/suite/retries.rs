//! Further attempts, time limits, halts: what happens to items that do not go well.

use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::peer::numbers;

#[test]
fn a_failed_item_does_not_stop_the_run() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--shell", "[ $1 != 3 ] || exit 7; echo $1"]).input(numbers(1, 6)).run();

    ours.expect_code(1).expect_stdout("1\n2\n4\n5\n6\n").expect_words(&["3", "exit code 7"]);
}

#[test]
fn a_failed_command_is_told_with_the_last_lines_of_its_stderr() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--", "ls", "/nowhere/at/all"]).input("x\n").run();

    ours.expect_code(1).expect_words(&["exit code 2", "/nowhere/at/all", "No such file"]);
}

#[test]
fn retries_are_further_attempts() {
    let sandbox = Sandbox::new();
    let script = r#"echo "$1" >> tries; [ $(grep -c "^$1$" tries) -ge 3 ] || exit 1; echo "$1 ok""#;

    let enough = sandbox.map(["-j1", "--retries", "2", "--shell", script]).input("a\nb\n").run();
    std::fs::remove_file(sandbox.path("tries")).expect("the items made it");
    let too_few = sandbox.map(["-j1", "--retries", "1", "--shell", script]).input("a\nb\n").run();

    enough.expect_code(0).expect_stdout("a ok\nb ok\n");
    too_few.expect_code(1).expect_stdout("");
    assert_eq!(sandbox.read("tries").len(), 8, "two attempts for each");
}

#[test]
fn output_of_an_attempt_that_is_tried_again_is_dropped() {
    let sandbox = Sandbox::new();
    let script = r#"echo "half of $1"; if [ -e tried ]; then exit 0; fi; touch tried; exit 1"#;

    let ours = sandbox.map(["-j1", "--retries", "1", "--shell", script, ":::", "a"]).run();

    ours.expect_code(0).expect_stdout("half of a\n");
}

#[test]
fn a_worker_that_says_do_not_retry_is_obeyed() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "worker.py",
        r#"
import json
replies = open(4, "w", buffering=1)
print('{"poolctl":1,"caps":[]}', file=replies)
for line in open(3):
    task = json.loads(line)
    open("tries", "a").write("x")
    print(json.dumps({"id": task["id"], "err": {"type": "Bad", "msg": "never", "retry": False}}), file=replies)
"#,
    );

    let ours = sandbox.map(["-j1", "--retries", "5", "--worker", "python3 worker.py"]).input("1\n").run();

    ours.expect_code(1).expect_words(&["Bad", "never"]);
    assert_eq!(sandbox.read("tries"), b"x");
}

#[test]
fn a_timeout_ends_the_item_and_its_children() {
    let sandbox = Sandbox::new();
    let script = r#"case $1 in 2) sleep 1000 & sleep 1000 ;; esac; echo $1"#;

    let ours =
        sandbox.map(["--timeout", "500ms", "--grace", "100ms", "--shell", script]).input(numbers(1, 3)).run();

    ours.expect_code(1).expect_stdout("1\n3\n").expect_words(&["timed out"]);
    sandbox.expect_nothing_left();
}

#[test]
fn an_item_that_ignores_term_is_killed_after_the_grace() {
    let sandbox = Sandbox::new();
    let script = r#"trap '' TERM; while :; do sleep 1000; done"#;

    let ours = sandbox.map(["--timeout", "300ms", "--grace", "200ms", "--shell", script, ":::", "a"]).run();

    ours.expect_code(1).expect_words(&["timed out"]);
}

#[test]
fn a_timed_out_function_is_tried_again_in_a_new_interpreter() {
    let sandbox = Sandbox::new();
    let function = "
import os, threading
def f(x):
    if x == 3 and not os.path.exists('tried'):
        open('tried', 'w').close()
        threading.Event().wait()
    return x
";
    sandbox.write("f.py", function);

    let limits = ["-j1", "--timeout", "2s", "--retries", "1", "--grace", "100ms"];
    let ours = sandbox.map(limits).arg("python:f.py:f").input(numbers(1, 5)).run();

    ours.expect_code(0).expect_stdout(numbers(1, 5));
}

#[test]
fn a_deadline_ends_the_whole_run_with_its_own_code() {
    let sandbox = Sandbox::new();

    let ours = sandbox
        .map(["--deadline", "500ms", "--grace", "100ms", "--shell", "sleep 1000", ":::", "a", "b"])
        .run();

    ours.expect_code(124).expect_words(&["deadline"]);
}

#[test]
fn a_deadline_of_zero_runs_nothing() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--deadline", "0s", "--shell", "touch ran", ":::", "a", "b"]).run();

    ours.expect_code(124);
    assert!(!sandbox.path("ran").exists());
}

#[test]
fn hundreds_of_timeouts_at_once_are_all_told() {
    let sandbox = Sandbox::new();
    let limits = ["-j", "200", "--timeout", "500ms", "--grace", "100ms"];

    let ours = sandbox.map(limits).args(["--", "sleep"]).input("1000\n".repeat(200)).run().expect_code(1);

    assert_eq!(ours.errors().matches("timed out").count(), 200, "{ours}");
}

#[test]
fn halt_soon_lets_the_running_items_finish() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let script =
        r#"case $1 in 1) cat gate; echo "$1 finished" ;; 2) exit 9 ;; *) echo $1 >> further ;; esac"#;
    let running =
        sandbox.map(["-j2", "--halt", "soon,fail=1", "--shell", script]).input(numbers(1, 50)).start();

    running.wait_stderr("exit code 9");
    sandbox.release("gate");

    let finished = running.wait().expect_code(3).expect_words(&["halt"]);
    assert_eq!(finished.text(), "1 finished\n");
    assert_eq!(sandbox.read("further"), b"", "no item may start after the halt");
}

#[test]
fn halt_now_stops_the_running_items() {
    let sandbox = Sandbox::new();
    let script = r#"case $1 in 1) sleep 1000 ;; 2) exit 9 ;; esac"#;

    let ours = sandbox.map(["-j2", "--halt", "now,fail=1", "--shell", script]).input(numbers(1, 50)).run();

    ours.expect_code(3).expect_stdout("").expect_words(&["halt"]);
}

#[test]
fn halt_counts_failures() {
    let sandbox = Sandbox::new();
    let script = r#"echo $1 >> ran; exit 1"#;

    let ours = sandbox.map(["-j1", "--halt", "soon,fail=3", "--shell", script]).input(numbers(1, 50)).run();

    ours.expect_code(3);
    assert_eq!(sandbox.read("ran"), b"1\n2\n3\n");
}

#[test]
fn the_first_cause_wins_over_failed_items() {
    let sandbox = Sandbox::new();
    let script = "[ $1 = 1 ] && exit 1; sleep 1000";

    let ours = sandbox
        .map(["-j2", "--deadline", "1s", "--grace", "100ms", "--shell", script, ":::", "1", "2"])
        .run();

    ours.expect_code(124);
}

#[test]
fn ten_thousand_restarts_bring_descriptors_back_to_where_they_were() {
    let sandbox = Sandbox::new();
    let count = if poolctl_testkit::are_long_tests_wanted() { 10_000 } else { 1_500 };
    let mut running = sandbox.map(["-j2", "--max-tasks", "1", "--lines", "cat"]).open_input().start();
    let holders = |running: &poolctl_testkit::Running| {
        let keeper = poolctl_testkit::children(running.pid());
        let keeper =
            keeper.iter().find(|process| process.command.contains("--keeper")).expect("there is a keeper");
        poolctl_testkit::descriptors(running.pid()).len() + poolctl_testkit::descriptors(keeper.pid).len()
    };
    running.write(numbers(1, 20));
    running.wait_stdout("twenty results", |bytes| bytes == numbers(1, 20).as_bytes());
    let before = holders(&running);

    let mut stdin = running.take_stdin();
    let input = numbers(21, count);
    let feeder = std::thread::spawn(move || {
        std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("poolctl reads");
        stdin
    });
    let expected = numbers(1, count);
    wait_until(DEADLINE * 4, "all results", || {
        running.wait_stdout("more", |bytes| !bytes.is_empty()).len() == expected.len()
    });

    wait_until(DEADLINE, "no more descriptors than before", || holders(&running) <= before + 6);
    drop(feeder.join().expect("the feeder does not panic"));
    running.wait().expect_quiet().expect_stdout(expected);
}
