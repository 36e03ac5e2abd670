//! The repository's text files, read once: what the rules of `tidy` look at.
//!
//! Paths are relative to the top, with `/`. Build products, `.git` and caches are left out; files that are not
//! UTF-8 have no text and are known by their path only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Folders that are never part of the project, wherever they lie.
const NOT_OURS: [&str; 4] = ["target", ".git", "__pycache__", "node_modules"];

/// Path → text.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

/// Why the repository could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {path}")]
pub(crate) struct TreeError {
    path: PathBuf,
    source: io::Error,
}

impl Tree {
    /// Reads everything under `top`.
    pub(crate) fn read(top: &Path) -> Result<Self, TreeError> {
        let mut tree = Self::default();
        tree.read_folder(top, "")?;
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<(), TreeError> {
        let failed = |source| TreeError { path: folder.to_path_buf(), source };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(failed)?;
            let path = format!("{prefix}{name}");
            if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                let bytes =
                    fs::read(entry.path()).map_err(|source| TreeError { path: entry.path(), source })?;
                self.files.insert(path, String::from_utf8(bytes).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// The text of the file at `path`.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether `path` is a file, or a folder with a file in it.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        path.is_empty() || self.files.contains_key(path) || self.under(&folder).next().is_some()
    }

    /// All files whose path begins with `prefix`.
    pub(crate) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .range(prefix.to_owned()..)
            .take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// All files with this extension.
    pub(crate) fn with_extension<'a>(
        &'a self,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.under("").filter(move |(path, _)| Path::new(path).extension().is_some_and(|e| e == extension))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        Self { files: files.map(|(path, text)| (path.to_owned(), text.to_owned())).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_products_are_not_read_and_the_rest_is() {
        let top = tempfile::tempdir().expect("a temporary folder");
        for path in ["target/a.rs", "crates/a/src/lib.rs", "README.md"] {
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            fs::write(path, "text").expect("written");
        }

        let tree = Tree::read(top.path()).expect("read");

        let paths: Vec<_> = tree.under("").map(|(path, _)| path).collect();
        assert_eq!(paths, ["README.md", "crates/a/src/lib.rs"]);
    }

    #[test]
    fn a_folder_exists_when_a_file_lies_in_it() {
        let tree = Tree::from([("docs/adr/0001.md", "")]);

        assert!(tree.has("docs/adr") && tree.has("docs/") && tree.has("docs/adr/0001.md"));
        assert!(!tree.has("doc") && !tree.has("docs/adr/0002.md"));
    }
}
