//! Locks on files between unrelated processes, which the kernel gives back when their owner dies.
//!
//! A lock on a file belongs to the open file description (`F_OFD_SETLK`, fcntl(2)): it is gone once the last descriptor
//! of it is closed, and closing another one of the same file does not matter. A lock on a directory is flock(2), since
//! fcntl wants a descriptor that is open for writing.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

/// Locks the whole file for this description alone, if nobody else has it locked; whether it did.
///
/// - `file`: open for writing.
///
/// # Errors
/// The file is not open for writing (`EBADF`); no locks left (`ENOLCK`).
pub fn try_lock(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The same, and waits for it as long as it takes; nothing can make it return earlier.
///
/// # Errors
/// As [`try_lock`].
pub fn lock(file: &File) -> io::Result<()> {
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLKW(&whole_file(libc::F_WRLCK))) {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the lock back, if this description has it.
///
/// # Errors
/// None is known.
pub fn unlock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)))?;
    Ok(())
}

/// Whether another description has the file locked.
///
/// # Errors
/// None is known.
pub fn is_locked_elsewhere(file: &File) -> io::Result<bool> {
    let mut asked = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked))?;
    Ok(asked.l_type != kind(libc::F_UNLCK))
}

/// Locks an open directory until `directory` is closed; waits as long as it takes.
///
/// # Errors
/// The file system cannot do that.
pub fn lock_directory(directory: &impl AsFd) -> io::Result<()> {
    retry_on_intr(|| flock(directory, FlockOperation::LockExclusive)).map_err(|error: Errno| error.into())
}

fn whole_file(what: libc::c_int) -> libc::flock {
    libc::flock { l_type: kind(what), l_whence: kind(libc::SEEK_SET), l_start: 0, l_len: 0, l_pid: 0 }
}

fn kind(number: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(number).expect("lock types and origins are small numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_descriptions() -> (File, File) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(file.path()).unwrap();
        (open(), open())
    }

    #[test]
    fn two_descriptions_of_one_process_exclude_each_other() {
        let (first, second) = two_descriptions();

        assert!(try_lock(&first).unwrap());
        assert!(!try_lock(&second).unwrap());
        assert!(is_locked_elsewhere(&second).unwrap());
        assert!(!is_locked_elsewhere(&first).unwrap(), "one's own lock is no hindrance");
        unlock(&second).unwrap();
        assert!(!try_lock(&second).unwrap(), "only the owner gives it back");
        unlock(&first).unwrap();
        assert!(try_lock(&second).unwrap());
    }

    #[test]
    fn who_waits_gets_it_when_the_owner_closes_its_file() {
        let (first, second) = two_descriptions();
        assert!(try_lock(&first).unwrap());

        let waiter = std::thread::spawn(move || lock(&second).map(|()| second));
        drop(first);

        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn a_locked_directory_is_free_once_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let open = || File::open(directory.path()).unwrap();
        let first = open();
        lock_directory(&first).unwrap();

        let waiting = open();
        let waiter = std::thread::spawn(move || lock_directory(&waiting));
        drop(first);

        waiter.join().unwrap().unwrap();
    }
}
