//! Pools for the tests, whose processes carry their sandbox's mark.

use poolctl::{Native, Pool, PoolBuilder};
use poolctl_testkit::{DEADLINE, MARK, Sandbox, wait_until};

/// A pool of `workers` in the making, whose processes carry the mark.
pub(crate) fn of(sandbox: &Sandbox, workers: u32) -> PoolBuilder<Native> {
    Pool::builder().workers(workers).env(MARK, sandbox.mark())
}

/// The pool.
pub(crate) fn built(builder: PoolBuilder<Native>) -> Pool {
    builder.build().expect("a pool can be had here")
}

/// An item for `hold`, and the fifo behind it.
pub(crate) fn held_item(sandbox: &Sandbox, name: &str) -> String {
    sandbox.fifo(name).into_os_string().into_string().expect("our own paths are text")
}

/// The pid of the worker that runs `hold` on this item, once it does.
pub(crate) fn pid_of_holder(sandbox: &Sandbox, name: &str) -> u32 {
    let file = format!("{name}.pid");
    wait_until(DEADLINE, "the item runs", || !sandbox.read(&file).is_empty());
    String::from_utf8(sandbox.read(&file)).ok().and_then(|pid| pid.parse().ok()).expect("a number")
}

/// Kills a process.
pub(crate) fn kill(pid: u32) {
    let pid = pid.to_string();
    let killed =
        std::process::Command::new("kill").args(["-KILL", &pid]).status().expect("kill is a program");
    assert!(killed.success(), "nobody has the pid {pid}");
}
