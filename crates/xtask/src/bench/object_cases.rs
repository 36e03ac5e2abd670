//! What is measured of shared objects, by `crates/xtask/examples/object_rates.rs`, which checks that nothing is lost and
//! tells the time of the work alone.

use super::cases::{Case, Runner, Target};
use super::native_cases::{TOLD, runner};

/// One that must be exact.
const fn exact(name: &'static str, line: &'static str, items: u32) -> Runner {
    runner(name, line, items, "exact")
}

const VALUE: Case = Case {
    name: "objects-value",
    title: "A `Value` incremented under its lock by one process",
    target: Target::RateToSecond(10.0),
    runners: &[
        exact("poolctl `Value`", "object_rates value 10000000", 10_000_000),
        exact("`multiprocessing.Value`", "python3 objects.py value 200000", 200_000),
    ],
    ..TOLD
};

const VALUE_TWO: Case = Case {
    name: "objects-value-two",
    title: "The same by two processes at once",
    target: Target::RateToSecond(10.0),
    runners: &[
        exact("poolctl `Value`", "object_rates value-two 10000000", 10_000_000),
        exact("`multiprocessing.Value`", "python3 objects.py value-two 100000", 100_000),
    ],
    ..TOLD
};

const QUEUE: Case = Case {
    name: "objects-queue",
    title: "Numbers through a queue, one process to one",
    target: Target::AtLeast(10e6),
    runners: &[
        exact("poolctl `Queue<u64>`", "object_rates queue 10000000", 10_000_000),
        exact("`multiprocessing.Queue`", "python3 objects.py queue 100000", 100_000),
        exact("`multiprocessing.SimpleQueue`", "python3 objects.py simple-queue 100000", 100_000),
    ],
    ..TOLD
};

const QUEUE_TWO: Case = Case {
    name: "objects-queue-two",
    title: "Numbers through a queue, two processes to two",
    target: Target::AtLeast(2e6),
    runners: &[
        exact("poolctl `Queue<u64>`", "object_rates queue-two 10000000", 10_000_000),
        exact("`multiprocessing.Queue`", "python3 objects.py queue-two 100000", 100_000),
    ],
    ..TOLD
};

const ATTACH: Case = Case {
    name: "objects-attach",
    title: "An array of another program, found by its name, its last number read, and left",
    target: Target::RateToSecond(0.5),
    runners: &[
        exact("poolctl `attach`, 1 GiB", "object_rates attach 134217728", 2_000),
        exact("the same of one number", "object_rates attach 1", 2_000),
        exact("`multiprocessing.shared_memory`, 1 GiB", "python3 objects.py attach 1073741824", 2_000),
    ],
    ..TOLD
};

/// The cases of shared objects, in the order of the document.
pub(super) const CASES: [&Case; 5] = [&VALUE, &VALUE_TWO, &QUEUE, &QUEUE_TWO, &ATTACH];
