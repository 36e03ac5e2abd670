//! The packages of the workspace, as their `Cargo.toml` files describe them.

use toml::{Table, Value};

use super::Finding;
use crate::tree::Tree;

/// One package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    /// Its folder, relative to the top.
    pub(crate) folder: String,
    /// Its name.
    pub(crate) name: String,
    /// What it needs to be built (`[dependencies]` and `[build-dependencies]`, for every platform).
    pub(crate) dependencies: Vec<String>,
    /// What only its tests need.
    pub(crate) dev_dependencies: Vec<String>,
    /// Whether it takes the lints of the workspace.
    pub(crate) workspace_lints: bool,
    /// The files in which a crate of it begins: libraries, binaries and tests.
    pub(crate) roots: Vec<String>,
}

impl Package {
    /// The path of its manifest.
    pub(crate) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

/// Every package but the workspace itself, and what is wrong with manifests that cannot be read.
pub(crate) fn read_all(tree: &Tree) -> (Vec<Package>, Vec<Finding>) {
    let mut packages = Vec::new();
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("toml") {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else { continue };
        match text.parse::<Table>() {
            Ok(manifest) => packages.push(package(tree, folder, &manifest)),
            Err(error) => findings.push(Finding::file(path, format!("not TOML: {}", error.message()))),
        }
    }
    (packages, findings)
}

fn package(tree: &Tree, folder: &str, manifest: &Table) -> Package {
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
    let mut dependencies = names_in(manifest, "dependencies");
    dependencies.extend(names_in(manifest, "build-dependencies"));
    Package {
        folder: folder.to_owned(),
        name: name.unwrap_or_default().to_owned(),
        dependencies,
        dev_dependencies: names_in(manifest, "dev-dependencies"),
        workspace_lints: lints == Some(true),
        roots: roots(tree, folder, manifest),
    }
}

/// The package names in a table of dependencies, also in `[target.….]` ones.
fn names_in(manifest: &Table, section: &str) -> Vec<String> {
    let everywhere = manifest.get(section).and_then(Value::as_table);
    let per_target = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(|targets| {
        targets.values().filter_map(|target| target.get(section).and_then(Value::as_table))
    });
    everywhere
        .into_iter()
        .chain(per_target)
        .flatten()
        .map(|(key, value)| value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned())
        .collect()
}

/// The files that cargo compiles as the beginning of a crate.
fn roots(tree: &Tree, folder: &str, manifest: &Table) -> Vec<String> {
    let mut roots = vec![format!("{folder}/src/lib.rs"), format!("{folder}/src/main.rs")];
    for section in ["bin", "test", "bench", "example"] {
        let targets = manifest.get(section).and_then(Value::as_array).into_iter().flatten();
        let paths = targets.filter_map(|target| target.get("path").and_then(Value::as_str));
        roots.extend(paths.map(|path| format!("{folder}/{path}")));
    }
    for place in ["src/bin/", "tests/", "examples/", "benches/"] {
        let place = format!("{folder}/{place}");
        let direct = tree.under(&place).map(|(path, _)| path);
        roots.extend(
            direct
                .filter(|path| path.ends_with(".rs") && !path[place.len()..].contains('/'))
                .map(ToOwned::to_owned),
        );
    }
    roots.retain(|path| tree.text(path).is_some());
    roots.sort();
    roots.dedup();
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_tells_what_it_needs_and_where_its_crates_begin() {
        let tree = Tree::from([
            (
                "bin/a/Cargo.toml",
                "[package]\nname = \"a\"\n[lints]\nworkspace = true\n[[bin]]\nname = \"a\"\npath = \"src/start.rs\"\n\
                 [dependencies]\nb.workspace = true\nc = { package = \"real\", version = \"1\" }\n\
                 [target.'cfg(unix)'.dependencies]\nd = \"1\"\n[build-dependencies]\ne = \"1\"\n\
                 [dev-dependencies]\nf = \"1\"\n",
            ),
            ("bin/a/src/start.rs", ""),
            ("bin/a/tests/all.rs", ""),
            ("bin/a/tests/all/part.rs", ""),
        ]);

        let (packages, findings) = read_all(&tree);

        assert_eq!(findings, []);
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].name, "a");
        assert_eq!(packages[0].dependencies, ["b", "real", "d", "e"]);
        assert_eq!(packages[0].dev_dependencies, ["f"]);
        assert!(packages[0].workspace_lints);
        assert_eq!(packages[0].roots, ["bin/a/src/start.rs", "bin/a/tests/all.rs"]);
    }

    #[test]
    fn a_manifest_that_is_not_toml_is_a_finding() {
        let tree = Tree::from([("crates/a/Cargo.toml", "[package")]);

        let (packages, findings) = read_all(&tree);

        assert!(packages.is_empty());
        assert_eq!(findings.len(), 1);
    }
}
