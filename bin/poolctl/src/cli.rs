//! The command line: which command, and how its end becomes an exit code.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use poolctl_types::ExitCode;

use crate::apply::{self, ApplyArgs};
use crate::completions::{self, CompletionsArgs};
use crate::config::{self, ShowArgs};
use crate::end::End;
use crate::failure::Failure;
use crate::functions::{self, FunctionsArgs};
use crate::lock::{self, LockArgs, SemaphoreArgs};
use crate::locks::{self, LocksArgs};
use crate::map::{self, MapArgs, SEPARATORS};
use crate::serve::{self, ServeArgs};
use crate::service::{
    self, ExplainArgs, LogsArgs, ReloadArgs, ScaleArgs, StartArgs, StatusArgs, StopArgs, TopArgs, WaitArgs,
};
use crate::stderr::say;

const EXAMPLES: &str = "\
Examples:
  find . -name '*.png' | poolctl map -- optipng -o5 {}     a command for each line, one for each CPU
  seq 1000 | poolctl map square                            a native function (poolctl functions)
  poolctl map python:json:dumps < values.jsonl             a Python function in warm interpreters
  poolctl map --lines 'jq --unbuffered -c .key' < x.jsonl  an unmodified filter, kept warm
  poolctl apply add 2 3                                    one task
  poolctl lock deploy -- ./deploy.sh                       one at a time, in whatever shell
  poolctl start && poolctl status                          pools that stay warm, for many programs
";

/// Runs work through pools of worker processes, and loses nothing when one of them dies.
#[derive(Debug, Parser)]
#[command(name = "poolctl", version, before_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command, filter, worker or function on every item of the input, in parallel, in order
    Map(Box<MapArgs>),
    /// Run one task, and end as it does
    Apply(Box<ApplyArgs>),
    /// List the functions that a worker offers
    Functions(FunctionsArgs),
    /// Run a command while holding a lock that other shells know by name
    Lock(LockArgs),
    /// Run a command while holding one of N permits that other shells know by name
    Semaphore(SemaphoreArgs),
    /// Show who holds which lock, and who waits for it
    Locks(LocksArgs),
    /// Serve the client protocol to the program that started this one, and go when it goes
    Serve(ServeArgs),
    /// Start poold, which keeps named pools warm for many clients
    Start(StartArgs),
    /// End poold: what is queued and running is finished
    Stop(StopArgs),
    /// Show how poold and its pools stand
    Status(StatusArgs),
    /// The same again and again
    Top(TopArgs),
    /// Wait until a pool of poold has nothing to do; 1 if something failed meanwhile
    Wait(WaitArgs),
    /// Change how many workers a pool of poold has at most
    Scale(ScaleArgs),
    /// Have poold read its configuration again
    Reload(ReloadArgs),
    /// Show where the log of poold is, and its last lines
    Logs(LogsArgs),
    /// Say in words how a pool of poold stands, or what an exit code means
    Explain(ExplainArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting with the value that holds
    Show(ShowArgs),
}

/// Parses the command line, runs the command, reports how it went.
pub(crate) fn run() -> End {
    let cli = match Cli::try_parse_from(with_items_apart(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error).into(),
    };
    let end = match cli.command {
        Command::Map(args) => map::run(*args),
        Command::Apply(args) => apply::run(*args),
        Command::Functions(args) => functions::list(&args),
        Command::Lock(args) => lock::run_locked(&args),
        Command::Semaphore(args) => lock::run_permitted(&args),
        Command::Locks(args) => locks::list(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Start(args) => service::start(&args),
        Command::Stop(args) => service::stop(&args),
        Command::Status(args) => service::status(&args),
        Command::Top(args) => service::top(&args),
        Command::Wait(args) => service::wait(&args),
        Command::Scale(args) => service::scale(&args),
        Command::Reload(args) => service::reload(&args),
        Command::Logs(args) => service::logs(&args),
        Command::Explain(args) => service::explain(&args),
        Command::Config(ConfigCommand::Show(args)) => config::show(&args).map(End::from),
        Command::Completions(args) => completions::print(&args).map(End::from),
    };
    end.unwrap_or_else(|failure| report(&failure).into())
}

/// Puts `--` before the first `:::`, so that no item behind it is taken for a flag.
fn with_items_apart(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let mark = words.iter().position(|word| word == "--" || SEPARATORS.iter().any(|mark| word == mark));
    if let Some(mark) = mark.filter(|mark| words[*mark] != "--") {
        words.insert(mark, "--".into());
    }
    words
}

fn report(failure: &Failure) -> ExitCode {
    let mut text = Vec::new();
    failure.write_to(&mut text).expect("memory takes any write");
    say(&String::from_utf8_lossy(&text));
    failure.code()
}

/// Prints what clap has to say: help and version are no errors.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.print() {
        Err(broken) if broken.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::ReaderGone,
        Err(_) => ExitCode::OutputError,
        Ok(()) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Ok,
            _ => ExitCode::Usage,
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_behind_three_colons_is_a_flag() {
        let apart = |words: &[&str]| {
            let words = with_items_apart(words.iter().map(OsString::from));
            words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };

        assert_eq!(apart(&["x", "map", "f", ":::", "-1", "--", "::::"]), "x map f -- ::: -1 -- ::::");
        assert_eq!(apart(&["x", "map", "--", "cmd", ":::", "-1"]), "x map -- cmd ::: -1");
    }

    const SERVICE: [&str; 9] =
        ["start", "stop", "status", "top", "wait", "scale", "reload", "logs", "explain"];

    #[test]
    fn help_starts_with_examples_everywhere() {
        let mut command = Cli::command();
        let top = command.render_long_help().to_string();

        assert!(top.starts_with("Examples:\n"), "{top}");
        for name in
            ["map", "apply", "functions", "lock", "semaphore", "locks", "serve"].iter().chain(&SERVICE)
        {
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(help.starts_with("Examples:\n"), "{help}");
        }
    }
}
