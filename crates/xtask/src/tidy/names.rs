//! File names: a file is named for the noun it defines or the verb it does.

use std::path::Path;

use super::Finding;
use crate::tree::Tree;

/// Names that say nothing.
const EMPTY: [&str; 9] = ["utils", "util", "common", "helpers", "helper", "misc", "imp", "manager", "stuff"];

/// Checks the stem of every source file and the name of every folder with source in it.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for extension in ["rs", "py", "js", "mjs", "pl", "sh", "c"] {
        for (path, _) in tree.with_extension(extension) {
            let without_extension = Path::new(path).with_extension("");
            let parts = without_extension.iter().filter_map(|part| part.to_str());
            findings.extend(
                parts
                    .filter(|part| EMPTY.contains(part))
                    .map(|part| Finding::file(path, format!("`{part}` says nothing about what is in it"))),
            );
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::*;

    #[test]
    fn names_that_say_nothing_are_found_as_file_and_as_folder() {
        let tree = Tree::from([
            ("crates/a/src/utils.rs", ""),
            ("crates/a/src/common/reap.rs", ""),
            ("crates/a/src/import.rs", ""),
            ("docs/helpers.md", ""),
        ]);

        let found = lines(&check(&tree));

        assert_eq!(
            found,
            [
                "crates/a/src/common/reap.rs: `common` says nothing about what is in it",
                "crates/a/src/utils.rs: `utils` says nothing about what is in it",
            ]
        );
    }
}
