//! What `--json` and `--log` say of every item.

use std::time::{SystemTime, UNIX_EPOCH};

use poolctl_supervisor::{Outcome, Report};
use poolctl_types::{Exit, Moment, SignalName};
use serde::Serialize;

/// How one item ended, in the words of `--json` and `--log`.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Its place in the input, from 0.
    index: u64,
    /// `ok`, `failed`, `timed_out`, `cancelled`, `worker_died`, `quarantined`.
    status: &'static str,
    /// The exit code of its process.
    exit: Option<i32>,
    /// The name of the signal that ended its process.
    signal: Option<String>,
    attempts: u32,
    /// `slot.generation`.
    worker: Option<String>,
    /// When the last attempt began, in seconds since 1970.
    start: Option<f64>,
    wall_ms: Option<f64>,
    /// None in warm workers.
    cpu_ms: Option<f64>,
    /// In KiB, as `getrusage` has it; none in warm workers.
    max_rss: Option<u64>,
}

/// Turns moments into the time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    moment: Moment,
    seconds: f64,
}

impl WallClock {
    /// A clock for which it is now `moment`. Only logs are told the time of day.
    pub(crate) fn at(moment: Moment) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { moment, seconds: since.as_secs_f64() }
    }

    fn seconds_at(self, moment: Moment) -> f64 {
        let offset = if moment >= self.moment {
            moment.since(self.moment).as_secs_f64()
        } else {
            -self.moment.since(moment).as_secs_f64()
        };
        thousandths(self.seconds + offset)
    }
}

impl Summary {
    /// The summary of a report.
    pub(crate) fn new(report: &Report, clock: WallClock) -> Self {
        let attempt = &report.attempt;
        let millis = |span: std::time::Duration| thousandths(span.as_secs_f64() * 1e3);
        Self {
            index: report.item.0,
            status: status(report.outcome),
            exit: attempt.exit.and_then(|exit| match exit {
                Exit::Code(code) => Some(code),
                Exit::Signal(_) => None,
            }),
            signal: attempt.exit.and_then(|exit| match exit {
                Exit::Code(_) => None,
                Exit::Signal(signal) => Some(SignalName(signal).to_string()),
            }),
            attempts: report.attempts,
            worker: attempt.worker.map(|worker| worker.to_string()),
            start: attempt.started.map(|moment| clock.seconds_at(moment)),
            wall_ms: attempt.wall.map(millis),
            cpu_ms: attempt.cpu.map(millis),
            max_rss: attempt.max_rss_kib,
        }
    }
}

/// An outcome in the words of `--json` and `--log`.
pub(super) fn status(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::TimedOut => "timed_out",
        Outcome::Cancelled => "cancelled",
        Outcome::WorkerDied => "worker_died",
        Outcome::Quarantined => "quarantined",
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
