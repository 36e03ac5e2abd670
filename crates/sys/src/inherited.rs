//! Descriptors and variables that a program was started with.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

/// Takes descriptor `number` over from whoever started this program, and makes it close-on-exec.
///
/// To be called first thing in `main`, at most once for each number.
///
/// # Errors
/// It is not open, is 0, 1 or 2, or is close-on-exec, hence not inherited (`EBADF`).
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the number is only asked about, and marked below; if nobody has it open, that is `EBADF`. It is not −1.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl_getfd(borrowed)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF.into());
    }
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and no other value of this program owns it: whatever this program opens is close-on-exec
    // (the standard library and this crate see to that), and one taken here before is close-on-exec since then.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes stdin and stdout over from whoever started this program; what is printed to stdout from now on is dropped.
///
/// # Errors
/// One of them is not open (`EBADF`), or there are no descriptors left.
pub fn take_standard() -> io::Result<(OwnedFd, OwnedFd)> {
    let input = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let output = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null = OwnedFd::from(File::options().read(true).write(true).open("/dev/null")?);
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok((input, output))
}

/// Every descriptor that this program was started with and has not taken over, 0, 1 and 2 included.
///
/// # Errors
/// `/proc` cannot be read.
pub fn all() -> io::Result<Vec<BorrowedFd<'static>>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        // SAFETY: the number is not −1. If it is not open any more (that of the listing itself), asking is `EBADF`.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl_getfd(borrowed).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            // SAFETY: not close-on-exec, so it came from whoever started this program, and no value of this program
            // owns it (as in `take`): nobody closes it as long as the program runs.
            found.push(unsafe { BorrowedFd::borrow_raw(number) });
        }
    }
    Ok(found)
}

/// Why variables were not forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// Other threads may be reading the environment.
    #[error("this process has {threads} threads already")]
    NotAlone {
        /// How many there are, this one included.
        threads: usize,
    },
    /// There is no telling whether there are other threads.
    #[error("failed to count the threads of this process")]
    Count {
        /// What reading `/proc/self/task` answered.
        source: io::Error,
    },
}

/// Removes variables from this process's environment, so that what it starts does not inherit them. To be called first
/// thing in `main`: nothing is removed once there is a second thread.
///
/// # Errors
/// [`ForgetError`]; nothing was removed then.
pub fn forget(names: &[&str]) -> Result<(), ForgetError> {
    let tasks = std::fs::read_dir("/proc/self/task").map_err(|source| ForgetError::Count { source })?;
    let threads = tasks.count();
    if threads != 1 {
        return Err(ForgetError::NotAlone { threads });
    }
    for name in names {
        // SAFETY: nobody reads the environment meanwhile: this is the only thread, as counted above, and no other can
        // come into being while it is here.
        unsafe { std::env::remove_var(name) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn only_what_an_exec_let_through_can_be_taken() {
        let own = std::fs::File::open("/dev/null").unwrap();
        let number = own.as_raw_fd();

        assert_eq!(take(number).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(take(0).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(take(-1).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(take(1_000_000).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn what_was_taken_cannot_be_taken_again() {
        // Stands for an inherited one: open, and not close-on-exec.
        let number = std::os::fd::IntoRawFd::into_raw_fd(std::fs::File::open("/dev/null").unwrap());
        // SAFETY: open, by the line above.
        let open = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl_setfd(open, FdFlags::empty()).unwrap();

        let taken = take(number).unwrap();

        assert_eq!(taken.as_raw_fd(), number);
        assert!(take(number).is_err());
    }

    #[test]
    fn the_standard_streams_are_inherited_and_what_is_opened_here_is_not() {
        let own = std::fs::File::open("/dev/null").unwrap();

        let numbers: Vec<RawFd> = all().unwrap().iter().map(AsRawFd::as_raw_fd).collect();

        assert!([0, 1, 2].iter().all(|standard| numbers.contains(standard)), "{numbers:?}");
        assert!(!numbers.contains(&own.as_raw_fd()), "{numbers:?}");
    }

    #[test]
    fn a_second_thread_keeps_the_environment_as_it_is() {
        // The runner's main thread is one more.
        let refused = forget(&["PATH"]).unwrap_err();

        assert!(matches!(refused, ForgetError::NotAlone { threads } if threads >= 2));
        assert!(std::env::var_os("PATH").is_some());
    }
}
