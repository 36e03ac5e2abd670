//! Who serves at a socket: one service at a time, decided by a lock on a file beside it.
//!
//! # Protocol
//! 1. Open `SOCKET.lock`, made if need be, and lock it; whoever has it locked serves.
//! 2. Look whether that is still the file at that path: its last owner may have removed it between open and lock. If not,
//!    begin again.
//! 3. Write into it who serves ([`Record`]), for people and for `poolctl`.
//! 4. What is at the path of the socket belongs to nobody who serves. If nobody listens there it is removed; then listen.
//! 5. In the end remove the socket, then the file, then let go of the lock.
//!
//! # If the owner dies
//! The kernel gives the lock back. The file and the socket stay, and the next one takes both over. No pid decides anything:
//! one that stands in the file may be another program's by now.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use poolctl_sys::listening::{self, Found, MAX_PATH_BYTES, NO_LINK};
use poolctl_sys::named::Peer;
use poolctl_sys::{file_lock, process};
use serde::{Deserialize, Serialize};

/// The most that a record has.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// Who serves at a socket, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its process.
    pub pid: u32,
    /// Of which version it is.
    pub version: String,
    /// The configuration it was started with, if it was a file.
    pub config: Option<PathBuf>,
    /// Where its log goes.
    pub log: LogPlace,
}

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogPlace {
    /// To whatever its stderr is.
    Stderr,
    /// To the journal of systemd, as this unit if it is known.
    Journal(Option<String>),
    /// To this file.
    File(PathBuf),
}

/// The right to serve at a socket.
#[derive(Debug)]
pub struct Tenure {
    file: File,
    lock: PathBuf,
    socket: PathBuf,
    /// The socket's device and number, once this one listens there.
    bound: Option<(u64, u64)>,
}

/// Why somebody cannot serve at a socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenureError {
    /// No socket has such a path.
    #[error("the path of the socket has {bytes} bytes, and the most is {MAX_PATH_BYTES}: `{}`", .path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Another service serves there.
    #[error("another poold serves at `{}`{}", .path.display(), .pid.map(|pid| format!(": pid {pid}")).unwrap_or_default())]
    Taken {
        /// The socket.
        path: PathBuf,
        /// Its process, if it has written it down already.
        pid: Option<u32>,
    },
    /// Somebody listens there who has no lock.
    #[error("somebody who is no poold listens at `{}`{}", .path.display(), .peer.map(|peer| format!(": pid {}, user {}", peer.pid, peer.uid)).unwrap_or_default())]
    Live {
        /// The socket.
        path: PathBuf,
        /// Who, where the kernel tells.
        peer: Option<Peer>,
    },
    /// Something else is at that path.
    #[error("what is at `{}` is no socket", .path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The file that is to be locked is another user's.
    #[error("`{}` belongs to user {owner}, not to you", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The lock cannot be had.
    #[error("failed to lock `{}`", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody can listen there.
    #[error("failed to listen at `{}`", .path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Who serves at `socket`, by what it has written beside it; none if nobody does, or has not written it down.
///
/// # Errors
/// It cannot be read.
pub fn incumbent(socket: &Path) -> io::Result<Option<Record>> {
    // Looking at the lock wants it open for writing, as taking it does.
    match File::options().read(true).write(true).custom_flags(NO_LINK).open(lock_path(socket)) {
        Ok(file) if file_lock::is_locked_elsewhere(&file)? => record_in(&file),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Tenure {
    /// The right to serve at `socket`, for as long as this value lives.
    ///
    /// # Errors
    /// Somebody has it; the path is none for a socket; the lock cannot be made.
    pub fn begin(socket: &Path) -> Result<Self, TenureError> {
        let bytes = socket.as_os_str().len();
        if bytes > MAX_PATH_BYTES {
            return Err(TenureError::TooLong { path: socket.to_path_buf(), bytes });
        }
        let lock = lock_path(socket);
        let failed = |source| TenureError::Lock { path: lock.clone(), source };
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_LINK);
            let file = options.open(&lock).map_err(failed)?;
            let found = file.metadata().map_err(failed)?;
            if found.uid() != process::user_id() {
                return Err(TenureError::Foreign { path: lock, owner: found.uid() });
            }
            if !file_lock::try_lock(&file).map_err(failed)? {
                let pid = record_in(&file).ok().flatten().map(|record| record.pid);
                return Err(TenureError::Taken { path: socket.to_path_buf(), pid });
            }
            let is_there = fs::symlink_metadata(&lock).is_ok_and(|there| name(&there) == name(&found));
            if is_there {
                // What stands in it is about its last owner.
                file.set_len(0).map_err(failed)?;
                return Ok(Self { file, lock, socket: socket.to_path_buf(), bound: None });
            }
        }
    }

    /// Writes down who serves.
    ///
    /// # Errors
    /// The disk is full.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        let mut text = serde_json::to_vec(record)?;
        text.push(b'\n');
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)
    }

    /// Listens at the socket, to which only this user can connect; one that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// Somebody listens there; something else is there; the directory is missing or may not be written.
    pub fn listen(&mut self) -> Result<UnixListener, TenureError> {
        let path = self.socket.clone();
        let failed = |source| TenureError::Listen { path: path.clone(), source };
        match listening::look(&path).map_err(failed)? {
            Found::Nothing => {}
            Found::Stale => fs::remove_file(&path).map_err(failed)?,
            Found::NoSocket => return Err(TenureError::NoSocket { path }),
            Found::Live(peer) => return Err(TenureError::Live { path, peer }),
        }
        let listener = listening::bind_private(&path).map_err(failed)?;
        self.bound = fs::symlink_metadata(&path).ok().map(|there| name(&there));
        Ok(listener)
    }
}

impl Drop for Tenure {
    /// Removes what this one has made, in the order that lets nobody else in between.
    fn drop(&mut self) {
        let is_own = |bound| fs::symlink_metadata(&self.socket).is_ok_and(|there| name(&there) == bound);
        if self.bound.is_some_and(is_own) {
            drop(fs::remove_file(&self.socket));
        }
        drop(fs::remove_file(&self.lock));
    }
}

fn lock_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn name(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn record_in(mut file: &File) -> io::Result<Option<Record>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(MAX_RECORD_BYTES).read_to_end(&mut text)?;
    // One that is being written is none yet.
    Ok(serde_json::from_slice(&text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let (version, log) = ("1".to_owned(), LogPlace::File("/x".into()));
        Record { pid: 77, version, config: None, log }
    }

    #[test]
    fn one_serves_and_the_other_is_told_who() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let mut first = Tenure::begin(&socket).unwrap();
        first.record(&record()).unwrap();

        let refusal = Tenure::begin(&socket).unwrap_err();

        assert_eq!(refusal.to_string(), format!("another poold serves at `{}`: pid 77", socket.display()));
        assert_eq!(incumbent(&socket).unwrap(), Some(record()));
        drop(first);
        assert_eq!(incumbent(&socket).unwrap(), None);
        assert!(Tenure::begin(&socket).is_ok());
    }

    #[test]
    fn nothing_is_left_at_an_orderly_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut tenure = Tenure::begin(&directory.path().join("s")).unwrap();
        let listener = tenure.listen().unwrap();

        drop((listener, tenure));

        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let stranger = UnixListener::bind(&socket).unwrap();
        let mut tenure = Tenure::begin(&socket).unwrap();

        let live = tenure.listen().unwrap_err();
        drop(stranger);
        let listener = tenure.listen();

        assert!(matches!(live, TenureError::Live { peer: Some(peer), .. } if peer.pid == std::process::id()));
        assert!(listener.is_ok());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        fs::write(&socket, "precious").unwrap();

        let refusal = Tenure::begin(&socket).unwrap().listen().unwrap_err();

        assert!(matches!(refusal, TenureError::NoSocket { .. }));
        assert_eq!(fs::read(&socket).unwrap(), b"precious");
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_told_with_its_length() {
        let path = Path::new("/tmp").join("x".repeat(103));

        let refusal = Tenure::begin(&path).unwrap_err().to_string();

        assert!(refusal.contains("has 108 bytes, and the most is 107"), "{refusal}");
    }

    #[test]
    fn of_many_at_the_same_instant_exactly_one_serves() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        for _ in 0..200 {
            let start = std::sync::Barrier::new(4);
            let tenures: Vec<_> = std::thread::scope(|scope| {
                let begin = || {
                    start.wait();
                    Tenure::begin(&socket)
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });

            assert_eq!(tenures.iter().filter(|tenure| tenure.is_ok()).count(), 1);
        }
    }
}
