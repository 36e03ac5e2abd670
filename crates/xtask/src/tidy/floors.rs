//! Which crate of ours may import which, and where `unsafe` may stand: the floors.
//!
//! The table here is the law; `ARCHITECTURE.md` shows it (between marks, written by `cargo xtask tidy --write`).
//! It names crates before they exist, so that their border is decided before the first import.

use std::fmt::Write;

use super::manifest::Package;
use super::{Finding, table};
use crate::tree::Tree;

/// Where the floors are shown.
const SHOWN_IN: &str = "ARCHITECTURE.md";

/// What of ours a crate may name under `[dependencies]`.
#[derive(Debug, Clone, Copy)]
enum Imports {
    /// These packages alone.
    Only(&'static [&'static str]),
    /// Anything; in return nobody outside this kind may import it but under `[dev-dependencies]`.
    AnythingForTests,
}

/// Whether a crate may hold `unsafe` code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsafe {
    /// Its every root says `#![forbid(unsafe_code)]`.
    Forbidden,
    /// One of the few places where it may stand.
    Island,
}

/// One row of the table.
#[derive(Debug)]
struct Floor {
    folder: &'static str,
    package: &'static str,
    holds: &'static str,
    imports: Imports,
    safety: Unsafe,
}

/// What the binaries may import.
const BINARY: Imports = Imports::Only(&[
    "poolctl",
    "poolctl-service",
    "poolctl-supervisor",
    "poolctl-protocol",
    "poolctl-worker",
    "poolctl-types",
]);

const FLOORS: [Floor; 18] = [
    Floor {
        folder: "crates/types",
        package: "poolctl-types",
        holds: "ids, moments, item ranges, how a process ended, exit codes",
        imports: Imports::Only(&[]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/sys",
        package: "poolctl-sys",
        holds: "the only code that speaks to the operating system",
        imports: Imports::Only(&["poolctl-types"]),
        safety: Unsafe::Island,
    },
    Floor {
        folder: "crates/engine",
        package: "poolctl-engine",
        holds: "the brain: events in, effects out, time is an argument",
        imports: Imports::Only(&["poolctl-types"]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/shm",
        package: "poolctl-shm",
        holds: "segments, layout, rings",
        imports: Imports::Only(&["poolctl-types", "poolctl-sys"]),
        safety: Unsafe::Island,
    },
    Floor {
        folder: "crates/sync",
        package: "poolctl-sync",
        holds: "lock, semaphore, event, condition, barrier, queue in a segment",
        imports: Imports::Only(&["poolctl-types", "poolctl-sys", "poolctl-shm"]),
        safety: Unsafe::Island,
    },
    Floor {
        folder: "crates/protocol",
        package: "poolctl-protocol",
        holds: "messages and their bytes, handshake, limits",
        imports: Imports::Only(&["poolctl-types"]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/supervisor",
        package: "poolctl-supervisor",
        holds: "the loop: input to engine events, effects to system calls; the keeper",
        imports: Imports::Only(&[
            "poolctl-types",
            "poolctl-sys",
            "poolctl-engine",
            "poolctl-shm",
            "poolctl-sync",
            "poolctl-protocol",
        ]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/service",
        package: "poolctl-service",
        holds: "pools for other programs: the server of the client protocol, and a client of it",
        imports: Imports::Only(&["poolctl-types", "poolctl-sys", "poolctl-protocol", "poolctl-supervisor"]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/worker",
        package: "poolctl-worker",
        holds: "the loop inside a native worker",
        imports: Imports::Only(&[
            "poolctl-types",
            "poolctl-sys",
            "poolctl-shm",
            "poolctl-sync",
            "poolctl-protocol",
        ]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/macros",
        package: "poolctl-macros",
        holds: "`#[task]`",
        imports: Imports::Only(&[]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/poolctl",
        package: "poolctl",
        holds: "the public library",
        imports: Imports::Only(&[
            "poolctl-types",
            "poolctl-sys",
            "poolctl-engine",
            "poolctl-shm",
            "poolctl-sync",
            "poolctl-protocol",
            "poolctl-supervisor",
            "poolctl-worker",
            "poolctl-macros",
        ]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "bin/poolctl",
        package: "poolctl-cli",
        holds: "the command line: parse, call, print, exit code",
        imports: BINARY,
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "bin/poold",
        package: "poold",
        holds: "named pools as a service",
        imports: BINARY,
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "bin/pool-worker",
        package: "pool-worker",
        holds: "the stock native worker",
        imports: BINARY,
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "tests",
        package: "poolctl-tests",
        holds: "black box tests with real processes",
        imports: Imports::AnythingForTests,
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "examples/rust",
        package: "poolctl-examples",
        holds: "the classics, each a small program; their outputs are checked",
        imports: Imports::Only(&["poolctl"]),
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/testkit",
        package: "poolctl-testkit",
        holds: "fixtures, leak checks, fault injection",
        imports: Imports::AnythingForTests,
        safety: Unsafe::Forbidden,
    },
    Floor {
        folder: "crates/xtask",
        package: "xtask",
        holds: "tidy, bench, ci",
        imports: Imports::AnythingForTests,
        safety: Unsafe::Forbidden,
    },
];

/// Whether `package` is one of ours.
pub(crate) fn is_ours(package: &str) -> bool {
    FLOORS.iter().any(|floor| floor.package == package)
}

/// Holds every manifest and every crate root to the table.
pub(crate) fn check(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        match FLOORS.iter().find(|floor| floor.folder == package.folder) {
            None => findings.push(Finding::file(
                &package.manifest(),
                "no row in the table of floors (crates/xtask/src/tidy/floors.rs)",
            )),
            Some(floor) => {
                findings.extend(check_name(floor, package));
                findings.extend(check_imports(floor, package));
                findings.extend(check_unsafe(floor, package, tree));
            }
        }
    }
    findings.extend(check_shown(tree));
    findings
}

fn check_name(floor: &Floor, package: &Package) -> Option<Finding> {
    (floor.package != package.name)
        .then(|| Finding::file(&package.manifest(), format!("this folder's package is `{}`", floor.package)))
}

fn check_imports(floor: &Floor, package: &Package) -> Vec<Finding> {
    let Imports::Only(allowed) = floor.imports else { return Vec::new() };
    let ours = package.dependencies.iter().filter(|name| is_ours(name));
    ours.filter(|name| !allowed.contains(&name.as_str()))
        .map(|name| {
            let message = format!("`{}` may not import `{name}` (floors in ARCHITECTURE.md)", package.name);
            Finding::file(&package.manifest(), message)
        })
        .collect()
}

fn check_unsafe(floor: &Floor, package: &Package, tree: &Tree) -> Vec<Finding> {
    if floor.safety == Unsafe::Island {
        return Vec::new();
    }
    let says_so = |path: &String| {
        tree.text(path).is_some_and(|text| text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]"))
    };
    let silent = package.roots.iter().filter(|path| !says_so(path));
    silent.map(|path| Finding::file(path, "lacks `#![forbid(unsafe_code)]`")).collect()
}

fn check_shown(tree: &Tree) -> Option<Finding> {
    let text = tree.text(SHOWN_IN)?;
    let message = match renewed(tree) {
        None => "lacks the marks of the table of floors",
        Some((_, renewed)) if renewed != text => {
            "its table of floors differs; run `cargo xtask tidy --write`"
        }
        Some(_) => return None,
    };
    Some(Finding::file(SHOWN_IN, message))
}

/// The text of the file that shows the floors, with the table of the crates that exist.
pub(crate) fn renewed(tree: &Tree) -> Option<(&'static str, String)> {
    let text = tree.text(SHOWN_IN)?;
    let mut rows = String::from("| folder | package | what lives there | may import, of ours | unsafe |\n");
    rows.push_str("|---|---|---|---|---|\n");
    for floor in FLOORS.iter().filter(|floor| tree.has(&format!("{}/Cargo.toml", floor.folder))) {
        let imports = match floor.imports {
            Imports::AnythingForTests => "anything; others only as a dev-dependency".to_owned(),
            Imports::Only(packages) => {
                let there = packages.iter().filter(|name| exists(tree, name));
                let names: Vec<_> = there.map(|name| format!("`{name}`")).collect();
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            }
        };
        let safety = match floor.safety {
            Unsafe::Forbidden => "forbidden",
            Unsafe::Island => "allowed",
        };
        writeln!(
            rows,
            "| `{}` | `{}` | {} | {imports} | {safety} |",
            floor.folder, floor.package, floor.holds
        )
        .expect("writing to a String cannot fail");
    }
    Some((SHOWN_IN, table::between_marks(text, "floors", &rows)?))
}

fn exists(tree: &Tree, package: &str) -> bool {
    let floor = FLOORS.iter().find(|floor| floor.package == package);
    floor.is_some_and(|floor| tree.has(&format!("{}/Cargo.toml", floor.folder)))
}

#[cfg(test)]
mod tests {
    use super::super::finding::lines;
    use super::super::manifest;
    use super::*;

    fn found(tree: &Tree) -> Vec<String> {
        lines(&check(tree, &manifest::read_all(tree).0))
    }

    #[test]
    fn an_import_from_a_higher_floor_is_found() {
        let tree = Tree::from([(
            "crates/engine/Cargo.toml",
            "[package]\nname = \"poolctl-engine\"\n[dependencies]\npoolctl-types.workspace = true\n\
             poolctl-sys.workspace = true\nserde.workspace = true\n",
        )]);

        let found = found(&tree);

        assert_eq!(
            found,
            [
                "crates/engine/Cargo.toml: `poolctl-engine` may not import `poolctl-sys` (floors in ARCHITECTURE.md)"
            ]
        );
    }

    #[test]
    fn test_crates_are_imported_by_tests_alone() {
        let tree = Tree::from([
            (
                "crates/sys/Cargo.toml",
                "[package]\nname = \"poolctl-sys\"\n[dev-dependencies]\npoolctl-testkit.workspace = true\n",
            ),
            (
                "crates/protocol/Cargo.toml",
                "[package]\nname = \"poolctl-protocol\"\n[dependencies]\npoolctl-testkit.workspace = true\n",
            ),
            (
                "crates/testkit/Cargo.toml",
                "[package]\nname = \"poolctl-testkit\"\n[dependencies]\npoolctl-sys.workspace = true\n",
            ),
        ]);

        let found = found(&tree);

        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/protocol/Cargo.toml: "), "{found:?}");
    }

    #[test]
    fn a_crate_root_without_forbid_is_found_and_the_island_is_not() {
        let tree = Tree::from([
            ("crates/engine/Cargo.toml", "[package]\nname = \"poolctl-engine\"\n"),
            ("crates/engine/src/lib.rs", "//! Head.\n\n// #![forbid(unsafe_code)]\n"),
            ("crates/types/Cargo.toml", "[package]\nname = \"poolctl-types\"\n"),
            ("crates/types/src/lib.rs", "//! Head.\n\n#![forbid(unsafe_code)]\n"),
            ("crates/sys/Cargo.toml", "[package]\nname = \"poolctl-sys\"\n"),
            ("crates/sys/src/lib.rs", "//! Head.\n"),
        ]);

        let found = found(&tree);

        assert_eq!(found, ["crates/engine/src/lib.rs: lacks `#![forbid(unsafe_code)]`"]);
    }

    #[test]
    fn a_crate_without_a_row_or_of_another_name_is_found() {
        let tree = Tree::from([
            ("crates/new/Cargo.toml", "[package]\nname = \"poolctl-new\"\n"),
            ("crates/sys/Cargo.toml", "[package]\nname = \"system\"\n"),
        ]);

        let found = found(&tree);

        assert_eq!(
            found,
            [
                "crates/new/Cargo.toml: no row in the table of floors (crates/xtask/src/tidy/floors.rs)",
                "crates/sys/Cargo.toml: this folder's package is `poolctl-sys`",
            ]
        );
    }

    #[test]
    fn the_shown_table_must_equal_this_one_and_can_be_renewed() {
        let manifest = ("crates/types/Cargo.toml", "[package]\nname = \"poolctl-types\"\n");
        let stale = "# A\n<!-- floors -->\n| old |\n<!-- end of floors -->\n";
        let before = Tree::from([manifest, (SHOWN_IN, stale)]);

        let (path, text) = renewed(&before).expect("the marks are there");

        assert_eq!(
            found(&before),
            ["ARCHITECTURE.md: its table of floors differs; run `cargo xtask tidy --write`"]
        );
        assert!(text.contains("| `crates/types` | `poolctl-types` |"), "{text}");
        assert!(!text.contains("crates/shm"), "only crates that exist are shown: {text}");
        assert_eq!(found(&Tree::from([manifest, (path, text.as_str())])), [""; 0]);
        assert_eq!(
            found(&Tree::from([manifest, (SHOWN_IN, "# A\n")])),
            ["ARCHITECTURE.md: lacks the marks of the table of floors"]
        );
    }
}
