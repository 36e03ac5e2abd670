//! The directory of sockets and locks, `$XDG_RUNTIME_DIR/poolctl`.
//!
//! It belongs to this user alone, so that whoever can lie in it could as well attach a debugger. What is looked at is
//! the opened directory, not the path; the directories above it can be changed by this user and root alone.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use poolctl_sys::listening::{DIRECTORY_ITSELF, NO_LINK};
use poolctl_sys::process::user_id;

/// Names the runtime directory.
const VARIABLE: &str = "XDG_RUNTIME_DIR";

/// Why there can be no sockets and locks here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeDirectoryError {
    /// The variable is not set.
    #[error("{VARIABLE} is not set, so there is no directory for sockets and locks")]
    Unset,
    /// Its value depends on where this program runs.
    #[error("{VARIABLE} is `{}`, which is no absolute path", .path.display())]
    Relative {
        /// The value.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("failed to open the directory `{}`", .path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be made.
    #[error("failed to make the directory `{}`", .path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whoever can change the link decides where it leads.
    #[error("`{}` is a symbolic link", .path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
        /// Whether it is the runtime directory itself, and not one of ours in it.
        outer: bool,
    },
    /// Somebody else may do there whatever they like.
    #[error("`{}` belongs to user {owner}, not to you", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may do things there.
    #[error("others may use `{}` (mode {mode:03o})", .path.display())]
    Shared {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

impl RuntimeDirectoryError {
    /// The command that mends it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unset | Self::Relative { .. } | Self::Foreign { .. } => export(),
            Self::Open { path, source } if source.kind() == io::ErrorKind::NotFound => {
                format!("mkdir -m 700 {}", quoted(path))
            }
            Self::Open { .. } | Self::Make { .. } => export(),
            Self::Symlink { path, outer: true } => {
                let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                format!("export {VARIABLE}={}", quoted(&target))
            }
            Self::Symlink { path, outer: false } => format!("rm {}", quoted(path)),
            Self::Shared { path, .. } => format!("chmod 700 {}", quoted(path)),
        }
    }
}

/// How to get a runtime directory: that of the session if there is one, else one at home.
fn export() -> String {
    let session = PathBuf::from(format!("/run/user/{}", user_id()));
    if session.is_dir() {
        format!("export {VARIABLE}={}", session.display())
    } else {
        format!("mkdir -p -m 700 \"$HOME/.run\" && export {VARIABLE}=\"$HOME/.run\"")
    }
}

/// A path as a shell reads it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// The directory, or one in it: `$XDG_RUNTIME_DIR/poolctl` and then `names`; made if need be.
///
/// # Errors
/// The runtime directory is unset or unsafe.
pub fn runtime_directory(names: &[&str]) -> Result<PathBuf, RuntimeDirectoryError> {
    let outer =
        env::var_os(VARIABLE).filter(|value| !value.is_empty()).ok_or(RuntimeDirectoryError::Unset)?;
    directory_below(PathBuf::from(outer), names)
}

/// Where a service listens that is not told otherwise, `$XDG_RUNTIME_DIR/poolctl/poold.sock`.
///
/// # Errors
/// As [`runtime_directory`].
pub fn usual_socket() -> Result<PathBuf, RuntimeDirectoryError> {
    Ok(runtime_directory(&[])?.join("poold.sock"))
}

fn directory_below(outer: PathBuf, names: &[&str]) -> Result<PathBuf, RuntimeDirectoryError> {
    if !outer.is_absolute() {
        return Err(RuntimeDirectoryError::Relative { path: outer });
    }
    // Others may see that of a session, but not write.
    check(&outer, true, 0o022)?;
    let mut path = outer;
    for name in ["poolctl"].iter().chain(names) {
        path.push(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(RuntimeDirectoryError::Make { path, source }),
        }
        check(&path, false, 0o077)?;
    }
    Ok(path)
}

/// Refuses a directory that is not this user's own.
fn check(path: &Path, outer: bool, forbidden: u32) -> Result<(), RuntimeDirectoryError> {
    let path = path.to_path_buf();
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
        return Err(RuntimeDirectoryError::Symlink { path, outer });
    }
    let opened = File::options().read(true).custom_flags(DIRECTORY_ITSELF | NO_LINK).open(&path);
    let found = match opened.and_then(|directory| directory.metadata()) {
        Ok(found) => found,
        Err(source) => return Err(RuntimeDirectoryError::Open { path, source }),
    };
    if found.uid() != user_id() {
        return Err(RuntimeDirectoryError::Foreign { path, owner: found.uid() });
    }
    let mode = found.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(RuntimeDirectoryError::Shared { path, mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn private() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        directory
    }

    fn refusal(outer: &Path) -> (String, String) {
        let error = directory_below(outer.to_path_buf(), &[]).unwrap_err();
        (error.to_string(), error.hint())
    }

    #[test]
    fn what_is_missing_below_is_made_for_this_user_alone() {
        let outer = private();

        let path = directory_below(outer.path().to_path_buf(), &["locks"]).unwrap();

        assert_eq!(path, outer.path().join("poolctl/locks"));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_unsafe_directory_is_refused_with_the_command_that_mends_it() {
        let outer = private();
        let (shared, link) = (outer.path().join("shared"), outer.path().join("a link"));
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o770)).unwrap();
        symlink(outer.path(), &link).unwrap();

        let (error, hint) = refusal(&shared);
        assert!(error.ends_with("(mode 770)"), "{error}");
        assert_eq!(hint, format!("chmod 700 {}", shared.display()));
        let (error, hint) = refusal(&link);
        assert!(error.ends_with("a link` is a symbolic link"), "{error}");
        assert_eq!(hint, format!("export XDG_RUNTIME_DIR={}", outer.path().display()));
        let (error, hint) = refusal(&outer.path().join("none here"));
        assert!(error.starts_with("failed to open"), "{error}");
        assert_eq!(hint, format!("mkdir -m 700 '{}/none here'", outer.path().display()));
        assert_eq!(refusal(Path::new("run")).0, "XDG_RUNTIME_DIR is `run`, which is no absolute path");
        symlink(outer.path(), outer.path().join("poolctl")).unwrap();
        assert!(refusal(outer.path()).1.starts_with("rm /"));
    }
}
