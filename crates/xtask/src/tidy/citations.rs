//! What the documents cite in backticks: a path of this repository exists, and a test that is named is there.
//!
//! `crates/engine/src/lib.rs` is a path; `crates/engine/src/lib.rs::a_test` is a function in that file.

use super::Finding;
use crate::tree::Tree;

/// Top folders whose paths are checked; other backticked text may be anything.
const FOLDERS: [&str; 7] = ["crates/", "bin/", "tests/", "docs/", "config/", "examples/", ".ci/"];

/// Checks the documents at the top and those under `docs/`.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let ours = tree.with_extension("md").filter(|(path, _)| !path.contains('/') || path.starts_with("docs/"));
    let mut findings = Vec::new();
    for (path, text) in ours.filter(|(path, _)| *path != "CHANGELOG.md") {
        for (line, cited) in citations(text) {
            if let Some(wrong) = broken(tree, cited) {
                findings.push(Finding::line(path, line, format!("`{cited}`: {wrong}")));
            }
        }
    }
    findings
}

fn broken(tree: &Tree, cited: &str) -> Option<&'static str> {
    let (path, function) = cited.split_once("::").unwrap_or((cited, ""));
    if !tree.has(path) {
        return Some("no such file");
    }
    let defined = |text: &str| text.contains(&format!("fn {function}("));
    (!function.is_empty() && !tree.text(path).is_some_and(defined)).then_some("no such function in that file")
}

/// Backticked paths under one of our folders, without blanks, stars or braces, outside fenced code.
fn citations(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let quoted = line.split('`').skip(1).step_by(2);
        let paths = quoted.filter(|quoted| FOLDERS.iter().any(|folder| quoted.starts_with(folder)));
        found.extend(
            paths.filter(|path| !path.contains([' ', '*', '{', '<', '…'])).map(|path| (index + 1, path)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::*;

    #[test]
    fn a_cited_file_or_test_that_is_not_there_is_found() {
        let tree = Tree::from([
            (
                "ARCHITECTURE.md",
                "`crates/a/src/lib.rs` `crates/a/` `crates/a/src/lib.rs::late_exit`\n`crates/b`\n",
            ),
            ("docs/x.md", "see `crates/a/src/lib.rs::gone`, `tests/*.rs` and `poolctl map`\n"),
            ("crates/a/src/lib.rs", "fn late_exit() {}\n"),
        ]);

        let found = lines(&check(&tree));

        assert_eq!(
            found,
            [
                "ARCHITECTURE.md:2: `crates/b`: no such file",
                "docs/x.md:1: `crates/a/src/lib.rs::gone`: no such function in that file",
            ]
        );
    }
}
