//! `poolctl functions`: what a worker offers, as it says itself in its hello.

mod listener;
mod listing;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;

use poolctl_supervisor::{
    Block, Detail, Encoding, EngineConfig, Framing, Gate, GaveUp, Native, PoolConfig, Stop, Supervisor,
    Target, Turn, now,
};
use poolctl_types::ExitCode;

use crate::config;
use crate::end::End;
use crate::failure::Failure;
use crate::map::{FramingName, given_up, no_stock_worker, not_opened, split};
use crate::own_process;
use crate::stderr::say;
use crate::value::Span;
use listener::Listener;
use listing::{Function, Listing};

const EXAMPLES: &str = "\
Examples:
  poolctl functions                                the native functions of pool-worker
  poolctl functions --worker ./target/release/app  those of a Rust program with poolctl::init()
  poolctl functions --worker 'node worker.js'      those of a worker in any language
";

/// List the functions that a worker offers
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct FunctionsArgs {
    /// Ask this worker instead of pool-worker
    #[arg(long, value_name = "CMD")]
    worker: Option<OsString>,
    /// The form in which the worker speaks
    #[arg(long, value_enum, default_value = "jsonl", requires = "worker")]
    framing: FramingName,
    /// The worker speaks on stdin and stdout (JSON lines, replies behind byte 0x1E)
    #[arg(long, requires = "worker")]
    worker_stdio: bool,
    /// One JSON object for each function: name, signature, doc
    #[arg(long)]
    json: bool,
    /// How long the worker may take until its hello [default: 30s]
    #[arg(long, value_name = "DUR")]
    start_timeout: Option<Span>,
}

/// Starts the worker, hears its hello, ends it, prints what it said.
pub(crate) fn list(args: &FunctionsArgs) -> Result<End, Failure> {
    let settings = config::load_settings()?;
    let start_timeout = args.start_timeout.map_or(settings.start_timeout, |span| span.0);
    let config = PoolConfig {
        engine: EngineConfig { slots: 1, start_timeout, grace: settings.grace, ..EngineConfig::default() },
        target: target(args)?,
        detail: Detail::PerItem,
        env: Vec::new(),
        cwd: None,
        nice: None,
        spawn_ahead: 0,
        max_rss: None,
        run_id: own_process::run_id(now()),
        keeper: own_process::executable(),
        spill_dir: env::temp_dir(),
        memory_per_output: 1 << 20,
    };
    let mut supervisor = Supervisor::start(config).map_err(not_opened)?;
    let listener = listen(&mut supervisor);
    supervisor.shut_down();
    let functions = match (listener.hello, listener.gave_up) {
        (Some(hello), _) => Function::all_of(*hello),
        (None, Some(why)) => {
            let hint = not_ready_hint(&why);
            return Err(given_up(why, hint));
        }
        (None, None) => unreachable!("a run without a hello is given up"),
    };
    if functions.is_empty() {
        say("poolctl: the worker names no functions: it has but one, and needs no --function\n");
    }
    let listing = if args.json { Listing::Json } else { Listing::Table };
    match io::stdout().write_all(&listing.of(&functions)) {
        Ok(()) => Ok(ExitCode::Ok.into()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::ReaderGone.into()),
        Err(error) => Err(Failure::new(ExitCode::OutputError, error)),
    }
}

fn target(args: &FunctionsArgs) -> Result<Target, Failure> {
    let Some(command) = &args.worker else {
        let argv = vec![own_process::stock_worker().map_err(no_stock_worker)?];
        return Ok(Target::Native(Arc::new(Native { argv, encoding: Encoding::Json, ..Native::default() })));
    };
    Ok(Target::Worker {
        argv: split("--worker", command).map_err(Failure::usage)?,
        framing: Framing::from(args.framing),
        function: None,
        stdio: args.worker_stdio,
    })
}

/// Runs the pool until its worker has said hello, or cannot.
fn listen(supervisor: &mut Supervisor) -> Listener {
    let mut listener = Listener::default();
    // A worker is started because there is an item, and never gets it because the gate is closed at once.
    let mut item = Block::new();
    item.push(b"null");
    supervisor.push(item);
    supervisor.set_gate(Gate::Closed);
    while !listener.has_heard() {
        if supervisor.turn(&mut listener, None) == Turn::Finished {
            return listener;
        }
        if !listener.has_heard() {
            listener.gave_up = supervisor.take_failed_start();
        }
    }
    supervisor.stop(Stop::Kill);
    while supervisor.turn(&mut listener, None) == Turn::Going {}
    listener
}

/// What helps where a program ended without a word.
fn not_ready_hint(why: &GaveUp) -> Option<String> {
    let GaveUp::TooManyStarts { last, .. } = why else { return None };
    (last.error.is_none() && last.stderr.is_empty()).then(|| {
        "a worker first says hello on descriptor 4: {\"poolctl\":1,\"functions\":[\"f\"]} (docs/protocol.md)".to_owned()
    })
}
