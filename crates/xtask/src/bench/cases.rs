//! What is measured: each case is one job, done by poolctl and by what people use today.
//!
//! A runner is a line for `sh`, run in the scratch folder of [`super::scratch`] with the release build of poolctl
//! first on PATH. What it prints must equal its expected output, so a figure is always of work that was done.

/// How a figure is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Microseconds for one call: less is better.
    Microseconds,
    /// Billions of bytes in one second: more is better.
    GigabytesPerSecond,
    /// How many there were: less is better.
    Count,
    /// Microseconds for one item: less is better.
    MicrosecondsPerItem,
    /// Items in one second: more is better.
    ItemsPerSecond,
    /// Milliseconds for the whole run: less is better.
    Milliseconds,
    /// Peak resident memory: less is better.
    Mebibytes,
}

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The time of the whole line.
    WallTime,
    /// What `$memory` in the line reports.
    PeakMemory,
    /// What the line itself puts into the file `$figure`, in the unit of the case.
    Told,
}

/// What the figure of poolctl is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// At most this many times the figure of the second runner.
    RatioToSecond(f64),
    /// At least this many times the figure of the second runner.
    RateToSecond(f64),
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// That it is done at all.
    Done,
}

/// One way to do the job.
#[derive(Debug)]
pub(crate) struct Runner {
    /// The words that the table shows.
    pub(crate) name: &'static str,
    /// The line for `sh`; [`Taken`] says what is in it.
    pub(crate) line: &'static str,
    /// How many items it does.
    pub(crate) items: u32,
    /// The file that its output must equal.
    pub(crate) output: &'static str,
}

/// One job.
#[derive(Debug)]
pub(crate) struct Case {
    /// The word for `--only`.
    pub(crate) name: &'static str,
    /// The heading.
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) taken: Taken,
    pub(crate) target: Target,
    /// Poolctl first.
    pub(crate) runners: &'static [Runner],
    /// How many times as many rounds as other cases: for runs that are over at once.
    pub(crate) times: usize,
}

impl Unit {
    /// Whether more is better.
    pub(crate) fn is_rate(self) -> bool {
        matches!(self, Unit::ItemsPerSecond | Unit::GigabytesPerSecond)
    }

    /// Whether `a` is the better figure.
    pub(crate) fn prefers(self, a: f64, b: f64) -> bool {
        if self.is_rate() { a > b } else { a < b }
    }
}

const COMMANDS: Case = Case {
    name: "commands",
    title: "Empty commands: one process an item, two at a time, no argument",
    unit: Unit::MicrosecondsPerItem,
    taken: Taken::WallTime,
    target: Target::RatioToSecond(1.35),
    times: 1,
    runners: &[
        Runner {
            name: "`poolctl map -j2 --stdin -- /bin/true`, output captured, the item on stdin",
            line: "poolctl map -j2 --stdin -- /bin/true <4k",
            items: 4_000,
            output: "empty",
        },
        Runner {
            name: "floor: `posix_spawn` and `wait` in C, nothing captured",
            line: "./floor 4000 /bin/true",
            items: 4_000,
            output: "empty",
        },
        Runner {
            name: "`xargs -P2 -I@ /bin/true`, nothing captured",
            line: "xargs -P2 -I@ /bin/true <4k",
            items: 4_000,
            output: "empty",
        },
        Runner {
            name: "GNU `parallel -j2 -n0 /bin/true`, output captured",
            line: "parallel --will-cite -j2 -n0 /bin/true <400",
            items: 400,
            output: "empty",
        },
    ],
};

const COMMANDS_ARGUMENT: Case = Case {
    name: "commands-argument",
    title: "Empty commands: the same, with the item as its argument",
    unit: Unit::MicrosecondsPerItem,
    taken: Taken::WallTime,
    target: Target::RatioToSecond(1.35),
    times: 1,
    runners: &[
        Runner {
            name: "`poolctl map -j2 -- /bin/true`, output captured",
            line: "poolctl map -j2 -- /bin/true <4k",
            items: 4_000,
            output: "empty",
        },
        Runner {
            name: "floor: `posix_spawn` and `wait` in C, an argument each, nothing captured",
            line: "./floor 4000 /bin/true numbered",
            items: 4_000,
            output: "empty",
        },
        Runner {
            name: "floor without the argument",
            line: "./floor 4000 /bin/true",
            items: 4_000,
            output: "empty",
        },
        Runner {
            name: "`xargs -P2 -n1 /bin/true`, nothing captured",
            line: "xargs -P2 -n1 /bin/true <4k",
            items: 4_000,
            output: "empty",
        },
        Runner {
            name: "GNU `parallel -j2 /bin/true`, output captured",
            line: "parallel --will-cite -j2 /bin/true <400",
            items: 400,
            output: "empty",
        },
    ],
};

const LINES: Case = Case {
    name: "lines",
    title: "A line filter: 5 million lines through `cat`, in order",
    unit: Unit::ItemsPerSecond,
    taken: Taken::WallTime,
    target: Target::AtLeast(4e6),
    times: 1,
    runners: &[
        Runner {
            name: "`poolctl map -j2 --lines cat --ahead 64`",
            line: "poolctl map -j2 --lines cat --ahead 64 <5m",
            items: 5_000_000,
            output: "5m",
        },
        Runner {
            name: "GNU `parallel --pipe -k -j2 --block 10M cat`, blocks not lines",
            line: "parallel --will-cite --pipe -k -j2 --block 10M cat <5m",
            items: 5_000_000,
            output: "5m",
        },
        Runner {
            name: "GNU `parallel --pipe -k -j2 -N64 cat`, 64 lines a process",
            line: "parallel --will-cite --pipe -k -j2 -N64 cat <20k",
            items: 20_000,
            output: "20k",
        },
    ],
};

const PYTHON: Case = Case {
    name: "python",
    title: "A trivial Python function: JSON lines from stdin to stdout, two workers",
    unit: Unit::ItemsPerSecond,
    taken: Taken::WallTime,
    target: Target::AtLeast(600e3),
    times: 1,
    runners: &[
        Runner {
            name: "`poolctl map -j2 python:functions.py:square`",
            line: "poolctl map -j2 python:functions.py:square <1m",
            items: 1_000_000,
            output: "1m.squares",
        },
        Runner {
            name: "a plain loop, one process",
            line: "python3 pools.py loop <1m",
            items: 1_000_000,
            output: "1m.squares",
        },
        Runner {
            name: "`multiprocessing.Pool(2).map`, the whole input in memory",
            line: "python3 pools.py map <1m",
            items: 1_000_000,
            output: "1m.squares",
        },
        Runner {
            name: "`multiprocessing.Pool(2).imap`, chunksize 1000",
            line: "python3 pools.py imap-chunks <1m",
            items: 1_000_000,
            output: "1m.squares",
        },
        Runner {
            name: "`multiprocessing.Pool(2).imap`, as it comes",
            line: "python3 pools.py imap <20k",
            items: 20_000,
            output: "20k.squares",
        },
        Runner {
            name: "`ProcessPoolExecutor(2).map`, chunksize 1000",
            line: "python3 pools.py executor <1m",
            items: 1_000_000,
            output: "1m.squares",
        },
        Runner {
            name: "`xargs -P2 -n1 python3 -c …`, an interpreter an item",
            line: "xargs -P2 -n1 python3 -c 'import sys; int(sys.argv[1]) ** 2' <100",
            items: 100,
            output: "empty",
        },
    ],
};

const ONE_ITEM: Case = Case {
    name: "one-item",
    title: "One item, start to end",
    unit: Unit::Milliseconds,
    taken: Taken::WallTime,
    target: Target::AtMost(10.0),
    times: 20,
    runners: &[
        Runner {
            name: "`poolctl map -- true`",
            line: "exec poolctl map -- true <1",
            items: 1,
            output: "empty",
        },
        Runner { name: "`xargs -n1 true`", line: "exec xargs -n1 true <1", items: 1, output: "empty" },
        Runner {
            name: "GNU `parallel true`",
            line: "exec parallel --will-cite true <1",
            items: 1,
            output: "empty",
        },
    ],
};

const MEMORY_LINES: Case = Case {
    name: "memory-lines",
    title: "Peak memory: 20 million lines through a line filter",
    unit: Unit::Mebibytes,
    taken: Taken::PeakMemory,
    target: Target::AtMost(64.0),
    times: 0,
    runners: &[Runner {
        name: "`seq 20000000 | poolctl map --lines cat --ahead 64`",
        line: "seq 20000000 | $memory poolctl map -j2 --lines cat --ahead 64 | cksum",
        items: 20_000_000,
        output: "20m.cksum",
    }],
};

const MEMORY_ENDLESS: Case = Case {
    name: "memory-endless",
    title: "Peak memory: input without end, until the reader has enough",
    unit: Unit::Mebibytes,
    taken: Taken::PeakMemory,
    target: Target::AtMost(64.0),
    times: 0,
    runners: &[Runner {
        name: "`seq inf | poolctl map --lines cat --ahead 64 | head -n 5000000`",
        line: "seq inf | $memory poolctl map -j2 --lines cat --ahead 64 | head -n 5000000",
        items: 5_000_000,
        output: "5m",
    }],
};

const MEMORY_SLOW_FIRST: Case = Case {
    name: "memory-slow-first",
    title: "Peak memory: a slow first item with a million behind it",
    unit: Unit::Mebibytes,
    taken: Taken::PeakMemory,
    target: Target::AtMost(64.0),
    times: 0,
    runners: &[
        Runner {
            name: "`poolctl map -j2 python:functions.py:slow_first`",
            line: "$memory poolctl map -j2 python:functions.py:slow_first <1m",
            items: 1_000_000,
            output: "1m",
        },
        Runner {
            name: "`multiprocessing.Pool(2).imap`, chunksize 1000, no slow item",
            line: "$memory python3 pools.py imap-chunks <1m",
            items: 1_000_000,
            output: "1m.squares",
        },
    ],
};

/// The cases of commands, filters and functions, in the order of the document.
pub(super) const CASES: [&Case; 8] = [
    &COMMANDS,
    &COMMANDS_ARGUMENT,
    &LINES,
    &PYTHON,
    &ONE_ITEM,
    &MEMORY_LINES,
    &MEMORY_ENDLESS,
    &MEMORY_SLOW_FIRST,
];
