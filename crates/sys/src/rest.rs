//! Whether another process rests: blocked in a system call that writes nothing.
//!
//! A line filter that has answered and waits in `read` for its next line has said all it has to say; one that runs, or
//! waits for room to write, may say more. The kernel tells in `/proc/PID/syscall` (proc_pid_syscall(5)), of the main
//! thread, to a process that may trace it: the parent of its parent may.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The calls that write, on this machine.
const WRITES: [i64; 6] = [
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_splice,
];

/// The question whether one process rests, which may be asked often.
#[derive(Debug)]
pub struct Rest {
    syscall: File,
}

impl Rest {
    /// Prepares to ask about process `pid`.
    ///
    /// # Errors
    /// There is no such process, or it may not be looked at.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { syscall: File::open(format!("/proc/{pid}/syscall"))? })
    }

    /// Whether it is blocked in a system call that writes nothing; a dead one rests for good.
    ///
    /// # Errors
    /// The kernel does not say (it keeps no such file, or this process lost the right to read it).
    pub fn is_at_rest(&self) -> io::Result<bool> {
        let mut text = [0; 256];
        let length = match self.syscall.read_at(&mut text, 0) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(true),
            Err(error) => return Err(error),
        };
        // "running", or "-1 …" outside of any call, or the number of the call and its arguments.
        let number = text[..length].split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse::<i64>().ok());
        Ok(number.is_some_and(|call| call >= 0 && !WRITES.contains(&call)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::spawn::testing::shell_with;
    use crate::{pipe, transfer};

    #[test]
    fn a_process_that_reads_rests_and_one_that_runs_or_writes_does_not() {
        let (their_in, our_out) = pipe::pair().unwrap();
        let (our_in, their_out) = pipe::pair().unwrap();
        let script = "echo up; read line; echo up; while :; do :; done";
        let child = shell_with(script, &[(their_in.as_fd(), 0), (their_out.as_fd(), 1)]);
        let rest = Rest::of(child.pid()).unwrap();
        let mut buffer = [0; 8];

        transfer::read(our_in.as_fd(), &mut buffer).unwrap();
        while !rest.is_at_rest().unwrap() {
            std::thread::yield_now();
        }
        transfer::write(our_out.as_fd(), b"go\n").unwrap();
        transfer::read(our_in.as_fd(), &mut buffer).unwrap();
        assert!((0..1000).all(|_| !rest.is_at_rest().unwrap()));

        child.signal(libc::SIGKILL).unwrap();
        child.wait_for_end(None).unwrap();
        child.reap().unwrap();
        assert!(rest.is_at_rest().unwrap(), "the dead rest");
    }
}
