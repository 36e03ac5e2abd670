//! Words about items that went wrong: all of it for the first, a line for each that is the same as one before.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

use poolctl_supervisor::{Attempt, Outcome, Output, Report, TaskError};
use poolctl_types::{Exit, Item};

use super::item_text::ItemForm;
use super::{SinkConfig, Sole, Style, Tally};
use crate::value::Span;

/// So many complaints are made in full; after that only those that say something new.
const FULL: u64 = 20;

/// The most lines of stderr or of a trace that stand under a complaint.
const LINES: usize = 20;

/// The most that is kept of a long stderr to stand under a complaint.
pub(super) const TAIL_BYTES: usize = 4 << 10;

/// Makes the complaints of a run.
#[derive(Debug)]
pub(super) struct Complaints {
    most_attempts: u32,
    items: ItemForm,
    made: u64,
    retries: u64,
    seen: HashSet<u64>,
    /// Whether stderr can be read elsewhere, so that its beginning may be left out.
    stderr_elsewhere: bool,
    /// Whether there is but one item, which needs no name.
    sole: Option<Sole>,
}

/// Whether what an item wrote on stderr stands whole under its complaint, and so need not be passed on by itself.
pub(super) fn shows_whole(report: &Report, stderr: &Output) -> bool {
    is_bad(report.outcome)
        && stderr.in_memory().is_some_and(|bytes| {
            bytes.len() <= TAIL_BYTES && bytes.split_inclusive(|byte| *byte == b'\n').count() <= LINES
        })
}

fn is_bad(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Ok | Outcome::Cancelled)
}

impl Complaints {
    pub(super) fn new(config: &SinkConfig) -> Self {
        Self {
            most_attempts: config.most_attempts,
            items: config.items,
            made: 0,
            retries: 0,
            seen: HashSet::new(),
            stderr_elsewhere: config.style == Style::Json,
            sole: config.sole,
        }
    }

    /// The complaint about an item, if there is reason for one.
    pub(super) fn about(&mut self, report: &Report) -> Option<String> {
        if !is_bad(report.outcome) {
            return None;
        }
        let says_it_all =
            report.outcome != Outcome::TimedOut && matches!(report.attempt.exit, Some(Exit::Code(_)));
        if self.sole == Some(Sole::Command) && says_it_all {
            return None;
        }
        let why = reason(report.outcome, &report.attempt);
        let mut text = match self.sole {
            Some(_) => format!("error: {why}"),
            None => format!("error: item {} ({}): {why}", report.item, self.items.shown(&report.payload)),
        };
        if let Some(wall) = report.attempt.wall {
            let _ = write!(text, " after {}", Span(wall));
        }
        if self.most_attempts > 1 {
            let _ = write!(text, " (attempt {} of {})", report.attempts, self.most_attempts);
        }
        text.push('\n');
        let details = details(&report.attempt);
        let new = self.is_new(&why, &details);
        self.made += 1;
        if self.made <= FULL || new {
            text += &details;
        } else if !self.stderr_elsewhere && self.made == FULL + 1 {
            text += "  (more errors like those above are told in one line each)\n";
        }
        Some(text)
    }

    /// The words about an attempt that another follows.
    pub(super) fn retry(
        &mut self,
        item: Item,
        next: u32,
        why: Outcome,
        attempt: &Attempt,
        verbose: bool,
    ) -> String {
        self.retries += 1;
        let which = if self.sole.is_some() { String::new() } else { format!("item {item}: ") };
        if self.retries > FULL && !verbose {
            return if self.retries == FULL + 1 {
                "retrying: further attempts are not told any more (-v tells all)\n".to_owned()
            } else {
                String::new()
            };
        }
        let reason = reason(why, attempt);
        let details = if verbose { details(attempt) } else { String::new() };
        format!("retrying: {which}{reason}; attempt {next} of {} follows\n{details}", self.most_attempts)
    }

    /// The last words; none if all went well.
    pub(super) fn summary(&self, tally: Tally) -> String {
        let total = tally.ok + tally.failed + tally.cancelled;
        let mut parts = Vec::new();
        if tally.failed > 0 {
            parts.push(format!("{} of {total} items failed", tally.failed));
        }
        if tally.cancelled > 0 {
            parts.push(format!("{} cancelled", tally.cancelled));
        }
        if parts.is_empty() { String::new() } else { format!("poolctl: {}\n", parts.join(", ")) }
    }

    fn is_new(&mut self, why: &str, details: &str) -> bool {
        /// More kinds of errors than anybody reads.
        const MOST_KINDS: usize = 1000;
        let mut hasher = DefaultHasher::new();
        (why, details).hash(&mut hasher);
        self.seen.len() < MOST_KINDS && self.seen.insert(hasher.finish())
    }
}

/// Why an attempt went wrong, in one line.
fn reason(outcome: Outcome, attempt: &Attempt) -> String {
    let ended = match (attempt.out_of_memory, attempt.exit) {
        (true, _) => Some("killed by the kernel for memory".to_owned()),
        (false, Some(Exit::Code(0))) => Some("exit code 0 in mid-item".to_owned()),
        (false, exit) => exit.map(|exit| exit.to_string()),
    };
    let error = attempt.error.as_ref().map(|error| first_line(&error.to_string()));
    match outcome {
        Outcome::Ok | Outcome::Cancelled => "not wanted any more".to_owned(),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::Failed => error.or(ended).unwrap_or_else(|| "failed".to_owned()),
        Outcome::WorkerDied => match (ended, error) {
            (Some(ended), Some(error)) => format!("{ended}: {error}"),
            (Some(ended), None) => ended,
            (None, error) => error.unwrap_or_else(|| "its worker died".to_owned()),
        },
        Outcome::Quarantined => {
            let ended = ended.or(error).unwrap_or_else(|| "its worker died".to_owned());
            format!("{ended}; given up because it took too many workers with it (--max-crashes)")
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// What stands under a complaint: the trace of a remote error, the last lines of stderr.
fn details(attempt: &Attempt) -> String {
    let mut text = String::new();
    match &attempt.error {
        Some(error @ TaskError::Remote(remote)) => {
            // A trace without frames only says again what was said.
            let trace = remote.trace.as_deref().unwrap_or_default();
            if trace.trim() != error.to_string() {
                indent(&mut text, trace.as_bytes());
            }
        }
        Some(TaskError::Spill { .. }) => text.push_str("hint: point TMPDIR to a directory with more room\n"),
        _ => {}
    }
    indent(&mut text, attempt.stderr.tail(TAIL_BYTES));
    text
}

/// The last lines of `bytes`, indented.
fn indent(text: &mut String, bytes: &[u8]) {
    let trimmed = bytes.trim_ascii_end();
    if trimmed.is_empty() {
        return;
    }
    let lines: Vec<&[u8]> = trimmed.split(|byte| *byte == b'\n').collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        let line = String::from_utf8_lossy(line);
        text.push_str("    ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn complaints(most_attempts: u32, sole: Option<Sole>) -> Complaints {
        let (made, retries, seen) = (0, 0, HashSet::new());
        Complaints {
            most_attempts,
            items: ItemForm::Bytes,
            made,
            retries,
            seen,
            stderr_elsewhere: false,
            sole,
        }
    }

    fn report(item: u64, exit: Exit, stderr: &str) -> Report {
        Report {
            item: Item(item),
            payload: b"foo.png".to_vec(),
            outcome: Outcome::Failed,
            attempts: 2,
            attempt: Attempt {
                exit: Some(exit),
                wall: Some(Duration::from_millis(12)),
                stderr: Output::from(stderr.as_bytes().to_vec()),
                ..Attempt::default()
            },
        }
    }

    #[test]
    fn a_complaint_names_item_reason_time_and_attempt_with_stderr_under_it() {
        let mut complaints = complaints(3, None);

        let text = complaints.about(&report(7, Exit::Code(3), "no such\nthing\n")).unwrap();

        assert_eq!(
            text,
            "error: item 7 (\"foo.png\"): exit code 3 after 12 ms (attempt 2 of 3)\n    no such\n    thing\n"
        );
    }

    #[test]
    fn the_only_item_needs_no_name_and_the_status_of_the_only_command_no_words() {
        let (ended, killed) = (report(0, Exit::Code(3), ""), report(0, Exit::Signal(9), ""));

        assert_eq!(complaints(1, Some(Sole::Command)).about(&ended), None);
        assert_eq!(
            complaints(1, Some(Sole::Command)).about(&killed).unwrap(),
            "error: SIGKILL after 12 ms\n"
        );
        let function = complaints(1, Some(Sole::Function)).about(&ended).unwrap();
        assert_eq!(function, "error: exit code 3 after 12 ms\n");
    }

    #[test]
    fn after_twenty_only_new_errors_are_told_in_full() {
        let mut complaints = complaints(1, None);
        let lines: Vec<usize> = (0..25)
            .map(|item| complaints.about(&report(item, Exit::Code(1), "same\n")).unwrap().lines().count())
            .collect();
        let new = complaints.about(&report(99, Exit::Signal(9), "same\n")).unwrap();

        assert_eq!(lines[..20], [2; 20]);
        assert_eq!(lines[20..], [2, 1, 1, 1, 1], "the first short one says that they are short from here on");
        assert_eq!(new, "error: item 99 (\"foo.png\"): SIGKILL after 12 ms\n    same\n");
    }

    #[test]
    fn memory_and_crashes_are_named() {
        let mut killed = report(0, Exit::Signal(9), "");
        killed.attempt.out_of_memory = true;
        killed.outcome = Outcome::WorkerDied;
        assert_eq!(reason(killed.outcome, &killed.attempt), "killed by the kernel for memory");
        killed.attempt.out_of_memory = false;
        assert!(reason(Outcome::Quarantined, &killed.attempt).starts_with("SIGKILL; given up"));
        killed.attempt.exit = Some(Exit::Code(0));
        assert_eq!(reason(Outcome::WorkerDied, &killed.attempt), "exit code 0 in mid-item");
    }

    #[test]
    fn the_summary_counts_what_went_wrong_and_is_silent_otherwise() {
        let complaints = complaints(1, None);
        let tally = |failed, cancelled| Tally { ok: 5, failed, cancelled, retried: 0 };

        assert_eq!(complaints.summary(tally(0, 0)), "");
        assert_eq!(complaints.summary(tally(2, 0)), "poolctl: 2 of 7 items failed\n");
        assert_eq!(complaints.summary(tally(1, 4)), "poolctl: 1 of 10 items failed, 4 cancelled\n");
    }
}
