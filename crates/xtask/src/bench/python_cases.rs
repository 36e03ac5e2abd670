//! What is measured of the Python package, by `python/bench/rates.py`: one run is one pool doing one thing, which it
//! checks. The peers come from `python/bench/requirements.txt`.

use super::cases::{Case, Target, Unit};
use super::native_cases::{TOLD, runner};

/// One pool, doing what the rest of the line says.
macro_rules! pool {
    ($name:literal, $arguments:literal) => {
        runner($name, concat!("$python $pools/rates.py ", $arguments), 1, "exact")
    };
}

const ONE_AFTER_ANOTHER: Case = Case {
    name: "pool-one-after-another",
    title: "One call after another from Python, two workers: each waits for the one before",
    target: Target::RateToSecond(5.0),
    runners: &[
        pool!("poolctl `Pool.apply`", "one-after-another poolctl-pool 5000"),
        pool!("`multiprocessing.Pool.apply`", "one-after-another mp-fork 2000"),
        pool!("poolctl `Executor.submit(…).result()`", "one-after-another poolctl-executor 5000"),
        pool!("zooparallel `submit(…).result()`", "one-after-another zooparallel 2000"),
        pool!("`ProcessPoolExecutor.submit(…).result()`", "one-after-another executor 2000"),
        pool!("loky `submit(…).result()`", "one-after-another loky 2000"),
        pool!("pebble `schedule(…).result()`", "one-after-another pebble 2000"),
        pool!("no pool: eight bytes to a process and back", "one-after-another echo 5000"),
        pool!("the same, and the one who waits spins", "one-after-another spinning-echo 5000"),
    ],
    ..TOLD
};

const SUBMIT: Case = Case {
    name: "pool-submit",
    title: "One by one from Python: all are submitted, then all are waited for",
    target: Target::AtLeast(80e3),
    runners: &[
        pool!("poolctl `Executor.submit`", "one-by-one poolctl-executor 50000"),
        pool!("zooparallel `submit`", "one-by-one zooparallel 5000"),
        pool!("`ProcessPoolExecutor.submit`", "one-by-one executor 20000"),
        pool!("loky `submit`", "one-by-one loky 20000"),
        pool!("pebble `schedule`", "one-by-one pebble 5000"),
    ],
    ..TOLD
};

const APPLY_ASYNC: Case = Case {
    name: "pool-apply-async",
    title: "The same with `apply_async`",
    target: Target::RateToSecond(1.0),
    runners: &[
        pool!("poolctl `Pool.apply_async`", "one-by-one poolctl-pool 50000"),
        pool!("`multiprocessing.Pool.apply_async`", "one-by-one mp-fork 20000"),
    ],
    ..TOLD
};

const MAP_SINGLY: Case = Case {
    name: "pool-map-singly",
    title: "`map` from Python with `chunksize=1`",
    target: Target::AtLeast(150e3),
    runners: &[
        pool!("poolctl `Pool.map`", "map-singly poolctl-pool 50000"),
        pool!("`multiprocessing.Pool.map`", "map-singly mp-fork 20000"),
        pool!("`ProcessPoolExecutor.map`", "map-singly executor 20000"),
        pool!("loky `map`", "map-singly loky 20000"),
        pool!("mpire `map`", "map-singly mpire 20000"),
    ],
    ..TOLD
};

const MAP: Case = Case {
    name: "pool-map",
    title: "`map` of a million from Python, chunks as each pool chooses them",
    target: Target::RateToSecond(1.0),
    runners: &[
        pool!("poolctl `Pool.map`", "map poolctl-pool 1000000"),
        pool!("`multiprocessing.Pool.map`", "map mp-fork 1000000"),
        pool!("poolctl `Executor.map`, the chunks of `Pool.map`", "map poolctl-executor 1000000"),
        pool!("`ProcessPoolExecutor.map`, the chunks of `Pool.map`", "map executor 1000000"),
        pool!("loky `map`, the chunks of `Pool.map`", "map loky 1000000"),
        pool!("mpire `map`, 100 000", "map mpire 100000"),
        pool!("joblib, 20 000", "map joblib 20000"),
    ],
    ..TOLD
};

const ARRAYS: Case = Case {
    name: "pool-arrays",
    title: "8 arrays of 16 MiB from Python to two workers and back, both ways counted",
    unit: Unit::GigabytesPerSecond,
    target: Target::RateToSecond(4.0),
    runners: &[
        pool!("poolctl `Pool.map`", "arrays poolctl-pool 8"),
        pool!("`multiprocessing.Pool.map`", "arrays mp-fork 8"),
        pool!("`ProcessPoolExecutor.map`", "arrays executor 8"),
        pool!("loky `map`", "arrays loky 8"),
        pool!("mpire `map`", "arrays mpire 8"),
        pool!("joblib", "arrays joblib 8"),
    ],
    ..TOLD
};

const CARRIED: Case = Case {
    name: "pool-carried",
    title: "`map` of 1000 items from Python with a function that carries an array of 200 MB",
    unit: Unit::Milliseconds,
    target: Target::Done,
    runners: &[
        pool!("poolctl `Pool.map`, which each worker receives it for once", "carried poolctl-pool 1000"),
        pool!("`multiprocessing.Pool.map`", "carried mp-fork 1000"),
        pool!("`ProcessPoolExecutor.map`, the chunks of `Pool.map`", "carried executor 1000"),
        pool!("loky `map`, the chunks of `Pool.map`", "carried loky 1000"),
        pool!("mpire `map`", "carried mpire 1000"),
        pool!("joblib, which puts it into a file", "carried joblib 1000"),
    ],
    ..TOLD
};

const START: Case = Case {
    name: "pool-start",
    title: "From Python: from nothing to the first two results of a pool of two",
    unit: Unit::Milliseconds,
    target: Target::AtMost(60.0),
    times: 4,
    runners: &[
        pool!("poolctl `Pool`", "start poolctl-pool"),
        pool!("`multiprocessing.Pool`, forked", "start mp-fork"),
        pool!("`multiprocessing.Pool`, spawned", "start mp-spawn"),
        pool!("`multiprocessing.Pool`, fork server", "start mp-forkserver"),
        pool!("`ProcessPoolExecutor`, forked", "start executor"),
        pool!("zooparallel, forked", "start zooparallel"),
        pool!("loky", "start loky"),
        pool!("joblib", "start joblib"),
    ],
    ..TOLD
};

const SERVICE: Case = Case {
    name: "pool-service",
    title: "The same from a service with a warm pool",
    unit: Unit::Milliseconds,
    target: Target::AtMost(10.0),
    times: 4,
    runners: &[pool!("poolctl `connect`", "start poolctl-service")],
    ..TOLD
};

const KILLED: Case = Case {
    name: "pool-told",
    title: "A worker is killed in its item: until the caller is told (`Pool` and zooparallel never do)",
    unit: Unit::Milliseconds,
    target: Target::AtMost(50.0),
    runners: &[
        pool!("poolctl `Executor`, which replaces it", "told poolctl-executor"),
        pool!("`ProcessPoolExecutor`", "told executor"),
        pool!("loky", "told loky"),
        pool!("pebble", "told pebble"),
    ],
    ..TOLD
};

const LOST: Case = Case {
    name: "pool-lost",
    title: "The same: how many of 403 items have no result then",
    unit: Unit::Count,
    target: Target::AtMost(1.0),
    runners: &[
        pool!("poolctl `Executor`, which replaces it", "lost poolctl-executor"),
        pool!("poolctl `Pool`", "lost poolctl-pool"),
        pool!("`multiprocessing.Pool`", "lost mp-fork"),
        pool!("`ProcessPoolExecutor`", "lost executor"),
        pool!("loky", "lost loky"),
        pool!("pebble", "lost pebble"),
        pool!("zooparallel", "lost zooparallel"),
    ],
    ..TOLD
};

/// The cases of the Python package, in the order of the document.
pub(super) const CASES: [&Case; 11] = [
    &ONE_AFTER_ANOTHER,
    &SUBMIT,
    &APPLY_ASYNC,
    &MAP_SINGLY,
    &MAP,
    &ARRAYS,
    &CARRIED,
    &START,
    &SERVICE,
    &KILLED,
    &LOST,
];
