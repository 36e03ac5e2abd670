//! `poolctl apply`: one task, by the same ways as a map of one item; it ends as the task did.

use std::ffi::OsString;

use crate::config::ProgressWhen;
use crate::end::End;
use crate::failure::Failure;
use crate::map::{self, FailureArgs, ItemArgs, MapArgs, OutputArgs, PoolArgs, TargetArgs, TerminalArgs};
use crate::value::{Jobs, Span, TimeLimit};

const EXAMPLES: &str = "\
Examples:
  poolctl apply square 5                          a native function (poolctl functions)
  poolctl apply add 2 3                           several arguments, for several parameters
  poolctl apply python:math:factorial 20          a Python function
  poolctl apply --raw sha256_file some.file       arguments as strings instead of JSON
  poolctl apply --pool roots 16                   in a warm pool of poold
  poolctl apply --timeout 10s -- make -C sub all  a command; the status is its own
";

const NOTES: &str = "\
Exit codes: 0 it is ok, 1 the function failed; of a command its own status, 128+n if signal n ended it;
124 after --timeout; 2 usage, 65 unusable arguments, 126/127 the worker cannot start / was not found,
130/143 interrupted.";

/// Run one task, and end as it does
#[derive(Debug, clap::Args)]
#[command(
    before_help = EXAMPLES,
    before_long_help = EXAMPLES,
    after_help = NOTES,
    override_usage = "poolctl apply [OPTIONS] FUNCTION [ARGUMENT]...
       poolctl apply [OPTIONS] python:MODULE:FUNCTION [ARGUMENT]...
       poolctl apply [OPTIONS] --worker 'CMD...' [--function NAME] [ARGUMENT]...
       poolctl apply [OPTIONS] --pool NAME [ARGUMENT]...
       poolctl apply [OPTIONS] -- CMD [ARG]..."
)]
pub(crate) struct ApplyArgs {
    /// A native function, python:MODULE:FUNCTION or python:FILE.py:FUNCTION, then its arguments
    #[arg(value_name = "FUNCTION|ARGUMENT", allow_negative_numbers = true)]
    words: Vec<OsString>,
    /// The command, without a shell
    #[arg(value_name = "CMD", last = true)]
    command: Vec<OsString>,
    /// Arguments are strings, not JSON
    #[arg(long)]
    raw: bool,
    /// Print a JSON object with outcome, times and result instead of the result
    #[arg(long)]
    json: bool,
    /// How long the task may run: 2s
    #[arg(long, value_name = "DUR")]
    timeout: Option<TimeLimit>,
    /// Further attempts if it failed, timed out or its worker died [default: 0]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Wait so long before a further attempt
    #[arg(long, value_name = "DUR")]
    retry_delay: Option<Span>,
    /// From asking a process to end to killing it [default: 2s]
    #[arg(long, value_name = "DUR")]
    grace: Option<Span>,
    /// How long the worker may take until its hello [default: 30s]
    #[arg(long, value_name = "DUR")]
    start_timeout: Option<Span>,
    /// Run it with this niceness added
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-20..20))]
    nice: Option<i32>,
    /// Say more (-vv: still more) in poolctl's own log on stderr
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// No notices; errors are still told
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// Runs the task.
pub(crate) fn run(args: ApplyArgs) -> Result<End, Failure> {
    map::run_one(map_of(args))
}

/// The map of one item that it is.
fn map_of(args: ApplyArgs) -> MapArgs {
    MapArgs {
        words: args.words,
        command: args.command,
        target: args.target,
        items: ItemArgs { raw: args.raw, ..ItemArgs::default() },
        pool: PoolArgs {
            jobs: Some(Jobs::Exactly(1)),
            nice: args.nice,
            start_timeout: args.start_timeout,
            ..PoolArgs::default()
        },
        failure: FailureArgs {
            timeout: args.timeout,
            retries: args.retries,
            retry_delay: args.retry_delay,
            grace: args.grace,
            ..FailureArgs::default()
        },
        output: OutputArgs { json: args.json, ..OutputArgs::default() },
        terminal: TerminalArgs {
            progress: Some(ProgressWhen::Never),
            verbose: args.verbose,
            quiet: args.quiet,
            ..TerminalArgs::default()
        },
        ..MapArgs::default()
    }
}
