//! From flags and settings to what the parts of a run are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use poolctl_supervisor::{Detail, EngineConfig, Lifecycle, Native, Target, available_cpus};
use poolctl_types::ExitCode;

use super::args::MapArgs;
use super::items::Source;
use super::log::{DoneKeys, EarlierOutput, ItemHash};
use super::sink::{ItemForm, ResultForm, SinkConfig, Sole, Style};
use super::source::{Columns, Encoding, Grouping, InputError, InputPlan, PipeCut, Skip, Steps};
use super::target::{ServedForm, TargetSpec};
use super::template::{FieldNames, Passing, Template};
use super::{log, throttle::Throttle};
use crate::config::{ProgressWhen, Settings};
use crate::failure::Failure;
use crate::own_process::{self, NoStockWorker};
use crate::value::Delimiter;

/// Everything a run is told.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) purpose: Purpose,
    pub(super) run: Run,
    pub(super) engine: EngineConfig,
    pub(super) detail: Detail,
    pub(super) spawn_ahead: u32,
    pub(super) nice: Option<i32>,
    pub(super) max_rss: Option<u64>,
    pub(super) input: InputPlan,
    pub(super) steps: Steps,
    pub(super) sink: SinkConfig,
    pub(super) directory: Option<PathBuf>,
    pub(super) log: Option<LogPlan>,
    pub(super) progress: ProgressWhen,
    pub(super) deadline: Option<Duration>,
    pub(super) throttle: Throttle,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Many items.
    Map,
    /// One task with its arguments, whose end is that of the program.
    Task,
    /// The same with a command that takes no item at all.
    Command,
}

impl Purpose {
    /// Our command for it.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Purpose::Map => "map",
            Purpose::Task | Purpose::Command => "apply",
        }
    }
}

/// What runs.
#[derive(Debug)]
pub(super) enum Run {
    /// One process per item.
    Command(Template),
    /// Warm workers.
    Warm(Target),
    /// Those of a service.
    Served,
}

/// Where items are logged.
#[derive(Debug)]
pub(super) struct LogPlan {
    pub(super) path: PathBuf,
    pub(super) target: ItemHash,
    pub(super) done: DoneKeys,
    /// The file that an earlier run wrote to, if this one continues it.
    pub(super) earlier: Option<EarlierOutput>,
}

impl Plan {
    /// The plan for these flags and settings.
    pub(super) fn new(
        args: &MapArgs,
        settings: &Settings,
        target: TargetSpec,
        sources: Vec<Source>,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let log = log_plan(args, &target)?;
        let style = style(args);
        let bulk = style == Style::Plain && log.is_none() && purpose == Purpose::Map;
        let (header, input) = input_plan(args, settings, sources);
        let fields = input.columns.is_some() || input.sources.len() > 1;
        let mut steps = steps(args, &target, fields);
        steps.names = header.clone();
        steps.count = u64::from(header.is_some());
        if let Some(log) = &log
            && args.failure.resume.is_some()
        {
            steps.skip = Some(Skip::new(log.done.clone(), log.target));
        }
        let engine = engine_config(args, settings, &target);
        let (items, results) = forms(args, &target, fields || steps.group.is_some());
        let sole = match (purpose, &target) {
            (Purpose::Map, _) => None,
            (_, TargetSpec::Command { .. } | TargetSpec::Served { form: ServedForm::Bytes, .. }) => {
                Some(Sole::Command)
            }
            _ => Some(Sole::Function),
        };
        let passing = match items {
            _ if purpose == Purpose::Command => Passing::Nothing,
            _ if args.template.stdin || args.template.pipe => Passing::Stdin,
            ItemForm::Fields => Passing::Fields,
            ItemForm::Bytes | ItemForm::Block | ItemForm::Json => Passing::Whole,
        };
        let run = run(args, settings, target, passing, header, purpose)?;
        let paced = engine.halt.is_some()
            || !engine.delay.is_zero()
            || args.pool.load.is_some()
            || args.pool.memfree.is_some();
        let in_slots = matches!(&run, Run::Command(template) if template.uses_slot());
        Ok(Self {
            purpose,
            spawn_ahead: u32::from(!paced && !in_slots),
            sink: SinkConfig {
                style,
                results,
                items,
                ordered: !args.output.unordered,
                buffer: args.output.buffer.unwrap_or(settings.buffer).in_memory(),
                sole,
                most_attempts: engine.retries.saturating_add(1),
                program: match &run {
                    Run::Command(template) => {
                        template.program().map(|name| String::from_utf8_lossy(name).into_owned())
                    }
                    Run::Warm(_) | Run::Served => None,
                },
                verbose: args.terminal.verbose > 0,
                quiet: args.terminal.quiet,
            },
            run,
            engine,
            detail: if bulk { Detail::Bulk } else { Detail::PerItem },
            nice: args.pool.nice,
            max_rss: args.pool.max_rss.map(|size| size.0),
            input,
            steps,
            directory: args.output.output.clone(),
            log,
            progress: args.terminal.progress.unwrap_or(settings.progress),
            deadline: args.failure.deadline.map(|span| span.0),
            throttle: Throttle::new(args.pool.memfree, args.pool.load, args.terminal.quiet),
        })
    }
}

/// What items and results are. `several`: whether an item has several parts.
fn forms(args: &MapArgs, target: &TargetSpec, several: bool) -> (ItemForm, ResultForm) {
    let items = match target {
        TargetSpec::Command { .. } if args.template.pipe => ItemForm::Block,
        TargetSpec::Command { .. } if several => ItemForm::Fields,
        TargetSpec::Command { .. } | TargetSpec::Lines { .. } => ItemForm::Bytes,
        TargetSpec::Served { form: ServedForm::Line | ServedForm::Bytes, .. } => ItemForm::Bytes,
        TargetSpec::Worker { .. }
        | TargetSpec::Python { .. }
        | TargetSpec::Native { .. }
        | TargetSpec::Served { .. } => ItemForm::Json,
    };
    let results = match target {
        TargetSpec::Command { .. } | TargetSpec::Served { form: ServedForm::Bytes, .. } => ResultForm::Stream,
        // All lines up to the mark, each with its line break.
        TargetSpec::Lines { .. } if args.target.eot.is_some() => ResultForm::Stream,
        TargetSpec::Lines { .. } | TargetSpec::Served { form: ServedForm::Line, .. } => ResultForm::Line,
        TargetSpec::Worker { .. }
        | TargetSpec::Python { .. }
        | TargetSpec::Native { .. }
        | TargetSpec::Served { .. } => ResultForm::Value,
    };
    (items, results)
}

/// How an input that cannot be used ends the run.
pub(super) fn input_failure(error: InputError) -> Failure {
    let hint = error.hint();
    let failure = Failure::new(ExitCode::BadInput, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn style(args: &MapArgs) -> Style {
    match (args.output.json, args.output.tag, &args.output.output) {
        (true, ..) => Style::Json,
        (_, true, _) => Style::Tagged,
        (.., Some(_)) => Style::Files,
        _ => Style::Plain,
    }
}

fn log_plan(args: &MapArgs, target: &TargetSpec) -> Result<Option<LogPlan>, Failure> {
    let target = ItemHash::of_target(target);
    let plan = |path: &PathBuf, done, earlier| LogPlan { path: path.clone(), target, done, earlier };
    match (&args.failure.log, &args.failure.resume) {
        (_, Some(path)) => {
            let resumed = log::resume(path, target, args.failure.resume_failed)
                .map_err(|error| Failure::new(ExitCode::BadInput, error))?;
            Ok(Some(plan(path, resumed.done, resumed.output)))
        }
        (Some(path), None) => Ok(Some(plan(path, DoneKeys::default(), None))),
        (None, None) => Ok(None),
    }
}

fn input_plan(args: &MapArgs, settings: &Settings, sources: Vec<Source>) -> (Option<FieldNames>, InputPlan) {
    let items = &args.items;
    let header = items.header.is_some().then(FieldNames::default);
    let columns = match (&items.colsep, items.csv, &header) {
        (Some(Delimiter(separator)), ..) => Some(Columns::Separated(separator.clone())),
        (None, true, _) => Some(Columns::Csv),
        (None, false, Some(_)) => Some(Columns::Separated(b"\t".to_vec())),
        (None, false, None) => None,
    };
    let block = args.template.block.unwrap_or(settings.block).in_memory().max(1);
    let cut = args.template.max_args.map_or(PipeCut::Bytes(block), PipeCut::Records);
    let delimiter = match (&items.delimiter, items.null) {
        (Some(Delimiter(bytes)), _) => bytes.clone(),
        (None, true) => vec![0],
        (None, false) => vec![b'\n'],
    };
    let pipe = args.template.pipe.then_some(cut);
    (header.clone(), InputPlan { sources, delimiter, link: items.link, pipe, columns, header })
}

fn steps(args: &MapArgs, target: &TargetSpec, fields: bool) -> Steps {
    let columns = args.items.csv || args.items.colsep.is_some() || args.items.header.is_some();
    let encoding = match target {
        TargetSpec::Command { .. } => Encoding::Bytes,
        TargetSpec::Lines { .. } | TargetSpec::Served { form: ServedForm::Line, .. } => Encoding::Line,
        TargetSpec::Served { form: ServedForm::Bytes, .. } => Encoding::Bytes,
        TargetSpec::Worker { .. }
        | TargetSpec::Python { .. }
        | TargetSpec::Native { .. }
        | TargetSpec::Served { .. } => match (fields, columns || args.items.raw) {
            (true, true) => Encoding::JsonStringFields,
            (true, false) => Encoding::JsonFields,
            (false, true) => Encoding::JsonStrings,
            (false, false) => Encoding::Json,
        },
    };
    let template = &args.template;
    let grouping = match (template.max_args, template.max_lines, template.fill) {
        _ if template.pipe => None,
        (Some(count), ..) => Some(Grouping::Count(count)),
        (_, Some(count), _) => Some(Grouping::Lines(count)),
        (.., true) => Some(Grouping::Fill),
        (None, None, false) => None,
    };
    let mut steps = Steps::new(encoding).grouped(grouping);
    steps.skip_empty = args.items.skip_empty;
    steps
}

fn engine_config(args: &MapArgs, settings: &Settings, target: &TargetSpec) -> EngineConfig {
    let (failure, pool) = (&args.failure, &args.pool);
    let span = |flag: Option<crate::value::Span>, setting: Duration| flag.map_or(setting, |span| span.0);
    EngineConfig {
        slots: pool.jobs.unwrap_or(settings.jobs).on(available_cpus()),
        lifecycle: match target {
            TargetSpec::Command { .. } => Lifecycle::PerItem,
            TargetSpec::Lines { .. }
            | TargetSpec::Worker { .. }
            | TargetSpec::Python { .. }
            | TargetSpec::Native { .. }
            | TargetSpec::Served { .. } => Lifecycle::Warm,
        },
        window: pool.window.unwrap_or(settings.window),
        retries: failure.retries.unwrap_or(settings.retries),
        retry_delay: span(failure.retry_delay, settings.retry_delay),
        max_crashes: failure.max_crashes.unwrap_or(settings.max_crashes),
        timeout: failure.timeout.unwrap_or(settings.timeout).0,
        grace: span(failure.grace, settings.grace),
        start_timeout: span(pool.start_timeout, settings.start_timeout),
        max_tasks: pool.max_tasks,
        halt: failure.halt.map(|rule| rule.0),
        delay: pool.delay(),
        ..EngineConfig::default()
    }
}

fn run(
    args: &MapArgs,
    settings: &Settings,
    target: TargetSpec,
    passing: Passing,
    names: Option<FieldNames>,
    purpose: Purpose,
) -> Result<Run, Failure> {
    use std::os::unix::ffi::OsStrExt;

    let named = &args.target;
    Ok(Run::Warm(match target {
        TargetSpec::Command { words } if passing == Passing::Nothing => {
            return Ok(Run::Command(Template::fixed(&words)));
        }
        TargetSpec::Command { words } if named.shell.is_some() => {
            return Ok(Run::Command(Template::for_script(&words, passing).traced(args.template.trace)));
        }
        TargetSpec::Command { words } => {
            let braces = args.template.replace.as_ref().map_or(&b"{}"[..], |text| text.as_bytes());
            let template = Template::new(&words, braces, passing, names);
            return Ok(Run::Command(template.traced(args.template.trace)));
        }
        TargetSpec::Served { .. } => return Ok(Run::Served),
        TargetSpec::Lines { argv } => Target::Lines {
            argv,
            ahead: named.ahead.unwrap_or(settings.ahead),
            reply_timeout: named.reply_timeout.map_or(settings.reply_timeout, |span| span.0),
            eot: named.eot.as_ref().map(|text| text.as_bytes().to_vec()),
        },
        TargetSpec::Worker { argv, framing, function } => {
            Target::Worker { argv, framing: framing.into(), function, stdio: named.worker_stdio }
        }
        TargetSpec::Python { module, function } => Target::Python {
            interpreter: named.python.as_ref().unwrap_or(&settings.python).clone().into_bytes(),
            module,
            function,
            starmap: named.starmap,
        },
        TargetSpec::Native { function } => {
            let no_worker = |error| no_stock_worker(error).hint(no_worker_hint(&function, purpose.verb()));
            let argv = vec![own_process::stock_worker().map_err(no_worker)?];
            let function = Some(function.into());
            Target::Native(Arc::new(Native {
                argv,
                encoding: poolctl_supervisor::Encoding::Json,
                function,
                ..Native::default()
            }))
        }
    }))
}

/// Native functions cannot be had.
pub(crate) fn no_stock_worker(error: NoStockWorker) -> Failure {
    Failure::new(ExitCode::NotFound, error).hint("it is built and installed together with poolctl")
}

/// What helps where the name was not meant to be that of a native function.
fn no_worker_hint(name: &str, verb: &str) -> String {
    format!(
        "it is built and installed together with poolctl; a command stands behind `--`: poolctl {verb} -- {name}; a \
         Python function: python:MODULE:{name}"
    )
}
