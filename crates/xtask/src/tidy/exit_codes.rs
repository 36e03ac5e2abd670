//! `docs/exit-codes.md` says what `poolctl_types::ExitCode` says.

use std::fmt::Write;

use poolctl_types::ExitCode;

use super::{Finding, table};
use crate::tree::Tree;

/// Where the table is shown.
const SHOWN_IN: &str = "docs/exit-codes.md";

/// Compares the table with the enum.
pub(crate) fn check(tree: &Tree) -> Option<Finding> {
    let message = match (tree.text(SHOWN_IN), renewed(tree)) {
        (None, _) => "is missing",
        (Some(_), None) => "lacks the marks of the table of exit codes",
        (Some(text), Some((_, renewed))) if text != renewed => {
            "its table differs from poolctl_types::ExitCode; run `cargo xtask tidy --write`"
        }
        _ => return None,
    };
    Some(Finding::file(SHOWN_IN, message))
}

/// The document with the table that the enum gives.
pub(crate) fn renewed(tree: &Tree) -> Option<(&'static str, String)> {
    let mut rows = String::from("| status | name | meaning |\n|---:|---|---|\n");
    for code in ExitCode::ALL {
        writeln!(rows, "| {} | `{code:?}` | {} |", code as u8, code.meaning())
            .expect("writing to a String cannot fail");
    }
    Some((SHOWN_IN, table::between_marks(tree.text(SHOWN_IN)?, "exit codes", &rows)?))
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        lines(&Vec::from_iter(check(&Tree::from([(SHOWN_IN, text)]))))
    }

    #[test]
    fn a_table_that_differs_from_the_enum_is_found_and_can_be_renewed() {
        let stale = "# Exit codes\n<!-- exit codes -->\n| 0 | `Ok` | fine |\n<!-- end of exit codes -->\n";

        let (_, text) = renewed(&Tree::from([(SHOWN_IN, stale)])).expect("the marks are there");

        assert_eq!(
            found(stale),
            [
                "docs/exit-codes.md: its table differs from poolctl_types::ExitCode; run `cargo xtask tidy --write`"
            ]
        );
        assert_eq!(found(&text), [""; 0]);
        assert!(text.contains("| 127 | `NotFound` | worker, function or module not found |"), "{text}");
    }

    #[test]
    fn a_missing_document_and_missing_marks_are_found() {
        assert_eq!(lines(&Vec::from_iter(check(&Tree::default()))), ["docs/exit-codes.md: is missing"]);
        assert_eq!(
            found("# Exit codes\n"),
            ["docs/exit-codes.md: lacks the marks of the table of exit codes"]
        );
    }
}
