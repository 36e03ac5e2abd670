//! Processes for the tests, whose environment carries their sandbox's mark, and a host of some to be killed.

use std::path::Path;

use poolctl::{Process, ProcessBuilder, Task};
use poolctl_testkit::{DEADLINE, Empty, MARK, Sandbox, wait_until};

use crate::tasks::{hold, hold_with_children};

/// The option that makes this program a host.
pub(crate) const AS_HOST: &str = "--as-host";

/// A process with the mark.
pub(crate) fn marked<T: Task>(sandbox: &Sandbox, task: T, args: T::Args) -> ProcessBuilder {
    Process::builder(task, args).env(MARK, sandbox.mark())
}

/// A process with the mark, started.
pub(crate) fn started<T: Task>(sandbox: &Sandbox, task: T, args: T::Args) -> Process {
    marked(sandbox, task, args).start().expect("it starts")
}

/// A path in the sandbox, as arguments are.
pub(crate) fn path(sandbox: &Sandbox, name: &str) -> String {
    sandbox.path(name).to_str().expect("a path of a test is text").to_owned()
}

/// A fifo to be held at.
pub(crate) fn fifo(sandbox: &Sandbox, name: &str) -> String {
    sandbox.fifo(name);
    path(sandbox, name)
}

/// Waits until somebody holds at the fifo, and says with which pid.
pub(crate) fn pid_of_holder(sandbox: &Sandbox, name: &str) -> u32 {
    let file = format!("{name}.pid");
    wait_until(DEADLINE, &format!("somebody holds at {name}"), || !sandbox.read(&file).is_empty());
    text(sandbox, &file).parse().expect("a pid is a number")
}

/// What a process has left in a file.
pub(crate) fn text(sandbox: &Sandbox, name: &str) -> String {
    String::from_utf8(sandbox.read(name)).expect("a test's own text")
}

/// Is the host of three processes until it is killed.
pub(crate) fn be_host(directory: &str) -> ! {
    let at =
        |name: &str| Path::new(directory).join(name).to_str().expect("a path of a test is text").to_owned();
    let one = Process::new(hold, at("one"));
    one.start().expect("it starts");
    let two = Process::builder(hold, at("two")).daemon(true).start().expect("it starts");
    let three = Process::builder(hold_with_children, at("three")).start().expect("it starts");
    loop {
        Empty::new().park(DEADLINE);
        assert!(one.is_alive() && two.is_alive() && three.is_alive(), "nobody releases them");
    }
}
