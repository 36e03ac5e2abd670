//! Signals to `poolctl`: once, twice, three times; stopped and continued. Nothing stays behind whichever it is.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poolctl_testkit::{DEADLINE, Process, Running, Sandbox, children, pass, wait_until};

use crate::peer::numbers;

/// Waits until the working directory has so many bytes in `name`.
#[track_caller]
fn wait_for_bytes(sandbox: &Sandbox, name: &str, count: usize) {
    wait_until(DEADLINE, &format!("{count} bytes are in {name}"), || sandbox.read(name).len() >= count);
}

fn state(pid: u32) -> Option<char> {
    Process::look(pid).map(|process| process.state)
}

#[test]
fn interrupt_once_lets_running_items_finish_and_starts_no_new_one() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let script = r#"echo x >> started; cat gate; echo "$1 finished""#;
    let running = sandbox.map(["-j2", "--shell", script]).input(numbers(1, 20)).start();
    wait_for_bytes(&sandbox, "started", 4);

    running.signal(Signal::SIGINT);
    running.wait_stderr("stopping: no new items, 2 running; Ctrl-C again to kill");
    release(&sandbox, &running);

    let finished = running.wait().expect_code(130);
    assert_eq!(finished.text(), "1 finished\n2 finished\n");
    assert_eq!(sandbox.read("started").len(), 4);
}

/// Opens the gate for as long as somebody waits at it.
fn release(sandbox: &Sandbox, running: &Running) {
    wait_until(DEADLINE, "all items have gone through the gate", || {
        // Whether somebody waited there just now does not matter.
        let _somebody = sandbox.try_release("gate");
        !running.is_running()
    });
}

#[test]
fn interrupt_twice_asks_the_running_items_to_end() {
    let sandbox = Sandbox::new();
    let script = r#"trap 'echo term >> asked; exit 1' TERM; echo x >> started; sleep 1000 & wait"#;
    let running = sandbox.map(["-j2", "--grace", "600s", "--shell", script]).input(numbers(1, 20)).start();
    wait_for_bytes(&sandbox, "started", 4);

    running.signal(Signal::SIGINT);
    running.wait_stderr("stopping");
    running.signal(Signal::SIGINT);

    running.wait().expect_code(130);
    assert_eq!(sandbox.read("asked"), b"term\nterm\n");
    sandbox.expect_nothing_left();
}

#[test]
fn interrupt_three_times_kills_what_does_not_listen() {
    let sandbox = Sandbox::new();
    let script = r#"trap 'echo term >> asked' TERM; echo x >> started; while :; do sleep 1000 & wait; done"#;
    let running = sandbox.map(["-j2", "--grace", "600s", "--shell", script]).input(numbers(1, 20)).start();
    wait_for_bytes(&sandbox, "started", 4);

    running.signal(Signal::SIGINT);
    running.wait_stderr("stopping");
    running.signal(Signal::SIGINT);
    wait_for_bytes(&sandbox, "asked", 10);
    running.signal(Signal::SIGINT);

    running.wait().expect_code(130);
    sandbox.expect_nothing_left();
}

#[test]
fn terminate_lets_running_items_finish_within_the_grace() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let script = r#"echo x >> started; cat gate; echo "$1 finished""#;
    let running = sandbox.map(["-j2", "--grace", "600s", "--shell", script]).input(numbers(1, 20)).start();
    wait_for_bytes(&sandbox, "started", 4);

    running.signal(Signal::SIGTERM);
    running.wait_stderr("stopping: no new items, 2 running");
    release(&sandbox, &running);

    running.wait().expect_code(143).expect_stdout("1 finished\n2 finished\n");
}

#[test]
fn terminate_ends_running_items_after_the_grace() {
    let sandbox = Sandbox::new();
    let script = r#"echo x >> started; sleep 1000"#;
    let running = sandbox.map(["-j2", "--grace", "200ms", "--shell", script]).input(numbers(1, 20)).start();
    wait_for_bytes(&sandbox, "started", 4);

    running.signal(Signal::SIGTERM);

    running.wait().expect_code(143);
    sandbox.expect_nothing_left();
}

#[test]
fn hang_up_ends_the_run_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let script = r#"echo x >> started; sleep 1000"#;
    let running = sandbox.map(["-j2", "--grace", "200ms", "--shell", script]).input(numbers(1, 20)).start();
    wait_for_bytes(&sandbox, "started", 4);

    running.signal(Signal::SIGHUP);

    let finished = running.wait();
    assert_ne!(finished.code(), Some(0), "{finished}");
    sandbox.expect_nothing_left();
}

#[test]
fn an_interrupt_while_it_waits_for_input_ends_the_run() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["python:math:sqrt"]).open_input().start();
    running.write("4\n");
    running.wait_stdout("the first result", |bytes| bytes == b"2.0\n");

    running.signal(Signal::SIGINT);

    running.wait_ended().expect_code(130).expect_stdout("2.0\n");
}

#[test]
fn stop_and_continue_reach_the_workers_and_stop_the_clocks() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    // No child of the shell's: one that is stopped before it has executed its program holds its parent unstoppable (vfork).
    let script = r#"echo $$ >> pids; : < gate; echo "$1 finished""#;
    let running = sandbox.map(["-j1", "--timeout", "5s", "--shell", script, ":::", "a"]).start();
    wait_until(DEADLINE, "the item runs", || sandbox.read("pids").ends_with(b"\n"));
    let pid: u32 = String::from_utf8_lossy(&sandbox.read("pids")).trim().parse().expect("a pid");

    running.signal(Signal::SIGTSTP);
    wait_until(DEADLINE, "both are stopped", || state(pid) == Some('T') && state(running.pid()) == Some('T'));
    // Longer than the item may run: the clock stands still.
    pass(Duration::from_secs(6));
    running.signal(Signal::SIGCONT);
    wait_until(DEADLINE, "both go on", || state(pid) != Some('T') && state(running.pid()) != Some('T'));
    release(&sandbox, &running);

    running.wait().expect_code(0).expect_stdout("a finished\n");
}

#[test]
fn a_stopped_run_can_be_stopped_again_and_killed() {
    let sandbox = Sandbox::new();
    let running = sandbox.map(["-j2", "--shell", "echo $$ >> pids; sleep 1000"]).input("1\n2\n").start();
    wait_until(DEADLINE, "two items run", || {
        sandbox.read("pids").iter().filter(|byte| **byte == b'\n').count() == 2
    });

    for _ in 0..3 {
        running.signal(Signal::SIGTSTP);
        wait_until(DEADLINE, "it is stopped", || state(running.pid()) == Some('T'));
        running.signal(Signal::SIGCONT);
        wait_until(DEADLINE, "it goes on", || state(running.pid()) != Some('T'));
    }
    running.signal(Signal::SIGTSTP);
    wait_until(DEADLINE, "it is stopped", || state(running.pid()) == Some('T'));
    running.kill();

    sandbox.expect_nothing_left();
}

#[test]
fn usr1_prints_what_is_running() {
    let sandbox = Sandbox::new();
    sandbox.fifo("gate");
    let running =
        sandbox.map(["-j2", "--shell", "echo x >> started; cat gate"]).input("first\nsecond\n").start();
    wait_for_bytes(&sandbox, "started", 4);

    running.signal(Signal::SIGUSR1);
    let told = running.wait_stderr("running");

    assert!(!told.is_empty());
    release(&sandbox, &running);
    running.wait().expect_code(0);
}

#[test]
fn a_storm_of_signals_disturbs_no_item() {
    let sandbox = Sandbox::new();
    let running = sandbox.map(["-j2", "--shell", "echo $1"]).input(numbers(1, 300)).start();
    wait_until(DEADLINE, "it has caught its signals", || {
        !sandbox.processes().is_empty() && {
            running.wait_stdout("a result", |bytes| !bytes.is_empty());
            true
        }
    });

    let mut storm = 0;
    while running.is_running() && storm < 5_000 {
        running.signal(Signal::SIGUSR1);
        running.signal(Signal::SIGCONT);
        storm += 1;
    }

    running.wait().expect_code(0).expect_stdout(numbers(1, 300));
}

#[test]
fn signals_that_its_caller_ignores_are_those_of_the_items_by_default() {
    let sandbox = Sandbox::new();
    let prelude = "trap '' INT TERM HUP PIPE USR1 TSTP";

    let ours = sandbox
        .map(["--shell", "grep -E '^Sig(Blk|Ign)' /proc/self/status", ":::", "a"])
        .after_shell(prelude)
        .run();

    ours.expect_code(0).expect_stdout("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn a_run_whose_keeper_stands_still_can_be_ended_all_the_same() {
    let sandbox = Sandbox::new();
    let arguments = ["-j2", "--grace", "100ms", "--shell", "echo x >> started; sleep 3600"];
    let run = sandbox.map(arguments).input(numbers(1, 10)).start();
    wait_for_bytes(&sandbox, "started", 4);
    let keeper = children(run.pid()).into_iter().map(|child| child.pid).next().expect("a run has a keeper");
    let keeper = Pid::from_raw(i32::try_from(keeper).expect("pids are small"));
    kill(keeper, Signal::SIGSTOP).expect("the keeper lives");

    run.signal(Signal::SIGTERM);

    run.wait().expect_code(143);
}
