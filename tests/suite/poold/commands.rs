//! start, stop, status, wait, scale, logs, explain, top.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use super::{POOLS, configure, end, figure, gates, release, serve, status};

#[test]
fn start_returns_when_it_serves_and_stop_when_it_has_gone() {
    let sandbox = Sandbox::new();
    configure(&sandbox, POOLS);

    let started = sandbox.poolctl(["start", "--config", "poold.toml"]).run().expect_quiet();
    let again = sandbox.poolctl(["start", "--config", "poold.toml"]).run().expect_quiet();
    let shown = sandbox.poolctl(["status"]).run().expect_quiet();
    sandbox.poolctl(["stop"]).run().expect_quiet().expect_stdout("");

    assert!(started.text().contains("serves pools command, gate, lines, sqrt, square at "), "{started}");
    assert!(again.text().contains("already (pid "), "{again}");
    assert!(shown.text().contains("sqrt") && shown.text().contains("python:math:sqrt"), "{shown}");
    // Nothing is left: not even for a moment.
    assert_eq!(sandbox.left(), Vec::<String>::new());
}

#[test]
fn a_background_service_has_no_terminal_and_its_log_in_a_file() {
    let sandbox = Sandbox::new();
    sandbox.poolctl(["start"]).run().expect_quiet();
    let pid = status(&sandbox)["pid"].as_u64().expect("a pid");

    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    let logs =
        sandbox.poolctl(["logs"]).run().expect_code(0).expect_words(&["the log is", "poolctl/poold.log"]);
    sandbox.poolctl(["stop"]).run().expect_quiet();

    // State, parent, group, session, terminal.
    assert_eq!((fields[2], fields[3], fields[4]), (&*pid.to_string(), &*pid.to_string(), "0"));
    assert!(logs.text().contains("serves no pools"), "{logs}");
    let after = sandbox.poolctl(["logs", "-n", "1"]).run().expect_code(0);
    assert_eq!(after.lines().len(), 1, "the log of the last one is still there: {after}");
}

#[test]
fn a_start_that_fails_says_why_and_ends_as_poold_did() {
    let sandbox = Sandbox::new();
    configure(&sandbox, "[pools.a]\nworkers = 2\n");

    let bad = sandbox.poolctl(["start", "--config", "poold.toml"]).run();
    let missing = sandbox.poolctl(["start", "--config", "none.toml"]).run();

    bad.expect_code(78).expect_stdout("").expect_words(&["poold.toml:1:1", "`target`"]);
    missing.expect_code(78).expect_words(&["failed to read", "none.toml"]);
}

#[test]
fn without_a_service_each_command_is_69_and_names_the_one_that_starts_it() {
    let sandbox = Sandbox::new();
    let commands: [&[&str]; 9] = [
        &["status"],
        &["stop"],
        &["top"],
        &["reload"],
        &["wait", "a"],
        &["scale", "a", "2"],
        &["explain", "a"],
        &["logs"],
        &["map", "--pool", "a", "1"],
    ];

    for command in commands {
        let finished = sandbox.poolctl(command).run().expect_code(69).expect_stdout("");
        finished.expect_words(&["no service listens at", "poolctl start"]);
    }
}

#[test]
fn status_counts_what_ended_how_and_shows_what_runs() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["x", "y"]);
    let service = serve(&sandbox, POOLS);
    sandbox.poolctl(["map", "--pool", "command", "1", "2", "3"]).run().expect_code(1);
    let held = sandbox.poolctl(["map", "--pool", "gate", "x", "y"]).start();
    wait_until(DEADLINE, "an item runs", || figure(&sandbox, "gate", "running") == 1);

    let all = status(&sandbox);
    let one = sandbox.poolctl(["status", "gate"]).run().expect_quiet();
    release(&sandbox, &["x", "y"]);
    held.wait().expect_quiet().expect_stdout("through x\nthrough y\n");

    assert_eq!(all["v"], 1);
    assert_eq!(all["pid"], service.pid());
    assert_eq!((figure(&sandbox, "command", "ok"), figure(&sandbox, "command", "failed")), (2, 1));
    assert!(one.text().contains("busy") && one.text().contains(": item 0 for "), "{one}");
    assert!(!one.text().contains("sqrt"), "one pool alone: {one}");
    end(service);
}

#[test]
fn wait_returns_when_a_pool_is_idle_and_says_whether_something_failed() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["good", "bad"]);
    let service = serve(&sandbox, POOLS);
    let held = sandbox.poolctl(["map", "--pool", "gate", "good"]).start();
    wait_until(DEADLINE, "an item runs", || figure(&sandbox, "gate", "running") == 1);
    let waiting = sandbox.poolctl(["wait", "gate"]).start();
    wait_until(DEADLINE, "both are clients", || figure(&sandbox, "gate", "clients") == 2);

    assert!(waiting.is_running());
    release(&sandbox, &["good"]);
    waiting.wait().expect_quiet();
    held.wait().expect_quiet();
    let held = sandbox.poolctl(["map", "--pool", "gate", "bad"]).start();
    wait_until(DEADLINE, "an item runs", || figure(&sandbox, "gate", "running") == 1);
    let waiting = sandbox.poolctl(["wait", "gate"]).start();
    wait_until(DEADLINE, "both are clients", || figure(&sandbox, "gate", "clients") == 2);
    release(&sandbox, &["bad"]);

    waiting.wait().expect_code(1).expect_words(&["gate: 1 failed, 0 ok"]);
    held.wait().expect_code(1);
    sandbox.poolctl(["wait", "gate"]).run().expect_quiet();
    sandbox.poolctl(["wait", "gate", "--since-start"]).run().expect_code(1);
    end(service);
}

#[test]
fn scale_changes_how_many_workers_there_are() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    sandbox.poolctl(["scale", "sqrt", "7"]).run().expect_quiet().expect_stdout("sqrt: at most 7 workers\n");
    let zero = sandbox.poolctl(["scale", "sqrt", "0"]).run();
    let unknown = sandbox.poolctl(["scale", "sqr", "2"]).run();

    assert_eq!(figure(&sandbox, "sqrt", "workers"), 7);
    zero.expect_code(2);
    unknown.expect_code(2).expect_words(&["no pool is called `sqr`", "did you mean `sqrt`?"]);
    end(service);
}

#[test]
fn explain_tells_in_words_why_workers_died_and_what_codes_mean() {
    let sandbox = Sandbox::new();
    let target = r#"[pools.dies]
target = { kind = "python", module = "os", function = "_exit" }
workers = 1
"#;
    let service = serve(&sandbox, target);
    sandbox.poolctl(["map", "--pool", "dies", "7"]).run().expect_code(1).expect_words(&["exit code 7"]);

    let pool = sandbox.poolctl(["explain", "dies"]).run().expect_quiet();
    let code = sandbox.poolctl(["explain", "69"]).run().expect_quiet();
    let none = sandbox.poolctl(["explain", "99"]).run();

    assert!(pool.text().contains("runs python:os:_exit (python)"), "{pool}");
    assert!(pool.text().contains("ended with exit code 7"), "{pool}");
    assert!(code.text().starts_with("69: no service listens there\n") && code.lines().len() == 2, "{code}");
    none.expect_code(2).expect_words(&["never ends with 99"]);
    end(service);
}

#[test]
fn a_pool_whose_workers_cannot_start_stays_to_say_why_until_a_reload_opens_it_anew() {
    let sandbox = Sandbox::new();
    let script = sandbox.write("worker.sh", "echo no such thing >&2; exit 3");
    let target =
        format!("[pools.bad]\ntarget = {{ kind = \"worker\", argv = [\"sh\", {script:?}] }}\nworkers = 1\n");
    let service = serve(&sandbox, &target);

    let failed = sandbox.poolctl(["map", "--pool", "bad", "1"]).run();
    let refused = sandbox.poolctl(["map", "--pool", "bad", "1"]).run();
    let shown = sandbox.poolctl(["status"]).run().expect_quiet();
    let explained = sandbox.poolctl(["explain", "bad"]).run().expect_quiet();
    let waited = sandbox.poolctl(["wait", "bad"]).run();

    failed.expect_code(1).expect_words(&["5 workers in a row ended before they were ready"]);
    refused.expect_code(1).expect_words(&["5 workers in a row"]);
    assert!(shown.text().contains("gave up"), "{shown}");
    assert!(explained.text().contains("It has given up: 5 workers in a row"), "{explained}");
    assert!(
        explained.text().contains("no such thing") && explained.text().contains("poolctl reload"),
        "{explained}"
    );
    waited.expect_code(1).expect_words(&["bad gave up: 5 workers in a row"]);
    sandbox.write("worker.sh", ECHO);
    sandbox.poolctl(["reload"]).run().expect_quiet();
    sandbox.poolctl(["map", "--pool", "bad", "1"]).run().expect_quiet().expect_stdout("\"1\"\n");
    end(service);
}

/// A worker in a shell that answers with what it was given.
const ECHO: &str = r#"echo '{"poolctl":1}' >&4
while IFS=: read -r _ id rest <&3; do
    data=${rest%\}}
    echo "{\"id\":${id%%,*},\"ok\":\"${data##*:}\"}" >&4
done
"#;

#[test]
fn a_worker_that_stands_still_is_told() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["x"]);
    let service = serve(&sandbox, POOLS);
    let held = sandbox.poolctl(["map", "--pool", "gate", "x"]).start();
    wait_until(DEADLINE, "an item runs", || figure(&sandbox, "gate", "running") == 1);
    let pid = |status: &serde_json::Value| {
        let pools = status["pools"].as_array().expect("a list").iter();
        let gate = pools.filter(|pool| pool["name"] == "gate").map(|pool| pool["now"][0]["pid"].as_i64());
        i32::try_from(gate.flatten().next().expect("it runs")).expect("a pid")
    };
    let worker = Pid::from_raw(pid(&status(&sandbox)));

    kill(worker, Signal::SIGSTOP).expect("it lives");
    wait_until(DEADLINE, "it is told", || {
        sandbox.poolctl(["status"]).run().expect_quiet().text().contains("not responding")
    });
    let explained = sandbox.poolctl(["explain", "gate"]).run().expect_quiet();
    kill(worker, Signal::SIGCONT).expect("it lives");
    release(&sandbox, &["x"]);

    assert!(explained.text().contains("kill -CONT"), "{explained}");
    held.wait().expect_quiet().expect_stdout("through x\n");
    end(service);
}

#[test]
fn top_shows_the_status_again_and_again() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    let top = sandbox.poolctl(["top", "--every", "1ms", "--count", "3"]).run().expect_quiet();

    assert_eq!(top.text().matches("POOL").count(), 3, "{top}");
    end(service);
}

#[test]
fn a_log_in_json_is_json() {
    let sandbox = Sandbox::new();
    configure(&sandbox, "");
    let service = sandbox.poold(["--config", "poold.toml", "--log", "log", "--log-format", "json"]).start();
    wait_until(DEADLINE, "it serves", || !sandbox.read("log").is_empty());

    let log = String::from_utf8(sandbox.read("log")).expect("text");
    let line: serde_json::Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");

    assert_eq!(line["level"], "INFO");
    end(service);
}
