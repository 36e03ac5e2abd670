//! Many at once, full sockets, and too few descriptors.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use poolctl_supervisor::keeper::{Report, Setup};
use poolctl_sys::pipe;
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_testkit::{DEADLINE, Process, descriptors, wait_until};
use poolctl_types::WorkerId;

use crate::kept::{FIXTURE, Kept, Output, run_id, setup};

fn null() -> OwnedFd {
    File::options().read(true).write(true).open("/dev/null").unwrap().into()
}

#[test]
fn a_burst_of_spawns_begins_in_order_and_none_is_lost() {
    const BURST: u32 = 500;
    let mut kept = Kept::start(Setup { max_running: Some(8), ..setup("burst") });
    for slot in 0..BURST {
        let worker = WorkerId::new(slot, 0);
        kept.keeper.spawn(worker, b"/bin/true", &[b"true"], &[], vec![(null(), 1), (null(), 2)]).unwrap();
    }

    let (mut begun, mut ended) = (Vec::new(), HashSet::new());
    while ended.len() < BURST as usize {
        match kept.wait("a spawn or an exit", |_| true) {
            Report::Spawned { worker, .. } => begun.push(worker.slot.0),
            Report::Exited { worker, exit, .. } => {
                assert!(exit.is_success(), "{exit}");
                assert!(ended.insert(worker), "{worker} ended twice");
                assert!(begun.len() - (ended.len() - 1) <= 8, "more than eight lived");
                kept.keeper.reap(worker);
            }
            other => panic!("{other:?}"),
        }
    }

    assert_eq!(begun, (0..BURST).collect::<Vec<_>>());
}

#[test]
fn many_runs_leave_the_keeper_as_it_was() {
    let mut kept = Kept::start(setup("leaks"));
    kept.run(WorkerId::new(0, 0), ":");
    let keeper = kept.keeper_pid();
    wait_until(DEADLINE, "it is reaped", || poolctl_testkit::children(keeper).is_empty());
    let before = descriptors(keeper).len();

    for generation in 1..200 {
        kept.run(WorkerId::new(0, generation), "(setsid true &)");
    }

    wait_until(DEADLINE, "nothing is left of them", || {
        let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
        // The keeper may have been about to close the first one's pidfd when they were counted.
        children.is_empty() && descriptors(keeper).len() <= before
    });
}

#[test]
fn a_host_that_does_not_listen_is_told_everything_later() {
    const MANY: u32 = 20_000;
    let mut kept = Kept::start(setup("deaf"));
    for slot in 0..MANY {
        kept.keeper.spawn(WorkerId::new(slot, 0), b"/nonexistent", &[b"x"], &[], Vec::new()).unwrap();
    }

    // Nobody takes the reports, so in the end the keeper stands still; then it takes no requests either.
    let keeper = kept.keeper_pid();
    wait_until(DEADLINE, "both ways are full", || {
        for _ in 0..1000 {
            kept.keeper.signal(WorkerId::new(MANY, 0), 0);
        }
        kept.keeper.flush().unwrap();
        kept.keeper.wants_write() && Process::look(keeper).is_some_and(|process| process.state == 'S')
    });

    for slot in 0..MANY {
        match kept.wait("a failure", |_| true) {
            Report::SpawnFailed { worker, errno: 2, .. } => assert_eq!(worker.slot.0, slot),
            other => panic!("{other:?}"),
        }
    }
    kept.exchange();
    assert!(kept.reports.is_empty(), "{:?}", kept.reports);
}

#[test]
fn a_packet_with_more_descriptors_than_the_keeper_has_room_for_harms_nobody_else() {
    const SPAWNS: u32 = 40;
    let mut kept = Kept::start(setup("no-room"));
    let keeper = kept.keeper_pid();
    kept.run(WorkerId::new(0, 0), ":");
    let (exit, _) = kept.run(WorkerId::new(0, 1), &format!("prlimit --pid {keeper} --nofile=40:40"));
    assert!(exit.is_success(), "{exit}");
    let long = "x".repeat(100 * 1024);
    for slot in 0..SPAWNS {
        let argument = if slot % 2 == 0 { "short" } else { &long };
        let argv: [&[u8]; 2] = [b"true", argument.as_bytes()];
        let fds = vec![(null(), 1), (null(), 2)];
        kept.keeper.spawn(WorkerId::new(slot, 2), b"/bin/true", &argv, &[], fds).unwrap();
    }

    let (mut ended, mut failed) = (0, 0);
    while ended + failed < SPAWNS {
        match kept.wait("an end or a failure", |_| true) {
            Report::Spawned { .. } => {}
            Report::Exited { worker, .. } => {
                ended += 1;
                kept.keeper.reap(worker);
            }
            Report::SpawnFailed { errno: 24, .. } => failed += 1,
            other => panic!("{other:?}"),
        }
    }

    assert!(ended > 0 && failed > 0, "{ended} ended, {failed} failed");
    assert_eq!(kept.run(WorkerId::new(0, 3), "echo on").1, "on\n");
}

#[test]
fn spawns_whose_descriptors_find_no_room_fail_and_others_run() {
    let (read, write) = pipe::pair().unwrap();
    let fixture = FIXTURE;
    let run_id = run_id("few-descriptors");
    // Forty workers hold forty pidfds in the host and in the keeper, which may have thirty open files each.
    let script = format!(
        "ulimit -n 30; exec {fixture} {run_id} $(for i in $(seq 40); do echo 'cat<&9||sleep${{IFS}}1000'; done)"
    );
    let script = std::ffi::CString::new(script).unwrap();
    let host = Spawner::new()
        .unwrap()
        .spawn(&Command {
            path: c"/bin/sh",
            argv: &[c"sh", c"-c", &script],
            env: &[c"PATH=/usr/bin:/bin"],
            cwd: None,
            fds: &[(write.as_fd(), 1)],
            nice: None,
            open_files: None,
            die_with_parent: true,
        })
        .unwrap();
    drop(write);

    let told = |line: &&str| line.starts_with("worker") || line.starts_with("failed");
    let text =
        Output(read).text_until(|text| text.ends_with('\n') && text.lines().filter(told).count() == 40);

    assert!(text.contains("worker "), "{text}");
    assert!(text.contains(" 24\n"), "EMFILE is told: {text}");
    host.signal(9).unwrap();
    host.wait_for_end(None).unwrap();
    host.reap().unwrap();
}
