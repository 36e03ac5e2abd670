//! What runs just now, for USR1.

use poolctl_supervisor::{Counts, Running};
use poolctl_types::Moment;

use crate::value::Span;

/// A table of what runs. `shown` gives the text of an item.
pub(super) fn table<'a>(
    now: Moment,
    counts: &Counts,
    running: impl IntoIterator<Item = (&'a Running, String)>,
) -> String {
    let mut text = format!(
        "poolctl: {} ok, {} failed, {} running, {} waiting, {} workers\n",
        counts.ok, counts.failed, counts.running, counts.queued, counts.workers
    );
    for (running, item) in running {
        let pid = running.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        let since = running.since.map(|since| format!(" for {}", Span(now.since(since)))).unwrap_or_default();
        let attempt =
            if running.attempt > 1 { format!(", attempt {}", running.attempt) } else { String::new() };
        text +=
            &format!("  worker {}{pid}: item {} ({item}){since}{attempt}\n", running.worker, running.item);
    }
    text
}
