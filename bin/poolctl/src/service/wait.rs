//! `poolctl wait NAME`: until a pool has nothing to do; says whether something went wrong.

use poolctl_service::PoolStats;
use poolctl_types::ExitCode;

use super::ask::{PlaceArgs, attach, refused};
use super::words;
use crate::end::End;
use crate::failure::Failure;
use crate::stderr::say;

const EXAMPLES: &str = "\
Examples:
  poolctl wait images && echo done        until nothing is queued and nothing runs
  poolctl wait images --since-start       also counts what failed before
";

const NOTES: &str = "\
Exit codes: 0 it is idle and nothing failed meanwhile, 1 something failed, 2 no such pool, 69 no service there.";

/// Wait until a pool has nothing to do; 1 if something failed meanwhile
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES, after_help = NOTES)]
pub(crate) struct WaitArgs {
    /// Which pool
    #[arg(value_name = "NAME")]
    pool: String,
    /// Count what failed since the pool was opened, not only from now on
    #[arg(long)]
    since_start: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Waits.
pub(crate) fn wait(args: &WaitArgs) -> Result<End, Failure> {
    let mut connection = args.place.connect()?;
    let pool = attach(&mut connection, &args.pool)?;
    let first = |stats: poolctl_service::Stats| stats.pools.into_iter().next().unwrap_or_default();
    let before = first(connection.stats(Some(&pool)).map_err(refused)?);
    let after = first(connection.stats_when_idle(&pool).map_err(refused)?);
    let before = if args.since_start { PoolStats::default() } else { before };
    if let Some(state @ ("broken" | "gave up")) = after.state.as_deref() {
        let why = after.why.as_deref().map(|why| format!(": {}", words::shown(why))).unwrap_or_default();
        say(&format!("poolctl: {} {state}{why}; `poolctl explain {}` says more\n", args.pool, args.pool));
        return Ok(ExitCode::Failed.into());
    }
    let bad = after.bad().saturating_sub(before.bad());
    if bad > 0 {
        say(&format!("poolctl: {}: {bad} failed, {} ok\n", args.pool, after.ok.saturating_sub(before.ok)));
        return Ok(ExitCode::Failed.into());
    }
    Ok(ExitCode::Ok.into())
}
