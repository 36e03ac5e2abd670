//! Describing a pool: what it runs, and under which rules.

mod native;
mod target;

use std::env;
use std::ffi::OsString;
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use poolctl_supervisor::host::{DeathPolicy, Hook, Host, Room};
use poolctl_supervisor::{
    Counts, Detail, EngineConfig, Parcels, PoolConfig, StartError, Target, Timeout, available_cpus, keeper,
};

use poolctl_worker::EncodeError;

use self::target::Aim;
use crate::init::can_be_keeper;
use crate::kind::{Kind, Native};
use crate::pool::Pool;
use crate::task_error::TaskError;

/// Items in flight, unless the user says otherwise.
const WINDOW: u64 = 65_536;

/// Bytes of items in flight.
const WINDOW_BYTES: usize = 64 << 20;

/// The same for tasks, whose large arguments lie in shared memory.
const TASK_WINDOW_BYTES: usize = 512 << 20;

/// From the oldest unfinished item to the newest that runs. Only bookkeeping, a few dozen bytes an item: so long may a
/// pool go on beside an item that never ends.
const SPAN: u64 = 1 << 22;

/// An output beyond this goes to a file, in bytes.
const MEMORY_PER_OUTPUT: usize = 1 << 20;

/// A pool in the making: first its target, then the rules, then [`PoolBuilder::build`].
///
/// Without a target it is a pool of tasks, whose workers are this same program.
#[derive(Debug)]
#[must_use = "a pool is made by `build`"]
pub struct PoolBuilder<K> {
    aim: Aim,
    rules: Rules,
    kind: PhantomData<fn() -> K>,
}

/// What holds for pools of any target.
#[derive(Debug)]
struct Rules {
    engine: EngineConfig,
    window: u64,
    env: Vec<(OsString, OsString)>,
    nice: Option<i32>,
    max_memory: Option<u64>,
    keeper: Option<PathBuf>,
    death: DeathPolicy,
    progress: Option<Hook>,
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
    /// The arguments of an initializer or exit function cannot be encoded.
    #[error("the arguments of `{function}` cannot be encoded")]
    BadArguments {
        /// Which function.
        function: &'static str,
        /// Why.
        source: EncodeError,
    },
    /// Large arguments of an initializer have no room in shared memory.
    #[error("the arguments of `{function}` have no room")]
    NoRoom {
        /// Which function.
        function: &'static str,
        /// Why.
        source: TaskError,
    },
    /// The arguments of an initializer or exit function are longer than a message, where vectors of numbers do not count;
    /// or those of an exit function carry such vectors, or handles.
    #[error("the arguments of `{function}`, which every worker runs, are too large")]
    HeavyArguments {
        /// Which function.
        function: String,
    },
    /// A pool without workers does nothing.
    #[error("a pool needs at least one worker")]
    NoWorkers,
    /// The worker or the keeper cannot be started.
    #[error("cannot start the pool")]
    Start(#[source] StartError),
}

impl<K> PoolBuilder<K> {
    /// How many workers there are at most; they start as items come. By default as many as there are CPUs for this
    /// process.
    pub fn workers(mut self, count: u32) -> Self {
        self.rules.engine.slots = count;
        self
    }

    /// How many further attempts an item gets after one that failed, timed out or died; 0 by default.
    pub fn retries(mut self, count: u32) -> Self {
        self.rules.engine.retries = count;
        self
    }

    /// The wait before a further attempt; none by default.
    pub fn retry_delay(mut self, wait: Duration) -> Self {
        self.rules.engine.retry_delay = wait;
        self
    }

    /// How long one item may run. Its worker is stopped then and replaced. No limit by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.rules.engine.timeout = Timeout::After(limit);
        self
    }

    /// From asking a process to end (SIGTERM) to ending it (SIGKILL); 2 s by default.
    pub fn grace(mut self, span: Duration) -> Self {
        self.rules.engine.grace = span;
        self
    }

    /// An item that took this many workers with it is not tried again, whatever `retries` says; 3 by default.
    pub fn max_crashes(mut self, count: u32) -> Self {
        self.rules.engine.max_crashes = count;
        self
    }

    /// A worker is replaced after this many items. No limit by default.
    pub fn max_tasks(mut self, count: u64) -> Self {
        self.rules.engine.max_tasks = Some(count);
        self
    }

    /// A worker is replaced when its resident memory is larger than this after an item, in bytes. No limit by default.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.rules.max_memory = Some(bytes);
        self
    }

    /// How long a new worker may take until it is ready; 30 s by default.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.rules.engine.start_timeout = limit;
        self
    }

    /// A worker without work is let go after this long. By default it is kept.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.rules.engine.idle_timeout = Some(limit);
        self
    }

    /// How many items may be in flight, 65 536 by default: whoever hands in more blocks until there is room. So does who
    /// hands in more than 64 MiB of items, or 512 MiB of arguments of tasks.
    ///
    /// Also how far [`Pool::imap`] takes items ahead, or less far where results are large: so that about 64 MiB of them
    /// wait in memory, going by the mean of those before.
    pub fn window(mut self, items: u64) -> Self {
        self.rules.window = items.max(1);
        self
    }

    /// A variable for the workers, besides those of this process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.rules.env.push((name.into(), value.into()));
        self
    }

    /// The niceness of the workers.
    pub fn nice(mut self, niceness: i32) -> Self {
        self.rules.nice = Some(niceness);
        self
    }

    /// The program that serves as keeper: one that calls [`init`](crate::init()) first thing in its `main`. By default
    /// it is this program.
    pub fn keeper(mut self, program: impl Into<PathBuf>) -> Self {
        self.rules.keeper = Some(program.into());
        self
    }

    /// What the death of a worker means for the items of the others; [`DeathPolicy::Replace`] by default.
    pub fn on_worker_death(mut self, policy: DeathPolicy) -> Self {
        self.rules.death = policy;
        self
    }

    /// Shows `show` how many items stand where: when that has changed, at most every 100 ms, and at the pool's end. It is
    /// called on the thread that runs callbacks, which waits for it.
    pub fn on_progress(mut self, show: impl Fn(&Counts) + Send + Sync + 'static) -> Self {
        self.rules.progress = Some(Hook::new(show));
        self
    }
}

impl PoolBuilder<Native> {
    pub(crate) fn new() -> Self {
        Self { aim: Aim::default(), rules: Rules::default(), kind: PhantomData }
    }
}

impl<K: Kind> PoolBuilder<K> {
    /// Starts the pool. Workers start with the first items.
    ///
    /// # Errors
    /// [`BuildError`], when nothing could run.
    pub fn build(self) -> Result<Pool<K>, BuildError> {
        let Self { aim, rules, .. } = self;
        if rules.engine.slots == 0 {
            return Err(BuildError::NoWorkers);
        }
        let keeper = keeper_program(rules.keeper)?;
        let target = aim.into_target()?;
        let (parcels, bytes) = match &target {
            Target::Native(native) => (native.parcels.clone(), TASK_WINDOW_BYTES),
            _ => (Parcels::default(), WINDOW_BYTES),
        };
        let config = PoolConfig {
            engine: rules.engine,
            spawn_ahead: u32::from(matches!(target, Target::Command(_))),
            target,
            detail: Detail::Bulk,
            env: rules.env,
            cwd: None,
            nice: rules.nice,
            max_rss: rules.max_memory,
            run_id: run_id(),
            keeper,
            spill_dir: env::temp_dir(),
            memory_per_output: MEMORY_PER_OUTPUT,
        };
        let room = Room { items: rules.window, bytes, parcels: Parcels::most() };
        let host = Host::start(config, room, rules.death).map_err(BuildError::Start)?;
        if let Some(hook) = rules.progress {
            host.show_progress(hook);
        }
        Ok(Pool::of(host, parcels, rules.window))
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
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
            death: DeathPolicy::Replace,
            progress: None,
        }
    }
}

/// The program that serves as keeper. A program that is a keeper already and builds a pool did not call `init`, and
/// would start itself for ever.
fn keeper_program(named: Option<PathBuf>) -> Result<PathBuf, BuildError> {
    match named {
        Some(program) if !keeper::requested() => Ok(program),
        None => this_program(),
        Some(_) => Err(BuildError::NotInitialised),
    }
}

/// This program, which is to be started again.
fn this_program() -> Result<PathBuf, BuildError> {
    if !can_be_keeper() {
        return Err(BuildError::NotInitialised);
    }
    env::current_exe().map_err(BuildError::NoExecutable)
}

/// A name that no other pool of this machine has.
fn run_id() -> String {
    static POOLS: AtomicU64 = AtomicU64::new(0);
    let number = POOLS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{number:x}", std::process::id(), poolctl_supervisor::now().0)
}
