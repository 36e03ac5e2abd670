//! `poolctl` is killed at any moment: every worker, child and double-forked grandchild is gone after it.

use std::time::Duration;

use poolctl_testkit::{Random, Sandbox, pass, seed};

use crate::peer::numbers;

/// Leaves a child, and a grandchild in a session of its own, then works on.
const COMMAND: &str = "sleep 1000 & (setsid sh -c 'sleep 1000 & exec sleep 1000' > /dev/null 2>&1 &); echo $1; [ $1 -lt 3 ] || sleep 1000";

const FUNCTION: &str = "
import os, subprocess
def f(x):
    subprocess.Popen(['sleep', '1000'])
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execlp('sleep', 'sleep', '1000')
        os._exit(0)
    return x
";

/// Kills `poolctl` so many times, each at another moment, and asserts each time that nothing is left.
fn shoot(rounds: u64, longest: u64, arguments: &[&str]) {
    let mut random = Random::new(seed());
    for _ in 0..rounds {
        let sandbox = Sandbox::new();
        sandbox.write("f.py", FUNCTION);
        let running = sandbox.map(arguments).input(numbers(1, 40)).start();

        pass(Duration::from_micros(random.below(longest * 1000)));
        running.kill();

        sandbox.expect_nothing_left();
    }
}

#[test]
fn commands_and_their_descendants_are_gone() {
    shoot(20, 60, &["-j2", "--shell", COMMAND]);
}

#[test]
fn functions_and_their_descendants_are_gone() {
    shoot(20, 200, &["-j2", "python:f.py:f"]);
}

#[test]
fn filters_are_gone() {
    shoot(10, 40, &["-j2", "--lines", "sh -c 'sleep 1000 & exec cat'"]);
}

#[test]
fn what_an_item_leaves_running_is_gone_at_the_end_of_the_run() {
    let sandbox = Sandbox::new();
    let script = "(setsid sh -c 'sleep 1000 & exec sleep 1000' > /dev/null 2>&1 &); sleep 1000 > /dev/null 2>&1 & echo $1";

    let ours = sandbox.map(["-j2", "--shell", script]).input(numbers(1, 10)).run();

    ours.expect_code(0).expect_stdout(numbers(1, 10));
    sandbox.expect_nothing_left();
}

#[test]
fn host_and_keeper_killed_together_leave_no_worker() {
    let mut random = Random::new(seed());
    for _ in 0..10 {
        let sandbox = Sandbox::new();
        let mut running = sandbox.map(["-j2", "--lines", "cat"]).open_input().start();
        running.write("1\n2\n3\n");
        running.wait_stdout("three results", |bytes| bytes == b"1\n2\n3\n");
        let keeper = poolctl_testkit::children(running.pid())
            .into_iter()
            .find(|child| child.command.contains("--keeper"));
        let keeper = keeper.expect("a run has a keeper");

        pass(Duration::from_micros(random.below(3_000)));
        let pid = nix::unistd::Pid::from_raw(i32::try_from(keeper.pid).expect("a pid fits"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it lives");
        running.kill();

        sandbox.expect_nothing_left();
    }
}
