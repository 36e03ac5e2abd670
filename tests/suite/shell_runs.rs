//! `poolctl lock` below a run of `poolctl map`: the name means the same lock there, elsewhere, and in another run.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poolctl_testkit::{DEADLINE, Invocation, Process, Running, Sandbox, poolctl_binary, wait_until};
use serde_json::Value;

/// A run that has one item, which holds the lock `shared` until the fifo `gate` is opened.
#[track_caller]
fn run_that_holds(sandbox: &Sandbox) -> Running {
    sandbox.fifo("gate");
    let script = r#""$P" lock shared -- sh -c 'exec cat gate'; echo "end:$?""#;
    let run = sandbox.map(["--shell", script, ":::", "one"]).env("P", poolctl_binary()).start();
    wait_until(DEADLINE, "the lock is held", || !holder(sandbox).is_null());
    run
}

/// Kills what has started a holder.
#[track_caller]
fn kill_parent(holder: &Value) {
    let pid = holder["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("it has a pid");
    let parent = Process::look(pid).expect("it runs").parent;
    kill(Pid::from_raw(i32::try_from(parent).expect("a pid fits")), Signal::SIGKILL).expect("it runs");
}

fn outside(sandbox: &Sandbox, timeout: &str) -> Invocation {
    let script = r#"echo "died:$POOLCTL_OWNER_DIED""#;
    sandbox.poolctl(["lock", "shared", "--timeout", timeout, "--", "sh", "-c", script])
}

/// The holder of the only lock there is, as `poolctl locks --json` has it; null if there is none.
fn holder(sandbox: &Sandbox) -> Value {
    let listed = sandbox.poolctl(["locks", "--json"]).run().expect_quiet();
    let row: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    row["holders"][0].clone()
}

#[test]
fn a_lock_held_in_a_run_excludes_those_outside_and_says_whose_it_is() {
    let sandbox = Sandbox::new();
    let run = run_that_holds(&sandbox);

    outside(&sandbox, "0").run().expect_code(124);
    let held = &holder(&sandbox)["run"];
    let listed = sandbox.poolctl(["locks"]).run().expect_quiet().text();
    sandbox.release("gate");

    let id = held["id"].as_str().expect("the run has a name");
    assert_eq!((&held["item"], &held["slot"]), (&Value::from(0), &Value::Null), "{held}");
    assert!(listed.contains(&format!("[item 0 of run {id}] sh -c")), "{listed}");
    run.wait().expect_quiet().expect_stdout("end:0\n");
    outside(&sandbox, "0").run().expect_quiet().expect_stdout("died:\n");
}

#[test]
fn a_lock_held_outside_excludes_the_items_of_two_runs() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let holder = sandbox.poolctl(["lock", "shared", "--", "sh", "-c", "echo up; cat gate"]).start();
    holder.wait_stdout("the word", |bytes| bytes == b"up\n");
    let command = ["--", "sh", "-c", r#""$P" lock shared --timeout 0 -- echo {} 2>/dev/null; echo $?"#];

    for item in ["one", "two"] {
        let run = sandbox.map(command).args([":::", item]).env("P", poolctl_binary());
        run.run().expect_quiet().expect_stdout("124\n");
    }

    sandbox.release("gate");
    holder.wait().expect_quiet();
    let run = sandbox.map(command).args([":::", "one"]).env("P", poolctl_binary());
    run.run().expect_quiet().expect_stdout("one\n0\n");
}

#[test]
fn an_item_that_is_killed_gives_its_lock_back_and_the_next_one_outside_is_told() {
    let sandbox = Sandbox::new();
    let run = run_that_holds(&sandbox);

    kill_parent(&holder(&sandbox));

    let next = outside(&sandbox, "60s").run().expect_code(0).expect_stdout("died:1\n");
    next.expect_words(&["died while holding it", "cat gate", "item 0 of run"]);
    run.wait().expect_code(1);
    outside(&sandbox, "0").run().expect_quiet().expect_stdout("died:\n");
}

#[test]
fn a_worker_that_is_killed_gives_its_lock_back_and_the_next_one_outside_is_told() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let function = "import os, subprocess\n\
        def hold(item):\n    \
            return subprocess.run([os.environ['P'], 'lock', 'shared', '--', 'cat', 'gate']).returncode\n";
    sandbox.write("holds.py", function);
    let run = sandbox.map(["-j1", "python:holds.py:hold", "1"]).env("P", poolctl_binary()).start();
    wait_until(DEADLINE, "the lock is held", || !holder(&sandbox).is_null());
    let held = holder(&sandbox);

    kill_parent(&held);

    assert_eq!((&held["run"]["slot"], &held["run"]["item"]), (&Value::from(0), &Value::Null), "{held}");
    let next = outside(&sandbox, "60s").run().expect_code(0).expect_stdout("died:1\n");
    next.expect_words(&["died while holding it", "cat gate", "slot 0 of run"]);
    run.wait().expect_code(1);
}

#[test]
fn a_run_below_an_item_has_its_own_name_and_not_the_item() {
    let sandbox = Sandbox::new();
    let function = "import os\n\
        def seen(item):\n    \
            return ' '.join(str(os.environ.get('POOLCTL_' + name)) for name in ('RUN_ID', 'ITEM', 'SLOT'))\n";
    sandbox.write("seen.py", function);
    let script = r#"echo "$POOLCTL_RUN_ID $POOLCTL_ITEM none"; "$P" map -j1 --raw python:seen.py:seen ::: x"#;

    let outer = sandbox.map(["-j1", "--shell", script, ":::", "a", "b"]).env("P", poolctl_binary());
    let lines = outer.run().expect_quiet().lines();

    let words: Vec<Vec<&str>> =
        lines.iter().map(|line| line.trim_matches('"').split(' ').collect()).collect();
    let places: Vec<&[&str]> = words.iter().map(|words| &words[1..]).collect();
    assert_eq!(places, [["0", "none"], ["None", "0"], ["1", "none"], ["None", "0"]]);
    assert!(words[0][0] == words[2][0] && words[0][0] != words[1][0], "{lines:?}");
}
