//! `poolctl apply`: one task, which the program ends as.

use nix::sys::signal::Signal;
use poolctl_testkit::Sandbox;

use crate::fault::FAULT_WORKER;

#[test]
fn a_native_function_takes_none_one_or_several_arguments() {
    let sandbox = Sandbox::new();
    let faults = ["apply", "--worker", FAULT_WORKER, "--function"];

    sandbox.poolctl(["apply", "square", "5"]).run().expect_quiet().expect_stdout("25\n");
    sandbox.poolctl(["apply", "square", "--", "-5"]).run().expect_quiet().expect_stdout("25\n");
    sandbox.poolctl(["apply", "square", "-5"]).run().expect_quiet().expect_stdout("25\n");
    sandbox.poolctl(["apply", "add", "2", "3"]).run().expect_quiet().expect_stdout("5\n");
    sandbox.poolctl(faults).arg("nothing").run().expect_quiet().expect_stdout("42\n");
    let joined = sandbox.poolctl(faults).args(["text.join", "\"a\"", "7", "null"]).run();
    joined.expect_quiet().expect_stdout("\"a-7-None\"\n");
    sandbox.poolctl(["apply", "--raw", "echo", "a b"]).run().expect_quiet().expect_stdout("\"a b\"\n");
}

#[test]
fn other_targets_take_their_arguments_as_such() {
    let sandbox = Sandbox::new();
    sandbox.write("f.py", "def none():\n    return 'none'\ndef three(a, b, c):\n    return [a, b, c]\n");

    let result = |arguments: &[&str]| sandbox.poolctl(["apply"]).args(arguments).run().expect_quiet().text();

    assert_eq!(result(&["python:math:factorial", "5"]), "120\n");
    assert_eq!(result(&["python:f.py:three", "1", "\"x\"", "[2]"]), "[1, \"x\", [2]]\n");
    assert_eq!(result(&["--raw", "python:f.py:three", "1", "x", ""]), "[\"1\", \"x\", \"\"]\n");
    assert_eq!(result(&["python:f.py:none"]), "\"none\"\n");
    assert_eq!(result(&["--shell", "echo \"$2-$1\"", "a", "b c"]), "b c-a\n");
    assert_eq!(result(&["--shell", "echo $#"]), "0\n");
    assert_eq!(result(&["--lines", "sed -u s/b/x/", "abc"]), "axc\n");
    let worker = ["--worker", crate::zoo::BAD_WORKER, "{\"a\":1}"];
    assert_eq!(result(&worker), "{\"a\":1}\n");
}

#[test]
fn a_command_is_run_as_it_stands_and_its_status_is_that_of_the_program() {
    let sandbox = Sandbox::new();
    let apply = |words: &[&str]| sandbox.poolctl(["apply", "--"]).args(words).run();

    apply(&["echo", "{}", ":::", "--", "{.}"]).expect_quiet().expect_stdout("{} ::: -- {.}\n");
    let ours = apply(&["sh", "-c", "echo out; echo err >&2; exit 7"]).expect_code(7).expect_stdout("out\n");
    assert_eq!(ours.errors(), "err\n", "the status says it all");
    apply(&["sh", "-c", "exit 255"]).expect_code(255);
    apply(&["sh", "-c", "kill -9 $$"]).expect_code(137).expect_words(&["SIGKILL"]);
    apply(&["sh", "-c", "kill -15 $$"]).expect_code(143).expect_words(&["SIGTERM"]);
    apply(&["no-such-program"]).expect_code(127).expect_words(&["no-such-program", "PATH"]);
    apply(&["/"]).expect_code(126);
    let many: String = (0..30).map(|line| format!("{line}\n")).collect();
    let ours = apply(&["sh", "-c", "seq 0 29 >&2; exit 1"]).expect_code(1);
    assert_eq!(ours.errors(), many, "stderr passes whole");
}

#[test]
fn a_function_that_fails_is_one_whatever_way_it_fails() {
    let sandbox = Sandbox::new();
    let fault = |how: &str| {
        let words = ["apply", "--worker", FAULT_WORKER, "--function", "fault", "5"];
        sandbox.poolctl(words).env("FAULT", format!("{how} 5")).run().expect_code(1).expect_stdout("")
    };

    fault("fail").expect_words(&["error: ", "told to fail"]).expect_no_words(&["item 0", "1 of 1"]);
    fault("panic").expect_words(&["panic", "told to panic"]);
    fault("kill").expect_words(&["SIGKILL"]);
    fault("exit:7").expect_words(&["exit code 7"]);
    sandbox
        .poolctl(["apply", "python:math:sqrt", "--", "-1"])
        .run()
        .expect_code(1)
        .expect_words(&["ValueError"]);
}

#[test]
fn time_retries_and_form_are_as_in_a_map() {
    let sandbox = Sandbox::new();

    let late = sandbox.poolctl(["apply", "--timeout=100ms", "--", "sleep", "1000"]).run();
    let slow = sandbox.poolctl(["apply", "--timeout=100ms", "sleep", "1000"]).run();
    let again = sandbox
        .poolctl(["apply", "--retries=1", "--worker", FAULT_WORKER, "--function", "fault", "5"])
        .env("FAULT", "kill 5 once")
        .run();
    let object = sandbox.poolctl(["apply", "--json", "square", "5"]).run().expect_quiet();

    late.expect_code(124).expect_words(&["timed out"]);
    slow.expect_code(124).expect_words(&["timed out"]);
    again.expect_code(0).expect_stdout("5\n").expect_words(&["retrying", "attempt 2 of 2"]);
    let object: serde_json::Value = serde_json::from_str(&object.text()).expect("a line of JSON");
    assert_eq!(object["value"], 25);
}

#[test]
fn arguments_that_cannot_be_used_are_said() {
    let sandbox = Sandbox::new();
    let apply = |words: &[&str]| sandbox.poolctl(["apply"]).args(words).run();

    apply(&[]).expect_code(2);
    apply(&["square", "five"]).expect_code(65).expect_words(&["five", "--raw"]);
    apply(&["sqare", "5"]).expect_code(127).expect_words(&["did you mean `square`?"]);
    apply(&["gzip", "5"]).expect_code(127).expect_words(&["poolctl apply -- gzip"]);
    apply(&["./gzip", "5"]).expect_code(2).expect_words(&["poolctl apply -- ./gzip 5"]);
    apply(&["square", "5", "6"]).expect_code(1).expect_words(&["square"]);
    apply(&["--lines", "cat", "a", "b"]).expect_code(2);
}

#[test]
fn an_interrupt_ends_the_task_and_nothing_is_left() {
    let sandbox = Sandbox::new();
    let running =
        sandbox.poolctl(["apply", "--grace=200ms", "--shell", "echo begun >&2; sleep 1000"]).start();
    poolctl_testkit::wait_until(poolctl_testkit::DEADLINE, "it runs", || {
        sandbox.processes().iter().any(|process| process.command == "sleep 1000")
    });

    running.signal(Signal::SIGINT);
    running.wait_stderr("Ctrl-C again");
    running.signal(Signal::SIGINT);

    running.wait().expect_code(130);
    sandbox.expect_nothing_left();
}
