//! `poolctl reload`: has the service read its configuration again.

use poolctl_service::{ErrorCode, RequestError};
use poolctl_types::ExitCode;

use super::ask::{PlaceArgs, print, refused};
use crate::end::End;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  poold --check && poolctl reload     no task is lost; a configuration that is bad is refused, and the old one holds
";

/// Have poold read its configuration again
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

/// The service keeps what it has.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used; everything stays as it is")]
struct KeptError {
    source: RequestError,
}

/// Reloads.
pub(crate) fn reload(args: &ReloadArgs) -> Result<End, Failure> {
    let mut connection = args.place.connect()?;
    let pools = connection.reload().map_err(|error| match error {
        RequestError::Refused(ref body) if body.code == ErrorCode::BadArgument => {
            Failure::new(ExitCode::BadConfig, KeptError { source: error })
        }
        error => refused(error),
    })?;
    let pools = if pools.is_empty() { "no pools".to_owned() } else { pools.join(", ") };
    print(&format!("{pools}\n"))
}
