//! `poolctl status`: how the service and its pools stand.

use std::path::Path;

use poolctl_service::{Connection, LogPlace, PoolStats, Record, incumbent};
use serde::Serialize;

use super::ask::{PlaceArgs, attach, print, refused};
use super::words;
use crate::end::End;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  poolctl status              a line for each pool
  poolctl status images       one pool, with its workers and what they are at
  poolctl status --json       for programs
";

/// Show how poold and its pools stand
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Only this pool, with its workers
    #[arg(value_name = "NAME")]
    pool: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// How a service stands, version 1. Fields may be added to it, and none is taken away.
#[derive(Debug, Serialize)]
struct Object<'a> {
    v: u32,
    socket: &'a Path,
    server: &'a str,
    pid: Option<u32>,
    config: Option<&'a Path>,
    log: Option<&'a LogPlace>,
    pools: &'a [PoolStats],
}

/// Prints how they stand.
pub(crate) fn status(args: &StatusArgs) -> Result<End, Failure> {
    let path = args.place.path()?;
    let mut connection = args.place.connect()?;
    let pool = args.pool.as_ref().map(|name| attach(&mut connection, name)).transpose()?;
    let stats = connection.stats(pool.as_ref()).map_err(refused)?;
    let record = incumbent(&path).ok().flatten();
    if args.json {
        let object = Object {
            v: 1,
            socket: &path,
            server: &connection.hello().server,
            pid: pid(&connection, record.as_ref()),
            config: record.as_ref().and_then(|record| record.config.as_deref()),
            log: record.as_ref().map(|record| &record.log),
            pools: &stats.pools,
        };
        let text = serde_json::to_string(&object).expect("texts and numbers only");
        return print(&format!("{text}\n"));
    }
    let mut text = head(&path, &connection, record.as_ref());
    text += &table(&stats.pools);
    if args.pool.is_some() {
        text += &stats.pools.iter().map(details).collect::<String>();
    }
    print(&text)
}

fn pid(connection: &Connection, record: Option<&Record>) -> Option<u32> {
    // Behind a socket of systemd the other end is systemd itself.
    record.map(|record| record.pid).or(connection.peer().map(|peer| peer.pid))
}

fn head(path: &Path, connection: &Connection, record: Option<&Record>) -> String {
    let pid = pid(connection, record).map(|pid| format!(", pid {pid}")).unwrap_or_default();
    format!("{} at {}{pid}\n", words::shown(&connection.hello().server), path.display())
}

/// A line for each pool.
pub(super) fn table(pools: &[PoolStats]) -> String {
    if pools.is_empty() {
        return "no pools\n".to_owned();
    }
    let head = ["POOL", "STATE", "WORKERS", "QUEUED", "RUNNING", "OK", "FAILED", "RESTARTS", "TARGET"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(pools.iter().map(|pool| {
        vec![
            words::name(pool),
            words::state(pool),
            format!("{}/{}", pool.alive.len(), pool.workers),
            pool.queued.to_string(),
            pool.running.to_string(),
            pool.ok.to_string(),
            pool.bad().to_string(),
            pool.restarts.to_string(),
            words::target(pool),
        ]
    }));
    words::table(&rows)
}

/// The workers of a pool, and what they are at.
fn details(pool: &PoolStats) -> String {
    let mut text = String::new();
    for worker in &pool.alive {
        let now = pool.now.iter().find(|running| running.worker == worker.worker);
        let pid = worker.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        text += &match now {
            Some(running) => format!("  {}\n", words::running(running)),
            None => format!("  worker {}{pid}: idle\n", words::shown(&worker.worker)),
        };
    }
    if let Some(death) = &pool.last_death {
        text += &format!("  {}\n", words::death(death));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pool_has_a_line() {
        let pool = PoolStats {
            name: Some("images".to_owned()),
            workers: 4,
            ok: 12,
            failed: 1,
            died: 2,
            ..PoolStats::default()
        };
        let busy = PoolStats {
            name: Some("a".to_owned()),
            workers: 2,
            queued: 7,
            running: 2,
            ..PoolStats::default()
        };

        let text = table(&[pool, busy]);

        let expected = "\
POOL    STATE  WORKERS  QUEUED  RUNNING  OK  FAILED  RESTARTS  TARGET
images   idle      0/4       0        0  12       3         0  -
a        busy      0/2       7        2   0       0         0  -
";
        assert_eq!(text, expected);
        assert_eq!(table(&[]), "no pools\n");
    }
}
