//! Nothing is lost: workers are shot all the time, the keeper too, and the output is that of the undisturbed run.

use std::path::PathBuf;
use std::time::Duration;

use poolctl_testkit::{DEADLINE, Finished, Killer, Random, Running, Sandbox, children, seed, wait_until};

use crate::peer::numbers;

/// Takes about a tenth of a millisecond an item, and leaves its pid in `finished/` once it has finished one.
const FUNCTION: &str = "
import os
count = 0
def work(x):
    global count
    count += 1
    if count == 2:
        open(f'finished/{os.getpid()}', 'w').close()
    total = 0
    for i in range(1200):
        total += i * x
    return [x, total]
";

/// How many items: a hundred thousand, as the product promises.
const ITEMS: u64 = 100_000;

const FLAGS: [&str; 4] = ["-j2", "--retries=5", "--max-crashes=10", "python:f.py:work"];

struct Scene {
    sandbox: Sandbox,
    finished: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("f.py", FUNCTION);
        let finished = sandbox.path("finished");
        std::fs::create_dir(&finished).expect("a directory in our own");
        Self { sandbox, finished }
    }

    fn start(&self) -> Running {
        self.sandbox.map(FLAGS).input(numbers(1, ITEMS)).start()
    }
}

/// What the undisturbed run prints.
fn undisturbed() -> Vec<u8> {
    let sum: u64 = (0..1200).sum();
    (1..=ITEMS).fold(Vec::new(), |mut text, x| {
        text.extend_from_slice(format!("[{x}, {}]\n", sum * x).as_bytes());
        text
    })
}

#[track_caller]
fn expect_all(finished: Finished) {
    finished.expect_code(0).expect_stdout(undisturbed());
}

#[test]
fn a_hundred_thousand_items_survive_a_killer_that_shoots_every_fifty_milliseconds() {
    let scene = Scene::new();
    let random = Random::new(seed());

    let running = scene.start();
    let killer =
        Killer::start(scene.finished.clone(), scene.sandbox.mark(), Duration::from_millis(50), random);
    let finished = running.wait();
    let shots = killer.stop();

    expect_all(finished);
    assert!(shots >= 10, "only {shots} workers were shot: this has shown nothing");
    scene.sandbox.expect_nothing_left();
}

#[test]
fn the_keeper_is_shot_in_mid_run_and_nothing_is_lost() {
    let scene = Scene::new();
    let mut random = Random::new(seed());

    let running = scene.start();
    for round in 1..=3_usize {
        let most = 20_000 * round;
        running.wait_stdout("some results", |bytes| bytes.len() > most);
        poolctl_testkit::pass(Duration::from_millis(random.below(50)));
        shoot_keeper(&running);
    }

    expect_all(running.wait());
    scene.sandbox.expect_nothing_left();
}

/// Kills the keeper of a run, and waits until another is there.
fn shoot_keeper(running: &Running) {
    let keeper = |running: &Running| {
        children(running.pid()).into_iter().find(|child| child.command.contains("--keeper"))
    };
    let old = keeper(running).expect("a run has a keeper");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(old.pid).expect("a pid fits"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it lives");
    wait_until(DEADLINE, "there is another keeper", || {
        !running.is_running() || keeper(running).is_some_and(|new| new.pid != old.pid)
    });
}

#[test]
fn the_keeper_is_shot_while_idle_and_the_next_items_run() {
    let sandbox = Sandbox::new();
    let targets: [&[&str]; 4] = [&["--lines", "cat"], &["--", "echo"], &["--shell", "echo $1"], &["echo"]];
    for target in targets {
        let mut running = sandbox.map(["-j2"]).args(target).open_input().start();
        running.write("1\n2\n");
        running.wait_stdout("two results", |bytes| bytes == b"1\n2\n");

        shoot_keeper(&running);
        running.write("3\n4\n");
        running.wait_stdout("four results", |bytes| bytes == b"1\n2\n3\n4\n");

        running.wait().expect_code(0);
    }
}

#[test]
fn without_retries_a_killed_worker_costs_the_item_in_hand_and_no_other() {
    let scene = Scene::new();
    let random = Random::new(seed());
    let arguments = ["-j2", "--json", "python:f.py:work"];

    let running = scene.sandbox.map(arguments).input(numbers(1, 20_000)).start();
    let killer =
        Killer::start(scene.finished.clone(), scene.sandbox.mark(), Duration::from_millis(50), random);
    let finished = running.wait();
    let shots = killer.stop();

    let lines = finished.lines();
    assert_eq!(lines.len(), 20_000, "every item exactly one outcome");
    for (index, line) in lines.iter().enumerate() {
        let object: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        assert_eq!(object["index"], index, "{line}");
    }
    let failed = lines.iter().filter(|line| !line.contains(r#""status":"ok""#)).count();
    assert!(
        failed <= usize::try_from(shots).expect("a small number"),
        "{failed} items failed for {shots} shots"
    );
}

#[test]
fn commands_survive_a_killer_too() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("finished")).expect("a directory in our own");
    let script = r#"echo > finished/$$; echo "item $1"; : $(seq 200); rm finished/$$"#;
    // On a loaded machine an item takes longer than the killer waits, and is shot many times.
    let random = Random::new(seed());

    let running = sandbox
        .map(["-j2", "--retries=100", "--max-crashes=100", "--shell", script])
        .input(numbers(1, 1_000))
        .start();
    let killer = Killer::start(sandbox.path("finished"), sandbox.mark(), Duration::from_millis(20), random);
    let finished = running.wait();
    drop(killer);

    let expected: String = (1..=1_000).map(|item| format!("item {item}\n")).collect();
    finished.expect_code(0).expect_stdout(expected);
}
