//! The keeper: a small process of ours that is the parent of all workers, and what the host says to it.
//!
//! It spawns, tells of deaths and reaps, so that an embedding program gets no prctl, no signal handler and no child
//! but the keeper, and no worker outlives the host, however that ends. It is the same binary executed again with
//! `--keeper`; the messages are in `poolctl_protocol::keeper`.
//!
//! # Protocol
//! 1. The host sends requests; the keeper begins spawns in order while fewer than `max_running` leaders live.
//! 2. A leader's death: the keeper looks at its status, kills its group, begins the next spawn if one is held back,
//!    and reports. The dead leader is not reaped, so neither its pid nor its group can mean anybody else.
//! 3. The host settles the death and asks for the reap.
//!
//! Adopted strays are reaped as they die. Neither side ever blocks on the other: both queue what the socket does
//! not take. The host bounds its queue by its slots; the keeper reads no request while it cannot report.
//!
//! # If a side dies
//! The host: its pidfd becomes readable, or the socket ends if it closed it alone. Either way the keeper kills every
//! group and every child until there are none, and ends. A fork of the host that keeps the socket open does not
//! matter, nor does an exec in it.
//! The keeper: its workers die by their parent-death signal, which their own children do not have; these the host
//! finds by a mark in their environment ([`sweep`]).
//! Both: the workers die by parent-death signal; what they detached lives on.

mod client;
mod held;
mod outbox;
mod serve;
mod workers;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use client::{Keeper, KeeperError};
pub use poolctl_protocol::keeper::SpawnStage;
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::process;
use poolctl_types::{Exit, WorkerId};
pub use serve::serve;

/// The argument that makes our binary a keeper.
const ARGUMENT: &str = "--keeper";

/// The environment variable that marks the processes of a run, down to the last grandchild.
const RUN_ID: &str = "POOLCTL_RUN_ID";

/// The descriptor the keeper finds its socket at.
const SOCKET: i32 = 3;

/// The descriptor the keeper finds its host's pidfd at.
const HOST: i32 = 4;

/// How long a sweep waits for the killed to end.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

/// What all workers of a keeper have in common.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// What tells this run's processes from all others on the machine. No NUL.
    pub run_id: String,
    /// The whole environment of a worker. `POOLCTL_RUN_ID` is set besides.
    pub env: Vec<(OsString, OsString)>,
    /// Where workers run; `None`: where the host did when the keeper started.
    pub cwd: Option<PathBuf>,
    /// Their nice value; `None`: the host's.
    pub nice: Option<i32>,
    /// How many may live at once, spawns beyond that being held back; `None`: any number.
    pub max_running: Option<u32>,
}

/// What the keeper has to say of a worker.
#[derive(Debug)]
pub enum Report {
    /// It runs.
    Spawned {
        /// Which worker.
        worker: WorkerId,
        /// Its pid.
        pid: u32,
        /// The same for good; or why there is no descriptor for it, as when this process has as many as it may have.
        pidfd: io::Result<Pidfd>,
    },
    /// It could not be started, and nothing of it is left.
    SpawnFailed {
        /// Which worker.
        worker: WorkerId,
        /// At what.
        stage: SpawnStage,
        /// What the kernel said, such as `ENOENT`.
        errno: i32,
    },
    /// A signal came before its spawn was begun: it never ran.
    Dropped {
        /// Which worker.
        worker: WorkerId,
    },
    /// It has ended, its group is killed, and it waits to be reaped.
    Exited {
        /// Which worker.
        worker: WorkerId,
        /// How it ended.
        exit: Exit,
        /// How long it lived, from its start to when the keeper saw it dead.
        wall: Duration,
        /// Its time on a processor, with that of its waited-for children.
        cpu: Duration,
        /// The most memory it had resident, at least what the keeper had when it spawned it.
        max_rss_kib: u64,
    },
}

/// Whether this program was started to be a keeper. To be asked first thing in `main`.
#[must_use]
pub fn requested() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// Kills every process that carries this run's mark, and waits until they have ended, but for a few seconds only.
/// For the host, after the keeper has died. Says how many were killed.
///
/// # Errors
/// `/proc` cannot be read.
pub fn sweep(run_id: &str) -> io::Result<usize> {
    process::kill_marked(format!("{RUN_ID}={run_id}").as_bytes(), SWEEP_TIMEOUT)
}
