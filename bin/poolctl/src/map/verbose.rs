//! The program's own log, which is only set up where somebody asks for it: start-up is not free.

use std::env;

use poolctl_types::ExitCode;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::failure::Failure;

/// The variable that says what to log, as in `info` or `poolctl_supervisor=debug`.
const VARIABLE: &str = "POOLCTL_LOG";

/// Starts logging to stderr if `-v` was given so many times, or the variable says so.
pub(crate) fn start(verbose: u8, format: LogFormat) -> Result<(), Failure> {
    let filter = match (verbose, env::var(VARIABLE)) {
        (0, Err(_)) => return Ok(()),
        (_, Ok(text)) => EnvFilter::try_new(text).map_err(|error| {
            Failure::new(ExitCode::BadConfig, error)
                .hint(format!("{VARIABLE} takes a level (info, debug) or target=level, with commas between"))
        })?,
        (1, Err(_)) => EnvFilter::new("info"),
        (2, Err(_)) => EnvFilter::new("debug"),
        (_, Err(_)) => EnvFilter::new("trace"),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => subscriber.compact().try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    started.map_err(|error| Failure::new(ExitCode::Internal, error))
}
