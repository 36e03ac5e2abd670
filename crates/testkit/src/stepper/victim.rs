//! One traced process: its steps, its breakpoint, its end.

use std::fmt;
use std::fs;
use std::ptr;
use std::thread;
use std::time::Instant;

use nix::libc::user_regs_struct;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{END, NOT_PERMITTED, Refused, START};
use crate::proc::Process;
use crate::wait::DEADLINE;

/// The instruction `int3`, of one byte, as the lowest of a word.
const BREAKPOINT: i64 = 0xcc;
/// The instruction `syscall`, of two bytes.
const SYSCALL: i64 = 0x050f;

/// Where an instruction is, whatever the addresses of a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    file: String,
    offset: u64,
}

impl Place {
    /// Whether the kernel's page is there that tells the time without a system call.
    pub(super) fn is_clock(&self) -> bool {
        self.file == "[vdso]"
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.file, self.offset)
    }
}

/// What a victim did when it was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It stands behind a step, or at the breakpoint.
    Trapped,
    /// It sleeps in the kernel.
    Sleeps,
    /// It stands at [`super::mark_end`].
    End,
    /// It exited with this code.
    Exited(i32),
}

/// A process that is traced; killed and reaped with this value.
#[derive(Debug)]
pub(super) struct Victim {
    pid: Pid,
    files: Vec<MappedFile>,
    breakpoint: Option<Breakpoint>,
    is_stopped: bool,
    is_over: bool,
}

/// Executable memory.
#[derive(Debug)]
struct MappedFile {
    name: String,
    start: u64,
    end: u64,
    offset: u64,
}

/// A breakpoint, and what was there.
#[derive(Debug, Clone, Copy)]
struct Breakpoint {
    address: u64,
    original: i64,
}

impl Victim {
    /// Waits until the process, a child of this thread, comes to [`super::mark_start`].
    pub(super) fn start(pid: u32) -> Result<Self, Refused> {
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
        let mut victim = Self { pid, files: Vec::new(), breakpoint: None, is_stopped: false, is_over: false };
        match victim.wait_for_start() {
            WaitStatus::Stopped(_, START) => victim.is_stopped = true,
            WaitStatus::Exited(_, NOT_PERMITTED) => {
                victim.is_over = true;
                return Err(Refused);
            }
            other => panic!("the victim never came to its start: {other:?}"),
        }
        victim.files = executable_files(pid);
        Ok(victim)
    }

    /// Whether it stands still.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        let address = self.registers().rip;
        let file = self.files.iter().find(|file| (file.start..file.end).contains(&address));
        let file = file.expect("an instruction is in a mapped file");
        Place { file: file.name.clone(), offset: address - file.start + file.offset }
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Whether its next instruction is a system call.
    pub(super) fn is_before_call(&self) -> bool {
        self.read(self.registers().rip) & 0xffff == SYSCALL
    }

    /// Executes one instruction.
    pub(super) fn step(&mut self) -> News {
        // Only a system call can put it to sleep; without one a trap follows at once.
        let is_call = self.is_before_call();
        ptrace::step(self.pid, None).expect("a stopped victim can be stepped");
        self.is_stopped = false;
        if is_call {
            return self.news();
        }
        let status = self.wait_for_stop();
        self.news_of(status)
    }

    /// Lets it go.
    pub(super) fn go_on(&mut self) -> News {
        ptrace::cont(self.pid, None).expect("a stopped victim can go on");
        self.is_stopped = false;
        self.news()
    }

    /// Lets it go to where the next system call begins or ends.
    pub(super) fn go_on_to_call(&mut self) -> News {
        ptrace::syscall(self.pid, None).expect("a stopped victim can go on");
        self.is_stopped = false;
        self.news()
    }

    /// Whether it stands still: it did already, or has been woken from its sleep in a system call since.
    pub(super) fn is_woken(&mut self) -> bool {
        self.is_stopped || self.news() == News::Trapped
    }

    /// Waits until it stops, ends or sleeps.
    pub(super) fn news(&mut self) -> News {
        let begun = Instant::now();
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(status) => return self.news_of(status),
                Err(error) => panic!("a child can be waited for: {error}"),
            }
            let state = Process::look(self.pid()).map(|process| process.state);
            if state == Some('S') {
                return News::Sleeps;
            }
            assert!(begun.elapsed() < DEADLINE, "the victim runs for ever");
            thread::yield_now();
        }
    }

    /// Will stop at a place; there is one breakpoint at most.
    pub(super) fn set_breakpoint(&mut self, place: &Place) {
        let holds = |file: &&MappedFile| {
            file.name == place.file
                && (file.offset..file.offset + (file.end - file.start)).contains(&place.offset)
        };
        let file = self.files.iter().find(holds).expect("every victim has the same files");
        let address = file.start + (place.offset - file.offset);
        let original = self.read(address);
        self.write(address, original & !0xff | BREAKPOINT);
        self.breakpoint = Some(Breakpoint { address, original });
    }

    /// Whether what it stands at is the breakpoint.
    pub(super) fn is_at_breakpoint(&self) -> bool {
        self.breakpoint.is_some_and(|breakpoint| breakpoint.address + 1 == self.registers().rip)
    }

    /// Takes the breakpoint away; if the victim stands at it, before the instruction that is there.
    pub(super) fn clear_breakpoint(&mut self) {
        if let Some(Breakpoint { address, original }) = self.breakpoint {
            if self.is_at_breakpoint() {
                let mut registers = self.registers();
                registers.rip = address;
                ptrace::setregs(self.pid, registers).expect("a stopped victim has registers");
            }
            self.write(address, original);
            self.breakpoint = None;
        }
    }

    /// Kills it. When this returns it does nothing any more.
    pub(super) fn kill(&mut self) {
        kill(self.pid, Signal::SIGKILL).expect("a child that is not reaped can be killed");
        while !self.is_over {
            let status = self.wait_for_stop();
            self.is_over = matches!(status, WaitStatus::Signaled(..) | WaitStatus::Exited(..));
        }
    }

    /// It may sleep on its way there, on the disk perhaps.
    fn wait_for_start(&self) -> WaitStatus {
        let begun = Instant::now();
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => thread::yield_now(),
                status => return status.expect("a child can be waited for"),
            }
            assert!(begun.elapsed() < DEADLINE, "the victim never came to its start");
        }
    }

    /// For one that stops, or ends, without sleeping.
    fn wait_for_stop(&self) -> WaitStatus {
        waitpid(self.pid, Some(WaitPidFlag::__WALL)).expect("a child can be waited for")
    }

    fn news_of(&mut self, status: WaitStatus) -> News {
        match status {
            WaitStatus::Stopped(_, signal @ (Signal::SIGTRAP | END)) => {
                self.is_stopped = true;
                if signal == END { News::End } else { News::Trapped }
            }
            WaitStatus::Exited(_, code) => {
                self.is_over = true;
                News::Exited(code)
            }
            other => panic!("the victim was not meant to do that: {other:?}"),
        }
    }

    fn registers(&self) -> user_regs_struct {
        ptrace::getregs(self.pid).expect("a stopped victim has registers")
    }

    fn read(&self, address: u64) -> i64 {
        ptrace::read(self.pid, pointer(address)).expect("instructions can be read")
    }

    fn write(&self, address: u64, word: i64) {
        ptrace::write(self.pid, pointer(address), word).expect("instructions can be replaced");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if !self.is_over {
            self.kill();
        }
    }
}

/// An address of another process.
fn pointer(address: u64) -> *mut nix::libc::c_void {
    ptr::without_provenance_mut(usize::try_from(address).expect("this is x86-64"))
}

/// The executable memory of a process, as /proc lists it.
fn executable_files(pid: Pid) -> Vec<MappedFile> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a child's maps can be read");
    maps.lines().filter_map(mapped_file).collect()
}

/// A line such as `55d0c8000000-55d0c8021000 r-xp 00001000 fe:00 1234   /usr/bin/x`; none if nothing is executed there.
fn mapped_file(line: &str) -> Option<MappedFile> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let offset = fields.next()?;
    let name = fields.nth(2)?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let file = MappedFile {
        name: name.to_owned(),
        start: number(start)?,
        end: number(end)?,
        offset: number(offset)?,
    };
    permissions.contains('x').then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_lines_are_read_and_others_are_not() {
        let line = "7f00-7f80 r-xp 00001000 fe:00 1234                       /usr/lib/x.so";

        let file = mapped_file(line).unwrap();

        assert_eq!((file.start, file.end, file.offset), (0x7f00, 0x7f80, 0x1000));
        assert_eq!(file.name, "/usr/lib/x.so");
        assert!(mapped_file("7f00-7f80 rw-p 00000000 00:00 0 [heap]").is_none());
        assert!(mapped_file("7f00-7f80 r-xp 00000000 00:00 0").is_none());
    }
}
