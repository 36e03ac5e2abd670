//! `poolctl map`: items from anywhere, through warm workers or one process each, results in order.
//!
//! Three threads: the reader ([`source`]), the loop ([`drive`]) around the supervisor, and the writers ([`outlet`]);
//! one more waits for signals. The loop never blocks on input or output. With `--pool` the loop drives a connection to a
//! service instead of a supervisor ([`served`]).

mod applies;
mod args;
mod drive;
mod dry_run;
mod items;
mod log;
mod one;
mod order;
mod outlet;
mod plan;
mod progress;
mod screen;
mod served;
mod signals;
mod sink;
mod source;
mod status;
mod target;
mod template;
mod throttle;
mod verbose;

use crate::config;
use crate::end::End;
use crate::failure::Failure;
use plan::{Plan, Purpose};
use target::TargetError;

pub(crate) use args::{
    FailureArgs, FramingName, ItemArgs, MapArgs, OutputArgs, PoolArgs, TargetArgs, TerminalArgs,
};
pub(crate) use drive::{given_up, not_opened};
pub(crate) use items::SEPARATORS;
pub(crate) use one::run_one;
pub(crate) use plan::no_stock_worker;
pub(crate) use target::split;
pub(crate) use verbose::start as start_log;

/// Runs the map.
pub(crate) fn run(args: MapArgs) -> Result<End, Failure> {
    args.foreign.refuse().map_err(Failure::usage)?;
    if args.target.pool.is_some() {
        return served::run(&args);
    }
    let (target, words) = target::choose(&args).map_err(|error| target_failure(error, "map"))?;
    let sources = items::sources(&words, &args.items.arg_file).map_err(Failure::usage)?;
    applies::check(&args, &target, &sources).map_err(Failure::usage)?;
    let settings = config::load_settings()?;
    verbose::start(args.terminal.verbose, args.terminal.log_format.unwrap_or(settings.log_format))?;
    let plan = Plan::new(&args, &settings, target, sources, Purpose::Map)?;
    if args.template.dry_run { dry_run::print(plan).map(End::from) } else { drive::drive(plan) }
}

/// A command line of the command `verb` that names no target.
fn target_failure(error: TargetError, verb: &str) -> Failure {
    let hint = error.hint(verb);
    let failure = Failure::usage(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
