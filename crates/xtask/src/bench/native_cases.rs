//! What is measured of pools of tasks, by `crates/xtask/examples/native_rates.rs`, which checks every result and tells
//! the time of the work alone.

use super::cases::{Case, Runner, Taken, Target, Unit};

/// One of ours, or a peer.
pub(super) const fn runner(
    name: &'static str,
    line: &'static str,
    items: u32,
    output: &'static str,
) -> Runner {
    Runner { name, line, items, output }
}

/// What most cases have in common.
pub(super) const TOLD: Case = Case {
    name: "",
    title: "",
    unit: Unit::ItemsPerSecond,
    taken: Taken::Told,
    target: Target::Done,
    times: 1,
    runners: &[],
};

const MAP: Case = Case {
    name: "native-map",
    title: "`map` of 10 million `i64`, two workers",
    unit: Unit::ItemsPerSecond,
    target: Target::AtLeast(30e6),
    runners: &[
        runner("poolctl `Pool::map`", "native_rates map poolctl 10000000", 10_000_000, "10m.sum"),
        runner("rayon `par_iter`, two threads", "native_rates map rayon 10000000", 10_000_000, "10m.sum"),
        runner("a plain loop, one thread", "native_rates map loop 10000000", 10_000_000, "10m.sum"),
        runner("`multiprocessing.Pool(2).map`", "python3 natives.py map 2000000", 2_000_000, "2m.sum"),
    ],
    ..TOLD
};

const SLICE: Case = Case {
    name: "native-slice",
    title: "`map_slice` of 10 million `i64`, in place, the second time",
    unit: Unit::ItemsPerSecond,
    target: Target::AtLeast(200e6),
    runners: &[
        runner("poolctl `Pool::map_slice`", "native_rates slice poolctl 10000000", 10_000_000, "10m.sum"),
        runner(
            "rayon `par_iter_mut`, two threads",
            "native_rates slice rayon 10000000",
            10_000_000,
            "10m.sum",
        ),
        runner("a plain loop, one thread", "native_rates slice loop 10000000", 10_000_000, "10m.sum"),
    ],
    ..TOLD
};

const SLICE_FIRST: Case = Case {
    name: "native-first-slice",
    title: "`map_slice` of 10 million `i64`: the first thing a pool does, into untouched memory",
    unit: Unit::ItemsPerSecond,
    target: Target::AtLeast(75e6),
    runners: &[
        runner(
            "poolctl `Pool::map_slice`, the start of two workers included",
            "native_rates slice-first poolctl 10000000",
            10_000_000,
            "10m.sum",
        ),
        runner(
            "rayon `par_iter_mut`, two threads",
            "native_rates slice-first rayon 10000000",
            10_000_000,
            "10m.sum",
        ),
    ],
    ..TOLD
};

const APPLY_PIPE: Case = Case {
    name: "native-apply-pipe",
    title: "`apply`, one call after another, against a pipe: median of a round trip",
    unit: Unit::Microseconds,
    target: Target::RatioToSecond(1.3),
    runners: &[
        runner("poolctl `Pool::apply`, two workers", "native_rates apply 2 50000", 50_000, "50k.sum"),
        runner("floor: a byte through a pipe and back, in C", "./trips pipe 50000", 50_000, "empty"),
        runner("procspawn, one process", "native_rates apply procspawn 3000", 3_000, "3k.sum"),
    ],
    ..TOLD
};

const APPLY_SPIN: Case = Case {
    name: "native-apply-one",
    title: "`apply`, one call after another, one worker: median of a round trip",
    unit: Unit::Microseconds,
    target: Target::AtMost(3.0),
    runners: &[
        runner("poolctl `Pool::apply`, one worker", "native_rates apply 1 50000", 50_000, "50k.sum"),
        runner(
            "floor: two words in shared memory and two spinning loops, in C",
            "./trips spin 50000",
            50_000,
            "empty",
        ),
        runner("procspawn, one process", "native_rates apply procspawn 3000", 3_000, "3k.sum"),
    ],
    ..TOLD
};

const APPLY_ASYNC: Case = Case {
    name: "native-async",
    title: "`apply_async`, call by call, two workers",
    unit: Unit::ItemsPerSecond,
    target: Target::AtLeast(2e6),
    runners: &[
        runner(
            "poolctl `Pool::apply_async`, a million calls, 10 000 in flight",
            "native_rates apply-async poolctl 1000000",
            1_000_000,
            "1m.sum",
        ),
        runner(
            "procspawn, 4 000 calls (at 5 000 it runs out of descriptors)",
            "native_rates apply-async procspawn 4000",
            4_000,
            "4k.sum",
        ),
    ],
    ..TOLD
};

const ARRAYS: Case = Case {
    name: "native-arrays",
    title: "16 MiB there and 16 MiB back: each way, after the first call",
    unit: Unit::GigabytesPerSecond,
    target: Target::AtLeast(3.0),
    runners: &[
        runner("poolctl, `Vec<f64>`", "native_rates arrays poolctl 20", 20, "swapped"),
        runner("procspawn, `Vec<f64>`", "native_rates arrays procspawn 3", 3, "swapped"),
        runner("`multiprocessing.Pool.apply`, `bytearray`", "python3 natives.py arrays 5", 5, "swapped"),
    ],
    ..TOLD
};

const HANDLE: Case = Case {
    name: "native-handle",
    title: "An `Array` of 16 MiB as an argument: median of a call (a copy of it takes more than 1000 µs)",
    unit: Unit::Microseconds,
    target: Target::AtMost(100.0),
    runners: &[
        runner("poolctl, `Array<f64>` of 16 MiB", "native_rates handle large 2000", 2_000, "empty"),
        runner("the same of one number", "native_rates handle small 2000", 2_000, "empty"),
    ],
    ..TOLD
};

const START: Case = Case {
    name: "native-start",
    title: "A pool of two from beginning to end, with two items: its keeper included",
    unit: Unit::Milliseconds,
    target: Target::AtMost(8.0),
    runners: &[
        runner("poolctl `Pool`", "native_rates start poolctl 20", 20, "two-squares"),
        runner("procspawn, its processes killed", "native_rates start procspawn 20", 20, "two-squares"),
        runner("`multiprocessing.Pool`, forked", "python3 natives.py start 20", 20, "two-squares"),
    ],
    ..TOLD
};

const START_WORKERS: Case = Case {
    name: "native-start-workers",
    title: "The same, from when the pool is there: two workers start, work and stop",
    unit: Unit::Milliseconds,
    target: Target::AtMost(5.0),
    runners: &[runner("poolctl `Pool`", "native_rates start workers 20", 20, "two-squares")],
    ..TOLD
};

const WORKERS: Case = Case {
    name: "native-many-workers",
    title: "500 workers start, work at the same time, and stop",
    unit: Unit::Milliseconds,
    target: Target::Done,
    runners: &[runner("poolctl `Pool`", "native_rates workers poolctl 500", 500, "500-workers")],
    ..TOLD
};

const PARENT: Case = Case {
    name: "native-parent",
    title: "From nothing to the first result, in a program of 1 GiB",
    unit: Unit::Milliseconds,
    target: Target::RatioToSecond(1.25),
    runners: &[
        runner("poolctl `Pool`, 1 GiB resident", "native_rates parent large 20", 20, "empty"),
        runner("floor: the same in a small program", "native_rates parent small 20", 20, "empty"),
    ],
    ..TOLD
};

const LINES: Case = Case {
    name: "native-lines",
    title: "`poolctl map` with a function of the stock worker: 10 million lines",
    unit: Unit::ItemsPerSecond,
    taken: Taken::WallTime,
    target: Target::AtLeast(4e6),
    times: 1,
    runners: &[
        runner("`poolctl map -j2 square`", "poolctl map -j2 square <10m", 10_000_000, "10m.squares"),
        runner(
            "`poolctl map -j2 python:functions.py:square`, a million",
            "poolctl map -j2 python:functions.py:square <1m",
            1_000_000,
            "1m.squares",
        ),
    ],
};

const MEMORY: Case = Case {
    name: "native-memory",
    title: "Peak memory: the same",
    unit: Unit::Mebibytes,
    taken: Taken::PeakMemory,
    target: Target::AtMost(64.0),
    times: 0,
    runners: &[runner(
        "`seq 10000000 | poolctl map -j2 square`",
        "seq 10000000 | $memory poolctl map -j2 square",
        10_000_000,
        "10m.squares",
    )],
};

const SYSTEM_CALLS: Case = Case {
    name: "native-calls",
    title: "System calls of a program that maps a million `i64`: all of its processes, start and end included",
    unit: Unit::Count,
    taken: Taken::Told,
    target: Target::AtMost(5_000.0),
    times: 0,
    runners: &[runner(
        "poolctl `Pool::map`, counted by `strace -c -f`",
        "strace -c -f -o calls native_rates million poolctl 1000000 && \
         awk '$4 ~ /^[0-9]+$/ && $NF != \"total\" { sum += $4 } END { print sum }' calls >$figure",
        1_000_000,
        "1m.sum",
    )],
};

/// The cases of pools of tasks, in the order of the document.
pub(super) const CASES: [&Case; 15] = [
    &MAP,
    &SLICE,
    &SLICE_FIRST,
    &APPLY_SPIN,
    &APPLY_PIPE,
    &APPLY_ASYNC,
    &ARRAYS,
    &HANDLE,
    &START,
    &START_WORKERS,
    &WORKERS,
    &PARENT,
    &LINES,
    &MEMORY,
    &SYSTEM_CALLS,
];
