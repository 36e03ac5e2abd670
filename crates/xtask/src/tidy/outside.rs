//! Outside crates: each has a row in `docs/dependencies.md` with who may use it and why.
//!
//! The table says it exactly: a crate of ours that is not named may not use it, and a name that no longer uses it is
//! found too. `[dev-dependencies]` are free, but the row must be there. And a dependency that no line of code
//! names is one to take out.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::manifest::Package;
use super::{Finding, floors, table};
use crate::tree::Tree;

/// Where the reasons stand.
const TABLE: &str = "docs/dependencies.md";

/// What the column of users says where only tests use it.
const TESTS_ONLY: &str = "tests";

/// Crates that are used without being named: by a feature of another one.
const USED_UNNAMED: [&str; 0] = [];

/// One row: where it stands and who may use the crate.
struct Row<'a> {
    line: usize,
    users: BTreeSet<&'a str>,
}

/// Holds the manifests to the table and the table to the manifests.
pub(crate) fn check(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let (rows, mut findings) = read_table(tree.text(TABLE).unwrap_or_default());
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        for name in package.dependencies.iter().filter(|name| !floors::is_ours(name)) {
            used.entry(name).or_default().insert(&package.folder);
            findings.extend(check_use(package, name, &rows));
            findings.extend(check_named(tree, package, name));
        }
        for name in package.dev_dependencies.iter().filter(|name| !floors::is_ours(name)) {
            used.entry(name).or_default();
            if !rows.contains_key(name.as_str()) {
                findings.push(missing_row(package, name));
            }
        }
    }
    for (name, row) in &rows {
        findings.extend(check_row(name, row, used.get(name)));
    }
    findings.extend(check_workspace(tree, &used));
    findings
}

fn read_table(text: &str) -> (BTreeMap<&str, Row<'_>>, Vec<Finding>) {
    let mut rows = BTreeMap::new();
    let mut findings = Vec::new();
    for (line, cells) in table::rows(text) {
        let [name, users, reason, ..] = cells.as_slice() else {
            findings.push(Finding::line(TABLE, line, "a row has three cells: crate, used by, why"));
            continue;
        };
        if reason.is_empty() {
            findings.push(Finding::line(TABLE, line, "no reason is given"));
        }
        let users = users.split(',').map(|user| user.trim().trim_matches('`')).collect();
        rows.insert(name.trim_matches('`'), Row { line, users });
    }
    (rows, findings)
}

fn check_use(package: &Package, name: &str, rows: &BTreeMap<&str, Row<'_>>) -> Option<Finding> {
    match rows.get(name) {
        None => Some(missing_row(package, name)),
        Some(row) if !row.users.contains(package.folder.as_str()) => Some(Finding::file(
            &package.manifest(),
            format!("uses `{name}`, and its row in {TABLE} does not allow that"),
        )),
        Some(_) => None,
    }
}

fn missing_row(package: &Package, name: &str) -> Finding {
    Finding::file(&package.manifest(), format!("`{name}` has no row in {TABLE}"))
}

/// Finds a dependency whose name stands in none of the package's Rust files.
fn check_named(tree: &Tree, package: &Package, name: &str) -> Option<Finding> {
    let identifier = name.replace('-', "_");
    let folder = format!("{}/", package.folder);
    let mut sources = tree.under(&folder).filter(|(path, _)| path.ends_with(".rs"));
    let named = sources.any(|(_, text)| text.contains(&identifier));
    (!named && !USED_UNNAMED.contains(&name))
        .then(|| Finding::file(&package.manifest(), format!("depends on `{name}` and names it nowhere")))
}

fn check_row(name: &str, row: &Row<'_>, used: Option<&BTreeSet<&str>>) -> Option<Finding> {
    let Some(users) = used else {
        return Some(Finding::line(TABLE, row.line, format!("`{name}` is used by nobody")));
    };
    let said: BTreeSet<_> = row.users.iter().copied().filter(|user| *user != TESTS_ONLY).collect();
    let gone: Vec<_> = said.difference(users).copied().collect();
    if !gone.is_empty() {
        return Some(Finding::line(TABLE, row.line, format!("`{name}` is not used by {}", gone.join(", "))));
    }
    (users.is_empty() && !row.users.contains(TESTS_ONLY))
        .then(|| Finding::line(TABLE, row.line, format!("`{name}` is used by `{TESTS_ONLY}` alone")))
}

/// Finds what the workspace offers and nobody takes.
fn check_workspace(tree: &Tree, used: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<Finding> {
    let manifest = tree.text("Cargo.toml").and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
    let offered = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let offered = offered.and_then(Value::as_table).into_iter().flatten().map(|(name, _)| name);
    offered
        .filter(|name| !floors::is_ours(name) && !used.contains_key(name.as_str()))
        .map(|name| Finding::file("Cargo.toml", format!("offers `{name}`, and nobody uses it")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::super::manifest;
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"poolctl-sys\"\n[dependencies]\nlibc = \"1\"\n";

    fn found(table: &str, manifest: &str, code: &str) -> Vec<String> {
        let tree = Tree::from([
            ("crates/sys/Cargo.toml", manifest),
            ("crates/sys/src/lib.rs", code),
            (TABLE, &format!("| crate | used by | why |\n|---|---|---|\n{table}")),
        ]);
        lines(&check(&tree, &manifest::read_all(&tree).0))
    }

    #[test]
    fn a_row_that_says_what_the_manifest_says_is_fine() {
        let found = found("| `libc` | `crates/sys` | close_range |\n", MANIFEST, "use libc::close_range;");

        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn an_outside_crate_without_a_row_is_found() {
        let found = found("", MANIFEST, "libc::getpid()");

        assert_eq!(found, ["crates/sys/Cargo.toml: `libc` has no row in docs/dependencies.md"]);
    }

    #[test]
    fn a_crate_that_its_row_does_not_name_may_not_use_it() {
        let found = found("| `libc` | `crates/engine` | because |\n", MANIFEST, "libc::getpid()");

        assert_eq!(
            found,
            [
                "crates/sys/Cargo.toml: uses `libc`, and its row in docs/dependencies.md does not allow that",
                "docs/dependencies.md:3: `libc` is not used by crates/engine",
            ]
        );
    }

    #[test]
    fn a_row_without_a_reason_and_one_that_nobody_needs_are_found() {
        let table = "| `libc` | `crates/sys` | |\n| `rand` | `crates/sys` | dice |\n";

        let found = found(table, MANIFEST, "libc::getpid()");

        assert_eq!(
            found,
            [
                "docs/dependencies.md:3: no reason is given",
                "docs/dependencies.md:4: `rand` is used by nobody"
            ]
        );
    }

    #[test]
    fn a_dependency_that_no_code_names_is_found() {
        let found = found("| `libc` | `crates/sys` | because |\n", MANIFEST, "//! Nothing.");

        assert_eq!(found, ["crates/sys/Cargo.toml: depends on `libc` and names it nowhere"]);
    }

    #[test]
    fn what_only_tests_use_says_so() {
        let manifest = "[package]\nname = \"poolctl-sys\"\n[dev-dependencies]\nlibc = \"1\"\n";

        assert_eq!(found("| `libc` | tests | because |\n", manifest, ""), [""; 0]);
        assert_eq!(
            found("| `libc` | `crates/sys` | because |\n", manifest, ""),
            ["docs/dependencies.md:3: `libc` is not used by crates/sys"]
        );
        assert_eq!(
            found("", manifest, ""),
            ["crates/sys/Cargo.toml: `libc` has no row in docs/dependencies.md"]
        );
    }

    #[test]
    fn what_the_workspace_offers_is_used() {
        let tree = Tree::from([(
            "Cargo.toml",
            "[workspace.dependencies]\npoolctl-sys = { path = \"a\" }\nlibc = \"1\"\n",
        )]);

        let found = lines(&check(&tree, &[]));

        assert_eq!(found, ["Cargo.toml: offers `libc`, and nobody uses it"]);
    }
}
