//! The command line of the service.

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;
use poolctl_types::ExitCode;

use crate::config::{self, LogFormat};
use crate::serve;

const EXAMPLES: &str = "\
Examples:
  poolctl start                          starts poold in the background; what you want at a shell
  poold                                  in the foreground, with its log on stderr; Ctrl-C ends it
  poold --config pools.toml --check      says whether a configuration is good
  systemctl --user enable --now poold.socket     as a service of the session (docs/poold.md)
";

const NOTES: &str = "\
Signals: HUP reads the configuration again; TERM and INT finish what is queued and running, a second one stops it.
Configuration: --config, else $POOLD_CONFIG, else $XDG_CONFIG_HOME/poolctl/poold.toml, else /etc/poolctl/poold.toml.
Exit codes: 0 ended as asked, 2 usage, 70 a bug, 74 the log cannot be written, 75 another poold serves there, 78 the
configuration or the place of the socket cannot be used.";

/// Keeps named pools of workers warm, for many clients.
#[derive(Debug, Parser)]
#[command(name = "poold", version, before_help = EXAMPLES, after_help = NOTES)]
pub(crate) struct Cli {
    /// The configuration
    #[arg(long, value_name = "FILE", env = "POOLD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where clients connect [default: $XDG_RUNTIME_DIR/poolctl/poold.sock]
    #[arg(long, value_name = "PATH", env = "POOLD_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Append the log to this file instead of stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Append it to this file where neither --log nor the configuration says otherwise
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) else_log: Option<PathBuf>,
    /// The form of the log [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// Read the configuration, say what it describes, and end
    #[arg(long)]
    check: bool,
}

/// Parses the command line and serves.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let end = if cli.check { check(&cli) } else { serve::serve(&cli) };
    match end {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Says what the configuration describes.
fn check(cli: &Cli) -> Result<ExitCode, crate::failure::Failure> {
    let found = config::find(cli.config.as_deref());
    let config = config::load(found.as_deref()).map_err(config::failure)?;
    let place = found.map_or("no configuration".to_owned(), |path| path.display().to_string());
    let names: Vec<&str> = config.pools.iter().map(|(name, _)| name.as_str()).collect();
    let pools = if names.is_empty() { "no pools".to_owned() } else { names.join(", ") };
    match writeln!(std::io::stdout(), "{place}: good; {pools}") {
        Ok(()) => Ok(ExitCode::Ok),
        Err(_) => Ok(ExitCode::OutputError),
    }
}

/// Prints what clap has to say: help and version are no errors.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.print() {
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
}
