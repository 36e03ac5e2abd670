//! The one line that a program with pools has in its `main`.

use std::process::ExitCode as Status;
use std::sync::atomic::{AtomicBool, Ordering};

use poolctl_supervisor::{ExitCode, keeper};

use crate::process;

/// Whether [`init`] was called in this process.
static CALLED: AtomicBool = AtomicBool::new(false);

/// Makes this program fit to be the keeper of its pools, and their worker. Call it first thing in `main`.
///
/// The keeper, a small process that starts and watches the workers, is this same program, started again with
/// `--keeper` as its first argument. Then `init` serves as the keeper and, when the pool is gone, ends the process.
/// A [`Process`](crate::Process) is this same program as well; there `init` runs the task and ends the process. So is a
/// worker of a pool of [tasks](crate::task), where it serves until the pool is done with it. Otherwise it returns at once,
/// having done nothing.
///
/// A program that cannot call it, such as a test with the standard harness, names another one to be the keeper, with
/// [`PoolBuilder::keeper`](crate::PoolBuilder::keeper).
#[expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "there is nothing to destroy before main has begun"
)]
pub fn init() {
    CALLED.store(true, Ordering::Relaxed);
    if process::requested() {
        std::process::exit(process::serve());
    }
    if keeper::requested() {
        let status = if keeper::serve() == Status::SUCCESS { ExitCode::Ok } else { ExitCode::Internal };
        std::process::exit(i32::from(status as u8));
    }
    if poolctl_worker::is_asked() {
        process::be_worker();
    }
    poolctl_worker::serve_if_asked();
}

/// Whether this program, started again, would serve as a keeper.
pub(crate) fn can_be_keeper() -> bool {
    CALLED.load(Ordering::Relaxed)
}
