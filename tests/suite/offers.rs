//! `poolctl functions`: what a worker offers, of whatever kind it is.

use poolctl_testkit::Sandbox;

use crate::fault::FAULT_WORKER;

#[test]
fn the_stock_worker_offers_its_functions_with_signature_and_a_line_each() {
    let sandbox = Sandbox::new();

    let ours = sandbox.poolctl(["functions"]).run().expect_quiet();

    let lines = ours.lines();
    let square = lines.iter().find(|line| line.starts_with("square ")).expect("there is one");
    assert!(square.contains("fn(i64)") && square.contains("The square"), "{square}");
    let begins = |line: &String| line.find("fn(");
    assert!(lines.iter().all(|line| begins(line) == begins(&lines[0])), "{ours}");
}

#[test]
fn the_same_is_offered_as_lines_of_json() {
    let sandbox = Sandbox::new();

    let ours = sandbox.poolctl(["functions", "--json", "--worker", FAULT_WORKER]).run().expect_quiet();

    let functions: Vec<serde_json::Value> =
        ours.lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let join = functions.iter().find(|function| function["name"] == "text.join").expect("there is one");
    assert_eq!(join["signature"], "fn(&str, i64, Option<bool>) -> String");
    assert_eq!(join["doc"], "Takes three values, and gives them back in one text.");
}

#[test]
fn a_worker_in_any_language_is_asked_and_no_item_is_sent_to_it() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "worker.py",
        r#"
import json
out = open(4, "w", buffering=1)
print('{"poolctl":1,"functions":["resize","crop"],"docs":["Makes smaller."]}', file=out)
for line in open(3):
    open("asked", "a").write(line)
    print(json.dumps({"id": json.loads(line)["id"], "ok": 1}), file=out)
"#,
    );

    let ours = sandbox.poolctl(["functions", "--worker", "python3 worker.py"]).run();

    ours.expect_quiet().expect_stdout("crop\nresize  Makes smaller.\n".replace("resize  ", "resize    "));
    assert_eq!(sandbox.read("asked"), b"");
}

#[test]
fn a_worker_with_one_nameless_function_is_said_to_have_one() {
    let sandbox = Sandbox::new();

    let ours = sandbox.poolctl(["functions", "--worker", crate::zoo::BAD_WORKER]).run();

    ours.expect_code(0).expect_stdout("").expect_words(&["no functions", "but one"]);
}

#[test]
fn a_program_that_is_no_worker_is_told_at_once_and_not_tried_again() {
    let sandbox = Sandbox::new();
    let limit = ["functions", "--start-timeout=200ms", "--worker"];

    let missing = sandbox.poolctl(["functions", "--worker", "no-such-program"]).run();
    let silent = sandbox.poolctl(["functions", "--worker", "cat"]).run();
    let loud = sandbox
        .poolctl(["functions", "--worker", "sh -c 'echo x >> starts; echo gone wrong >&2; exit 3'"])
        .run();
    let slow = sandbox.poolctl(limit).arg("sleep 1000").run();

    missing.expect_code(127).expect_words(&["no-such-program"]);
    silent.expect_code(126).expect_words(&["exit code 0", "descriptor 4"]);
    loud.expect_code(126).expect_words(&["exit code 3", "gone wrong"]).expect_no_words(&["descriptor 4"]);
    assert_eq!(sandbox.read("starts"), b"x\n");
    slow.expect_code(126).expect_words(&["hello", "--start-timeout"]);
}
