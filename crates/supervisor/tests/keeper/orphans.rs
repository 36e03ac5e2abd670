//! Who is gone when a host, a keeper or both have gone: everybody.

use std::os::fd::AsFd;

use poolctl_supervisor::keeper;
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::pipe;
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_testkit::{DEADLINE, is_alive, wait_until};
use poolctl_types::WorkerId;

use crate::kept::{FIXTURE, Kept, Output, run_id, setup};

const SIGKILL: i32 = 9;

/// A worker with a child, and a grandchild that has left its group and session and is nobody's child any more. It
/// prints their pids.
const FAMILY: &str = "(setsid sh -c 'echo member $$; exec sleep 1000' &); sleep 1000 & echo member $!; wait";

/// The fixture as a host of its own, and the processes it told of.
struct Host {
    pidfd: Pidfd,
    keeper: u32,
    holder: u32,
    family: Vec<u32>,
}

impl Host {
    fn start(name: &str) -> Self {
        let (read, write) = pipe::pair().unwrap();
        let run_id = std::ffi::CString::new(run_id(name)).unwrap();
        let family = std::ffi::CString::new(FAMILY).unwrap();
        let fixture = std::ffi::CString::new(FIXTURE).unwrap();
        let pidfd = Spawner::new()
            .unwrap()
            .spawn(&Command {
                path: &fixture,
                argv: &[&fixture, &run_id, c"--hold", &family, &family],
                env: &[c"PATH=/usr/bin:/bin"],
                cwd: None,
                fds: &[(write.as_fd(), 1)],
                nice: None,
                open_files: None,
                die_with_parent: true,
            })
            .unwrap();
        drop(write);
        let mut host = Self { pidfd, keeper: 0, holder: 0, family: Vec::new() };
        // Two workers, and two members of the family of each; the keeper and the holder.
        let text = Output(read).text_until(|text| text.matches('\n').count() == 8);
        for line in text.lines() {
            let (kind, pid) = line.split_once(' ').unwrap();
            let pid = pid.parse().unwrap();
            match kind {
                "keeper" => host.keeper = pid,
                "holder" => host.holder = pid,
                _ => host.family.push(pid),
            }
        }
        host
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.pidfd.signal(SIGKILL).ok();
        self.pidfd.wait_for_end(Some(DEADLINE)).ok();
        self.pidfd.reap().ok();
        Pidfd::open(self.holder).and_then(|holder| holder.signal(SIGKILL)).ok();
    }
}

#[test]
fn nobody_outlives_a_killed_host() {
    let host = Host::start("host-killed");
    assert!(host.family.iter().all(|pid| is_alive(*pid)), "{:?}", host.family);

    host.pidfd.signal(SIGKILL).unwrap();

    for pid in &host.family {
        wait_until(DEADLINE, "every member of the family is dead", || !is_alive(*pid));
    }
    wait_until(DEADLINE, "the keeper has ended", || !is_alive(host.keeper));
    assert!(is_alive(host.holder), "it held a copy of the socket all the time");
}

#[test]
fn a_stopped_host_keeps_its_workers() {
    let host = Host::start("host-stopped");

    host.pidfd.signal(19).unwrap();
    wait_until(DEADLINE, "the host stands still", || {
        poolctl_testkit::Process::look(host.pidfd.pid()).is_some_and(|process| process.state == 'T')
    });
    host.pidfd.signal(18).unwrap();

    assert!(host.family.iter().all(|pid| is_alive(*pid)), "{:?}", host.family);
    assert!(is_alive(host.keeper));
}

#[test]
fn the_workers_of_a_killed_keeper_die_and_a_sweep_finds_the_rest() {
    let mut kept = Kept::start(setup("keeper-killed"));
    let worker = WorkerId::new(0, 0);
    let output = kept.shell(worker, "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000");
    let leader = kept.wait_spawned(worker);
    let detached = output.number();

    kept.keeper.pidfd().signal(SIGKILL).unwrap();

    wait_until(DEADLINE, "the worker is dead", || !is_alive(leader));
    assert!(is_alive(detached), "parent-death signals are not inherited");
    let mut reports = Vec::new();
    wait_until(DEADLINE, "the host hears of it", || kept.keeper.receive(&mut reports).is_err());
    assert_eq!(keeper::sweep(&run_id("another-run")).unwrap(), 0);
    assert_eq!(keeper::sweep(&run_id("keeper-killed")).unwrap(), 1);
    assert!(!is_alive(detached));
    assert_eq!(output.text(), "");
}

#[test]
fn nothing_is_left_after_a_shut_down() {
    let mut kept = Kept::start(setup("shut-down"));
    let worker = WorkerId::new(0, 0);
    let output = kept
        .shell(worker, "trap '' TERM HUP INT; (setsid sh -c 'echo $$; exec sleep 1000' &); sleep 1000; :");
    let leader = kept.wait_spawned(worker);
    let detached = output.number();
    let keeper = kept.keeper_pid();

    kept.keeper.shut_down();

    assert!(!is_alive(leader));
    assert!(!is_alive(detached));
    assert!(!std::path::Path::new(&format!("/proc/{keeper}")).exists(), "the keeper is reaped");
    assert_eq!(output.text(), "");
}

#[test]
fn a_keeper_that_nobody_started_as_one_says_no() {
    let fixture = std::ffi::CString::new(FIXTURE).unwrap();
    let child = Spawner::new()
        .unwrap()
        .spawn(&Command {
            path: &fixture,
            argv: &[&fixture, c"--keeper"],
            env: &[],
            cwd: None,
            fds: &[],
            nice: None,
            open_files: None,
            die_with_parent: false,
        })
        .unwrap();

    child.wait_for_end(None).unwrap();

    assert_eq!(child.peek_exit().unwrap().unwrap().0, poolctl_types::Exit::Code(2));
    child.reap().unwrap();
}
