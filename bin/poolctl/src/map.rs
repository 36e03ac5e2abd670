//! `poolctl map`: items from anywhere, through warm workers or one process each, results in order.
//!
//! Three threads: the reader ([`source`]), the loop ([`drive`]) around the supervisor, and the writers ([`outlet`]);
//! one more waits for signals. The loop never blocks on input or output.

mod applies;
mod args;
mod drive;
mod dry_run;
mod items;
mod log;
mod order;
mod outlet;
mod plan;
mod progress;
mod screen;
mod signals;
mod sink;
mod source;
mod status;
mod target;
mod template;
mod throttle;
mod verbose;

use poolctl_types::ExitCode;

use crate::config;
use crate::failure::Failure;
use plan::Plan;

pub(crate) use args::MapArgs;
pub(crate) use items::SEPARATORS;

/// Runs the map.
pub(crate) fn run(args: MapArgs) -> Result<ExitCode, Failure> {
    args.foreign.refuse().map_err(Failure::usage)?;
    let (target, words) = target::choose(&args).map_err(|error| {
        let hint = error.hint();
        let failure = Failure::usage(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let sources = items::sources(&words, &args.items.arg_file).map_err(Failure::usage)?;
    applies::check(&args, &target, &sources).map_err(Failure::usage)?;
    let settings = config::load().map_err(|error| Failure::new(ExitCode::BadConfig, error))?.settings;
    verbose::start(args.terminal.verbose, args.terminal.log_format.unwrap_or(settings.log_format))?;
    let plan = Plan::new(&args, &settings, target, sources)?;
    if args.template.dry_run { dry_run::print(plan) } else { drive::drive(plan) }
}
