//! Finding a program on PATH, with an error that says what is wrong with it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// No program of that name is on PATH.
    #[error("`{name}` is not on PATH")]
    NotOnPath {
        /// The name.
        name: String,
    },
    /// There is no such file.
    #[error("`{}` does not exist", .path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is a directory.
    #[error("`{}` is a directory", .path.display())]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// It lacks the permission.
    #[error("`{}` is not executable (permission denied; chmod +x?)", .path.display())]
    NotExecutable {
        /// The path.
        path: PathBuf,
    },
    /// No program is named at all.
    #[error("the command is empty")]
    Empty,
}

impl ResolveError {
    /// Whether there is no such program, as against one that cannot be run.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotOnPath { .. } | Self::Missing { .. } | Self::Empty)
    }
}

/// The path to run for `program`: itself if it has a slash, else the first executable of that name on PATH.
///
/// # Errors
/// There is no such program, or it cannot be run.
pub fn resolve(program: &[u8]) -> Result<PathBuf, ResolveError> {
    if program.is_empty() {
        return Err(ResolveError::Empty);
    }
    let name = OsStr::from_bytes(program);
    if program.contains(&b'/') {
        return executable(Path::new(name).to_path_buf());
    }
    let path = std::env::var_os("PATH")
        .unwrap_or_else(|| std::ffi::OsString::from_vec(b"/usr/local/bin:/usr/bin:/bin".to_vec()));
    let mut refusal = None;
    for directory in std::env::split_paths(&path) {
        match executable(directory.join(name)) {
            Ok(found) => return Ok(found),
            Err(ResolveError::Missing { .. } | ResolveError::Directory { .. }) => {}
            Err(other) => refusal = refusal.or(Some(other)),
        }
    }
    Err(refusal.unwrap_or_else(|| ResolveError::NotOnPath { name: name.to_string_lossy().into_owned() }))
}

fn executable(path: PathBuf) -> Result<PathBuf, ResolveError> {
    match fs::metadata(&path) {
        Err(_) => Err(ResolveError::Missing { path }),
        Ok(found) if found.is_dir() => Err(ResolveError::Directory { path }),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Err(ResolveError::NotExecutable { path }),
        Ok(_) => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_the_thing_and_the_reason() {
        assert!(resolve(b"sh").is_ok());
        assert_eq!(resolve(b"no-such-program").unwrap_err().to_string(), "`no-such-program` is not on PATH");
        assert_eq!(resolve(b"/no/such").unwrap_err().to_string(), "`/no/such` does not exist");
        assert_eq!(resolve(b"/usr").unwrap_err().to_string(), "`/usr` is a directory");
        assert!(resolve(b"/etc/passwd").unwrap_err().to_string().contains("not executable"));
        assert!(resolve(b"").unwrap_err().is_not_found());
    }
}
