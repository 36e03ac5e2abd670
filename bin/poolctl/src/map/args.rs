//! Everything `poolctl map` can be told on the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use poolctl_supervisor::Framing;

use crate::config::{LogFormat, ProgressWhen};
use crate::service::PlaceArgs;
use crate::value::{Delimiter, HaltRule, Jobs, Size, Span, TimeLimit};

const EXAMPLES: &str = "\
Examples:
  find . -name '*.png' | poolctl map -- optipng -o5 {}      one process for each line of stdin
  poolctl map -j 4 -- convert {} {.}.jpg ::: *.png          items from the command line
  poolctl map --shell 'gzip -dc \"$1\" | wc -l' ::: *.gz      a shell for each item; the item is $1
  seq 10 | poolctl map square                               a native function (poolctl functions)
  seq 10 | poolctl map python:math:factorial                a Python function in warm interpreters
  poolctl map python:./score.py:score --raw < names.txt     from a file; lines as strings
  poolctl map --lines 'jq --unbuffered -c .key' < x.jsonl   an unmodified line filter, kept warm
  poolctl map --worker 'node worker.js' < tasks.jsonl       a worker in any language, or in Rust
  poolctl map --pool images < paths.txt                     a warm pool of poold (poolctl start)
  poolctl map --retries 2 --timeout 30s --log run.log -- ./fetch {} < urls.txt
";

const OUTPUT_NOTES: &str = "\
Results come on stdout in the order of the items; items are counted from 0 ({#} counts from 1, as in GNU parallel).
Exit codes: 0 all ok, 1 some item failed, 2 usage, 3 halted, 65 unusable input, 69 no service there, 74 output error, 78 bad configuration,
124 deadline, 126/127 the worker cannot start / was not found, 130/143 interrupted, 141 the reader of stdout went away.";

/// Run a command, filter, worker or function on every item of the input, in parallel, in order
#[derive(Debug, Default, clap::Args)]
#[command(
    before_help = EXAMPLES,
    before_long_help = EXAMPLES,
    after_help = OUTPUT_NOTES,
    override_usage = "poolctl map [OPTIONS] -- CMD [ARG]... [::: ITEM...]
       poolctl map [OPTIONS] --shell SCRIPT [ITEM]...
       poolctl map [OPTIONS] FUNCTION [ITEM]...
       poolctl map [OPTIONS] python:MODULE:FUNCTION [ITEM]...
       poolctl map [OPTIONS] --lines 'CMD...' [ITEM]...
       poolctl map [OPTIONS] --worker 'CMD...' [--function NAME] [ITEM]...
       poolctl map [OPTIONS] --pool NAME [ITEM]..."
)]
pub(crate) struct MapArgs {
    /// A native function, python:MODULE:FUNCTION or python:FILE.py:FUNCTION, then items; behind `:::` items, behind
    /// `::::` files of items
    #[arg(value_name = "FUNCTION|ITEM")]
    pub(crate) words: Vec<OsString>,
    /// The command for each item, without a shell; an argv without `{}` gets the item at its end
    #[arg(value_name = "CMD", last = true)]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) items: ItemArgs,
    #[command(flatten)]
    pub(crate) template: TemplateArgs,
    #[command(flatten)]
    pub(crate) pool: PoolArgs,
    #[command(flatten)]
    pub(crate) failure: FailureArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) terminal: TerminalArgs,
    #[command(flatten)]
    pub(crate) foreign: ForeignArgs,
}

/// What runs, besides a command and a function.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// Run this script with /bin/sh for each item; the item is $1
    #[arg(long, value_name = "SCRIPT", group = "named_target")]
    pub(crate) shell: Option<OsString>,
    /// Keep this line filter warm: one line in, one line out
    #[arg(long, value_name = "CMD", group = "named_target")]
    pub(crate) lines: Option<OsString>,
    /// Keep this worker warm: a Rust program with poolctl::init(), or any that speaks the worker protocol
    #[arg(long, value_name = "CMD", group = "named_target")]
    pub(crate) worker: Option<OsString>,
    /// Run this pool of poold (poolctl status lists them)
    #[arg(long, value_name = "NAME", group = "named_target")]
    pub(crate) pool: Option<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Which of the worker's functions
    #[arg(long, value_name = "NAME", requires = "worker")]
    pub(crate) function: Option<String>,
    /// The form in which the worker speaks
    #[arg(long, value_enum, default_value = "jsonl", requires = "worker", hide_default_value = false)]
    pub(crate) framing: FramingName,
    /// The worker speaks on stdin and stdout (JSON lines, replies behind byte 0x1E)
    #[arg(long, requires = "worker")]
    pub(crate) worker_stdio: bool,
    /// The interpreter for python: targets [default: python3]
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<String>,
    /// Spread an item that is a JSON array over the function's parameters (native functions with several always do)
    #[arg(long)]
    pub(crate) starmap: bool,
    /// --lines: most lines outstanding per worker; more is faster, and gives up at-most-once [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ahead: Option<u32>,
    /// --lines: how long a line may stay unanswered [default: 10s]
    #[arg(long, value_name = "DUR")]
    pub(crate) reply_timeout: Option<Span>,
    /// --lines: run the filter under `stdbuf -oL`
    #[arg(long)]
    pub(crate) stdbuf: bool,
    /// --lines: an answer is all lines up to this one
    #[arg(long, value_name = "STR", allow_hyphen_values = true)]
    pub(crate) eot: Option<OsString>,
}

/// The forms of the worker protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FramingName {
    /// One JSON object a line
    #[default]
    Jsonl,
    /// Binary frames
    Frame,
    /// Tab-separated, for shells
    Tsv,
}

impl From<FramingName> for Framing {
    fn from(name: FramingName) -> Self {
        match name {
            FramingName::Jsonl => Framing::JsonLines,
            FramingName::Frame => Framing::Frames,
            FramingName::Tsv => Framing::Tsv,
        }
    }
}

/// Where the items come from.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Items (from the arguments, else -a, else stdin; one per line)")]
pub(crate) struct ItemArgs {
    /// Read items from this file; several files give the product
    #[arg(short = 'a', long = "arg-file", value_name = "FILE")]
    pub(crate) arg_file: Vec<PathBuf>,
    /// Items end with NUL instead of a line break
    #[arg(short = '0', long = "null", conflicts_with = "delimiter")]
    pub(crate) null: bool,
    /// Items end with this (\n \t \0 \xHH are understood)
    #[arg(short = 'd', long, value_name = "DELIM", allow_hyphen_values = true)]
    pub(crate) delimiter: Option<Delimiter>,
    /// Leave out empty items
    #[arg(short = 'r', long = "no-run-if-empty")]
    pub(crate) skip_empty: bool,
    /// Functions and workers: items are strings, not JSON
    #[arg(long)]
    pub(crate) raw: bool,
    /// Several `:::`: pair the items instead of combining each with each
    #[arg(long)]
    pub(crate) link: bool,
    /// Lines are comma-separated values: fields are {1} {2} ...
    #[arg(long)]
    pub(crate) csv: bool,
    /// Lines are fields separated by this
    #[arg(short = 'C', long, value_name = "SEP", conflicts_with = "csv", allow_hyphen_values = true)]
    pub(crate) colsep: Option<Delimiter>,
    /// The first line names the fields: {name}; functions get objects
    #[arg(long, value_name = ":", num_args = 0..=1, require_equals = true, default_missing_value = ":")]
    pub(crate) header: Option<String>,
}

/// How an item becomes a command.
#[derive(Debug, Default, clap::Args)]
#[command(
    next_help_heading = "Commands ({} item, {.} without extension, {/} base name, {//} directory, {/.} base \
                               name without extension, {#} number, {%} slot, {n} field)"
)]
pub(crate) struct TemplateArgs {
    /// N items in one command; the command is then one item, for results, counts and failures
    #[arg(short = 'n', long = "max-args", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_args: Option<u64>,
    /// N lines in one command, not counting empty ones; the command is then one item
    #[arg(short = 'L', long = "max-lines", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_lines: Option<u64>,
    /// As many items in one command as fit, whatever -j; the command is then one item
    #[arg(short = 'X', long = "xargs", conflicts_with_all = ["max_args", "max_lines"])]
    pub(crate) fill: bool,
    /// Give the item on the command's stdin
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Cut stdin into blocks of whole lines; each is the stdin of one command
    #[arg(long, conflicts_with_all = ["stdin", "fill"])]
    pub(crate) pipe: bool,
    /// --pipe: the size of a block [default: 1MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) block: Option<Size>,
    /// Use this instead of {}
    #[arg(short = 'I', value_name = "STR", allow_hyphen_values = true)]
    pub(crate) replace: Option<OsString>,
    /// Print each command on stderr before it runs
    #[arg(short = 't', long = "verbose-commands")]
    pub(crate) trace: bool,
    /// Print each argv as JSON and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How many workers, and how they are treated.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Pool")]
pub(crate) struct PoolArgs {
    /// Workers: 4, 50%, -1 (all CPUs but one), 2x [default: the CPUs that affinity and cgroup allow]
    #[arg(short = 'j', long, value_name = "N", visible_short_alias = 'P', allow_hyphen_values = true)]
    pub(crate) jobs: Option<Jobs>,
    /// Most items from the oldest unfinished to the newest dispatched [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) window: Option<u64>,
    /// Replace a worker after so many items
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_tasks: Option<u64>,
    /// Replace a worker that holds more memory than this after an item
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_rss: Option<Size>,
    /// Wait so long between two starts
    #[arg(long, value_name = "DUR")]
    pub(crate) delay: Option<Span>,
    /// Run workers with this niceness added
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-20..20))]
    pub(crate) nice: Option<i32>,
    /// Start nothing new while less memory is free
    #[arg(long, value_name = "SIZE")]
    pub(crate) memfree: Option<Size>,
    /// Start nothing new while the load average is higher
    #[arg(long, value_name = "N")]
    pub(crate) load: Option<f64>,
    /// How long a new worker may take until its hello [default: 30s]
    #[arg(long, value_name = "DUR")]
    pub(crate) start_timeout: Option<Span>,
}

/// What happens when items fail or take long.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Failure and time")]
pub(crate) struct FailureArgs {
    /// Further attempts for an item that failed, timed out or whose worker died [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// Wait so long before a further attempt
    #[arg(long, value_name = "DUR")]
    pub(crate) retry_delay: Option<Span>,
    /// How long one item may run: 2s, or 300% of the median
    #[arg(long, value_name = "DUR|N%")]
    pub(crate) timeout: Option<TimeLimit>,
    /// How long the whole run may take
    #[arg(long, value_name = "DUR")]
    pub(crate) deadline: Option<Span>,
    /// End the run when so many items failed: now,fail=1 or soon,fail=10% (judged from the tenth finished item on)
    #[arg(long, value_name = "RULE")]
    pub(crate) halt: Option<HaltRule>,
    /// Give an item up after it took so many workers with it [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_crashes: Option<u32>,
    /// From asking a process to end to killing it [default: 2s]
    #[arg(long, value_name = "DUR")]
    pub(crate) grace: Option<Span>,
    /// Append one JSON line for each item to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Leave out what is done according to this log, and continue it
    #[arg(long, value_name = "FILE", conflicts_with = "log")]
    pub(crate) resume: Option<PathBuf>,
    /// With --resume: take the items that failed again
    #[arg(long, requires = "resume")]
    pub(crate) resume_failed: bool,
}

/// What becomes of results.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Results in the order of the input (as always)
    #[arg(short = 'k', long = "keep-order", conflicts_with = "unordered")]
    pub(crate) keep_order: bool,
    /// Results as they come
    #[arg(long)]
    pub(crate) unordered: bool,
    /// One JSON object for each item: outcome, times, output
    #[arg(long, conflicts_with_all = ["tag", "output"])]
    pub(crate) json: bool,
    /// Put the item and a tab before each line of its output
    #[arg(long, conflicts_with = "output")]
    pub(crate) tag: bool,
    /// One file for each item in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Finished output that waits for an earlier result [default: 16MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) buffer: Option<Size>,
}

/// What the person at the terminal sees.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Terminal")]
pub(crate) struct TerminalArgs {
    /// Progress on stderr [default: auto]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) progress: Option<ProgressWhen>,
    /// Say more (-vv: still more) in poolctl's own log on stderr
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// No progress, notices and summary; errors are still told
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// The form of that log [default: text]
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Flags of other tools, answered with our name for them.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ForeignArgs {
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    joblog: Option<OsString>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    results: Option<OsString>,
    #[arg(long, hide = true)]
    bar: bool,
    #[arg(long, hide = true)]
    eta: bool,
}

/// A flag of another tool.
#[derive(Debug, thiserror::Error)]
#[error("{theirs} is called {ours} here")]
pub(crate) struct ForeignFlag {
    theirs: &'static str,
    ours: &'static str,
}

impl ForeignArgs {
    /// The first of them that was given.
    pub(crate) fn refuse(&self) -> Result<(), ForeignFlag> {
        let flags = [
            (self.joblog.is_some(), "--joblog", "--log FILE"),
            (self.results.is_some(), "--results", "--output DIR"),
            (self.bar, "--bar", "--progress always"),
            (self.eta, "--eta", "--progress always"),
        ];
        match flags.into_iter().find(|(given, ..)| *given) {
            Some((_, theirs, ours)) => Err(ForeignFlag { theirs, ours }),
            None => Ok(()),
        }
    }
}

impl PoolArgs {
    /// The wait between two starts; zero for none.
    pub(crate) fn delay(&self) -> Duration {
        self.delay.map_or(Duration::ZERO, |span| span.0)
    }
}
