//! Source files: their size, their first line, and the clock they read.

use super::Finding;
use crate::tree::Tree;

/// The longest source file, in lines.
const FILE_LINES: usize = 600;

/// The calendar's clock, which jumps; deadlines and durations come from the monotonic one.
const CALENDAR_CLOCK: &str = concat!("System", "Time");

/// Files that write the date into a log, and use it for nothing else.
const LOGS: [&str; 1] = ["bin/poolctl/src/map/sink/summary.rs"];

/// Checks all source files.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for extension in ["rs", "py", "js", "mjs", "pl", "sh", "c"] {
        findings.extend(tree.with_extension(extension).filter_map(|(path, text)| check_size(path, text)));
    }
    for (path, text) in tree.with_extension("rs") {
        findings.extend(check_head(path, text));
        findings.extend(check_clock(path, text));
    }
    findings
}

fn check_size(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    (lines > FILE_LINES).then(|| Finding::file(path, format!("{lines} lines; {FILE_LINES} at most")))
}

fn check_head(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().next().unwrap_or_default();
    (!first.starts_with("//! "))
        .then(|| Finding::line(path, 1, "does not open with `//!` and what the file is for"))
}

/// Only a log may tell the time of day.
fn check_clock(path: &str, text: &str) -> Vec<Finding> {
    if LOGS.contains(&path) {
        return Vec::new();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(CALENDAR_CLOCK));
    lines
        .map(|(index, _)| {
            let message =
                format!("{CALENDAR_CLOCK} jumps; use the monotonic clock (logs alone tell the date)");
            Finding::line(path, index + 1, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::*;

    #[test]
    fn a_file_over_the_limit_is_found_and_one_at_the_limit_is_not() {
        let head = "//! Head.\n";
        let (longest, longer) = (head.to_owned() + &"\n".repeat(599), head.to_owned() + &"\n".repeat(600));
        let tree = Tree::from([("a.rs", longest.as_str()), ("b.rs", &longer), ("c.py", &"x\n".repeat(601))]);

        let found = lines(&check(&tree));

        assert_eq!(found, ["b.rs: 601 lines; 600 at most", "c.py: 601 lines; 600 at most"]);
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        let tree = Tree::from([("a.rs", "//! Head.\n"), ("b.rs", "use std::io;\n"), ("c.rs", "")]);

        let found = lines(&check(&tree));

        assert_eq!(
            found,
            [
                "b.rs:1: does not open with `//!` and what the file is for",
                "c.rs:1: does not open with `//!` and what the file is for",
            ]
        );
    }

    #[test]
    fn the_calendar_clock_is_found_outside_logs() {
        let text = format!("//! Head.\nuse std::time::{CALENDAR_CLOCK};\n");
        let tree = Tree::from([("src/deadline.rs", text.as_str()), (LOGS[0], &text)]);

        let found = lines(&check(&tree));

        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("src/deadline.rs:2: "), "{found:?}");
    }
}
