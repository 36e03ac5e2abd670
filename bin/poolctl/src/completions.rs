//! `poolctl completions SHELL`: a completion script, made from the same definitions as `--help`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;
use poolctl_types::ExitCode;

use crate::cli::Cli;
use crate::failure::Failure;

/// What `poolctl completions` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn print(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "poolctl", &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => Ok(ExitCode::Ok),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::ReaderGone),
        Err(error) => Err(Failure::new(ExitCode::OutputError, error)),
    }
}
