//! How processes end, and what is left: nothing.

use poolctl::{Exit, ProcessError};
use poolctl_testkit::{DEADLINE, Sandbox, children, descriptors, is_alive, wait_until};

use crate::lives::{AS_HOST, fifo, marked, pid_of_holder, started};
use crate::tasks::{hold, hold_and_write, hold_with_children, nothing};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

pub(crate) fn a_terminated_process_ends_by_the_signal() {
    let sandbox = Sandbox::new();
    let process = started(&sandbox, hold, fifo(&sandbox, "held"));
    pid_of_holder(&sandbox, "held");

    process.terminate().expect("it was started");

    assert_eq!(process.join().expect("it was started"), Exit::Signal(SIGTERM));
    process.terminate().expect("one that has ended takes it silently");
    assert!(process.error().is_none());
}

pub(crate) fn a_killed_process_takes_its_group_along() {
    let sandbox = Sandbox::new();
    let process = started(&sandbox, hold_with_children, fifo(&sandbox, "held"));
    pid_of_holder(&sandbox, "held");
    let sleepers = || sandbox.processes().iter().filter(|found| found.command == "sleep 1000").count();
    wait_until(DEADLINE, "its children run", || sleepers() == 2);

    process.kill().expect("it was started");

    assert_eq!(process.join().expect("it was started"), Exit::Signal(SIGKILL));
    // The one that left the group lives until the keeper ends.
    wait_until(DEADLINE, "its group has ended", || sleepers() <= 1);
    for left in sandbox.processes() {
        let pid = i32::try_from(left.pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it sleeps");
    }
}

pub(crate) fn a_dropped_daemon_is_killed() {
    let sandbox = Sandbox::new();
    let process = marked(&sandbox, hold, fifo(&sandbox, "held")).daemon(true).start().expect("it starts");
    let pid = pid_of_holder(&sandbox, "held");
    assert!(process.is_daemon());

    drop(process);

    assert!(!is_alive(pid));
}

pub(crate) fn a_dropped_process_is_waited_for() {
    let sandbox = Sandbox::new();
    let (held, done) = (fifo(&sandbox, "held"), crate::lives::path(&sandbox, "done"));
    let process = started(&sandbox, hold_and_write, (held, done));
    pid_of_holder(&sandbox, "held");

    std::thread::scope(|scope| {
        scope.spawn(|| drop(process));
        sandbox.release("held");
    });

    assert_eq!(sandbox.read("done"), b"done");
    assert!(sandbox.processes().is_empty());
}

pub(crate) fn a_process_that_was_not_started_is_nothing() {
    let sandbox = Sandbox::new();
    let process = marked(&sandbox, nothing, ()).build();

    assert!(matches!(process.join(), Err(ProcessError::NotStarted)));
    assert!(matches!(process.kill(), Err(ProcessError::NotStarted)));
    assert!(process.sentinel().is_none() && process.pid().is_none() && process.exit().is_none());
    drop(process);
}

pub(crate) fn a_killed_host_leaves_nothing() {
    let sandbox = Sandbox::new();
    for name in ["one", "two", "three"] {
        sandbox.fifo(name);
    }
    let host = std::env::current_exe().expect("/proc is there");
    let directory = sandbox.work();

    let host = sandbox.peer(host.to_str().expect("a path of ours is text"));
    let host = host.arg(AS_HOST).arg(directory).start();
    for name in ["one", "two", "three"] {
        pid_of_holder(&sandbox, name);
    }
    wait_until(DEADLINE, "grandchildren run", || {
        sandbox.processes().iter().filter(|found| found.command == "sleep 1000").count() == 2
    });
    host.kill();

    sandbox.expect_nothing_left();
}

pub(crate) fn a_killed_keeper_is_replaced() {
    let sandbox = Sandbox::new();
    let process = started(&sandbox, hold, fifo(&sandbox, "held"));
    let pid = pid_of_holder(&sandbox, "held");
    let keeper = poolctl_testkit::Process::look(pid).expect("it holds").parent;

    let keeper = i32::try_from(keeper).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).expect("it is our child");

    assert_eq!(process.join().expect("it was started"), Exit::Signal(SIGKILL));
    assert!(!is_alive(pid));
    let next = started(&sandbox, nothing, ());
    assert_eq!(next.join().expect("it was started"), Exit::Code(0));
}

pub(crate) fn thousands_of_processes_leave_nothing() {
    let sandbox = Sandbox::new();
    let host = std::process::id();
    assert_eq!(started(&sandbox, nothing, ()).join().expect("it was started"), Exit::Code(0));
    let (keepers, open) = (children(host).len(), descriptors(host).len());

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let process = started(&sandbox, nothing, ());
                    assert_eq!(process.join().expect("it was started"), Exit::Code(0));
                }
            });
        }
    });

    assert_eq!(children(host).len(), keepers, "{:?}", children(host));
    wait_until(DEADLINE, "no descriptor is left", || descriptors(host).len() <= open);
    let zombies = zombies_of(&children(host).iter().map(|keeper| keeper.pid).collect::<Vec<_>>());
    assert_eq!(zombies, 0);
}

/// How many children of these processes have ended and are not reaped.
fn zombies_of(parents: &[u32]) -> usize {
    let names = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    let pids = names.filter_map(|name| name.file_name().to_str()?.parse::<u32>().ok());
    let found = pids.filter_map(poolctl_testkit::Process::look);
    found.filter(|process| parents.contains(&process.parent) && !process.is_alive()).count()
}
