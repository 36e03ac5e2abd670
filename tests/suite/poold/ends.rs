//! How a service ends: drained, terminated, killed; and what its clients are told.

use nix::sys::signal::Signal;
use poolctl_testkit::{DEADLINE, Running, Sandbox, is_alive, wait_until};

use super::{POOLS, configure, end, figure, gates, release, serve, serve_with};

/// A map whose first item runs, in the pool `gate`.
#[track_caller]
fn held(sandbox: &Sandbox, items: &[&str]) -> Running {
    let map = sandbox.poolctl(["map", "--pool", "gate"]).args(items).start();
    wait_until(DEADLINE, "an item runs", || figure(sandbox, "gate", "running") == 1);
    map
}

#[test]
fn term_and_int_finish_what_is_there() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::new();
        gates(&sandbox, &["a", "b"]);
        let service = serve(&sandbox, POOLS);
        let map = held(&sandbox, &["a", "b"]);

        service.signal(signal);
        service.wait_stderr("no new tasks");
        release(&sandbox, &["a", "b"]);

        map.wait().expect_quiet().expect_stdout("through a\nthrough b\n");
        service.wait().expect_code(0);
    }
}

#[test]
fn the_second_term_stops_what_runs() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b"]);
    let service = serve(&sandbox, POOLS);
    let map = held(&sandbox, &["a", "b"]);

    service.signal(Signal::SIGTERM);
    service.wait_stderr("no new tasks");
    service.signal(Signal::SIGTERM);

    service.wait().expect_code(0);
    let map = map.wait().expect_stdout("");
    assert!(matches!(map.code(), Some(1 | 69)), "{map}");
}

#[test]
fn a_drain_that_takes_too_long_stops_what_runs() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b"]);
    let service = serve(&sandbox, &format!("[service]\ndrain_timeout_ms = 1\n{POOLS}"));
    let map = held(&sandbox, &["a"]);

    service.signal(Signal::SIGTERM);

    service.wait().expect_code(0);
    let map = map.wait().expect_stdout("");
    assert!(matches!(map.code(), Some(1 | 69)), "{map}");
}

#[test]
fn stop_finishes_what_is_there_and_stop_now_does_not() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b"]);
    let service = serve(&sandbox, POOLS);
    let map = held(&sandbox, &["a"]);
    let stop = sandbox.poolctl(["stop"]).start();
    stop.wait_stderr("1 tasks are queued or run");
    release(&sandbox, &["a"]);
    stop.wait().expect_code(0);
    map.wait().expect_quiet().expect_stdout("through a\n");
    service.wait().expect_code(0);

    let service = serve_with(&sandbox, &[]);
    let map = held(&sandbox, &["a"]);
    sandbox.poolctl(["stop", "--now"]).run().expect_quiet();

    service.wait().expect_code(0);
    let map = map.wait().expect_stdout("");
    assert!(matches!(map.code(), Some(1 | 69)), "{map}");
}

#[test]
fn a_service_that_is_killed_leaves_nothing_and_its_clients_are_told() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b"]);
    let orphan = "(setsid sleep 1000 &) ; cat gate-a";
    let pools = format!(
        "{POOLS}\n[pools.orphans]\ntarget = {{ kind = \"command\", argv = [\"sh\", \"-c\", \"{orphan}\"] }}\n"
    );
    let service = serve(&sandbox, &pools);
    sandbox.poolctl(["map", "--pool", "square", "2"]).run().expect_quiet();
    let map = held(&sandbox, &["a", "b"]);
    let other = sandbox.poolctl(["map", "--pool", "orphans", "x"]).start();
    wait_until(DEADLINE, "a grandchild lives", || {
        sandbox.processes().iter().any(|process| process.command.contains("sleep 1000"))
    });
    let clients = [map.pid(), other.pid()];

    service.kill();

    map.wait().expect_code(69).expect_stdout("").expect_words(&["pool lost"]);
    other.wait().expect_code(69).expect_words(&["pool lost"]);
    wait_until(DEADLINE, "nothing of it lives", || {
        sandbox.processes().iter().all(|process| clients.contains(&process.pid))
    });
    let again = serve_with(&sandbox, &[]);
    sandbox.poolctl(["map", "--pool", "square", "3"]).run().expect_quiet().expect_stdout("9\n");
    end(again);
}

#[test]
fn a_worker_that_is_killed_costs_its_own_task_alone() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b"]);
    let service = serve(&sandbox, POOLS);
    let map = held(&sandbox, &["a", "b"]);
    let status = super::status(&sandbox);
    let gate = status["pools"].as_array().and_then(|pools| pools.iter().find(|pool| pool["name"] == "gate"));
    let pid = gate.and_then(|pool| pool["now"][0]["pid"].as_i64()).expect("it runs");
    let pid = i32::try_from(pid).expect("a pid");

    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
    wait_until(DEADLINE, "it is gone", || !is_alive(pid.cast_unsigned()));
    release(&sandbox, &["b"]);

    let map = map.wait().expect_code(1).expect_stdout("through b\n");
    map.expect_words(&["item 0", "SIGKILL"]);
    end(service);
}

#[test]
fn a_service_that_ends_takes_no_new_clients_of_its_pools() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b"]);
    let service = serve(&sandbox, POOLS);
    let map = held(&sandbox, &["a"]);

    service.signal(Signal::SIGTERM);
    service.wait_stderr("no new tasks");
    let late = sandbox.poolctl(["map", "--pool", "square", "1"]).run();
    release(&sandbox, &["a"]);

    assert!(matches!(late.code(), Some(2 | 69 | 75)), "{late}");
    map.wait().expect_quiet();
    service.wait().expect_code(0);
}

#[test]
fn workers_get_nothing_of_the_service() {
    let sandbox = Sandbox::new();
    configure(
        &sandbox,
        r#"[pools.look]
target = { kind = "command", argv = ["sh", "-c", "env; ls -l /proc/self/fd", "{}"] }
[pools.secret]
target = { kind = "command", argv = ["sh", "-c", "env", "{}"] }
env = { SECRET = "of another pool" }
"#,
    );
    let service =
        sandbox.poold(["--config", "poold.toml"]).env("NOTIFY_SOCKET", "@nobody-listens-there").start();
    service.wait_stderr(" serves ");

    let seen = sandbox.poolctl(["map", "--pool", "look", "x"]).run().expect_quiet().text();

    assert!(!seen.contains("NOTIFY_SOCKET") && !seen.contains("SECRET"), "{seen}");
    assert!(!seen.contains("socket:") && !seen.contains("lock"), "{seen}");
    end(service);
}
