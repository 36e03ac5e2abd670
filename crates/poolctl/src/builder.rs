//! Describing a pool: what it runs, and under which rules.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use poolctl_supervisor::host::{DeathPolicy, Host, Room};
use poolctl_supervisor::{
    Detail, EngineConfig, Framing, PoolConfig, StartError, Target, Timeout, available_cpus, keeper,
};

use crate::init::can_be_keeper;
use crate::kind::{Commands, Kind, Lines, Values};
use crate::pool::Pool;
use crate::template::{Passing, Template};

/// Items in flight, unless the user says otherwise.
const WINDOW: u64 = 16_384;

/// Bytes of items in flight.
const WINDOW_BYTES: usize = 64 << 20;

/// From the oldest unfinished item to the newest that runs. Only bookkeeping, a few dozen bytes an item: so long may a
/// pool go on beside an item that never ends.
const SPAN: u64 = 1 << 22;

/// An output beyond this goes to a file, in bytes.
const MEMORY_PER_OUTPUT: usize = 1 << 20;

/// How long a line filter may take to answer, unless the user says otherwise.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The target of a [`PoolBuilder`] is still to be named.
#[derive(Debug, Clone, Copy)]
pub enum NoTarget {}

/// A pool in the making: first its target, then the rules, then [`PoolBuilder::build`].
#[derive(Debug)]
#[must_use = "a pool is made by `build`"]
pub struct PoolBuilder<K> {
    aim: Option<Aim>,
    engine: EngineConfig,
    window: u64,
    env: Vec<(OsString, OsString)>,
    nice: Option<i32>,
    max_memory: Option<u64>,
    keeper: Option<PathBuf>,
    kind: PhantomData<fn() -> K>,
}

/// What workers are.
#[derive(Debug)]
enum Aim {
    Python { interpreter: OsString, module: OsString, function: String },
    Worker { argv: Vec<Vec<u8>>, framing: Framing, function: Option<String> },
    Lines { argv: Vec<Vec<u8>>, ahead: u32, reply_timeout: Duration, end_of_answer: Option<Vec<u8>> },
    Command(Template),
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The program is to be its own keeper, and has not said that it can be.
    #[error(
        "`poolctl::init()` is not called first thing in `main` (or name another program to be the keeper)"
    )]
    NotInitialised,
    /// The program does not know where it is.
    #[error("cannot find this program, to start it as keeper")]
    NoExecutable(#[source] io::Error),
    /// A pool without workers does nothing.
    #[error("a pool needs at least one worker")]
    NoWorkers,
    /// The worker or the keeper cannot be started.
    #[error("cannot start the pool")]
    Start(#[source] StartError),
}

impl PoolBuilder<NoTarget> {
    pub(crate) fn new() -> Self {
        Self {
            aim: None,
            engine: EngineConfig {
                slots: u32::try_from(available_cpus()).unwrap_or(u32::MAX),
                window: SPAN,
                ..EngineConfig::default()
            },
            window: WINDOW,
            env: Vec::new(),
            nice: None,
            max_memory: None,
            keeper: None,
            kind: PhantomData,
        }
    }

    /// Calls a Python function, in warm interpreters (`python3` on PATH, see [`PoolBuilder::interpreter`]).
    ///
    /// - `module`: dotted, found from the working directory or installed; or a path that ends in `.py`.
    /// - `function`: its name in the module, possibly dotted. It gets the item as its one argument.
    pub fn python(self, module: impl AsRef<OsStr>, function: impl Into<String>) -> PoolBuilder<Values> {
        let module = module.as_ref().to_owned();
        self.aimed(Aim::Python { interpreter: "python3".into(), module, function: function.into() })
    }

    /// Starts a program, in any language, that speaks the worker protocol in JSON lines on descriptors 3 and 4.
    pub fn worker<A: Into<OsString>>(self, argv: impl IntoIterator<Item = A>) -> PoolBuilder<Values> {
        self.aimed(Aim::Worker { argv: bytes(argv), framing: Framing::JsonLines, function: None })
    }

    /// The same in binary frames.
    pub fn frame_worker<A: Into<OsString>>(self, argv: impl IntoIterator<Item = A>) -> PoolBuilder<Values> {
        self.aimed(Aim::Worker { argv: bytes(argv), framing: Framing::Frames, function: None })
    }

    /// Starts a program that answers each line with one line, such as `jq --unbuffered .a`.
    pub fn lines<A: Into<OsString>>(self, argv: impl IntoIterator<Item = A>) -> PoolBuilder<Lines> {
        let (argv, reply_timeout) = (bytes(argv), REPLY_TIMEOUT);
        self.aimed(Aim::Lines { argv, ahead: 1, reply_timeout, end_of_answer: None })
    }

    /// Starts one process per item, without a shell: each `{}` in an argument is the item, which is the last argument
    /// if there is none.
    pub fn command<A: Into<OsString>>(self, argv: impl IntoIterator<Item = A>) -> PoolBuilder<Commands> {
        self.aimed(Aim::Command(Template { argv: bytes(argv), passing: Passing::Argument }))
    }

    fn aimed<K>(self, aim: Aim) -> PoolBuilder<K> {
        PoolBuilder {
            aim: Some(aim),
            engine: self.engine,
            window: self.window,
            env: self.env,
            nice: self.nice,
            max_memory: self.max_memory,
            keeper: self.keeper,
            kind: PhantomData,
        }
    }
}

impl PoolBuilder<Values> {
    /// Which Python runs the function; a name on PATH or a path.
    pub fn interpreter(mut self, program: impl Into<OsString>) -> Self {
        if let Some(Aim::Python { interpreter, .. }) = &mut self.aim {
            *interpreter = program.into();
        }
        self
    }

    /// Which of a worker's functions is called; needed where it announces several.
    pub fn function(mut self, name: impl Into<String>) -> Self {
        match &mut self.aim {
            Some(Aim::Python { function, .. }) => *function = name.into(),
            Some(Aim::Worker { function, .. }) => *function = Some(name.into()),
            Some(Aim::Lines { .. } | Aim::Command(_)) | None => {}
        }
        self
    }
}

impl PoolBuilder<Lines> {
    /// How many lines a filter may have unanswered. More than 1 is several times faster for quick filters, and gives
    /// up exact accounting: if the filter dies, these lines are run again one by one, so they may be run twice.
    pub fn ahead(mut self, lines: u32) -> Self {
        if let Some(Aim::Lines { ahead, .. }) = &mut self.aim {
            *ahead = lines.max(1);
        }
        self
    }

    /// How long a line may stay unanswered before the filter is taken to be buffering its output; 10 s by default.
    pub fn reply_timeout(mut self, limit: Duration) -> Self {
        if let Some(Aim::Lines { reply_timeout, .. }) = &mut self.aim {
            *reply_timeout = limit;
        }
        self
    }

    /// A line that ends each answer, which may then be any number of lines.
    pub fn end_of_answer(mut self, line: impl Into<Vec<u8>>) -> Self {
        if let Some(Aim::Lines { end_of_answer, .. }) = &mut self.aim {
            *end_of_answer = Some(line.into());
        }
        self
    }
}

impl PoolBuilder<Commands> {
    /// The item goes to the command's stdin instead of its arguments.
    pub fn stdin(mut self) -> Self {
        if let Some(Aim::Command(template)) = &mut self.aim {
            template.passing = Passing::Stdin;
        }
        self
    }
}

impl<K> PoolBuilder<K> {
    /// How many workers there are at most; they start as items come. By default as many as there are CPUs for this
    /// process.
    pub fn workers(mut self, count: u32) -> Self {
        self.engine.slots = count;
        self
    }

    /// How many further attempts an item gets after one that failed, timed out or died; 0 by default.
    pub fn retries(mut self, count: u32) -> Self {
        self.engine.retries = count;
        self
    }

    /// The wait before a further attempt; none by default.
    pub fn retry_delay(mut self, wait: Duration) -> Self {
        self.engine.retry_delay = wait;
        self
    }

    /// How long one item may run. Its worker is stopped then and replaced. No limit by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.engine.timeout = Timeout::After(limit);
        self
    }

    /// From asking a process to end (SIGTERM) to ending it (SIGKILL); 2 s by default.
    pub fn grace(mut self, span: Duration) -> Self {
        self.engine.grace = span;
        self
    }

    /// An item that took this many workers with it is not tried again, whatever `retries` says; 3 by default.
    pub fn max_crashes(mut self, count: u32) -> Self {
        self.engine.max_crashes = count;
        self
    }

    /// A worker is replaced after this many items. No limit by default.
    pub fn max_tasks(mut self, count: u64) -> Self {
        self.engine.max_tasks = Some(count);
        self
    }

    /// A worker is replaced when its resident memory is larger than this after an item, in bytes. No limit by default.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.max_memory = Some(bytes);
        self
    }

    /// How long a new worker may take until it is ready; 30 s by default.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.engine.start_timeout = limit;
        self
    }

    /// A worker without work is let go after this long. By default it is kept.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.engine.idle_timeout = Some(limit);
        self
    }

    /// How many items may be in flight, 16 384 by default: whoever hands in more blocks until there is room. Also how
    /// far [`Pool::imap`] takes items ahead.
    pub fn window(mut self, items: u64) -> Self {
        self.window = items.max(1);
        self
    }

    /// A variable for the workers, besides those of this process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The niceness of the workers.
    pub fn nice(mut self, niceness: i32) -> Self {
        self.nice = Some(niceness);
        self
    }

    /// The program that serves as keeper: one that calls [`init`](crate::init()) first thing in its `main`. By default
    /// it is this program.
    pub fn keeper(mut self, program: impl Into<PathBuf>) -> Self {
        self.keeper = Some(program.into());
        self
    }
}

impl<K: Kind> PoolBuilder<K> {
    /// Starts the pool. Workers start with the first items.
    ///
    /// # Errors
    /// [`BuildError`], when nothing could run.
    ///
    /// # Panics
    /// Never: a builder of this type has its target.
    pub fn build(self) -> Result<Pool<K>, BuildError> {
        if self.engine.slots == 0 {
            return Err(BuildError::NoWorkers);
        }
        let keeper = keeper_program(self.keeper)?;
        let target = self.aim.expect("a kind is chosen together with its target").into_target();
        let config = PoolConfig {
            engine: self.engine,
            spawn_ahead: u32::from(matches!(target, Target::Command(_))),
            target,
            detail: Detail::Bulk,
            env: self.env,
            nice: self.nice,
            max_rss: self.max_memory,
            run_id: run_id(),
            keeper,
            spill_dir: env::temp_dir(),
            memory_per_output: MEMORY_PER_OUTPUT,
        };
        let room = Room { items: self.window, bytes: WINDOW_BYTES };
        let host = Host::start(config, room, DeathPolicy::Replace).map_err(BuildError::Start)?;
        Ok(Pool::new(host, self.window))
    }
}

impl Aim {
    fn into_target(self) -> Target {
        match self {
            Aim::Python { interpreter, module, function } => Target::Python {
                interpreter: interpreter.into_vec(),
                module: module.into_vec(),
                function,
                starmap: false,
            },
            Aim::Worker { argv, framing, function } => {
                Target::Worker { argv, framing, function, stdio: false }
            }
            Aim::Lines { argv, ahead, reply_timeout, end_of_answer } => {
                Target::Lines { argv, ahead, reply_timeout, eot: end_of_answer }
            }
            Aim::Command(template) => Target::Command(Box::new(template)),
        }
    }
}

/// The program that serves as keeper. A program that is a keeper already and builds a pool did not call `init`, and
/// would start itself for ever.
fn keeper_program(named: Option<PathBuf>) -> Result<PathBuf, BuildError> {
    match named {
        Some(program) if !keeper::requested() => Ok(program),
        None if can_be_keeper() => env::current_exe().map_err(BuildError::NoExecutable),
        Some(_) | None => Err(BuildError::NotInitialised),
    }
}

/// A name that no other pool of this machine has.
fn run_id() -> String {
    static POOLS: AtomicU64 = AtomicU64::new(0);
    let number = POOLS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{number:x}", std::process::id(), poolctl_supervisor::now().0)
}

fn bytes<A: Into<OsString>>(argv: impl IntoIterator<Item = A>) -> Vec<Vec<u8>> {
    argv.into_iter().map(|argument| argument.into().into_vec()).collect()
}
