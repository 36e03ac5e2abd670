//! How pools and workers are shown to a person.

use std::fs;

use poolctl_service::{LastDeath, PoolStats, Running};
use poolctl_types::{Exit, SignalName};

use crate::value::Span;

/// A table with a line for each row, columns below each other; all but the first and the last to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let is_left = column == 0 || column + 1 == columns;
            line += &if is_left { format!("{cell:width$}  ") } else { format!("{cell:>width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The name of a pool.
pub(super) fn name(pool: &PoolStats) -> String {
    pool.name.clone().unwrap_or_else(|| format!("(a client's, {})", pool.pool))
}

/// What a pool runs, in short.
pub(super) fn target(pool: &PoolStats) -> String {
    let text = pool.target.as_deref().or(pool.kind.as_deref()).unwrap_or("-");
    shown(text)
}

/// A text of a service, on one line and without anything that a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

/// What state a pool is in, in a word or two.
pub(super) fn state(pool: &PoolStats) -> String {
    match pool.state.as_deref() {
        None | Some("open") if pool.now.iter().any(|running| is_stopped(running.pid)) => {
            "not responding".to_owned()
        }
        None | Some("open") if pool.running > 0 || pool.queued > 0 => "busy".to_owned(),
        None | Some("open") => "idle".to_owned(),
        Some(other) => shown(other),
    }
}

/// How a worker died.
pub(super) fn death(death: &LastDeath) -> String {
    let how = match (death.oom, death.signal, death.exit) {
        (true, ..) => "was killed by the kernel for memory".to_owned(),
        (_, Some(signal), _) => format!("was killed by {}", SignalName(signal)),
        (_, None, Some(code)) => format!("ended with {}", Exit::Code(code)),
        (_, None, None) => "ended".to_owned(),
    };
    format!("worker {} {how}, {} ago", shown(&death.worker), span(death.ms))
}

/// What a worker is at.
pub(super) fn running(running: &Running) -> String {
    let pid = running.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let stopped = if is_stopped(running.pid) { ", not responding: stopped by a signal" } else { "" };
    let what = match (running.index, running.task) {
        (Some(index), _) => format!("item {index}"),
        (None, Some(task)) => format!("task {task}"),
        (None, None) => "a task".to_owned(),
    };
    let since = running.ms.map(|ms| format!(" for {}", span(ms))).unwrap_or_default();
    format!("worker {}{pid}: {what}{since}{stopped}", shown(&running.worker))
}

/// Milliseconds, as a person says it.
pub(super) fn span(millis: u64) -> Span {
    Span(std::time::Duration::from_millis(millis))
}

/// Whether a process stands still because of a signal.
fn is_stopped(pid: Option<u32>) -> bool {
    let stat = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    let state =
        stat.as_deref().and_then(|stat| stat.rsplit_once(") ")).map(|(_, rest)| rest.starts_with(['T', 't']));
    state == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_a_table_stand_below_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();

        let text = table(&[row(["POOL", "OK", "TARGET"]), row(["images", "10", "x"])]);

        assert_eq!(text, "POOL    OK  TARGET\nimages  10  x\n");
    }

    #[test]
    fn a_death_is_told_with_its_cause() {
        let killed =
            LastDeath { worker: "0.3".to_owned(), signal: Some(9), ms: 2000, ..LastDeath::default() };

        assert_eq!(death(&killed), "worker 0.3 was killed by SIGKILL, 2.0 s ago");
        assert_eq!(
            death(&LastDeath { oom: true, ..killed.clone() }),
            "worker 0.3 was killed by the kernel for memory, 2.0 s ago"
        );
        let ended = LastDeath { signal: None, exit: Some(3), ..killed };
        assert_eq!(death(&ended), "worker 0.3 ended with exit code 3, 2.0 s ago");
    }
}
