//! Workers and filters that misbehave between items: what was never read is nobody's, and what nobody asked for is no
//! answer.

use poolctl_testkit::Sandbox;

use crate::peer::numbers;

/// Runs the items through a worker whose loop, after it has answered in `t`, does this.
fn after_each_answer(sandbox: &Sandbox, then: &str) -> poolctl_testkit::Invocation {
    let script = format!(
        "import json, os, time\n\
         r, w = os.fdopen(3), os.fdopen(4, 'w')\n\
         def say(message): w.write(json.dumps(message) + '\\n'); w.flush()\n\
         say({{'poolctl': 1}})\n\
         for line in r:\n    t = json.loads(line)\n    say({{'id': t['id'], 'ok': t['data']}})\n    {then}\n"
    );
    let path = sandbox.write("worker.py", script);
    let worker = format!("python3 {}", path.display());
    sandbox.map(["-j1", "--grace", "100ms", "--worker", &worker]).input(numbers(1, 6))
}

#[test]
fn a_worker_that_dies_after_each_answer_takes_no_item_with_it() {
    let sandbox = Sandbox::new();

    let ours = after_each_answer(&sandbox, "os.kill(os.getpid(), 9)").run();

    ours.expect_code(0).expect_stdout(numbers(1, 6));
}

#[test]
fn a_filter_that_ends_after_each_answer_takes_no_item_with_it() {
    let sandbox = Sandbox::new();
    let filter = ["-j2", "--lines", "sh -c 'read x; echo $x'"];

    let ours = sandbox.map(filter).input(numbers(1, 50)).run();

    ours.expect_code(0).expect_stdout(numbers(1, 50));
}

#[test]
fn a_worker_that_closes_the_way_to_it_and_lives_on_is_replaced() {
    let sandbox = Sandbox::new();

    let ours = after_each_answer(&sandbox, "t['data'] == 3 and (r.close(), time.sleep(3600))").run();

    ours.expect_code(0).expect_stdout(numbers(1, 6));
}

#[test]
fn a_worker_that_says_bye_and_stays_is_replaced() {
    let sandbox = Sandbox::new();

    let ours =
        after_each_answer(&sandbox, "t['data'] == 3 and (say({'bye': 'recycle'}), time.sleep(3600))").run();

    ours.expect_code(0).expect_stdout(numbers(1, 6));
}

#[test]
fn a_second_answer_to_the_same_item_goes_nowhere() {
    let sandbox = Sandbox::new();

    let ours = after_each_answer(&sandbox, "say({'id': t['id'], 'ok': 'again'})").run();

    ours.expect_code(0).expect_stdout(numbers(1, 6));
}

#[test]
fn a_banner_is_no_answer() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-j1", "--lines", "sh -c 'echo banner; cat'"]).input(numbers(1, 3)).run();

    ours.expect_code(126).expect_stdout("").expect_words(&["before it was given a line", "banner"]);
}

#[test]
fn a_line_that_comes_late_is_no_answer_to_the_next_item() {
    let sandbox = Sandbox::new();
    let filter = "sh -c 'while read x; do echo $x; sleep 0.2; echo extra; done'";

    let ours = sandbox.map(["-j1", "--lines", filter]).input(numbers(1, 3)).run();

    ours.expect_code(1).expect_stdout("").expect_words(&["more than one line", "extra", "--eot"]);
}

#[test]
fn what_a_filter_says_after_its_last_item_is_told() {
    let sandbox = Sandbox::new();

    let ours =
        sandbox.map(["-j1", "--lines", "sh -c 'cat; echo trailer; exit 3'"]).input(numbers(1, 3)).run();

    ours.expect_code(0).expect_stdout(numbers(1, 3)).expect_words(&["warning", "trailer"]);
}

#[test]
fn a_filter_that_ends_at_once_ends_the_run() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--lines", "sh -c 'echo wrong >&2; exit 4'"]).input(numbers(1, 1000)).run();

    ours.expect_code(126).expect_stdout("").expect_words(&["exit code 4", "wrong"]);
}

#[test]
fn a_run_in_which_no_process_can_be_made_ends() {
    let sandbox = Sandbox::new();

    let nul = sandbox.map(["--", "echo"]).input("a\0b\n").run();
    let field = sandbox.map(["--", "echo", "{3}", ":::", "a", ":::", "b"]).run();

    nul.expect_code(1).expect_words(&["NUL"]);
    field.expect_code(1).expect_words(&["field `3`"]);
}
