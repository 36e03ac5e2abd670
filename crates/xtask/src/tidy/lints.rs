//! The lints stay on: every package takes those of the workspace, and every `clippy.toml` keeps the limits.
//!
//! Clippy reads the nearest `clippy.toml` alone, so one inside a crate must repeat what the one at the top says.

use toml::{Table, Value};

use super::Finding;
use super::manifest::Package;
use crate::tree::Tree;

/// The longest function, in lines.
const FUNCTION_LINES: i64 = 80;

/// What may be called nowhere without a reason given on the spot.
const BANNED: [&str; 3] = ["std::process::Command::spawn", "std::process::exit", "std::thread::sleep"];

/// Lints that the workspace must ask for.
const ASKED_FOR: [&str; 4] =
    ["too_many_lines", "undocumented_unsafe_blocks", "allow_attributes_without_reason", "unwrap_used"];

/// Checks the manifests' `[lints]` and all `clippy.toml` files.
pub(crate) fn check(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let without = packages.iter().filter(|package| !package.workspace_lints);
    let mut findings: Vec<_> = without
        .map(|package| Finding::file(&package.manifest(), "lacks `[lints] workspace = true`"))
        .collect();
    for (path, text) in tree.with_extension("toml") {
        if path == "clippy.toml" || path.ends_with("/clippy.toml") {
            findings.extend(check_clippy(path, text));
        }
    }
    findings.extend(check_workspace(tree));
    findings
}

fn check_clippy(path: &str, text: &str) -> Vec<Finding> {
    let settings = text.parse::<Table>().unwrap_or_default();
    let mut findings = Vec::new();
    if settings.get("too-many-lines-threshold").and_then(Value::as_integer) != Some(FUNCTION_LINES) {
        findings.push(Finding::file(path, format!("too-many-lines-threshold is {FUNCTION_LINES}")));
    }
    let banned = settings.get("disallowed-methods").and_then(Value::as_array).into_iter().flatten();
    let banned: Vec<_> = banned.filter_map(|method| method.get("path").and_then(Value::as_str)).collect();
    let missing = BANNED.iter().filter(|method| !banned.contains(method));
    findings.extend(missing.map(|method| Finding::file(path, format!("does not ban {method}"))));
    findings
}

fn check_workspace(tree: &Tree) -> Vec<Finding> {
    let Some(manifest) = tree.text("Cargo.toml").and_then(|text| text.parse::<Table>().ok()) else {
        return Vec::new();
    };
    let lints = manifest.get("workspace").and_then(|workspace| workspace.get("lints"));
    let clippy = lints.and_then(|lints| lints.get("clippy")).and_then(Value::as_table);
    let missing = ASKED_FOR.iter().filter(|lint| clippy.is_none_or(|table| !table.contains_key(**lint)));
    missing.map(|lint| Finding::file("Cargo.toml", format!("does not ask for clippy::{lint}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::super::manifest;
    use super::*;

    #[test]
    fn a_package_without_the_lints_of_the_workspace_is_found() {
        let tree = Tree::from([("crates/a/Cargo.toml", "[package]\nname = \"a\"\n")]);

        let found = lines(&check(&tree, &manifest::read_all(&tree).0));

        assert_eq!(found, ["crates/a/Cargo.toml: lacks `[lints] workspace = true`"]);
    }

    #[test]
    fn a_clippy_file_that_raises_the_limit_or_drops_a_ban_is_found() {
        let tree = Tree::from([(
            "crates/a/clippy.toml",
            "too-many-lines-threshold = 100\ndisallowed-methods = [{ path = \"std::process::exit\" }, \
             { path = \"std::thread::sleep\" }]\n",
        )]);

        let found = lines(&check(&tree, &[]));

        assert_eq!(
            found,
            [
                "crates/a/clippy.toml: too-many-lines-threshold is 80",
                "crates/a/clippy.toml: does not ban std::process::Command::spawn",
            ]
        );
    }

    #[test]
    fn a_lint_taken_from_the_workspace_is_found() {
        let tree = Tree::from([(
            "Cargo.toml",
            "[workspace.lints.clippy]\nundocumented_unsafe_blocks = \"deny\"\nunwrap_used = \"warn\"\n\
             allow_attributes_without_reason = \"warn\"\n",
        )]);

        let found = lines(&check(&tree, &[]));

        assert_eq!(found, ["Cargo.toml: does not ask for clippy::too_many_lines"]);
    }
}
