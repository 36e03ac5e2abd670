//! `poolctl scale NAME N`: how many workers a pool has.

use std::num::NonZeroU32;

use super::ask::{PlaceArgs, attach, print, refused};
use crate::end::End;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  poolctl scale images 8      at most eight workers from now on, until poold reads its configuration again
";

/// Change how many workers a pool has at most
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct ScaleArgs {
    /// Which pool
    #[arg(value_name = "NAME")]
    pool: String,
    /// How many workers
    #[arg(value_name = "N")]
    workers: NonZeroU32,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Changes it. Workers that are too many finish what they have.
pub(crate) fn scale(args: &ScaleArgs) -> Result<End, Failure> {
    let mut connection = args.place.connect()?;
    let pool = attach(&mut connection, &args.pool)?;
    let workers = connection.scale(&pool, args.workers.get()).map_err(refused)?;
    print(&format!("{}: at most {workers} workers\n", args.pool))
}
