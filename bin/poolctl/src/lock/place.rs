//! The directory of the locks, `$XDG_RUNTIME_DIR/poolctl/locks`, and the guard over it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use poolctl_service::{RuntimeDirectoryError, runtime_directory};
use poolctl_supervisor::file_lock;

use super::name::Entry;

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
    pub(crate) fn open() -> Result<Self, RuntimeDirectoryError> {
        Ok(Self { path: runtime_directory(&["locks"])? })
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
