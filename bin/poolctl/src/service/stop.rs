//! `poolctl stop`: has the service end, and waits until it has.

use poolctl_service::{Connection, incumbent};
use poolctl_supervisor::Pidfd;
use poolctl_types::ExitCode;

use super::ask::{PlaceArgs, refused};
use crate::end::End;
use crate::failure::Failure;
use crate::stderr::say;

const EXAMPLES: &str = "\
Examples:
  poolctl stop           finishes what is queued and running, then ends poold
  poolctl stop --now     stops what runs
";

/// End poold
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct StopArgs {
    /// Stop tasks that run instead of finishing them
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Ends the service.
pub(crate) fn stop(args: &StopArgs) -> Result<End, Failure> {
    let path = args.place.path()?;
    let mut connection = args.place.connect()?;
    // The pid is its own as long as it has the lock, and the process is known by more than its pid from here on.
    let record = incumbent(&path).ok().flatten();
    let process = record.and_then(|record| Pidfd::open(record.pid).ok());
    if args.now {
        connection.terminate_service().map_err(refused)?;
    } else {
        tell_what_is_left(&mut connection);
        connection.drain_service().map_err(refused)?;
    }
    drop(connection);
    if let Some(process) = process {
        process.wait_for_end(None).map_err(|error| Failure::new(ExitCode::Internal, error))?;
    }
    Ok(ExitCode::Ok.into())
}

fn tell_what_is_left(connection: &mut Connection) {
    let Ok(stats) = connection.stats(None) else { return };
    let left: u64 = stats.pools.iter().map(|pool| pool.queued + pool.running).sum();
    if left > 0 {
        say(&format!("poolctl: {left} tasks are queued or run; `poolctl stop --now` stops them\n"));
    }
}
