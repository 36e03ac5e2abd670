//! Places in a configuration file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in a file, shown as `file:line:column`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}", .path.display())]
pub(crate) struct Place {
    path: PathBuf,
    line: usize,
    column: usize,
}

impl Place {
    /// The place of the byte at `offset` of the text of the file `path`.
    pub(super) fn of(path: &Path, text: &str, offset: usize) -> Self {
        let boundary = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let before = &text[..boundary];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        Self { path: path.to_path_buf(), line, column }
    }
}

/// Where a setting stands: its name, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Where the setting stands that is reached by these names from the root of a file.
pub(super) fn find(root: &DeTable<'_>, names: &[&str]) -> Option<Setting> {
    let (first, rest) = names.split_first()?;
    let (name, value) = root.iter().find(|(name, _)| name.get_ref() == first)?;
    match rest {
        [] => Some(Setting { name: name.span(), value: value.span() }),
        _ => find(table(value)?, rest),
    }
}

/// The table that a value is, if it is one.
pub(super) fn table<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> Option<&'a DeTable<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}
