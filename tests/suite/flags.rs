//! Smaller flags, each seen to do what its name says.

use nix::sys::signal::Signal;
use poolctl_testkit::Sandbox;

use crate::peer::{is_installed, numbers};

#[test]
fn niceness_is_added_to_the_items() {
    let sandbox = Sandbox::new();

    sandbox.map(["--nice", "7", "--shell", "nice", ":::", "a"]).run().expect_quiet().expect_stdout("7\n");
}

#[test]
fn commands_are_shown_before_they_run() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-t", "-j1", "--", "echo", "{}", "a b", ":::", "x"]).run();

    ours.expect_code(0).expect_stdout("x a b\n").expect_words(&["echo x 'a b'"]);
}

#[test]
fn lines_are_counted_for_an_upper_l() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-L", "2", "--", "echo"]).input("a\nb\n\nc\nd\ne\n").run();

    ours.expect_quiet().expect_stdout("a b\nc d\ne\n");
}

#[test]
fn jobs_are_a_number_a_share_or_a_multiple() {
    let sandbox = Sandbox::new();

    for jobs in ["1", "3", "50%", "200%", "-1", "2x"] {
        sandbox
            .map(["-j", jobs, "--", "echo"])
            .input(numbers(1, 5))
            .run()
            .expect_quiet()
            .expect_stdout(numbers(1, 5));
    }
    sandbox.map(["-P", "2", "-k", "--", "echo"]).input("a\n").run().expect_quiet().expect_stdout("a\n");
}

#[test]
fn never_more_items_run_at_once_than_jobs() {
    let sandbox = Sandbox::new();
    let script = "mkdir running.$1; ls -d running.* | wc -l; sleep 0.01; rmdir running.$1";

    let ours = sandbox.map(["-j", "3", "--shell", script]).input(numbers(1, 60)).run().expect_code(0);

    assert!(ours.lines().iter().all(|count| ["1", "2", "3"].contains(&count.as_str())), "{ours}");
    assert!(ours.lines().iter().any(|count| count == "3"), "{ours}");
}

#[test]
fn progress_as_json_is_one_object_a_line_on_stderr() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--progress", "json", "--", "echo"]).input(numbers(1, 20)).run().expect_code(0);

    for line in ours.errors().lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(object.is_object(), "{line}");
    }
}

#[test]
fn its_own_log_is_json_where_asked_for() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-vv", "--log-format", "json", "--", "echo"]).input("a\n").run().expect_code(0);

    assert!(!ours.stderr.is_empty(), "{ours}");
    for line in ours.errors().lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
    }
}

#[test]
fn settings_come_from_the_nearest_place() {
    let sandbox = Sandbox::new();
    sandbox.write("poolctl.toml", "[map]\njobs = 3\nretries = 4\n");

    let origin =
        sandbox.poolctl(["config", "show", "--origin"]).env("POOLCTL_RETRIES", "5").run().expect_quiet();

    let text = origin.text();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or("").to_owned();
    assert!(line("jobs").contains('3') && line("jobs").contains("poolctl.toml"), "{text}");
    assert!(line("retries").contains('5') && line("retries").contains("POOLCTL_RETRIES"), "{text}");
}

#[test]
fn completions_are_understood_by_their_shells() {
    let sandbox = Sandbox::new();

    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.poolctl(["completions", shell]).run().expect_quiet();
        assert!(script.text().contains("poolctl"), "{script}");
        if is_installed(shell) {
            sandbox.write("script", &script.stdout);
            sandbox.peer(shell).args(["-n", "script"]).run().expect_quiet();
        }
    }
}

#[test]
fn quiet_keeps_the_errors() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["-q", "--", "ls", "{}", ":::", "/nowhere"]).run();

    ours.expect_code(1).expect_words(&["/nowhere", "No such file"]);
}

#[test]
fn an_executable_replaced_in_mid_run_changes_the_new_starts_only() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let script = |word: &str| format!("#!/bin/sh\n[ $1 != 5 ] || cat gate\necho {word} $1\n");
    for (name, word) in [("tool", "old"), ("newer", "new")] {
        use std::os::unix::fs::PermissionsExt;
        sandbox.write(name, script(word));
        std::fs::set_permissions(sandbox.path(name), PermissionsExt::from_mode(0o755))
            .expect("a file of our own");
    }
    let running = sandbox.map(["-j1", "--", "./tool"]).input(numbers(1, 8)).start();
    running.wait_stdout("four results", |bytes| bytes.ends_with(b"old 4\n"));

    std::fs::rename(sandbox.path("newer"), sandbox.path("tool")).expect("both are ours");
    sandbox.release("gate");

    let finished = running.wait().expect_quiet();
    let lines = finished.lines();
    assert_eq!(lines.len(), 8);
    assert!(lines[..4].iter().all(|line| line.starts_with("old")), "{lines:?}");
    assert!(lines[6..].iter().all(|line| line.starts_with("new")), "{lines:?}");
}

#[test]
fn nothing_starts_where_the_machine_has_too_little_memory_and_that_is_said() {
    let sandbox = Sandbox::new();
    let script = "echo $1 >> ran";
    let running = sandbox.map(["--memfree", "100000G", "--shell", script]).input(numbers(1, 3)).start();

    running.wait_stderr("less than --memfree");
    running.signal(Signal::SIGINT);

    running.wait().expect_code(130);
    assert!(!sandbox.path("ran").exists(), "an item ran");
}

#[test]
fn the_value_that_others_give_header_is_answered_with_ours() {
    let sandbox = Sandbox::new();

    let ours = sandbox.map(["--header", ":", "--", "echo", "{a}"]).input("a\n1\n").run();

    ours.expect_code(2).expect_words(&["--header takes no value", "--header=:"]);
}

#[test]
fn help_says_from_when_a_share_of_failures_counts_and_what_a_grouped_item_is() {
    let help = Sandbox::new().map(["--help"]).run().text();
    let words: Vec<&str> = help.split_whitespace().collect();
    let help = words.join(" ");

    assert!(help.contains("judged from the tenth finished item on"), "{help}");
    assert_eq!(help.matches("the command is then one item").count(), 3, "{help}");
}
