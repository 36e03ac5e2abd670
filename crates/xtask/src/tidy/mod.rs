//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! Each rule is a function from the files (and, for manifests, the packages read from them) to findings. Rules do
//! not touch the disk, so every one of them has a test that shows it firing on a bad example.

mod finding;
mod manifest;
mod table;

mod citations;
mod exit_codes;
mod floors;
mod links;
mod lints;
mod names;
mod outside;
mod paths;
mod sources;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use crate::root;
use crate::tree::{Tree, TreeError};

pub(crate) use finding::Finding;
pub(crate) use table::between_marks;

/// What to do with the tables in the docs that are made from code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Say where they differ.
    Compare,
    /// Write them anew.
    Write,
}

/// Why `tidy` could not look.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TidyError {
    /// The files could not be read.
    #[error("failed to read the repository")]
    Read {
        #[from]
        source: TreeError,
    },
    /// A generated table could not be written.
    #[error("failed to write {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// Checks the repository and prints what it finds; success means that nothing was found.
pub(crate) fn run(tables: Tables) -> Result<ExitCode, TidyError> {
    let top = root::folder();
    let mut tree = Tree::read(&top)?;
    if tables == Tables::Write && renew_tables(&top, &tree)? > 0 {
        tree = Tree::read(&top)?;
    }
    let findings = check(&tree, &top);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: nothing to mend");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("tidy: {} to mend", findings.len());
        Ok(ExitCode::FAILURE)
    }
}

/// All rules on all files, ordered by path.
fn check(tree: &Tree, top: &Path) -> Vec<Finding> {
    let (packages, mut findings) = manifest::read_all(tree);
    findings.extend(floors::check(tree, &packages));
    findings.extend(outside::check(tree, &packages));
    findings.extend(lints::check(tree, &packages));
    findings.extend(sources::check(tree));
    findings.extend(names::check(tree));
    findings.extend(links::check(tree));
    findings.extend(citations::check(tree));
    findings.extend(exit_codes::check(tree));
    findings.extend(paths::check(tree, top));
    findings.sort();
    findings
}

/// Writes the generated tables where they differ, and tells how many did.
fn renew_tables(top: &Path, tree: &Tree) -> Result<usize, TidyError> {
    let renewed = [exit_codes::renewed(tree), floors::renewed(tree)];
    let mut written = 0;
    for (path, text) in renewed.into_iter().flatten() {
        if tree.text(path) != Some(text.as_str()) {
            let path = top.join(path);
            fs::write(&path, text).map_err(|source| TidyError::Write { path: path.clone(), source })?;
            println!("wrote {}", path.display());
            written += 1;
        }
    }
    Ok(written)
}
