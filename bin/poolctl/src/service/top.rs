//! `poolctl top`: the status again and again, until somebody has seen enough.

use std::io::{self, IsTerminal};
use std::sync::mpsc::channel;

use poolctl_types::ExitCode;

use super::ask::{PlaceArgs, print, refused};
use super::{status, words};
use crate::end::End;
use crate::failure::Failure;
use crate::value::Span;

const EXAMPLES: &str = "\
Examples:
  poolctl top                 every second, until Ctrl-C
  poolctl top --every 5s
";

/// From the top left, with nothing below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Show how pools stand, again and again
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct TopArgs {
    /// The time between two looks
    #[arg(long, value_name = "DUR", default_value = "1s")]
    every: Span,
    /// End after so many looks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Shows how they stand until the service ends.
pub(crate) fn top(args: &TopArgs) -> Result<End, Failure> {
    let mut connection = args.place.connect()?;
    let clear = if io::stdout().is_terminal() { CLEAR } else { "" };
    // Nobody sends: a wait that only time ends.
    let (_quiet, nothing) = channel::<()>();
    let mut looks = 0;
    loop {
        let stats = connection.stats(None).map_err(refused)?;
        let running: String = stats
            .pools
            .iter()
            .flat_map(|pool| &pool.now)
            .map(|now| format!("  {}\n", words::running(now)))
            .collect();
        let end = print(&format!("{clear}{}{running}", status::table(&stats.pools)))?;
        looks += 1;
        if end != ExitCode::Ok.into() || args.count.is_some_and(|count| looks >= count) {
            return Ok(end);
        }
        nothing.recv_timeout(args.every.0).ok();
    }
}
