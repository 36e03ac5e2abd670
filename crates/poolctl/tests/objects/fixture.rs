//! Pools and processes for the tests, which carry their sandbox's mark.

use poolctl::{Event, Pool, Process, Task};
use poolctl_testkit::{DEADLINE, MARK, Sandbox, wait_until};

/// A pool of `workers` with the mark.
pub(crate) fn pool(sandbox: &Sandbox, workers: u32) -> Pool {
    Pool::builder().workers(workers).env(MARK, sandbox.mark()).build().expect("a pool can be had here")
}

/// A process with the mark, started.
pub(crate) fn started<T: Task>(sandbox: &Sandbox, task: T, args: T::Args) -> Process {
    Process::builder(task, args).env(MARK, sandbox.mark()).daemon(true).start().expect("it starts")
}

/// Says that it is there, and stays.
pub(crate) fn stay(there: &Event) -> ! {
    there.set();
    loop {
        poolctl_testkit::Empty::new().park(DEADLINE);
    }
}

/// Waits for an event.
#[track_caller]
pub(crate) fn comes(event: &Event, what: &str) {
    let came = event.wait_timeout(DEADLINE).expect("this thread has an entry");
    assert!(came, "it never came that {what}");
}

/// Kills a process and waits for its end.
pub(crate) fn kill(process: &Process) {
    process.kill().expect("it was started");
    assert!(process.join().is_ok());
}

/// Waits until so many wait.
#[track_caller]
pub(crate) fn wait(count: usize, waiters: impl Fn() -> usize) {
    wait_until(DEADLINE, &format!("{count} wait"), || waiters() == count);
}
