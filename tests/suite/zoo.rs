//! Maps over the bad worker: the numbers 1 to 20 through a faithful echo, in which one thing goes wrong.

use poolctl_testkit::{Finished, Invocation, Sandbox};

use crate::peer::numbers;

/// The worker of `tests/zoo/bad_worker`.
pub(crate) const BAD_WORKER: &str = env!("CARGO_BIN_EXE_bad-worker");

/// The forms it speaks.
pub(crate) const FRAMINGS: [&str; 2] = ["jsonl", "frame"];

/// How many workers: alone, and among others.
pub(crate) const WORKERS: [&str; 2] = ["1", "4"];

/// The item to which it happens, unless a test says otherwise.
pub(crate) const ITEM: u64 = 7;

/// `poolctl map` over the bad worker that does as `script` says, with the numbers 1 to 20.
pub(crate) fn map(sandbox: &Sandbox, framing: &str, workers: &str, script: &str) -> Invocation {
    let worker = format!("{BAD_WORKER} {script}");
    sandbox.map(["--framing", framing, "-j", workers, "--worker", &worker]).input(numbers(1, 20))
}

/// Asserts that the run ended well: each item its own result, in order.
#[track_caller]
pub(crate) fn expect_all(finished: Finished) -> Finished {
    finished.expect_code(0).expect_stdout(numbers(1, 20))
}

/// Asserts that item 7 failed, and it alone.
#[track_caller]
pub(crate) fn expect_all_but_one(finished: Finished) -> Finished {
    finished.expect_code(1).expect_stdout(numbers(1, ITEM - 1) + &numbers(ITEM + 1, 20))
}

/// Runs `test` for each framing and each number of workers, in a sandbox of its own.
pub(crate) fn crossed(test: impl Fn(&Sandbox, &str, &str)) {
    for framing in FRAMINGS {
        for workers in WORKERS {
            test(&Sandbox::new(), framing, workers);
        }
    }
}
