//! Python functions in warm interpreters: what the plain loop gives, and errors as Python tells them.

use std::fmt::Write;

use poolctl_testkit::{Sandbox, python};

use crate::peer::numbers;

#[test]
fn a_function_over_a_hundred_thousand_json_lines_gives_what_the_plain_loop_gives() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "score.py",
        r#"
def score(record):
    name = record["name"]
    return {"name": name.upper(), "total": sum(record["values"]) / len(record["values"]), "id": record["id"], "π": None}
"#,
    );
    let mut input = String::new();
    for id in 0..100_000_u64 {
        let values = [id % 97, id % 89, id % 83];
        writeln!(input, r#"{{"id": {id}, "name": "näme \"{}\" \u00e9", "values": {values:?}}}"#, id * 7)
            .expect("a string takes any text");
    }
    let plain = "
import json, sys
from score import score
for line in sys.stdin:
    sys.stdout.write(json.dumps(score(json.loads(line)), ensure_ascii=False) + '\\n')
";
    let peer = sandbox.peer(python()).args(["-c", plain]).input(input.clone()).run().expect_quiet();

    let ours = sandbox.map(["-j", "2", "python:score.py:score"]).input(input).run();

    ours.expect_quiet().expect_stdout(peer.stdout);
}

#[test]
fn a_function_of_a_module_is_found_below_the_working_directory_and_in_the_library() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("package")).expect("a directory in our own");
    sandbox.write("package/__init__.py", "");
    sandbox.write("package/part.py", "def double(x):\n    return 2 * x\n");

    let own = sandbox.map(["python:package.part:double", "1", "\"a\"", "[3]"]).run();
    let library = sandbox.map(["python:math:factorial", "20"]).run();

    own.expect_quiet().expect_stdout("2\n\"aa\"\n[3, 3]\n");
    library.expect_quiet().expect_stdout("2432902008176640000\n");
}

#[test]
fn python_is_the_one_on_path_unless_it_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("f.py", "import sys\ndef f(x):\n    return sys.executable\n");
    let expected = format!("\"{}\"\n", python());

    let on_path = sandbox.map(["python:f.py:f", "1"]).env_without("POOLCTL_PYTHON").run();
    let named =
        sandbox.map(["--python", python(), "python:f.py:f", "1"]).env("POOLCTL_PYTHON", "/nowhere").run();

    on_path.expect_quiet().expect_stdout(&expected);
    named.expect_quiet().expect_stdout(&expected);
}

#[test]
fn an_exception_is_told_with_type_message_and_traceback_and_the_rest_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "f.py",
        "def inner(x):\n    raise ValueError(f'no {x} here')\n\ndef f(x):\n    return inner(x) if x == 3 else x\n",
    );

    let ours = sandbox.map(["python:f.py:f"]).input(numbers(1, 5)).run();

    let ours = ours.expect_code(1).expect_stdout("1\n2\n4\n5\n");
    let ours = ours.expect_words(&["ValueError", "no 3 here", "f.py", "in inner"]);
    ours.expect_no_words(&["poolctl_worker"]);
}

#[test]
fn a_million_items_through_a_trivial_function_are_all_there_in_order() {
    let sandbox = Sandbox::new();
    sandbox.write("f.py", "def f(x):\n    return x + 1\n");
    let count = 300_000;

    let ours = sandbox.map(["-j", "2", "python:f.py:f"]).input(numbers(1, count)).run();

    ours.expect_quiet().expect_stdout(numbers(2, count + 1));
}

#[test]
fn prints_are_captured_and_never_mixed_into_the_results() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "f.py",
        "import sys, os\ndef f(x):\n    print('printed', x)\n    print('to stderr', x, file=sys.stderr)\n    \
         os.write(1, b'raw %d\\n' % x)\n    return x\n",
    );

    let ours = sandbox.map(["-j", "2", "python:f.py:f"]).input(numbers(1, 50)).run().expect_code(0);

    let ours = ours.expect_stdout(numbers(1, 50));
    for x in 1..=50 {
        for words in [format!("printed {x}\n"), format!("to stderr {x}\n"), format!("raw {x}\n")] {
            assert_eq!(ours.errors().matches(&words).count(), 1, "{words:?} must be there once\n{ours}");
        }
    }
}

#[test]
fn an_array_is_spread_over_the_parameters_where_asked_for() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--starmap", "python:math:pow"]).input("[2, 3]\n[4, 0.5]\n").run();

    ours.expect_quiet().expect_stdout("8.0\n2.0\n");
}

#[test]
fn a_value_that_is_no_json_is_an_error_of_its_item() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "f.py",
        "def f(x):\n    return {1: 1, 2: float('nan'), 3: float('inf'), 4: {1, 2}, 5: b'x', 6: 6}[x]\n",
    );

    let ours = sandbox.map(["python:f.py:f"]).input(numbers(1, 6)).run();

    ours.expect_code(1).expect_stdout("1\n6\n").expect_words(&["nan", "set", "bytes"]);
}

#[test]
fn exit_and_keyboard_interrupt_in_a_function_are_errors_of_their_item() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "f.py",
        "import sys\ndef f(x):\n    if x == 2: sys.exit(3)\n    if x == 4: raise KeyboardInterrupt\n    return x\n",
    );

    let ours = sandbox.map(["-j1", "python:f.py:f"]).input(numbers(1, 5)).run();

    ours.expect_code(1).expect_stdout("1\n3\n5\n").expect_words(&["SystemExit", "KeyboardInterrupt"]);
}

#[test]
fn an_interpreter_that_dies_takes_only_its_item() {
    for (death, words) in
        [("os._exit(3)", "exit code 3"), ("os.kill(os.getpid(), 11)", "SIGSEGV"), ("os.abort()", "SIGABRT")]
    {
        let sandbox = Sandbox::new();
        sandbox.write("f.py", format!("import os\ndef f(x):\n    if x == 500: {death}\n    return x\n"));

        let ours = sandbox.map(["-j", "2", "python:f.py:f"]).input(numbers(1, 1_000)).run();

        let ours = ours.expect_code(1).expect_words(&[words]);
        ours.expect_stdout(numbers(1, 499) + &numbers(501, 1_000));
    }
}

#[test]
fn numbers_of_any_size_pass_unchanged() {
    let sandbox = Sandbox::new();
    sandbox.write("f.py", "def f(x):\n    return x\n");
    let input = "18446744073709551616\n-1\n0.1\n123456789012345678901234567890\n";

    let ours = sandbox.map(["python:f.py:f"]).input(input).run();

    ours.expect_quiet().expect_stdout(input);
}

#[test]
fn workers_are_recycled_after_so_many_items() {
    let sandbox = Sandbox::new();
    sandbox.write("f.py", "import os\ndef f(x):\n    return os.getpid()\n");

    let ours = sandbox
        .map(["-j", "1", "--max-tasks", "10", "python:f.py:f"])
        .input(numbers(1, 50))
        .run()
        .expect_quiet();

    let pids = ours.lines();
    assert_eq!(pids.len(), 50);
    for chunk in pids.chunks(10) {
        assert!(chunk.iter().all(|pid| *pid == chunk[0]), "{pids:?}");
    }
    let mut distinct = pids.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 5, "{pids:?}");
}

#[test]
fn what_a_function_leaves_at_exit_is_run() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "f.py",
        "import atexit\natexit.register(lambda: open('ended', 'w').write('well'))\ndef f(x):\n    return x\n",
    );

    sandbox.map(["-j1", "python:f.py:f", "1"]).run().expect_quiet();

    assert_eq!(sandbox.read("ended"), b"well");
}

#[test]
fn the_first_result_of_a_function_appears_before_the_input_ends() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["python:math:sqrt"]).open_input().start();

    running.write("4\n");
    running.wait_stdout("the first result", |bytes| bytes == b"2.0\n");
    running.write("9\n");
    running.wait_stdout("the second result", |bytes| bytes == b"2.0\n3.0\n");

    running.wait().expect_quiet();
}
