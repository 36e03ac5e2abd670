//! The directory of the locks, `$XDG_RUNTIME_DIR/poolctl/locks`, and the guard over it.
//!
//! It belongs to this user alone, so that whoever can lie in it could as well attach a debugger. What is looked at is
//! the opened directory, not the path; the directories above it can be changed by this user and root alone.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use poolctl_supervisor::file_lock;

use super::name::Entry;

/// Names the runtime directory.
const VARIABLE: &str = "XDG_RUNTIME_DIR";

/// Why there can be no locks here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("{VARIABLE} is not set, so there is no directory for locks")]
    Unset,
    #[error("{VARIABLE} is `{}`, which is no absolute path", .path.display())]
    Relative { path: PathBuf },
    #[error("failed to open the directory `{}`", .path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("failed to make the directory `{}`", .path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("`{}` is a symbolic link", .path.display())]
    Symlink { path: PathBuf, outer: bool },
    #[error("`{}` belongs to user {owner}, not to you", .path.display())]
    Foreign { path: PathBuf, owner: u32 },
    #[error("others may use `{}` (mode {mode:03o})", .path.display())]
    Shared { path: PathBuf, mode: u32 },
}

impl PlaceError {
    /// The command that mends it.
    pub(crate) fn hint(&self) -> String {
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
    let session = PathBuf::from(format!("/run/user/{}", geteuid()));
    if session.is_dir() {
        format!("export {VARIABLE}={}", session.display())
    } else {
        format!("mkdir -p -m 700 \"$HOME/.run\" && export {VARIABLE}=\"$HOME/.run\"")
    }
}

fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    shlex::try_quote(&text).map_or_else(|_| text.clone().into_owned(), std::borrow::Cow::into_owned)
}

/// The directory of the locks.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    path: PathBuf,
}

/// While it lives, nobody else looks at the directory or changes it. Held for moments: never while waiting for a lock.
#[derive(Debug)]
pub(crate) struct Guard {
    _directory: File,
}

impl Place {
    /// The directory, made if need be.
    ///
    /// # Errors
    /// The runtime directory is unset or unsafe.
    pub(crate) fn open() -> Result<Self, PlaceError> {
        let outer = env::var_os(VARIABLE).filter(|value| !value.is_empty()).ok_or(PlaceError::Unset)?;
        let outer = PathBuf::from(outer);
        if !outer.is_absolute() {
            return Err(PlaceError::Relative { path: outer });
        }
        // Others may see that of a session, but not write.
        check(&outer, true, 0o022)?;
        let mut path = outer;
        for name in ["poolctl", "locks"] {
            path.push(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(PlaceError::Make { path, source }),
            }
            check(&path, false, 0o077)?;
        }
        Ok(Self { path })
    }

    /// Waits until nobody else has the directory, and takes it.
    ///
    /// # Errors
    /// It has been removed, or the file system knows no locks.
    pub(crate) fn guard(&self) -> io::Result<Guard> {
        let directory = File::open(&self.path)?;
        file_lock::lock_directory(&directory)?;
        Ok(Guard { _directory: directory })
    }

    /// The path of a file in it.
    pub(crate) fn path_of(&self, entry: &Entry) -> PathBuf {
        self.path.join(entry.to_string())
    }

    /// Opens a file in it, made if need be.
    pub(crate) fn create(&self, entry: &Entry, _guard: &Guard) -> io::Result<File> {
        self.options().create(true).open(self.path_of(entry))
    }

    /// Opens a file that is there.
    pub(crate) fn open_existing(&self, entry: &Entry, _guard: &Guard) -> io::Result<File> {
        self.options().open(self.path_of(entry))
    }

    /// Removes a file.
    pub(crate) fn remove(&self, entry: &Entry, _guard: &Guard) -> io::Result<()> {
        match fs::remove_file(self.path_of(entry)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The files that are ours, in the order of their names.
    pub(crate) fn entries(&self, _guard: &Guard) -> io::Result<Vec<Entry>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names.iter().filter_map(|name| Entry::parse(name)).collect())
    }

    fn options(&self) -> fs::OpenOptions {
        let mut options = File::options();
        options.read(true).write(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        options
    }
}

/// Refuses a directory that is not this user's own.
fn check(path: &Path, outer: bool, forbidden: u32) -> Result<(), PlaceError> {
    let path = path.to_path_buf();
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
        return Err(PlaceError::Symlink { path, outer });
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = File::options().read(true).custom_flags(flags.bits()).open(&path);
    let found = match opened.and_then(|directory| directory.metadata()) {
        Ok(found) => found,
        Err(source) => return Err(PlaceError::Open { path, source }),
    };
    if found.uid() != geteuid().as_raw() {
        return Err(PlaceError::Foreign { path, owner: found.uid() });
    }
    let mode = found.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(PlaceError::Shared { path, mode });
    }
    Ok(())
}
