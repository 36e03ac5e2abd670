//! From what a pool is to be to a supervisor that runs it.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use poolctl_supervisor::{
    Constant, Detail, Encoding, EngineConfig, Framing, Lifecycle, Native, PoolConfig, StartError, Target,
    Timeout, available_cpus,
};

use crate::spec::{FramingSpec, PoolSpec, TargetSpec};

/// The interpreter where nothing names one.
const PYTHON: &str = "python3";

/// How much output of one item is kept in memory, in bytes; more goes to the spill file.
const MEMORY_PER_OUTPUT: usize = 1 << 20;

/// What all pools of a server have in common.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) keeper: PathBuf,
    pub(crate) stock_worker: Option<PathBuf>,
    pub(crate) run_id: String,
}

/// Why a pool cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No program is named.
    #[error("the target names no program")]
    NoProgram,
    /// There is no stock worker.
    #[error(
        "no `pool-worker` was found beside poolctl, which holds the native functions; `argv` can name another program"
    )]
    NoStockWorker,
    /// The setup is no constant of this client.
    #[error("the setup `{key}` was not defined")]
    NoSetup {
        /// Its key.
        key: String,
    },
    /// A variable that cannot be one.
    #[error("`{name}` cannot be a variable of the environment")]
    BadVariable {
        /// Its name.
        name: String,
    },
    /// Too many workers.
    #[error("{workers} workers are more than the {most} there can be")]
    TooManyWorkers {
        /// How many.
        workers: u32,
        /// The limit.
        most: u32,
    },
    /// Its supervisor cannot be waited for.
    #[error("cannot watch the pool")]
    Watch(#[source] std::io::Error),
    /// The supervisor cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Most workers of one pool.
const MAX_WORKERS: u32 = 65_536;

/// What items and results of a pool are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Items {
    /// JSON texts, held as one line each.
    Json,
    /// Lines.
    Lines,
    /// Bytes of any kind.
    Bytes,
}

/// What items of such a target are.
pub(crate) fn items_of(target: &TargetSpec) -> Items {
    match target {
        TargetSpec::Python { .. } | TargetSpec::Native { .. } | TargetSpec::Worker { .. } => Items::Json,
        TargetSpec::Lines { .. } => Items::Lines,
        TargetSpec::Objects { .. } | TargetSpec::Command { .. } => Items::Bytes,
    }
}

/// How many workers it has at most.
pub(crate) fn workers_of(spec: &PoolSpec) -> u32 {
    spec.workers.map_or_else(|| u32::try_from(available_cpus()).unwrap_or(1).max(1), u32::from)
}

/// The configuration of a supervisor for such a pool. `setup`: the constant that its target names.
pub(crate) fn config_of(
    spec: &PoolSpec,
    setup: Option<Arc<Constant>>,
    around: &Surroundings,
    number: u64,
) -> Result<PoolConfig, OpenError> {
    let workers = workers_of(spec);
    if workers > MAX_WORKERS {
        return Err(OpenError::TooManyWorkers { workers, most: MAX_WORKERS });
    }
    if let Some(name) = spec.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(OpenError::BadVariable { name: name.clone() });
    }
    if let Some((name, _)) = spec.env.iter().find(|(_, value)| value.contains('\0')) {
        return Err(OpenError::BadVariable { name: name.clone() });
    }
    let is_command = matches!(spec.target, TargetSpec::Command { .. });
    let milliseconds = Duration::from_millis;
    let engine = EngineConfig {
        slots: workers,
        lifecycle: if is_command { Lifecycle::PerItem } else { Lifecycle::Warm },
        // All there are, also after a resize.
        keep: if spec.prestart && !is_command { u32::MAX } else { 0 },
        window: u64::MAX,
        retries: spec.retries,
        retry_delay: milliseconds(spec.retry_delay_ms),
        max_crashes: spec.max_crashes.into(),
        timeout: spec.timeout_ms.map_or(Timeout::Never, |most| Timeout::After(milliseconds(most))),
        grace: milliseconds(spec.grace_ms),
        start_timeout: milliseconds(spec.start_timeout_ms),
        max_tasks: spec.max_tasks,
        idle_timeout: spec.idle_timeout_ms.map(milliseconds),
        halt: None,
        delay: Duration::ZERO,
    };
    let variable = |(name, value): (&String, &String)| (OsString::from(name), OsString::from(value));
    Ok(PoolConfig {
        engine,
        target: target_of(spec, setup, around)?,
        detail: Detail::Bulk,
        env: spec.env.iter().map(variable).collect(),
        cwd: spec.cwd.clone(),
        nice: spec.nice,
        spawn_ahead: 0,
        max_rss: spec.max_rss,
        run_id: format!("{}-{number}", around.run_id),
        keeper: around.keeper.clone(),
        spill_dir: env::temp_dir(),
        memory_per_output: MEMORY_PER_OUTPUT,
    })
}

fn target_of(
    spec: &PoolSpec,
    setup: Option<Arc<Constant>>,
    around: &Surroundings,
) -> Result<Target, OpenError> {
    let interpreter = |named: &Option<String>| named.as_deref().unwrap_or(PYTHON).as_bytes().to_vec();
    let words = |argv: &[String]| argv.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    let target = match &spec.target {
        TargetSpec::Python { module, function, interpreter: named, starmap } => Target::Python {
            interpreter: interpreter(named),
            module: module.as_bytes().to_vec(),
            function: function.clone(),
            starmap: *starmap,
        },
        TargetSpec::Objects { interpreter: named, setup: key } => {
            if let (Some(key), None) = (key, &setup) {
                return Err(OpenError::NoSetup { key: key.clone() });
            }
            Target::Objects { interpreter: interpreter(named), setup }
        }
        TargetSpec::Native { function, argv } => {
            let argv = match (argv.is_empty(), &around.stock_worker) {
                (false, _) => words(argv),
                (true, Some(stock)) => vec![stock.as_os_str().as_encoded_bytes().to_vec()],
                (true, None) => return Err(OpenError::NoStockWorker),
            };
            let function = Some(function.as_str().into());
            Target::Native(Arc::new(Native { argv, encoding: Encoding::Json, function, ..Native::default() }))
        }
        TargetSpec::Worker { argv, framing, function } => {
            let framing = match framing {
                FramingSpec::Jsonl => Framing::JsonLines,
                FramingSpec::Frame => Framing::Frames,
                FramingSpec::Tsv => Framing::Tsv,
            };
            Target::Worker { argv: words(argv), framing, function: function.clone(), stdio: false }
        }
        TargetSpec::Lines { argv, ahead, reply_timeout_ms } => Target::Lines {
            argv: words(argv),
            ahead: (*ahead).into(),
            reply_timeout: Duration::from_millis(*reply_timeout_ms),
            eot: None,
        },
        TargetSpec::Command { argv } => {
            if argv.is_empty() {
                return Err(OpenError::NoProgram);
            }
            Target::Command(Box::new(crate::template::Template::new(argv.clone())))
        }
    };
    match &target {
        Target::Worker { argv, .. } | Target::Lines { argv, .. } if argv.is_empty() => {
            Err(OpenError::NoProgram)
        }
        _ => Ok(target),
    }
}
