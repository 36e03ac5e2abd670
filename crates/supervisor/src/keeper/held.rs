//! A spawn that the keeper has been asked for and has not begun.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use poolctl_protocol::keeper::{Setup, Spawn};
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::spawn::{Command, SpawnError, Spawner};
use poolctl_types::WorkerId;

/// What all workers have in common, as the spawner wants it.
#[derive(Debug, Default)]
pub(super) struct Common {
    env: Vec<CString>,
    cwd: Option<CString>,
    nice: Option<i32>,
}

impl Common {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        Self {
            env: c_strings(setup.env).map(CStr::to_owned).collect(),
            cwd: c_strings(setup.cwd).next().map(CStr::to_owned),
            nice: setup.nice,
        }
    }
}

/// A spawn, and the descriptors that came with it.
#[derive(Debug)]
pub(super) struct HeldSpawn {
    pub(super) worker: WorkerId,
    strings: Vec<u8>,
    arguments: usize,
    fds: Vec<(OwnedFd, i32)>,
}

impl HeldSpawn {
    /// Takes what it needs off the front of `descriptors`; `None` if they do not suffice, because this process could
    /// not receive them all.
    pub(super) fn new(spawn: &Spawn<'_>, descriptors: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let targets = spawn.targets.iter().copied().map(i32::from);
        let fds: Vec<_> = descriptors.take(targets.len()).zip(targets).collect();
        (fds.len() == spawn.targets.len()).then(|| Self {
            worker: spawn.worker,
            strings: spawn.strings.to_vec(),
            arguments: spawn.arguments as usize,
            fds,
        })
    }

    /// Begins it.
    pub(super) fn begin(
        &self,
        common: &Common,
        open_files: Option<u64>,
        spawner: &mut Spawner,
    ) -> Result<Pidfd, SpawnError> {
        let mut strings = c_strings(&self.strings);
        let path = strings.next().unwrap_or_default();
        let argv: Vec<&CStr> = strings.by_ref().take(self.arguments).collect();
        let added: Vec<&CStr> = strings.collect();
        let hidden = |variable: &CStr| added.iter().any(|other| name(other) == name(variable));
        let env: Vec<&CStr> = if added.is_empty() {
            common.env.iter().map(CString::as_c_str).collect()
        } else {
            let inherited = common.env.iter().map(CString::as_c_str).filter(|variable| !hidden(variable));
            inherited.chain(added.iter().copied()).collect()
        };
        let fds: Vec<_> = self.fds.iter().map(|(fd, target)| (fd.as_fd(), *target)).collect();
        spawner.spawn(&Command {
            path,
            argv: &argv,
            env: &env,
            cwd: common.cwd.as_deref(),
            fds: &fds,
            nice: common.nice,
            open_files,
            die_with_parent: true,
        })
    }
}

/// The strings in `bytes`, each ended by NUL; what follows the last NUL is no string.
fn c_strings(mut bytes: &[u8]) -> impl Iterator<Item = &CStr> {
    std::iter::from_fn(move || {
        let string = CStr::from_bytes_until_nul(bytes).ok()?;
        bytes = &bytes[string.count_bytes() + 1..];
        Some(string)
    })
}

/// The `NAME` of `NAME=value`.
fn name(variable: &CStr) -> &[u8] {
    variable.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default()
}
