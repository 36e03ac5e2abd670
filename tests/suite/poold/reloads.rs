//! A configuration that is read again while the service runs.

use nix::sys::signal::Signal;
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use super::{POOLS, configure, end, figure, gates, release, serve, status};

const OTHER: &str = r#"
[pools.cube]
target = { kind = "python", module = "math", function = "cbrt" }
workers = 1

[pools.square]
target = { kind = "native", function = "square" }
workers = 3
"#;

fn names(sandbox: &Sandbox) -> Vec<String> {
    let status = status(sandbox);
    let pools = status["pools"].as_array().expect("a list").iter();
    let mut names: Vec<String> = pools.filter_map(|pool| pool["name"].as_str()).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn pools_come_go_and_change_and_no_task_is_lost() {
    let sandbox = Sandbox::new();
    gates(&sandbox, &["a", "b", "c"]);
    let service = serve(&sandbox, POOLS);
    let held = sandbox.poolctl(["map", "--pool", "gate", "a", "b", "c"]).start();
    wait_until(DEADLINE, "an item runs", || figure(&sandbox, "gate", "running") == 1);

    configure(&sandbox, OTHER);
    let reloaded = sandbox.poolctl(["reload"]).run().expect_quiet();
    release(&sandbox, &["a", "b", "c"]);

    held.wait().expect_quiet().expect_stdout("through a\nthrough b\nthrough c\n");
    assert!(reloaded.text().contains("cube") && reloaded.text().contains("square"), "{reloaded}");
    wait_until(DEADLINE, "the old pools are gone", || names(&sandbox) == ["cube", "square"]);
    assert_eq!(figure(&sandbox, "square", "workers"), 3);
    sandbox.poolctl(["map", "--pool", "gate", "x"]).run().expect_code(2).expect_words(&["no pool"]);
    end(service);
}

#[test]
fn a_bad_configuration_is_refused_and_the_old_one_holds() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, OTHER);
    configure(&sandbox, "[pools.cube]\ntarget = 7\n");

    let refused = sandbox.poolctl(["reload"]).run();
    service.signal(Signal::SIGHUP);
    service.wait_stderr("poold.toml:2:10");

    refused.expect_code(78).expect_words(&["everything stays as it is", "poold.toml:2:10"]);
    assert_eq!(names(&sandbox), ["cube", "square"]);
    sandbox.poolctl(["map", "--pool", "square", "5"]).run().expect_quiet().expect_stdout("25\n");
    end(service);
}

#[test]
fn hup_reads_it_again() {
    let sandbox = Sandbox::new();
    let service = serve(&sandbox, POOLS);

    configure(&sandbox, OTHER);
    service.signal(Signal::SIGHUP);

    wait_until(DEADLINE, "the new pools are there", || names(&sandbox) == ["cube", "square"]);
    end(service);
}

#[test]
fn hup_goes_on_in_a_new_log_where_the_old_one_was_moved_away() {
    let sandbox = Sandbox::new();
    configure(&sandbox, OTHER);
    let service = sandbox.poold(["--config", "poold.toml", "--log", "log"]).start();
    wait_until(DEADLINE, "it serves", || String::from_utf8_lossy(&sandbox.read("log")).contains("serves"));

    std::fs::rename(sandbox.path("log"), sandbox.path("log.1")).expect("our own file");
    service.signal(Signal::SIGHUP);

    wait_until(DEADLINE, "there is a new log", || {
        String::from_utf8_lossy(&sandbox.read("log")).contains("read again")
    });
    end(service);
}
