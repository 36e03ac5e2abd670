//! Short ways to start a shell, for the tests of this crate.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Command, Spawner};
use crate::pidfd::Pidfd;

/// The path of the shell.
pub(crate) const SH: &CStr = c"/bin/sh";

/// Starts `sh -c script`.
pub(crate) fn shell(script: &str) -> Pidfd {
    shell_with(script, &[])
}

/// Starts `sh -c script` with `writer` as descriptor 3.
pub(crate) fn shell_writing(script: &str, writer: &OwnedFd) -> Pidfd {
    shell_with(script, &[(writer.as_fd(), 3)])
}

/// Starts `sh -c script` with these descriptors.
pub(crate) fn shell_with(script: &str, fds: &[(BorrowedFd<'_>, i32)]) -> Pidfd {
    let script = CString::new(script).unwrap();
    let argv = [SH, c"-c", script.as_c_str()];
    let command = Command {
        path: SH,
        argv: &argv,
        env: &[c"PATH=/usr/bin:/bin"],
        cwd: None,
        fds,
        nice: None,
        open_files: None,
        die_with_parent: false,
    };
    Spawner::new().unwrap().spawn(&command).unwrap()
}
