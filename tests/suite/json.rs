//! `--json`: one object per item, with the same keys for every target and every outcome.

use poolctl_testkit::{Finished, Sandbox};
use serde_json::Value;

use crate::zoo::BAD_WORKER;

const KEYS: [&str; 11] =
    ["v", "index", "status", "exit", "signal", "attempts", "worker", "start", "wall_ms", "cpu_ms", "max_rss"];

/// The objects, sorted by nothing: in the order they came.
#[track_caller]
fn objects(finished: &Finished) -> Vec<Value> {
    let objects: Vec<Value> =
        finished.lines().iter().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    for object in &objects {
        for key in KEYS {
            assert!(object.get(key).is_some(), "{key} is missing in {object}");
        }
        let told = ["out", "out_base64", "value", "err", "error"].iter().any(|key| object.get(key).is_some());
        assert!(told || object["status"] == "worker_died", "neither output nor error in {object}");
    }
    objects
}

#[test]
fn a_command_tells_its_exit_times_and_output() {
    let sandbox = Sandbox::new();
    let script = r#"case $1 in b) echo no >&2; exit 3 ;; c) kill -9 $$ ;; esac; echo "out $1""#;

    let finished = sandbox.map(["--json", "-j1", "--shell", script]).input("a\nb\nc\n").run().expect_code(1);

    let objects = objects(&finished);
    assert_eq!(objects.len(), 3);
    let [a, b, c] = [&objects[0], &objects[1], &objects[2]];
    assert_eq!([&a["index"], &b["index"], &c["index"]], [0, 1, 2]);
    assert_eq!((&a["status"], &a["exit"], &a["out"]), (&"ok".into(), &0.into(), &"out a\n".into()));
    assert_eq!((&b["exit"], &b["signal"]), (&3.into(), &Value::Null));
    assert_ne!(b["status"], "ok");
    assert!(b["err"].to_string().contains("no"), "{b}");
    assert_eq!(c["exit"], Value::Null);
    assert!(c["signal"] == 9 || c["signal"] == "SIGKILL", "{c}");
    assert!(a["wall_ms"].is_number() && a["cpu_ms"].is_number() && a["max_rss"].is_number(), "{a}");
    assert_eq!(a["attempts"], 1);
}

#[test]
fn a_function_tells_its_value_and_what_it_printed() {
    let sandbox = Sandbox::new();
    sandbox.write("f.py", "def f(x):\n    print('seen', x)\n    return {'half': 1 // (x - 2)}\n");

    let finished = sandbox.map(["--json", "python:f.py:f"]).input("1\n2\n3\n").run().expect_code(1);

    let objects = objects(&finished);
    assert_eq!(objects[0]["value"], serde_json::json!({"half": -1}));
    assert_eq!(objects[0]["out"], "seen 1\n");
    assert!(objects[1]["error"].to_string().contains("ZeroDivisionError"), "{}", objects[1]);
    assert_eq!(objects[2]["value"], serde_json::json!({"half": 1}));
    assert_eq!((&objects[0]["cpu_ms"], &objects[0]["max_rss"]), (&Value::Null, &Value::Null));
}

#[test]
fn every_line_of_a_filter_has_its_object() {
    let sandbox = Sandbox::new();

    let finished = sandbox.map(["--json", "--lines", "cat"]).input("a\nb \"c\"\n").run().expect_code(0);

    let objects = objects(&finished);
    assert_eq!(objects.len(), 2);
    assert!(objects[0].to_string().contains(r#""out":"a"#), "{}", objects[0]);
    assert!(objects[1].to_string().contains(r#"b \"c\""#), "{}", objects[1]);
}

#[test]
fn attempts_and_death_are_told() {
    let sandbox = Sandbox::new();
    let worker = format!("{BAD_WORKER} at=taken how=kill on=2");
    let arguments = ["--json", "-j1", "--retries=1", "--worker", &worker];

    let finished = sandbox.map(arguments).input("1\n2\n3\n").run().expect_code(1);

    let objects = objects(&finished);
    assert_eq!((&objects[0]["attempts"], &objects[1]["attempts"]), (&1.into(), &2.into()));
    assert!(objects[1]["signal"] == 9 || objects[1]["signal"] == "SIGKILL", "{}", objects[1]);
    assert_eq!(objects[2]["status"], "ok");
}

#[test]
fn output_that_is_no_text_is_still_json() {
    let sandbox = Sandbox::new();

    let finished = sandbox.map(["--json", "--", "printf", r"\377\000\n", ":::", "a"]).run().expect_code(0);

    assert_eq!(objects(&finished)[0]["out_base64"], "/wAK");
}

#[test]
fn an_item_that_cannot_be_tried_has_its_object_too() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(200_000);

    let finished =
        sandbox.map(["--json", "--", "echo"]).input(format!("a\n{long}\nb\n")).run().expect_code(1);

    let objects = objects(&finished);
    assert_eq!(objects.len(), 3);
    assert_ne!(objects[1]["status"], "ok");
}
