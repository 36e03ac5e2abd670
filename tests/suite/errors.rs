//! Errors a person can act on: what failed, why, and what to do next.

use poolctl_testkit::Sandbox;

#[test]
fn a_function_that_is_not_there_names_the_near_ones() {
    let sandbox = Sandbox::new();
    sandbox.write("tools.py", "def resize(x):\n    return x\n");

    let near = sandbox.map(["python:tools.py:resise", "1"]).run();
    let library = sandbox.map(["python:math:sqrtt", "1"]).run();

    near.expect_code(127).expect_words(&["resise", "did you mean", "resize"]).expect_stdout("");
    library.expect_code(127).expect_words(&["sqrtt", "did you mean", "sqrt"]);
}

#[test]
fn a_module_or_file_that_is_not_there_is_named() {
    let sandbox = Sandbox::new();

    sandbox.map(["python:no_such_module:f", "1"]).run().expect_code(127).expect_words(&["no_such_module"]);
    sandbox.map(["python:nowhere.py:f", "1"]).run().expect_code(127).expect_words(&["nowhere.py"]);
}

#[test]
fn an_import_that_raises_is_told_with_its_traceback_and_without_a_loop() {
    let sandbox = Sandbox::new();
    sandbox.write("broken.py", "open('imports', 'a').write('x')\n1 / 0\ndef f(x):\n    return x\n");
    sandbox.write("syntax.py", "def f(x:\n    return x\n");
    sandbox.write("needs.py", "import no_such_library\ndef f(x):\n    return x\n");

    let raises = sandbox.map(["-j1", "python:broken.py:f", "1"]).run();
    let syntax = sandbox.map(["python:syntax.py:f", "1"]).run();
    let needs = sandbox.map(["python:needs.py:f", "1"]).run();

    raises.expect_code(126).expect_words(&["ZeroDivisionError", "broken.py", "line 2"]);
    assert_eq!(sandbox.read("imports"), b"x", "an import that raises is not tried again");
    syntax.expect_code(126).expect_words(&["SyntaxError", "syntax.py"]);
    needs.expect_code(126).expect_words(&["no_such_library", "needs.py"]);
}

#[test]
fn something_that_cannot_be_called_is_said_to_be_that() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["python:math:pi", "1"]).run();

    assert!([Some(126), Some(127)].contains(&ours.code()), "{ours}");
    ours.expect_words(&["pi", "call"]);
}

#[test]
fn an_interpreter_that_is_not_there_names_the_flag() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--python", "/nowhere/python3", "python:math:sqrt", "1"]).run();

    ours.expect_code(127).expect_words(&["/nowhere/python3", "--python"]);
}

#[test]
fn a_near_miss_of_a_flag_names_the_flag() {
    let sandbox = Sandbox::new();

    for (wrong, right) in [("--retry", "--retr"), ("--unorderd", "--unordered"), ("--timout", "--timeout")] {
        let ours = sandbox.map([wrong, "--", "echo"]).run();

        ours.expect_code(2).expect_words(&[wrong, right]);
    }
}

#[test]
fn the_flags_of_other_tools_answer_with_our_name_for_them() {
    let sandbox = Sandbox::new();

    for (theirs, ours) in [
        ("--joblog=x", "--log"),
        ("--results=x", "--output"),
        ("--bar", "--progress"),
        ("--eta", "--progress"),
    ] {
        sandbox.map([theirs, "--", "echo"]).run().expect_code(2).expect_words(&[ours]);
    }
}

#[test]
fn a_value_that_cannot_be_read_is_shown_with_what_is_possible() {
    let sandbox = Sandbox::new();

    for arguments in [["--buffer", "much"], ["--halt", "never"], ["--timeout", "10 parsecs"], ["-j", "0"]] {
        sandbox.map(arguments).args(["--", "echo"]).run().expect_code(2).expect_words(&[arguments[1]]);
    }
}

#[test]
fn two_targets_at_once_are_refused() {
    let sandbox = Sandbox::new();

    sandbox.map(["--lines", "cat", "--worker", "cat"]).run().expect_code(2);
    sandbox.map(["--lines", "cat", "--", "echo"]).run().expect_code(2);
}

#[test]
fn a_target_that_is_forgotten_is_asked_for() {
    let sandbox = Sandbox::new();

    sandbox.map(["-j2"]).input("1\n").run().expect_code(2).expect_words(&["python:", "--lines"]);
}

#[test]
fn an_unclosed_quote_in_a_command_is_said() {
    let sandbox = Sandbox::new();

    sandbox.map(["--lines", "sed 's/a/b/"]).input("1\n").run().expect_code(2).expect_words(&["quote"]);
}

#[test]
fn an_error_of_a_worker_is_told_with_type_message_and_item() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "worker.py",
        r#"
import json
replies = open(4, "w", buffering=1)
print('{"poolctl":1}', file=replies)
for line in open(3):
    task = json.loads(line)
    error = {"type": "TooBig", "msg": "no more than ten", "trace": "at the gate"}
    print(json.dumps({"id": task["id"], "err": error}), file=replies)
"#,
    );

    let ours = sandbox.map(["--worker", "python3 worker.py"]).input("11\n").run();

    ours.expect_code(1).expect_words(&["TooBig", "no more than ten", "at the gate", "11"]);
}

#[test]
fn a_disk_that_is_full_for_the_log_is_an_error() {
    let sandbox = Sandbox::new();

    let ours =
        sandbox.map(["--log", "/dev/full", "--lines", "cat"]).input(crate::peer::numbers(1, 100)).run();

    ours.expect_code(74).expect_words(&["/dev/full", "No space left"]);
}
