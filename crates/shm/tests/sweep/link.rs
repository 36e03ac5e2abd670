//! A host, and a victim that is its worker: this program again, with the segments and a file for its effects.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::{env, io};

use poolctl_shm::{HostEnd, WorkerEnd, WorkerFds};
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_sys::{inherited, memfd, transfer};
use poolctl_testkit::stepper::{self, VICTIM};

/// How long each ring is: short, so that records go round its end.
pub(crate) const RING: usize = 4096;
/// How long a record is: not a divisor of the ring.
pub(crate) const RECORD: usize = 24;
/// How many effects there is room for.
const EFFECTS: usize = 64;

/// The host's side.
pub(crate) struct Link {
    pub(crate) host: HostEnd,
    fds: WorkerFds,
    effects: OwnedFd,
}

impl Link {
    pub(crate) fn new() -> Self {
        let (host, fds) = HostEnd::new(RING, RING).unwrap();
        Self { host, fds, effects: memfd::sealed("effects", EFFECTS as u64).unwrap() }
    }

    /// Starts a victim.
    pub(crate) fn start(&self, part: &str) -> u32 {
        let path = CString::new(env::current_exe().unwrap().as_os_str().as_bytes()).unwrap();
        let [victim, part] = [VICTIM, part].map(|argument| CString::new(argument).unwrap());
        let stderr = io::stderr();
        let command = Command {
            path: &path,
            argv: &[&path, &victim, &part],
            env: &[],
            cwd: None,
            fds: &[
                (stderr.as_fd(), 2),
                (self.fds.tasks.as_fd(), 3),
                (self.fds.results.as_fd(), 4),
                (self.effects.as_fd(), 5),
            ],
            nice: None,
            open_files: None,
            die_with_parent: true,
        };
        Spawner::new().unwrap().spawn(&command).unwrap().pid()
    }

    /// Which effects there were.
    pub(crate) fn effects(&self) -> Vec<u8> {
        let mut effects = vec![0; EFFECTS];
        transfer::read_exactly_at(self.effects.as_fd(), &mut effects, 0).unwrap();
        effects
    }

    /// Drains all there is, which must be records from `first` on, each whole; how many they are.
    pub(crate) fn drain_records(&mut self, first: u64) -> u64 {
        let mut bytes = Vec::new();
        self.host.drain(&mut bytes).unwrap();
        let (records, rest) = bytes.as_chunks::<RECORD>();
        assert_eq!(rest, [], "part of a record");
        for (number, bytes) in (first..).zip(records) {
            assert_eq!(*bytes, record(number), "record {number} is torn");
        }
        records.len() as u64
    }

    /// What must be possible whatever became of the worker.
    pub(crate) fn go_on(&mut self) {
        assert!(self.host.room().unwrap() >= 8);
        assert!(self.host.post(&[b"for nobody"]));
        self.host.publish();
        assert!(!self.host.has_news());
        assert_eq!(self.drain_records(0), 0);
    }
}

/// The victim's side.
pub(crate) struct Side {
    pub(crate) worker: WorkerEnd,
    effects: OwnedFd,
}

impl Side {
    pub(crate) fn attach() -> Self {
        stepper::allow_steps();
        let [tasks, results, effects] = [3, 4, 5].map(|number| inherited::take(number).unwrap());
        Self { worker: WorkerEnd::attach(tasks, results).unwrap(), effects }
    }

    /// Does something that stays.
    pub(crate) fn effect(&self, number: u64) {
        transfer::write_all_at(self.effects.as_fd(), &[1], number).unwrap();
    }

    /// Makes the next record, not yet published.
    #[inline]
    pub(crate) fn record(&mut self, number: u64) {
        self.worker.spare()[..RECORD].copy_from_slice(&record(number));
        self.worker.advance(RECORD);
    }
}

/// A record that shows if a part of it is of another, or was never written.
pub(crate) fn record(number: u64) -> [u8; RECORD] {
    let words = [number, !number, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1];
    let mut bytes = [0; RECORD];
    for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    bytes
}
