//! Setting up everything a run needs, in the order in which it may fail.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use poolctl_supervisor::{PoolConfig, ResolveError, StartError, Supervisor, Target, Waker, now, resolve};
use poolctl_types::{ExitCode, Moment};

use super::News;
use super::continuation::{self, stdout_file};
use super::start_hint::StartHint;
use crate::failure::Failure;
use crate::map::log::Occurrences;
use crate::map::outlet::{Destination, Landing, Outlet, OutletError, make_directory};
use crate::map::plan::{Plan, Run, input_failure};
use crate::map::progress::Progress;
use crate::map::screen::Screen;
use crate::map::sink::{ItemForm, ItemSink, WallClock};
use crate::map::source::Intake;
use crate::map::throttle::Throttle;
use crate::own_process;
use crate::stderr::say;

/// Everything a run needs.
pub(super) struct Parts {
    pub(super) supervisor: Supervisor,
    pub(super) sink: ItemSink,
    pub(super) intake: Receiver<Intake>,
    pub(super) progress: Progress,
    pub(super) throttle: Throttle,
    pub(super) deadline: Option<Moment>,
    pub(super) grace: Duration,
    pub(super) items: ItemForm,
    pub(super) start_hint: StartHint,
}

/// Sets everything up and starts the reader and the writers.
pub(super) fn launch(plan: Plan, tell: &SyncSender<News>) -> Result<Parts, Failure> {
    let now = now();
    if plan.input.reads_terminal() && !plan.sink.quiet {
        say("poolctl: reading items from the terminal, one per line; Ctrl-D ends them\n");
    }
    let input = plan.input.open(plan.steps).map_err(input_failure)?;
    let (landing, log) = match &plan.log {
        Some(log) => continuation::begin(log, plan.sink.quiet)?,
        None => (None, None),
    };
    if let Some(directory) = &plan.directory {
        make_directory(directory).map_err(output_failure)?;
    }
    let slots = plan.engine.slots;
    let (grace, items, quiet) = (plan.engine.grace, plan.sink.items, plan.sink.quiet);
    let target = match plan.run {
        Run::Command(template) => {
            // Said once, and not for every item.
            template.program().map_or(Ok(()), resolve_program)?;
            Target::Command(Box::new(template))
        }
        Run::Warm(target) => target,
        Run::Served => unreachable!("the pool of a service is driven elsewhere"),
    };
    let start_hint = StartHint::of(&target, plan.purpose.verb());
    let is_python = matches!(target, Target::Python { .. });
    let supervisor = Supervisor::start(PoolConfig {
        engine: plan.engine,
        target,
        detail: plan.detail,
        env: Vec::new(),
        cwd: None,
        nice: plan.nice,
        spawn_ahead: plan.spawn_ahead,
        max_rss: plan.max_rss,
        run_id: own_process::run_id(now),
        keeper: own_process::executable(),
        spill_dir: env::temp_dir(),
        memory_per_output: 1 << 20,
    })
    .map_err(|error| match (not_opened(error), is_python) {
        (failure, true) => failure.hint("--python or POOLCTL_PYTHON names the interpreter"),
        (failure, false) => failure,
    })?;
    tracing::info!(slots, "the pool is open");
    let progress = Progress::new(plan.progress, quiet || plan.input.reads_terminal(), now);
    let waker = supervisor.waker();
    let out = stdout_outlet(landing, log, plan.directory, progress.screen(), waker.clone(), tell.clone());
    let err = stderr_outlet(progress.screen(), waker.clone(), tell.clone());
    let outlets = (out.map_err(thread_failure)?, err.map_err(thread_failure)?);
    let names = plan.log.map(|log| Occurrences::new(log.target, log.done));
    let sink = ItemSink::new(plan.sink, outlets, supervisor.spill(), names, WallClock::at(now));
    let intake = input.start(waker).map_err(thread_failure)?;
    let deadline = plan.deadline.map(|span| now + span);
    let throttle = plan.throttle;
    Ok(Parts { supervisor, sink, intake, progress, throttle, deadline, grace, items, start_hint })
}

pub(super) fn thread_failure(error: io::Error) -> Failure {
    Failure::new(ExitCode::Internal, error)
        .hint("no thread can be made: is the limit of processes (ulimit -u) low?")
}

pub(super) fn output_failure(error: OutletError) -> Failure {
    Failure::new(ExitCode::OutputError, error)
}

/// A pool that cannot be opened.
pub(crate) fn not_opened(error: StartError) -> Failure {
    let (code, hint) = match &error {
        StartError::Program(reason) if reason.is_not_found() => {
            let shell_words = matches!(reason, ResolveError::NotOnPath { name } if name.contains(' '));
            (
                ExitCode::NotFound,
                shell_words.then_some("a command is given word by word; --shell takes a script"),
            )
        }
        StartError::Program(_) => (ExitCode::CannotStart, None),
        _ => (ExitCode::Internal, None),
    };
    let failure = Failure::new(code, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Makes sure that there is such a program.
fn resolve_program(program: &[u8]) -> Result<(), Failure> {
    resolve(program).map(drop).map_err(|reason| not_opened(StartError::Program(reason)))
}

pub(super) fn stdout_outlet(
    landing: Option<Landing>,
    log: Option<(File, PathBuf)>,
    directory: Option<PathBuf>,
    screen: Option<Screen>,
    waker: Waker,
    tell: SyncSender<News>,
) -> io::Result<Outlet> {
    let screen = screen.filter(|_| io::stdout().is_terminal());
    let to = Destination { name: "stdout", file: stdout_file()?, landing, log, directory, screen };
    Outlet::start(to, waker, move || ended(&tell))
}

pub(super) fn stderr_outlet(
    screen: Option<Screen>,
    waker: Waker,
    tell: SyncSender<News>,
) -> io::Result<Outlet> {
    let file = io::stderr().as_fd().try_clone_to_owned().map(File::from)?;
    let to = Destination { name: "stderr", file, landing: None, log: None, directory: None, screen };
    Outlet::start(to, waker, move || ended(&tell))
}

/// Tells the loop that a writer is through. If the loop is gone, so is whoever cared.
fn ended(tell: &SyncSender<News>) {
    tell.send(News::WriterEnded).ok();
}
