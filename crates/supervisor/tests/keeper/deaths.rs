//! How workers end, and what is done and told then.

use std::time::Duration;

use poolctl_supervisor::keeper::{Report, Setup};
use poolctl_testkit::{DEADLINE, Process, is_alive, wait_until};
use poolctl_types::{Exit, WorkerId};

use crate::kept::{Kept, setup};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

fn worker(slot: u32) -> WorkerId {
    WorkerId::new(slot, 7)
}

#[test]
fn every_end_is_told_as_it_was() {
    let mut kept = Kept::start(setup("ends"));

    assert_eq!(kept.run(worker(0), "exit 0").0, Exit::Code(0));
    assert_eq!(kept.run(worker(1), "exit 3").0, Exit::Code(3));
    assert_eq!(kept.run(worker(2), "kill -SEGV $$").0, Exit::Signal(11));
    assert_eq!(kept.run(worker(3), "kill -40 $$").0, Exit::Signal(40));
}

#[test]
fn time_and_memory_of_children_are_counted() {
    let mut kept = Kept::start(setup("usage"));
    let script = "sh -c 'x=0; while [ $x -lt 20000 ]; do x=$((x+1)); done'";

    let _output = kept.shell(worker(0), script);
    let report = kept.wait("an exit", |report| matches!(report, Report::Exited { .. }));

    let Report::Exited { cpu, max_rss_kib, .. } = report else { unreachable!("only that was wanted") };
    assert!(cpu > Duration::ZERO);
    assert!(max_rss_kib > 100, "{max_rss_kib}");
}

#[test]
fn a_dead_worker_stays_a_zombie_until_it_is_settled() {
    let mut kept = Kept::start(setup("zombie"));
    let _output = kept.shell(worker(0), "exit 1");
    let pid = kept.wait_spawned(worker(0));
    kept.wait_exited(worker(0));

    assert_eq!(Process::look(pid).map(|process| process.state), Some('Z'));
    kept.keeper.reap(worker(0));
    kept.keeper.flush().unwrap();

    wait_until(DEADLINE, "it is reaped", || Process::look(pid).is_none());
}

#[test]
fn the_group_of_a_dead_leader_is_killed() {
    let mut kept = Kept::start(setup("group"));

    let output = kept.shell(worker(0), "sleep 1000 & echo $!; exit 5");
    let child = output.number();

    assert_eq!(kept.wait_exited(worker(0)), Exit::Code(5));
    assert_eq!(output.text(), "", "the sleeper does not hold the pipe any more");
    wait_until(DEADLINE, "the sleeper is dead", || !is_alive(child));
}

#[test]
fn a_signal_reaches_the_whole_group() {
    let mut kept = Kept::start(setup("signal"));
    let output = kept.shell(worker(0), "sleep 1000 & echo $!; wait");
    let child = output.number();

    kept.keeper.signal(worker(0), SIGTERM);

    assert_eq!(kept.wait_exited(worker(0)), Exit::Signal(SIGTERM));
    wait_until(DEADLINE, "the sleeper is dead", || !is_alive(child));
}

#[test]
fn a_signal_to_a_dead_or_unknown_worker_is_taken_silently() {
    let mut kept = Kept::start(setup("late-signal"));
    let _output = kept.shell(worker(0), ":");
    kept.wait_exited(worker(0));

    kept.keeper.signal(worker(0), SIGKILL);
    kept.keeper.signal(worker(9), SIGKILL);
    kept.keeper.reap(worker(9));
    kept.keeper.reap(worker(0));
    kept.keeper.reap(worker(0));

    assert_eq!(kept.run(worker(1), "echo on").1, "on\n");
}

#[test]
fn a_worker_that_is_told_to_be_reaped_while_it_lives_lives_on() {
    let mut kept = Kept::start(setup("early-reap"));
    let _output = kept.shell(worker(0), "exec sleep 1000");
    let pid = kept.wait_spawned(worker(0));

    kept.keeper.reap(worker(0));
    kept.run(worker(1), ":");

    assert!(is_alive(pid));
    kept.keeper.signal(worker(0), SIGKILL);
    assert_eq!(kept.wait_exited(worker(0)), Exit::Signal(SIGKILL));
}

#[test]
fn a_held_spawn_begins_when_a_leader_dies_and_not_before() {
    let mut kept = Kept::start(Setup { max_running: Some(1), ..setup("held") });
    let _first = kept.shell(worker(0), "exec sleep 1000");
    let second = kept.shell(worker(1), "echo second");
    kept.wait_spawned(worker(0));
    assert!(kept.reports.is_empty(), "{:?}", kept.reports);

    kept.keeper.signal(worker(0), SIGKILL);

    kept.wait_exited(worker(0));
    kept.wait_spawned(worker(1));
    assert_eq!(second.text(), "second\n");
    assert_eq!(kept.wait_exited(worker(1)), Exit::Code(0));
}

#[test]
fn a_held_spawn_that_gets_a_signal_is_dropped() {
    let mut kept = Kept::start(Setup { max_running: Some(1), ..setup("dropped") });
    let _first = kept.shell(worker(0), "exec sleep 1000");
    let second = kept.shell(worker(1), "echo second");
    let third = kept.shell(worker(2), "echo third");
    kept.wait_spawned(worker(0));

    kept.keeper.signal(worker(1), SIGTERM);

    assert!(matches!(kept.wait("a drop", |_| true), Report::Dropped { worker: of } if of == worker(1)));
    assert_eq!(second.text(), "", "its end of the pipe is closed");
    kept.keeper.signal(worker(0), SIGKILL);
    kept.wait_exited(worker(0));
    assert_eq!(third.text(), "third\n");
}

#[test]
fn more_may_run_when_the_host_says_so() {
    let mut kept = Kept::start(Setup { max_running: Some(0), ..setup("max-running") });
    let output = kept.shell(worker(0), "echo begun");
    kept.keeper.flush().unwrap();

    kept.keeper.set_max_running(None);

    kept.wait_spawned(worker(0));
    assert_eq!(output.text(), "begun\n");
}

#[test]
fn strays_are_reaped_as_they_die() {
    let mut kept = Kept::start(setup("strays"));
    // The leader lives on, so nothing but the death of the strays can tell the keeper of them.
    let output =
        kept.shell(worker(0), "for i in 1 2 3; do (setsid sh -c : &); done; echo 1; exec sleep 1000");
    output.number();
    let keeper = kept.keeper_pid();
    let leader = kept.wait_spawned(worker(0));

    wait_until(DEADLINE, "the leader is the only child", || all_children(keeper) == [leader]);
}

#[test]
fn strays_behind_a_dead_leader_are_reaped_after_it() {
    let mut kept = Kept::start(setup("hidden-strays"));
    let keeper = kept.keeper_pid();
    let output = kept.shell(worker(0), "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000");
    let stray = output.number();
    kept.keeper.signal(worker(0), SIGKILL);
    kept.wait_exited(worker(0));
    assert_eq!(all_children(keeper).len(), 2, "the dead leader and the stray");

    poolctl_sys::pidfd::Pidfd::open(stray).unwrap().signal(SIGKILL).unwrap();
    wait_until(DEADLINE, "the stray is dead", || !is_alive(stray));
    kept.run(worker(1), ":");
    assert_eq!(Process::look(stray).map(|process| process.state), Some('Z'), "the leader hides it");
    kept.keeper.reap(worker(0));
    kept.keeper.flush().unwrap();

    wait_until(DEADLINE, "there is no child", || all_children(keeper).is_empty());
}

/// The children of `pid`, zombies included.
fn all_children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_ascii_whitespace().map(|child| child.parse().unwrap()).collect()
}
