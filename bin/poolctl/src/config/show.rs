//! `poolctl config show`: every setting, and with `--origin` where it comes from.

use std::io::Write;

use poolctl_types::ExitCode;

use super::key::KEYS;
use super::load::load;
use crate::failure::Failure;

/// What `poolctl config show` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Say where each value comes from
    #[arg(long)]
    origin: bool,
}

/// Prints the settings as a configuration file would hold them.
pub(crate) fn show(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let loaded = load().map_err(|error| Failure::new(ExitCode::BadConfig, error))?;
    let mut text = "[map]\n".to_owned();
    for (key, (value, origin)) in KEYS.iter().zip(&loaded.origins) {
        let value = if key.number { value.clone() } else { format!("{value:?}") };
        text += &match args.origin {
            true => format!("{:<32} # {origin}\n", format!("{} = {value}", key.name)),
            false => format!("{} = {value}\n", key.name),
        };
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(ExitCode::Ok),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::ReaderGone),
        Err(error) => Err(Failure::new(ExitCode::OutputError, error)),
    }
}
