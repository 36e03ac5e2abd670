//! Whether another process waits for its input: blocked in a read of descriptor 0, or in a call that waits for
//! descriptors to be ready.
//!
//! A line filter that has answered and waits for its next line has said all it has to say; one that runs, sleeps, waits
//! for a child or for room to write may say more. The kernel tells in `/proc/PID/task/TID/syscall`
//! (proc_pid_syscall(5)), to a process that may trace it: the parent of its parent may.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The calls that read a descriptor, which they name first.
const READS: [i64; 5] =
    [libc::SYS_read, libc::SYS_readv, libc::SYS_splice, libc::SYS_recvfrom, libc::SYS_recvmsg];

/// The calls that wait for descriptors.
const WAITS: [i64; 4] = [libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];

/// Those that only x86-64 has.
#[cfg(target_arch = "x86_64")]
const OLD_WAITS: [i64; 3] = [libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const OLD_WAITS: [i64; 0] = [];

/// The question whether one process waits for its input, which may be asked often.
#[derive(Debug)]
pub struct Rest {
    main_thread: File,
    tasks: PathBuf,
}

impl Rest {
    /// Prepares to ask about process `pid`.
    ///
    /// # Errors
    /// There is no such process, or it may not be looked at.
    pub fn of(pid: u32) -> io::Result<Self> {
        let main_thread = File::open(format!("/proc/{pid}/syscall"))?;
        Ok(Self { main_thread, tasks: PathBuf::from(format!("/proc/{pid}/task")) })
    }

    /// Whether one of its threads waits for input, and it is the main thread or the main thread waits for others; a
    /// dead process rests for good.
    ///
    /// # Errors
    /// The kernel does not say (it keeps no such file, or this process lost the right to read it).
    pub fn is_at_rest(&self) -> io::Result<bool> {
        match call_of(&self.main_thread)? {
            Call::Dead | Call::Input => return Ok(true),
            Call::Running => return Ok(false),
            Call::Other => {}
        }
        for task in fs::read_dir(&self.tasks)? {
            let thread = File::open(task?.path().join("syscall"));
            if let Ok(thread) = thread
                && call_of(&thread)? == Call::Input
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Dead,
    Running,
    Input,
    Other,
}

fn call_of(thread: &File) -> io::Result<Call> {
    let mut text = [0; 256];
    let length = match thread.read_at(&mut text, 0) {
        Ok(length) => length,
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(Call::Dead),
        Err(error) => return Err(error),
    };
    // "running", or "-1 …" outside of any call, or the number of the call and its arguments in hexadecimal.
    let mut words = text[..length].split(|byte| byte.is_ascii_whitespace());
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default();
    let Ok(number) = word().parse::<i64>() else { return Ok(Call::Running) };
    let first = word();
    Ok(match number {
        _ if READS.contains(&number) && first == "0x0" => Call::Input,
        _ if WAITS.contains(&number) || OLD_WAITS.contains(&number) => Call::Input,
        _ => Call::Other,
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::spawn::testing::shell_with;
    use crate::{pipe, transfer};

    #[test]
    fn a_process_that_reads_its_input_rests_and_one_that_runs_or_waits_for_a_child_does_not() {
        let (their_in, our_out) = pipe::pair().unwrap();
        let (our_in, their_out) = pipe::pair().unwrap();
        let script = "echo up; read line; sleep 0; echo up; read line; echo up; sleep 100 & wait";
        let child = shell_with(script, &[(their_in.as_fd(), 0), (their_out.as_fd(), 1)]);
        let rest = Rest::of(child.pid()).unwrap();
        let mut buffer = [0; 8];

        for _ in 0..2 {
            transfer::read(our_in.as_fd(), &mut buffer).unwrap();
            while !rest.is_at_rest().unwrap() {
                std::thread::yield_now();
            }
            transfer::write(our_out.as_fd(), b"go\n").unwrap();
        }
        transfer::read(our_in.as_fd(), &mut buffer).unwrap();
        assert!((0..1000).all(|_| !rest.is_at_rest().unwrap()));

        child.signal_group(libc::SIGKILL).unwrap();
        child.wait_for_end(None).unwrap();
        child.reap().unwrap();
        assert!(rest.is_at_rest().unwrap(), "the dead rest");
    }
}
