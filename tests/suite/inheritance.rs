//! What a worker is given, and nothing more: descriptors, group, directory, environment.

use std::collections::BTreeMap;
use std::path::Path;

use poolctl_testkit::{DEADLINE, Sandbox, descriptors, wait_until};

/// Prints its own descriptors, without the one it looks with.
const LOOK: &str = "import os; print(sorted(int(f) for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f)))";

/// A shell line that leaves many descriptors open in poolctl itself.
const MANY: &str = "exec 7</dev/null 8</dev/null 9</etc/passwd";

#[test]
fn a_command_has_its_three_streams_and_nothing_more() {
    let sandbox = Sandbox::new();

    let ours =
        sandbox.map(["-j3", "--", "python3", "-c", LOOK, ":::", "1", "2", "3", "4"]).after_shell(MANY).run();

    ours.expect_quiet().expect_stdout("[0, 1, 2]\n".repeat(4));
}

#[test]
fn a_filter_has_its_three_streams_and_nothing_more() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["-j2", "--lines", "cat"]).after_shell(MANY).open_input().start();
    running.write("a\nb\n");
    running.wait_stdout("two results", |bytes| bytes == b"a\nb\n");

    let filters: Vec<_> =
        sandbox.processes().into_iter().filter(|process| process.command == "cat").collect();

    assert!(!filters.is_empty());
    for filter in filters {
        let numbers: Vec<u32> = descriptors(filter.pid).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }
    running.wait().expect_quiet();
}

#[test]
fn a_protocol_worker_has_its_channels_and_an_empty_stdin() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "worker.py",
        r#"
import json, os
def held():
    return sorted(int(f) for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f))
first = held()
stdin = os.readlink('/proc/self/fd/0')
replies = open(4, "w", buffering=1)
print('{"poolctl":1}', file=replies)
for line in open(3):
    print(json.dumps({"id": json.loads(line)["id"], "ok": [first, stdin]}), file=replies)
"#,
    );

    // 5 is where a native worker would say hello.
    let arguments = ["-j2", "--worker", "python3 worker.py"];
    let ours = sandbox.map(arguments).after_shell(MANY).input("1\n2\n3\n").run();

    ours.expect_quiet().expect_stdout("[[0, 1, 2, 3, 4, 5], \"/dev/null\"]\n".repeat(3));
}

#[test]
fn a_native_worker_has_what_it_needs_and_its_children_have_none_of_it() {
    let sandbox = Sandbox::new();

    let held = crate::fault::map(&sandbox, "held").arg("-j2").after_shell(MANY).input("1\n2\n").run();
    let heirs = crate::fault::map(&sandbox, "heirs").arg("-j1").after_shell(MANY).input("1\n").run();

    for line in held.expect_quiet().lines() {
        let (numbers, stdin): (Vec<u32>, String) = serde_json::from_str(&line).expect("a pair");
        assert!(numbers.len() <= 7 && numbers.iter().all(|fd| *fd < 8), "{line}");
        assert_eq!(stdin, "/dev/null");
    }
    // 3 is the directory that `ls` reads.
    heirs.expect_quiet().expect_stdout("\"0 1 2 3 \"\n");
}

#[test]
fn a_function_has_its_channels_and_nothing_of_its_neighbours() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "f.py",
        r#"
import os
def f(x):
    held = {}
    for name in os.listdir('/proc/self/fd'):
        try:
            held[name] = os.readlink('/proc/self/fd/' + name)
        except OSError:
            pass
    return held
"#,
    );

    let ours =
        sandbox.map(["-j4", "python:f.py:f"]).after_shell(MANY).input(crate::peer::numbers(1, 40)).run();

    for line in ours.expect_quiet().lines() {
        let held: BTreeMap<String, String> = serde_json::from_str(&line).expect("an object");
        let own = held.iter().filter(|(_, target)| !target.ends_with("/fd"));
        let links = own.clone().filter(|(_, target)| target.starts_with("socket:")).count();
        let claims = own.clone().filter(|(_, target)| target.starts_with("/memfd:poolctl-claim")).count();
        let streams = own.clone().filter(|(number, _)| ["0", "1", "2"].contains(&number.as_str())).count();
        assert!(links == 2 && (1..=2).contains(&claims) && streams == 3, "{line}");
        assert_eq!(own.count(), links + claims + streams, "{line}");
    }
}

#[test]
fn a_worker_leads_a_group_of_its_own_in_the_directory_of_its_caller() {
    let sandbox = Sandbox::new();
    let script = "echo $(ps -o pgid= -p $$) $$; pwd";

    let ours = sandbox.map(["--shell", script, ":::", "a"]).run().expect_quiet();

    let lines = ours.lines();
    let (group, pid) = lines[0].split_once(' ').expect("two numbers");
    assert_eq!(group, pid);
    assert_eq!(Path::new(&lines[1]).canonicalize().ok(), sandbox.work().canonicalize().ok());
}

#[test]
fn the_environment_of_the_caller_reaches_the_workers() {
    let sandbox = Sandbox::new();

    let ours = sandbox
        .map(["--shell", "echo \"$GREETING $POOLCTL_SLOT\"", ":::", "a"])
        .env("GREETING", "hello")
        .run();

    let text = ours.expect_quiet().text();
    assert!(text.starts_with("hello"), "{text}");
}

#[test]
fn nothing_is_written_into_home_or_left_in_temporary_directories_while_it_runs() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["python:math:sqrt"]).open_input().start();
    running.write("4\n");
    running.wait_stdout("the first result", |bytes| bytes == b"2.0\n");

    wait_until(DEADLINE, "there are no files with a name", || {
        !sandbox.left().iter().any(|left| left.starts_with("file"))
    });

    running.wait().expect_quiet();
}
