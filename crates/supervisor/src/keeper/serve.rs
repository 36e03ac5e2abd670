//! The keeper's own process: one loop over the socket, the host's pidfd, and its children.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use poolctl_protocol::keeper::{
    DecodeMessageError, MAX_MESSAGE_BYTES, MAX_PACKET_BYTES, Report, Request, SpawnStage,
};
use poolctl_sys::packet::{Received, Socket};
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::poller::{Interest, Poller, Ready};
use poolctl_sys::signals::ChildDeaths;
use poolctl_sys::spawn::{Spawner, Stage};
use poolctl_sys::{clock, inherited, limits, process, signals, transfer};
use poolctl_types::{ExitCode, Moment, WorkerId};

use super::held::{Common, HeldSpawn};
use super::outbox::{Flushed, Outbox};
use super::workers::Workers;
use super::{HOST, SOCKET};

/// The tokens of the poller: these, and the pid of each worker, which is never as large.
const SOCKET_TOKEN: u64 = u64::MAX;
const HOST_TOKEN: u64 = u64::MAX - 1;
const CHILDREN_TOKEN: u64 = u64::MAX - 2;

/// How many spawns are begun before deaths and the host are looked at again.
const SPAWNS_PER_TURN: usize = 4;

/// How long to wait before sending again when only the number of descriptors on their way forbids it: the one
/// refusal that nothing tells the end of.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// `EMFILE`, and what a spawn answers for which the kernel lost descriptors on the way here.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// Is a keeper until the host goes, then kills everything that is left and returns.
///
/// To be called first thing in `main`, by a program that has started no thread, when [`super::requested`]. Takes
/// over the descriptors 3 and 4, and blocks all signals.
#[must_use]
pub fn serve() -> std::process::ExitCode {
    let code = match Server::new() {
        Ok(mut server) => {
            let ended = server.run();
            server.kill_everything();
            if let Err(ServeError::Lost(lost)) = &ended {
                tracing::debug!(error = lost as &dyn std::error::Error, "the host has gone");
            }
            match ended {
                Ok(()) | Err(ServeError::Lost(_)) => ExitCode::Ok,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the keeper ends");
                    ExitCode::Internal
                }
            }
        }
        // Somebody typed `--keeper`.
        Err(_) => ExitCode::Usage,
    };
    code.into()
}

/// Why a keeper ends before its host does.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("failed to wait for events")]
    Wait(#[source] io::Error),
    #[error("failed to talk to the host")]
    Lost(#[source] io::Error),
    #[error("the host sent what is no request")]
    Request(#[from] DecodeMessageError),
    #[error("the host sent a request out of place")]
    OutOfPlace,
    #[error("failed to read a request from its memfd")]
    Memfd(#[source] io::Error),
    #[error("failed to look after a child")]
    Child(#[source] io::Error),
}

/// Whether there is a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Present,
    Gone,
}

#[derive(Debug)]
struct Server {
    socket: Socket,
    #[expect(dead_code, reason = "the poller watches it as long as it is open")]
    host: Pidfd,
    children: ChildDeaths,
    poller: Poller,
    spawner: Spawner,
    common: Option<Common>,
    /// What workers get as their limit of open files: the keeper's own, before it was raised, if it was.
    open_files: Option<u64>,
    workers: Workers,
    outbox: Outbox<Rc<Pidfd>>,
    outbox_state: Flushed,
    /// A stray may be hidden behind a dead leader that is not reaped.
    strays_hidden: bool,
    packet: Vec<u8>,
    message: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Server {
    fn new() -> io::Result<Self> {
        let socket = Socket::from(inherited::take(SOCKET)?);
        let host = Pidfd::from_fd(inherited::take(HOST)?, 0);
        signals::block_all()?;
        signals::reset_all();
        process::set_subreaper()?;
        let before = limits::open_files();
        let raised = limits::raise_open_files()?;
        let open_files = before.filter(|_| before != raised);
        let children = ChildDeaths::new()?;
        let poller = Poller::new()?;
        poller.add(socket.as_fd(), SOCKET_TOKEN, Interest::Read)?;
        poller.add(host.as_fd(), HOST_TOKEN, Interest::Read)?;
        poller.add(children.as_fd(), CHILDREN_TOKEN, Interest::Read)?;
        let spawner = Spawner::new().map_err(|error| error.source)?;
        Ok(Self {
            socket,
            host,
            children,
            poller,
            spawner,
            common: None,
            open_files,
            workers: Workers::default(),
            outbox: Outbox::new(),
            outbox_state: Flushed::All,
            strays_hidden: false,
            packet: vec![0; MAX_PACKET_BYTES],
            message: Vec::new(),
            descriptors: VecDeque::new(),
        })
    }

    /// Serves until the host has gone.
    fn run(&mut self) -> Result<(), ServeError> {
        let mut ready = Vec::new();
        loop {
            self.poller.wait(&mut ready, self.patience()).map_err(ServeError::Wait)?;
            for event in &ready {
                if self.handle(*event)? == Host::Gone {
                    return Ok(());
                }
            }
            self.begin_spawns()?;
            self.report()?;
        }
    }

    /// How long nothing needs to be done, if nothing happens.
    fn patience(&self) -> Option<Duration> {
        match self.outbox_state {
            Flushed::TooManyDescriptors => Some(RETRY_AFTER),
            Flushed::All if self.workers.may_begin() => Some(Duration::ZERO),
            Flushed::All | Flushed::Full => None,
        }
    }

    fn handle(&mut self, event: Ready) -> Result<Host, ServeError> {
        match event.token {
            HOST_TOKEN => return Ok(Host::Gone),
            SOCKET_TOKEN if event.readable => return self.receive(),
            SOCKET_TOKEN => {}
            CHILDREN_TOKEN => {
                self.children.clear().map_err(ServeError::Child)?;
                self.look_for_the_dead()?;
            }
            pid => {
                let pid = u32::try_from(pid).expect("other tokens are pids");
                self.look_at(pid)?;
            }
        }
        Ok(Host::Present)
    }

    fn receive(&mut self) -> Result<Host, ServeError> {
        let mut packet = std::mem::take(&mut self.packet);
        let received = self.socket.receive(&mut packet, &mut self.descriptors).map_err(ServeError::Lost)?;
        let length = match received {
            Received::Packet(length) | Received::Short(length) => length,
            Received::Nothing => 0,
            Received::Closed => return Ok(Host::Gone),
        };
        let mut requests = &packet[..length];
        while !requests.is_empty() {
            match Request::take_first(&mut requests)? {
                Request::Large { bytes, worker } => self.carry_out_large(bytes, worker)?,
                request => self.carry_out(request)?,
            }
        }
        self.descriptors.clear();
        self.packet = packet;
        Ok(Host::Present)
    }

    /// Carries out the request that stands in a memfd.
    fn carry_out_large(&mut self, bytes: u64, worker: Option<WorkerId>) -> Result<(), ServeError> {
        let Some(memfd) = self.descriptors.pop_front() else {
            let worker =
                worker.ok_or_else(|| ServeError::Memfd(io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES)))?;
            self.tell_no_room(worker);
            return Ok(());
        };
        let length = usize::try_from(bytes).ok().filter(|length| *length <= MAX_MESSAGE_BYTES);
        let mut contents = vec![0; length.ok_or(ServeError::OutOfPlace)?];
        let mut filled = 0;
        while filled < contents.len() {
            let count = transfer::read_at(memfd.as_fd(), &mut contents[filled..], filled as u64);
            match count.map_err(ServeError::Memfd)? {
                0 => return Err(ServeError::Memfd(io::ErrorKind::UnexpectedEof.into())),
                count => filled += count,
            }
        }
        match Request::decode_whole(&contents)? {
            Request::Large { .. } => Err(ServeError::OutOfPlace),
            request => self.carry_out(request),
        }
    }

    fn carry_out(&mut self, request: Request<'_>) -> Result<(), ServeError> {
        match request {
            Request::Setup(setup) if self.common.is_none() => {
                self.common = Some(Common::new(&setup));
                self.workers.set_max_running(setup.max_running);
            }
            Request::Setup(_) | Request::Large { .. } => return Err(ServeError::OutOfPlace),
            Request::Spawn(spawn) => {
                let held = HeldSpawn::new(&spawn, &mut drain(&mut self.descriptors));
                match held {
                    Some(held) => self.workers.hold(held),
                    None => self.tell_no_room(spawn.worker),
                }
            }
            Request::Signal { worker, signal } => {
                if self.workers.drop_held(worker) {
                    self.tell(&Report::Dropped { worker });
                } else if let Some(leader) = self.workers.living(worker)
                    && let Err(error) = leader.pidfd.signal_group(signal)
                {
                    // Its members may all be dead already, or belong to another user.
                    tracing::debug!(%worker, signal, %error, "signal not delivered");
                }
            }
            Request::Reap { worker } => self.reap(worker)?,
            Request::SetMaxRunning { max_running } => self.workers.set_max_running(max_running),
        }
        Ok(())
    }

    fn reap(&mut self, worker: WorkerId) -> Result<(), ServeError> {
        if let Some(leader) = self.workers.forget(worker) {
            leader.pidfd.reap().map_err(ServeError::Child)?;
            if self.strays_hidden {
                self.look_for_the_dead()?;
            }
        }
        Ok(())
    }

    /// Begins the spawns that may be begun, a few at a time.
    fn begin_spawns(&mut self) -> Result<(), ServeError> {
        for _ in 0..SPAWNS_PER_TURN {
            let Some(held) = self.workers.next_to_begin() else { return Ok(()) };
            let common = self.common.as_ref().ok_or(ServeError::OutOfPlace)?;
            let (worker, begun) = (held.worker, clock::now());
            match held.begin(common, self.open_files, &mut self.spawner) {
                Ok(pidfd) => self.began(worker, pidfd, begun)?,
                Err(error) => self.tell(&Report::SpawnFailed {
                    worker,
                    stage: wire_stage(error.stage),
                    errno: error.errno(),
                }),
            }
        }
        Ok(())
    }

    fn began(&mut self, worker: WorkerId, pidfd: Pidfd, begun: Moment) -> Result<(), ServeError> {
        let pidfd = Rc::new(pidfd);
        let pid = pidfd.pid();
        self.poller.add(pidfd.as_fd(), u64::from(pid), Interest::Read).map_err(ServeError::Wait)?;
        self.workers.began(worker, Rc::clone(&pidfd), begun);
        self.message.clear();
        Report::Spawned { worker, pid }.append_to(&mut self.message);
        self.outbox.push(&self.message, [pidfd]);
        Ok(())
    }

    /// Looks at a leader that may have died: kills its group and reports it if so.
    fn look_at(&mut self, pid: u32) -> Result<(), ServeError> {
        let Some(leader) = self.workers.living_leader(pid) else { return Ok(()) };
        let Some((exit, usage)) = leader.pidfd.peek_exit().map_err(ServeError::Child)? else { return Ok(()) };
        let worker = leader.worker;
        let wall_micros = u64::try_from((clock::now() - leader.begun).as_micros()).unwrap_or(u64::MAX);
        if let Err(error) = leader.pidfd.signal_group(SIGKILL) {
            tracing::debug!(%worker, %error, "the rest of a group is not ours to kill");
        }
        self.poller.remove(leader.pidfd.as_fd()).map_err(ServeError::Wait)?;
        self.workers.died(pid);
        let cpu_micros = u64::try_from(usage.cpu.as_micros()).unwrap_or(u64::MAX);
        let max_rss_kib = usage.max_rss_kib;
        self.tell(&Report::Exited { worker, exit, wall_micros, cpu_micros, max_rss_kib });
        Ok(())
    }

    /// Reaps the strays that have died, up to the first leader among the dead: the kernel shows no further.
    fn look_for_the_dead(&mut self) -> Result<(), ServeError> {
        self.strays_hidden = false;
        while let Some(pid) = dead_child()? {
            if self.workers.leader(pid).is_some() {
                self.strays_hidden = true;
                return self.look_at(pid);
            }
            process::reap(pid).map_err(ServeError::Child)?;
        }
        Ok(())
    }

    fn tell(&mut self, report: &Report) {
        self.message.clear();
        report.append_to(&mut self.message);
        self.outbox.push(&self.message, []);
    }

    /// The descriptors of a spawn found no room here.
    fn tell_no_room(&mut self, worker: WorkerId) {
        let stage = SpawnStage::Prepare;
        self.tell(&Report::SpawnFailed { worker, stage, errno: TOO_MANY_OPEN_FILES });
    }

    /// Sends the reports, and reads no requests while they cannot be sent.
    fn report(&mut self) -> Result<(), ServeError> {
        let before = self.outbox_state;
        self.outbox_state = self.outbox.flush(&self.socket).map_err(ServeError::Lost)?;
        let interest = |state| match state {
            Flushed::All | Flushed::TooManyDescriptors => Interest::Read,
            Flushed::Full => Interest::Write,
        };
        if interest(before) != interest(self.outbox_state) {
            let interest = interest(self.outbox_state);
            self.poller.modify(self.socket.as_fd(), SOCKET_TOKEN, interest).map_err(ServeError::Wait)?;
        }
        Ok(())
    }

    /// Kills every group, and then every child until there are none.
    fn kill_everything(&self) {
        for leader in self.workers.all_living() {
            if let Err(error) = leader.pidfd.signal_group(SIGKILL) {
                tracing::debug!(worker = %leader.worker, %error, "group not killed");
            }
        }
        if let Err(error) = process::kill_and_reap_all_children() {
            tracing::error!(%error, "cannot find the children that are left");
        }
    }
}

const SIGKILL: i32 = 9;

fn dead_child() -> Result<Option<u32>, ServeError> {
    match process::dead_child() {
        Ok(found) => Ok(found),
        Err(error) if error.raw_os_error() == Some(NO_CHILD) => Ok(None),
        Err(error) => Err(ServeError::Child(error)),
    }
}

/// `ECHILD`.
const NO_CHILD: i32 = 10;

/// The front of a queue, taken as it is asked for.
fn drain(queue: &mut VecDeque<OwnedFd>) -> impl Iterator<Item = OwnedFd> {
    std::iter::from_fn(|| queue.pop_front())
}

fn wire_stage(stage: Stage) -> SpawnStage {
    match stage {
        Stage::Prepare => SpawnStage::Prepare,
        Stage::Clone => SpawnStage::Clone,
        Stage::Group => SpawnStage::Group,
        Stage::ParentDeath => SpawnStage::ParentDeath,
        Stage::Descriptors => SpawnStage::Descriptors,
        Stage::Directory => SpawnStage::Directory,
        Stage::Nice => SpawnStage::Nice,
        Stage::OpenFiles => SpawnStage::OpenFiles,
        Stage::Exec => SpawnStage::Exec,
    }
}
