//! Maps over the native fault worker: the numbers 1 to 20, one of which goes wrong.

use std::fs;
use std::path::{Path, PathBuf};

use poolctl_testkit::{Invocation, Sandbox, poolctl_binary};

use crate::peer::numbers;
use crate::zoo::WORKERS;

/// The worker of `tests/zoo/fault_worker`.
pub(crate) const FAULT_WORKER: &str = env!("CARGO_BIN_EXE_fault-worker");

/// `poolctl map` over one function of the fault worker.
pub(crate) fn map(sandbox: &Sandbox, function: &str) -> Invocation {
    sandbox.map(["--worker", FAULT_WORKER, "--function", function])
}

/// The numbers 1 to 20 through `fault`, to one of which happens what `script` says.
pub(crate) fn faulty(sandbox: &Sandbox, workers: &str, script: &str) -> Invocation {
    map(sandbox, "fault").args(["-j", workers]).env("FAULT", script).input(numbers(1, 20))
}

/// Runs `test` for one worker and for several, in a sandbox of its own.
pub(crate) fn crossed(test: impl Fn(&Sandbox, &str)) {
    for workers in WORKERS {
        test(&Sandbox::new(), workers);
    }
}

/// An installation of `poolctl` with another worker as its stock worker.
pub(crate) struct Installation {
    /// Its `poolctl`.
    pub(crate) poolctl: PathBuf,
    /// Where the stock worker belongs.
    pub(crate) stock: PathBuf,
}

impl Installation {
    /// `bin/poolctl` in the sandbox, and no stock worker yet; it is to lie in `place`, as seen from `bin`.
    pub(crate) fn new(sandbox: &Sandbox, place: &str) -> Self {
        let poolctl = sandbox.path("bin/poolctl");
        fs::create_dir_all(sandbox.path("bin")).expect("a directory in our own");
        let stock = sandbox.path("bin").join(place).join("pool-worker");
        fs::create_dir_all(stock.parent().expect("it lies in a directory")).expect("a directory in our own");
        install(poolctl_binary(), &poolctl);
        Self { poolctl, stock }
    }

    /// One whose stock worker is the fault worker.
    pub(crate) fn of_faults(sandbox: &Sandbox) -> Self {
        let installation = Self::new(sandbox, ".");
        install(Path::new(FAULT_WORKER), &installation.stock);
        installation
    }

    /// `poolctl map` of it with these arguments.
    pub(crate) fn map(&self, sandbox: &Sandbox, arguments: &[&str]) -> Invocation {
        sandbox.peer(self.poolctl.to_str().expect("a path in UTF-8")).arg("map").args(arguments)
    }
}

/// Puts a program there, without copying it where that is possible.
pub(crate) fn install(program: &Path, to: &Path) {
    if fs::hard_link(program, to).is_err() {
        fs::copy(program, to).expect("a program can be copied");
    }
}
