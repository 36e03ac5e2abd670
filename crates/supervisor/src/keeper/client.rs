//! The host's side of its keeper.

use std::ffi::{CString, NulError, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use poolctl_protocol::keeper::{self as wire, MAX_PACKET_BYTES, MAX_WORKER_DESCRIPTORS, Request, Spawn};
use poolctl_sys::memfd;
use poolctl_sys::packet::{Received, Socket};
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::spawn::{Command, SpawnError, Spawner};
use poolctl_types::WorkerId;

use super::outbox::{Flushed, Outbox};
use super::{ARGUMENT, HOST, RUN_ID, Report, SOCKET, Setup};

/// How long the keeper may take to kill everything before it is killed itself.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The kernel refused a socket, a pidfd or memory.
    #[error("failed to prepare for a keeper")]
    Prepare(#[source] io::Error),
    /// A name, path or value in the setup contains a NUL.
    #[error("NUL in what workers have in common")]
    Nul(#[source] NulError),
    /// The program could not be started.
    #[error("failed to start `{program}` as a keeper", program = .program.display())]
    Spawn {
        /// Which.
        program: std::path::PathBuf,
        /// Why not.
        source: SpawnError,
    },
}

/// A living keeper, or one whose death is not noticed yet.
///
/// No method blocks but [`Keeper::start`], for the time of a spawn, and [`Keeper::shut_down`]. Dropping one shuts it
/// down.
#[derive(Debug)]
pub struct Keeper {
    /// `None` only while it is shut down.
    socket: Option<Socket>,
    pidfd: Pidfd,
    outbox: Outbox<OwnedFd>,
    outbox_state: Flushed,
    /// Workers that run but whose pidfds this process could not receive: they count as not started, and are killed.
    message: Vec<u8>,
    packet: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Keeper {
    /// Starts `program`, which must call [`super::serve`] when [`super::requested`], as this process's keeper.
    ///
    /// # Errors
    /// It cannot be started, or `setup` cannot be told.
    pub fn start(program: &Path, setup: Setup) -> Result<Self, KeeperError> {
        let path = CString::new(program.as_os_str().as_bytes()).map_err(KeeperError::Nul)?;
        let argument = CString::new(ARGUMENT).map_err(KeeperError::Nul)?;
        let env: Vec<CString> = std::env::vars_os()
            .map(|(name, value)| CString::new(joined(name.into_vec(), &value)))
            .collect::<Result<_, _>>()
            .map_err(KeeperError::Nul)?;
        let env: Vec<_> = env.iter().map(CString::as_c_str).collect();
        let (socket, far) = Socket::pair().map_err(KeeperError::Prepare)?;
        let host = Pidfd::current().map_err(KeeperError::Prepare)?;
        let stderr = io::stderr();
        let command = Command {
            path: &path,
            argv: &[&path, &argument],
            env: &env,
            cwd: None,
            fds: &[(stderr.as_fd(), 2), (far.as_fd(), SOCKET), (host.as_fd(), HOST)],
            nice: None,
            open_files: None,
            die_with_parent: false,
        };
        let spawned = Spawner::new().and_then(|mut spawner| spawner.spawn(&command));
        let pidfd =
            spawned.map_err(|source| KeeperError::Spawn { program: program.to_path_buf(), source })?;
        let mut keeper = Self {
            socket: Some(socket),
            pidfd,
            outbox: Outbox::new(),
            outbox_state: Flushed::All,
            message: Vec::new(),
            packet: vec![0; MAX_PACKET_BYTES],
            descriptors: Vec::new(),
        };
        keeper.send_setup(setup)?;
        Ok(keeper)
    }

    /// Asks for a process: program `path`, these arguments, `extra_env` over the common environment, and each of
    /// `fds` at the number beside it. Of 0, 1 and 2 what is not given is `/dev/null`.
    ///
    /// Queued until [`Keeper::flush`]; begun after all spawns before it, while fewer than `max_running` live.
    ///
    /// # Errors
    /// A string contains a NUL, a number is not in 0..=255 or too many are given (`InvalidInput`); longer than any
    /// argument list can be (`ArgumentListTooLong`); no memory or descriptor for a long one.
    pub fn spawn(
        &mut self,
        worker: WorkerId,
        path: &[u8],
        argv: &[&[u8]],
        extra_env: &[(&str, String)],
        fds: Vec<(OwnedFd, i32)>,
    ) -> io::Result<()> {
        let mut strings = Vec::with_capacity(256);
        push_string(&mut strings, &[path])?;
        for argument in argv {
            push_string(&mut strings, &[argument])?;
        }
        for (name, value) in extra_env {
            push_string(&mut strings, &[name.as_bytes(), b"=", value.as_bytes()])?;
        }
        let mut targets = [0; MAX_WORKER_DESCRIPTORS];
        let targets = targets.get_mut(..fds.len()).ok_or(io::ErrorKind::InvalidInput)?;
        for (place, (_, target)) in targets.iter_mut().zip(&fds) {
            *place = u8::try_from(*target).map_err(|_| io::ErrorKind::InvalidInput)?;
        }
        let arguments = u32::try_from(argv.len()).map_err(|_| io::ErrorKind::ArgumentListTooLong)?;
        let request = Request::Spawn(Spawn { worker, arguments, strings: &strings, targets });
        self.ask(&request, fds.into_iter().map(|(fd, _)| fd).collect())
    }

    /// Sends `signal` to the worker's whole group. A worker whose spawn has not begun is dropped instead, whatever
    /// the signal; one that has ended takes it silently.
    pub fn signal(&mut self, worker: WorkerId, signal: i32) {
        self.ask_briefly(Request::Signal { worker, signal });
    }

    /// Lets the kernel forget a worker that was reported as exited.
    pub fn reap(&mut self, worker: WorkerId) {
        self.ask_briefly(Request::Reap { worker });
    }

    /// Changes how many workers may live at once; those beyond it live on.
    pub fn set_max_running(&mut self, max_running: Option<u32>) {
        self.ask_briefly(Request::SetMaxRunning { max_running });
    }

    /// Sends what is queued, as much of it as the socket takes.
    ///
    /// # Errors
    /// The keeper is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        if !self.outbox.is_empty() {
            self.outbox_state = self.outbox.flush(socket)?;
        }
        Ok(())
    }

    /// Whether [`Keeper::flush`] should be called again when the socket becomes writable.
    ///
    /// While too many descriptors are on their way it should be called again after the next report instead.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.outbox_state == Flushed::Full
    }

    /// Appends the reports of one packet, if there is one. Call it when the socket is readable, and again as long as
    /// it is.
    ///
    /// # Errors
    /// The keeper is gone, or has lost its mind: shut it down, and [`super::sweep`].
    pub fn receive(&mut self, reports: &mut Vec<Report>) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        self.descriptors.clear();
        let length = match socket.receive(&mut self.packet, &mut self.descriptors)? {
            Received::Packet(length) | Received::Short(length) => length,
            Received::Nothing => return Ok(()),
            Received::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let packet = std::mem::take(&mut self.packet);
        let mut rest = &packet[..length];
        let mut descriptors = std::mem::take(&mut self.descriptors).into_iter();
        while !rest.is_empty() {
            let report = wire::Report::take_first(&mut rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            reports.push(translate(report, &mut descriptors));
        }
        self.packet = packet;
        Ok(())
    }

    /// What to watch for reports, and for room while [`Keeper::wants_write`].
    ///
    /// # Panics
    /// Never: only shutting down takes the socket away.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("only shutting down takes it away").as_fd()
    }

    /// The keeper's process.
    #[must_use]
    pub fn pidfd(&self) -> &Pidfd {
        &self.pidfd
    }

    /// Has every worker, with all its descendants, killed, and waits until they and the keeper have ended.
    pub fn shut_down(self) {
        drop(self);
    }

    fn send_setup(&mut self, setup: Setup) -> Result<(), KeeperError> {
        let mut env = Vec::with_capacity(4096);
        for (name, value) in setup.env.into_iter().filter(|(name, _)| name != RUN_ID) {
            let entry = joined(name.into_vec(), &value);
            env.extend_from_slice(CString::new(entry).map_err(KeeperError::Nul)?.as_bytes_with_nul());
        }
        let mark = CString::new(joined(RUN_ID.into(), setup.run_id.as_ref())).map_err(KeeperError::Nul)?;
        env.extend_from_slice(mark.as_bytes_with_nul());
        let cwd = setup.cwd.map(|cwd| CString::new(cwd.into_os_string().into_vec()));
        let cwd = cwd.transpose().map_err(KeeperError::Nul)?;
        let request = Request::Setup(wire::Setup {
            env: &env,
            cwd: cwd.as_ref().map_or(b"", |cwd| cwd.as_bytes_with_nul()),
            nice: setup.nice,
            max_running: setup.max_running,
        });
        self.ask(&request, Vec::new()).map_err(KeeperError::Prepare)
    }

    /// Queues a request that is always short and has no descriptors.
    fn ask_briefly(&mut self, request: Request<'_>) {
        self.ask(&request, Vec::new()).expect("a request of fixed size fits into a packet");
    }

    fn ask(&mut self, request: &Request<'_>, mut descriptors: Vec<OwnedFd>) -> io::Result<()> {
        self.message.clear();
        request.append_to(&mut self.message).map_err(|_| io::ErrorKind::ArgumentListTooLong)?;
        if self.message.len() > MAX_PACKET_BYTES {
            let bytes = self.message.len() as u64;
            descriptors.insert(0, memfd::with_contents("poolctl-request", &self.message)?);
            self.message = Vec::new();
            let worker = match request {
                Request::Spawn(spawn) => Some(spawn.worker),
                _ => None,
            };
            Request::Large { bytes, worker }
                .append_to(&mut self.message)
                .map_err(|_| io::ErrorKind::ArgumentListTooLong)?;
        }
        self.outbox.push(&self.message, descriptors);
        Ok(())
    }
}

impl Drop for Keeper {
    /// Closes the socket, which tells the keeper to kill everything and to end, and waits for that.
    fn drop(&mut self) {
        drop(self.socket.take());
        let ended = self.pidfd.wait_for_end(Some(END_TIMEOUT));
        if !matches!(ended, Ok(true)) {
            tracing::error!(?ended, "the keeper does not end, so it is killed");
            if let Err(error) = self.pidfd.signal(SIGKILL) {
                tracing::error!(%error, "the keeper cannot be killed");
            }
        }
        // An embedding program that ignores SIGCHLD, or waits for any child, has reaped it already.
        if let Err(error) = self.pidfd.reap() {
            tracing::debug!(%error, "the keeper was reaped by somebody else");
        }
    }
}

const SIGKILL: i32 = 9;

/// The report as the host wants it.
fn translate(report: wire::Report, descriptors: &mut impl Iterator<Item = OwnedFd>) -> Report {
    match report {
        wire::Report::Spawned { worker, pid } => {
            // It is not reaped before we ask for that, so the pid is still its own.
            let pidfd = descriptors.next().map_or_else(|| Pidfd::open(pid), |fd| Ok(Pidfd::from_fd(fd, pid)));
            Report::Spawned { worker, pid, pidfd }
        }
        wire::Report::SpawnFailed { worker, stage, errno } => Report::SpawnFailed { worker, stage, errno },
        wire::Report::Dropped { worker } => Report::Dropped { worker },
        wire::Report::Exited { worker, exit, wall_micros, cpu_micros, max_rss_kib } => {
            let (wall, cpu) = (Duration::from_micros(wall_micros), Duration::from_micros(cpu_micros));
            Report::Exited { worker, exit, wall, cpu, max_rss_kib }
        }
    }
}

/// `name=value`.
fn joined(mut name: Vec<u8>, value: &OsStr) -> Vec<u8> {
    name.push(b'=');
    name.extend_from_slice(value.as_bytes());
    name
}

/// Appends one string, made of parts, and its NUL.
fn push_string(strings: &mut Vec<u8>, parts: &[&[u8]]) -> io::Result<()> {
    for part in parts {
        if memchr::memchr(0, part).is_some() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        strings.extend_from_slice(part);
    }
    strings.push(0);
    Ok(())
}
