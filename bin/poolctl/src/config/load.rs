//! Putting the settings together from all places, farthest first.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use poolctl_types::ExitCode;

use super::file::{self, ConfigError, Place};
use super::key::{KEYS, Settings};
use crate::failure::Failure;

/// Settings and where each one comes from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// For each of [`KEYS`] its value as written, and its origin.
    pub(crate) origins: Vec<(String, Origin)>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A file.
    File(Place),
    /// A variable in the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(place) => place.fmt(f),
            Origin::Variable(variable) => write!(f, "${variable}"),
        }
    }
}

/// Everything set outside the command line.
pub(crate) fn load() -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded {
        settings: Settings::default(),
        origins: KEYS.iter().map(|key| (key.default.to_owned(), Origin::Default)).collect(),
    };
    for path in files() {
        loaded.read_file(&path)?;
    }
    loaded.read_environment(|variable| env::var_os(variable))?;
    Ok(loaded)
}

/// What holds, wherever it was said.
pub(crate) fn load_settings() -> Result<Settings, Failure> {
    let loaded = load().map_err(|error| Failure::new(ExitCode::BadConfig, error))?;
    Ok(loaded.settings)
}

/// The files that may hold settings, farthest first.
fn files() -> Vec<PathBuf> {
    let home = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    let mut files = vec![PathBuf::from("/etc/poolctl/config.toml")];
    files.extend(home.map(|home| home.join("poolctl/config.toml")));
    files.push(PathBuf::from("poolctl.toml"));
    files
}

impl Loaded {
    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        for found in file::read(path)? {
            (found.key.set)(&mut self.settings, &found.text).map_err(|source| ConfigError::BadValue {
                place: found.place.clone(),
                name: found.key.name.to_owned(),
                source,
            })?;
            let index = KEYS.iter().position(|key| key.name == found.key.name).expect("it was found there");
            self.origins[index] = (found.text, Origin::File(found.place));
        }
        Ok(())
    }

    fn read_environment(&mut self, value: impl Fn(&str) -> Option<OsString>) -> Result<(), ConfigError> {
        for (key, origin) in KEYS.iter().zip(&mut self.origins) {
            let variable = key.variable();
            let Some(text) = value(&variable) else { continue };
            let text = text.to_string_lossy().into_owned();
            (key.set)(&mut self.settings, &text)
                .map_err(|source| ConfigError::Variable { variable: variable.clone(), source })?;
            *origin = (text, Origin::Variable(variable));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_nearer_than_a_file_and_a_nearer_file_than_a_farther_one() {
        let directory = tempfile::tempdir().unwrap();
        let (far, near) = (directory.path().join("far.toml"), directory.path().join("near.toml"));
        std::fs::write(&far, "[map]\nretries = 1\nwindow = 10\nahead = 7\n").unwrap();
        std::fs::write(&near, "[map]\nretries = 2\nwindow = 20\n").unwrap();
        let mut loaded = Loaded {
            settings: Settings::default(),
            origins: KEYS.iter().map(|key| (key.default.to_owned(), Origin::Default)).collect(),
        };

        loaded.read_file(&far).unwrap();
        loaded.read_file(&near).unwrap();
        loaded.read_environment(|name| (name == "POOLCTL_RETRIES").then(|| "3".into())).unwrap();

        let expected = Settings { retries: 3, window: 20, ahead: 7, ..Settings::default() };
        assert_eq!(loaded.settings, expected);
        let origin =
            |name: &str| loaded.origins[KEYS.iter().position(|key| key.name == name).unwrap()].1.to_string();
        assert_eq!(origin("retries"), "$POOLCTL_RETRIES");
        assert_eq!(origin("window"), format!("{}:3:10", near.display()));
        assert_eq!(origin("buffer"), "default");
    }

    #[test]
    fn a_bad_variable_is_named() {
        let mut loaded = Loaded {
            settings: Settings::default(),
            origins: KEYS.iter().map(|key| (key.default.to_owned(), Origin::Default)).collect(),
        };
        let bad = |name: &str| (name == "POOLCTL_JOBS").then(|| "many".into());

        let refusal = loaded.read_environment(bad).unwrap_err();

        assert_eq!(refusal.to_string(), "the variable POOLCTL_JOBS cannot be used");
    }
}
