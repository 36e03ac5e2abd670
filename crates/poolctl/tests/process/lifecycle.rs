//! One process from its start to its end.

use std::time::Duration;

use poolctl::{Exit, PipeError, Pool, Process, ProcessError, TaskError, channel, current_process};
use poolctl_testkit::{DEADLINE, MARK, Sandbox};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::lives::{AS_HOST, fifo, marked, path, pid_of_holder, started, text};
use crate::tasks::{
    exits, fails, hold, name_of_process, nest, nothing, panics, print, send_each, sum_up, tell_variable,
    tell_who, write,
};

pub(crate) fn a_task_runs_in_a_process_of_its_own() {
    let sandbox = Sandbox::new();
    let process = marked(&sandbox, tell_who, path(&sandbox, "who")).build();
    let before = (process.pid(), process.is_alive(), process.exit());

    process.start().expect("it starts");
    let exit = process.join().expect("it was started");

    assert_eq!(before, (None, false, None));
    assert_eq!((exit, process.exit(), process.is_alive()), (Exit::Code(0), Some(Exit::Code(0)), false));
    let pid = process.pid().expect("it was started");
    assert_ne!(pid, std::process::id());
    assert_eq!(text(&sandbox, "who"), format!("{} {pid}", process.name()));
    assert!(process.error().is_none());
}

pub(crate) fn a_process_has_a_name_and_tells_it() {
    let sandbox = Sandbox::new();
    let named = marked(&sandbox, tell_who, path(&sandbox, "who")).name("reader").build();
    let (one, two) = (Process::new(nothing, ()), Process::new(nothing, ()));

    named.start().expect("it starts");
    named.join().expect("it was started");

    assert_eq!(named.name(), "reader");
    assert!(text(&sandbox, "who").starts_with("reader "), "{}", text(&sandbox, "who"));
    assert_eq!((current_process().name(), current_process().pid()), ("MainProcess", std::process::id()));
    assert!(one.name().starts_with("Process-") && one.name() != two.name(), "{one:?} {two:?}");
}

pub(crate) fn a_variable_reaches_it() {
    let sandbox = Sandbox::new();
    let args = (path(&sandbox, "variable"), "WEATHER".to_owned());

    let process = marked(&sandbox, tell_variable, args).env("WEATHER", "fair").start().expect("it starts");

    assert_eq!(process.join().expect("it was started"), Exit::Code(0));
    assert_eq!(text(&sandbox, "variable"), "fair");
}

pub(crate) fn a_variable_of_ours_is_not_inherited() {
    let sandbox = Sandbox::new();

    let process =
        started(&sandbox, tell_variable, (path(&sandbox, "variable"), "POOLCTL_PROCESS".to_owned()));

    assert_eq!(process.join().expect("it was started"), Exit::Code(0));
    assert_eq!(text(&sandbox, "variable"), "unset");
}

pub(crate) fn big_arguments_arrive() {
    let sandbox = Sandbox::new();
    let (long, numbers) = ("x".repeat(3_000_000), (0..1_000_000).collect::<Vec<u64>>());

    let process = started(&sandbox, sum_up, (path(&sandbox, "sum"), long, numbers));

    assert_eq!(process.join().expect("it was started"), Exit::Code(0));
    assert_eq!(text(&sandbox, "sum"), "3000000 1000000 499999500000");
}

pub(crate) fn what_it_prints_is_its_caller_s() {
    let sandbox = Sandbox::new();
    let host = std::env::current_exe().expect("/proc is there");
    // The host's first process has stdout and stderr of the host, which are captured here.
    let host = host.to_str().expect("a path of ours is text");

    let finished = sandbox.peer(host).args(["printing_host"]).run();

    let (out, err) = (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
    assert!(out.contains("out hello") && err.contains("err hello"), "{finished}");
    assert_ne!(host, AS_HOST);
}

pub(crate) fn a_returned_error_is_code_one_and_told() {
    let sandbox = Sandbox::new();

    let process = started(&sandbox, fails, "no luck today".to_owned());

    assert_eq!(process.join().expect("it was started"), Exit::Code(1));
    let error = process.error();
    assert!(
        matches!(&error, Some(TaskError::Failed { message, .. }) if message == "no luck today"),
        "{error:?}"
    );
}

pub(crate) fn a_panic_is_code_one_and_told() {
    let sandbox = Sandbox::new();

    let process = started(&sandbox, panics, "thrown".repeat(2_000));

    assert_eq!(process.join().expect("it was started"), Exit::Code(1));
    let error = process.error();
    assert!(
        matches!(&error, Some(TaskError::Panicked { message, .. }) if message.starts_with("thrownthrown")),
        "{error:?}"
    );
}

pub(crate) fn a_status_of_its_own_is_kept() {
    let sandbox = Sandbox::new();

    let process = started(&sandbox, exits, 7);

    assert_eq!(process.join().expect("it was started"), Exit::Code(7));
    assert!(process.error().is_none());
}

pub(crate) fn a_process_starts_once() {
    let sandbox = Sandbox::new();
    let process = started(&sandbox, write, (path(&sandbox, "file"), "once".to_owned()));

    let again = process.start();

    assert!(matches!(again, Err(ProcessError::AlreadyStarted)), "{again:?}");
    assert_eq!(process.join().expect("it was started"), Exit::Code(0));
}

pub(crate) fn a_process_that_cannot_start_says_why() {
    let sandbox = Sandbox::new();

    let too_much = marked(&sandbox, nothing, ()).env("LONG", "x".repeat(200_000)).start();
    let with_nul = marked(&sandbox, nothing, ()).env("NUL", "a\0b").start();
    let next = started(&sandbox, nothing, ());

    // `E2BIG`.
    let is_too_much = |source: &std::io::Error| source.raw_os_error() == Some(7);
    assert!(
        matches!(&too_much, Err(ProcessError::Spawn { source, .. }) if is_too_much(source)),
        "{too_much:?}"
    );
    assert!(matches!(with_nul, Err(ProcessError::Prepare(_))), "{with_nul:?}");
    assert_eq!(next.join().expect("it was started"), Exit::Code(0));
}

pub(crate) fn a_join_may_be_limited() {
    let sandbox = Sandbox::new();
    let process = started(&sandbox, hold, fifo(&sandbox, "held"));
    pid_of_holder(&sandbox, "held");

    let early = process.join_timeout(Duration::from_millis(1)).expect("it was started");
    let looked = process.join_timeout(Duration::ZERO).expect("it was started");
    sandbox.release("held");
    let late = process.join_timeout(DEADLINE).expect("it was started");

    assert_eq!((early, looked, late), (None, None, Some(Exit::Code(0))));
}

pub(crate) fn its_end_can_be_polled() {
    let sandbox = Sandbox::new();
    let (one, two) = (fifo(&sandbox, "one"), fifo(&sandbox, "two"));
    let processes = [started(&sandbox, hold, one), started(&sandbox, hold, two)];
    let sentinels = processes.each_ref().map(|process| process.sentinel().expect("it was started"));
    let polled = |limit: Duration| {
        let mut polled = sentinels.each_ref().map(|sentinel| PollFd::new(sentinel, PollFlags::IN));
        let limit = Timespec::try_from(limit).expect("a short time");
        poll(&mut polled, Some(&limit)).expect("nothing interrupts");
        polled.map(|one| one.revents().contains(PollFlags::IN))
    };
    pid_of_holder(&sandbox, "two");

    let before = polled(Duration::ZERO);
    sandbox.release("two");
    let after = polled(DEADLINE);

    assert_eq!((before, after), ([false, false], [false, true]));
    assert_eq!(processes[1].exit(), Some(Exit::Code(0)), "who saw the sentinel is told the exit");
    sandbox.release("one");
}

pub(crate) fn a_process_may_start_processes() {
    let sandbox = Sandbox::new();

    let process = marked(&sandbox, nest, path(&sandbox, "who")).start().expect("it starts");

    assert_eq!(process.join().expect("it was started"), Exit::Code(0), "{:?}", process.error());
    let who = text(&sandbox, "who");
    assert!(who.starts_with(&format!("{}:1 ", process.name())), "{who} of {process:?}");
}

pub(crate) fn a_worker_may_start_processes() {
    let sandbox = Sandbox::new();
    let pool = Pool::builder().workers(1).env(MARK, sandbox.mark()).build().expect("it starts");

    pool.apply(nest, path(&sandbox, "who")).expect("its process ends well");
    let name = pool.apply(name_of_process, ()).expect("it does not fail");

    assert!(text(&sandbox, "who").starts_with("Process-w0:1 "), "{}", text(&sandbox, "who"));
    assert_eq!(name, "PoolWorker-0");
    drop(pool);
    sandbox.expect_nothing_left();
}

pub(crate) fn a_variable_alone_makes_no_process() {
    let sandbox = Sandbox::new();
    let host = std::env::current_exe().expect("/proc is there");
    let host = sandbox.peer(host.to_str().expect("a path of ours is text"));

    // As in a descendant of a process that has kept the variable: not from its own parent.
    let finished = host.args(["printing_host"]).env("POOLCTL_PROCESS", "1").run();

    assert!(
        String::from_utf8_lossy(&finished.expect_code(0).stdout).contains("test lifecycle::printing_host")
    );
}

pub(crate) fn hundreds_of_handles_arrive() {
    let sandbox = Sandbox::new();
    let (sender, receiver) = channel().expect("descriptors are left");
    let senders: Vec<_> = (0..300).map(|_| sender.try_clone().expect("descriptors are left")).collect();
    drop(sender);

    let process = started(&sandbox, send_each, senders);

    let numbers: Result<Vec<u32>, PipeError> = receiver.iter().collect();
    assert_eq!(numbers.expect("all are numbers"), (0..300).collect::<Vec<_>>());
    assert_eq!(process.join().expect("it was started"), Exit::Code(0), "{:?}", process.error());
}

/// Run by a program of its own, whose output is looked at.
pub(crate) fn printing_host() {
    let process = Process::new(print, "hello".to_owned());
    process.start().expect("it starts");
    assert_eq!(process.join().expect("it was started"), Exit::Code(0));
}
