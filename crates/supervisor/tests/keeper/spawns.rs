//! What a worker finds when it starts, and what the host hears when it does not.

use std::os::unix::fs::PermissionsExt;

use poolctl_supervisor::keeper::{Report, Setup, SpawnStage};
use poolctl_testkit::is_alive;
use poolctl_types::{Exit, WorkerId};

use crate::kept::{Kept, run_id, setup};

const WORKER: WorkerId = WorkerId { slot: poolctl_types::Slot(0), generation: poolctl_types::Generation(0) };

fn failure_of(kept: &mut Kept, path: &str, argv: &[&str]) -> (SpawnStage, i32) {
    let output = kept.program(WORKER, path, argv, &[]);
    let report = kept.wait("a failure", |_| true);
    assert_eq!(output.text(), "", "its end of the pipe is closed");
    match report {
        Report::SpawnFailed { worker: WORKER, stage, errno } => (stage, errno),
        other => panic!("not a failure: {other:?}"),
    }
}

#[test]
fn a_worker_has_its_descriptors_and_no_others() {
    let mut kept = Kept::start(setup("descriptors"));

    let (exit, text) = kept.run(WORKER, "ls /proc/self/fd | tr '\\n' ' '; cat; readlink /proc/self/fd/2");

    assert_eq!(exit, Exit::Code(0));
    // 3 is the directory that `ls` itself reads.
    assert_eq!(text, "0 1 2 3 /dev/null\n");
}

#[test]
fn a_worker_has_default_signals_and_a_group_of_its_own() {
    let mut kept = Kept::start(setup("signals"));

    let (_, text) = kept.run(
        WORKER,
        "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2; test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leads",
    );

    assert_eq!(text, "0000000000000000\n0000000000000000\nleads\n");
}

#[test]
fn environment_directory_and_nice_value_are_common_to_all() {
    let env = [("COLOUR", "blue"), ("POOLCTL_RUN_ID", "of another"), ("PATH", "/usr/bin:/bin")];
    let env = env.map(|(name, value)| (name.into(), value.into())).to_vec();
    let common = Setup { env, cwd: Some("/usr".into()), nice: Some(5), ..setup("common") };
    let mut kept = Kept::start(common);

    let (_, text) = kept.run(WORKER, "pwd; nice; echo $COLOUR $POOLCTL_RUN_ID");

    assert_eq!(text, format!("/usr\n5\nblue {}\n", run_id("common")));
}

#[test]
fn what_is_added_to_the_environment_hides_what_was_there() {
    let common =
        Setup { env: vec![("SLOT".into(), "none".into()), ("SLOTS".into(), "7".into())], ..setup("env") };
    let mut kept = Kept::start(common);
    let extra = [("SLOT", "3".to_owned()), ("SEQ", "a=b".to_owned())];

    let output = kept.program(WORKER, "/usr/bin/env", &["env"], &extra);
    let text = output.text();

    let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with('S')).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["SEQ=a=b", "SLOT=3", "SLOTS=7"]);
}

#[test]
fn what_cannot_be_executed_is_told_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    std::fs::write(&path, "neither script nor binary").unwrap();
    let program = path.to_str().unwrap();
    let mut kept = Kept::start(setup("failures"));

    assert_eq!(failure_of(&mut kept, "/nonexistent", &["x"]), (SpawnStage::Exec, 2));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(failure_of(&mut kept, program, &["x"]), (SpawnStage::Exec, 13));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(failure_of(&mut kept, program, &["x"]), (SpawnStage::Exec, 8));

    let keeper = kept.keeper_pid();
    let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
    assert_eq!(children, "", "nothing of them is left, not even a zombie");
    assert_eq!(kept.run(WorkerId::new(0, 1), "echo on").1, "on\n");
}

#[test]
fn a_missing_working_directory_is_told_exactly() {
    let mut kept = Kept::start(Setup { cwd: Some("/nonexistent".into()), ..setup("cwd") });

    assert_eq!(failure_of(&mut kept, "/bin/true", &["true"]), (SpawnStage::Directory, 2));
}

#[test]
fn arguments_longer_than_a_packet_arrive() {
    let mut kept = Kept::start(setup("long"));
    let long = "x".repeat(100 * 1024);
    let argv = ["sh", "-c", "echo $# ${#1} ${#5}", "sh", &long, &long, &long, &long, "last"];

    let output = kept.program(WORKER, "/bin/sh", &argv, &[]);
    kept.wait_exited(WORKER);

    assert_eq!(output.text(), format!("5 {} 4\n", long.len()));
}

#[test]
fn arguments_longer_than_the_kernel_takes_are_told_exactly() {
    let mut kept = Kept::start(setup("too-long"));
    let long = "x".repeat(100 * 1024);
    let argv = vec![long.as_str(); 100];

    assert_eq!(failure_of(&mut kept, "/bin/true", &argv), (SpawnStage::Exec, 7));
    assert_eq!(kept.run(WorkerId::new(0, 1), "echo on").1, "on\n");
}

#[test]
fn a_string_with_nul_is_refused_before_it_is_sent() {
    let mut kept = Kept::start(setup("nul"));

    let error = kept.keeper.spawn(WORKER, b"/bin/echo", &[b"echo", b"a\0b"], &[], Vec::new()).unwrap_err();

    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(kept.run(WORKER, "echo on").1, "on\n");
}

#[test]
fn the_keeper_is_a_quiet_process_of_its_own_group() {
    let mut kept = Kept::start(setup("quiet"));
    kept.run(WORKER, ":");
    let keeper = kept.keeper_pid();

    let stat = std::fs::read_to_string(format!("/proc/{keeper}/stat")).unwrap();
    let group: u32 = stat[stat.rfind(')').unwrap()..].split(' ').nth(3).unwrap().parse().unwrap();
    let descriptors = poolctl_testkit::descriptors(keeper);
    let at =
        |number| descriptors.iter().find(|(fd, _)| *fd == number).map(|(_, path)| path.to_str().unwrap());

    assert_eq!(group, keeper);
    assert_eq!((at(0), at(1)), (Some("/dev/null"), Some("/dev/null")));
    for signal in [1, 2, 3, 10, 15, 20] {
        kept.keeper.pidfd().signal(signal).unwrap();
    }
    assert_eq!(kept.run(WorkerId::new(0, 1), "echo on").1, "on\n");
    assert!(is_alive(keeper));
}
