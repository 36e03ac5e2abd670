//! Reading one configuration file, with line and column in every complaint.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{BadValue, KEYS, Key};
use crate::nearest::nearest as nearest_of;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file is there and cannot be read.
    #[error("failed to read `{}`", .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It is no TOML.
    #[error("{place}: it is no TOML: {message}")]
    Syntax { place: Place, message: String },
    /// It names something that is no setting.
    #[error("{place}: unknown key `{name}`{}", .nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownKey { place: Place, name: String, nearest: Option<&'static str> },
    /// A value of a kind that no setting has.
    #[error("{place}: `{name}` takes {expected}, not {found}")]
    WrongType { place: Place, name: String, expected: &'static str, found: &'static str },
    /// A value that this setting cannot take.
    #[error("{place}: `{name}` cannot be set")]
    BadValue { place: Place, name: String, source: BadValue },
    /// A variable that cannot be used.
    #[error("the variable {variable} cannot be used")]
    Variable { variable: String, source: BadValue },
}

/// A place in a file, shown as `file:line:column`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}", .path.display())]
pub(crate) struct Place {
    path: PathBuf,
    line: usize,
    column: usize,
}

/// One value found in a file.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) key: &'static Key,
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// The settings in `path`; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Vec<Found>, ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(source) if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(source) => Err(ConfigError::Read { path: path.to_path_buf(), source }),
    }
}

/// The settings in the text of the file `path`.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Found>, ConfigError> {
    let place = |offset: usize| place(path, text, offset);
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: place(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut found = Vec::new();
    for (section, value) in table.get_ref() {
        let name = section.get_ref().as_ref();
        if name != "map" {
            let nearest = KEYS.iter().any(|key| key.name == name).then_some("map");
            return Err(ConfigError::UnknownKey {
                place: place(section.span().start),
                name: name.to_owned(),
                nearest,
            });
        }
        let DeValue::Table(settings) = value.get_ref() else {
            return Err(wrong_type(place(value.span().start), name, "a table", value));
        };
        for (name, value) in settings {
            let at = place(name.span().start);
            let name = name.get_ref().as_ref();
            let key = KEYS.iter().find(|key| key.name == name).ok_or_else(|| ConfigError::UnknownKey {
                place: at,
                name: name.to_owned(),
                nearest: nearest(name),
            })?;
            let place = place(value.span().start);
            let text = match value.get_ref() {
                DeValue::String(text) if !key.number => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                _ => {
                    let expected = if key.number { "a whole number" } else { "a text" };
                    return Err(wrong_type(place, name, expected, value));
                }
            };
            found.push(Found { key, text, place });
        }
    }
    Ok(found)
}

fn wrong_type(place: Place, name: &str, expected: &'static str, value: &Spanned<DeValue<'_>>) -> ConfigError {
    let found = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    ConfigError::WrongType { place, name: name.to_owned(), expected, found }
}

/// The setting whose name is most like `name`, if one is like it at all.
fn nearest(name: &str) -> Option<&'static str> {
    let folded = name.replace('_', "-").to_ascii_lowercase();
    nearest_of(&folded, KEYS.iter().map(|key| key.name))
}

fn place(path: &Path, text: &str, offset: usize) -> Place {
    let boundary = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let before = &text[..boundary];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    Place { path: path.to_path_buf(), line, column }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn complaint(text: &str) -> String {
        parse(Path::new("poolctl.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn complaints_name_file_line_and_column() {
        assert_eq!(
            complaint("[map]\njobs = 2\n  retires = 3\n"),
            "poolctl.toml:3:3: unknown key `retires`; did you mean `retries`?"
        );
        assert_eq!(complaint("[mapp]\n"), "poolctl.toml:1:2: unknown key `mapp`");
        assert_eq!(complaint("jobs = 2\n"), "poolctl.toml:1:1: unknown key `jobs`; did you mean `map`?");
        assert_eq!(
            complaint("[map]\nwindow = true"),
            "poolctl.toml:2:10: `window` takes a whole number, not true or false"
        );
        assert!(complaint("[map]\njobs = \n").starts_with("poolctl.toml:2:8: it is no TOML"));
        assert!(complaint("[map]\njobs = 1\njobs = 2\n").starts_with("poolctl.toml:3:1: it is no TOML"));
    }

    #[test]
    fn a_missing_file_is_no_settings() {
        assert!(read(Path::new("/no/such/file.toml")).unwrap().is_empty());
    }

    #[test]
    fn the_published_file_holds_every_setting_with_its_default() {
        let published = include_str!("../../../../config/poolctl.toml");
        let uncommented: String = published
            .lines()
            .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");

        let found = parse(Path::new("config/poolctl.toml"), &uncommented).unwrap();

        assert_eq!(found.len(), KEYS.len());
        let mut settings = Settings { retries: 9, ..Settings::default() };
        for key in &KEYS {
            let found = found.iter().find(|found| found.key.name == key.name).unwrap();
            assert_eq!((key.name, found.text.as_str()), (key.name, key.default));
            (key.set)(&mut settings, &found.text).unwrap();
        }
        assert_eq!(settings, Settings::default());
        assert!(
            parse(Path::new("config/poolctl.toml"), published).unwrap().is_empty(),
            "all of it is commented"
        );
    }
}
