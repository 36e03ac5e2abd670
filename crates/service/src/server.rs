//! The loop that serves clients: one epoll over their streams, the supervisors of all pools, and who asks from outside.
//!
//! # If somebody dies
//! A worker: its supervisor tells. A client: its stream ends; what it had queued is dropped, what it had running stopped. The
//! process that started `poolctl serve`: its pidfd tells, also where a forked copy of it keeps the stream open. This
//! process: the keepers of its pools kill all workers.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use poolctl_protocol::client::{CLIENT_PROTOCOL_VERSION, ErrorBody, ErrorCode, Limits, ServerHello, to_json};
use poolctl_protocol::{Kind, MAX_BODY_BYTES};
use poolctl_supervisor::channel::{Filled, Inbox};
use poolctl_supervisor::{Constant, Moment, Pidfd, Stop, Waker, now};
use poolctl_sys::named::{self, Peer};
use poolctl_sys::poller::{Interest, Poller, Ready};
use poolctl_sys::process;

use crate::client::Client;
use crate::clients::Clients;
use crate::ledger::ClientId;
use crate::locks::Locks;
use crate::objects::Objects;
use crate::open::{OpenError, Surroundings};
use crate::pool::Pool;
use crate::requests::Broken;
use crate::spec::PoolSpec;
use crate::stream::Stream;

/// The poller's numbers for what is no client and no pool.
const WAKER: u64 = 0;
const PARENT: u64 = 1;
const FIRST_LISTENER: u64 = 16;

/// Those of clients and pools have one of these bits.
const CLIENT: u64 = 1 << 62;
const POOL: u64 = 1 << 61;

/// How many times one wake-up reads, so that one client cannot starve the others.
const READS_PER_WAKE: usize = 4;

/// What a server is told when it starts.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The executable that serves as keeper when it is started with `--keeper`.
    pub keeper: PathBuf,
    /// The stock worker, if it was found.
    pub stock_worker: Option<PathBuf>,
    /// The name of this run; unique among all runs of the machine.
    pub run_id: String,
    /// Whether clients may open pools of their own.
    pub may_open: bool,
    /// Most bytes of objects that clients share.
    pub shm_limit: Option<u64>,
    /// Most clients at once.
    pub max_clients: usize,
    /// A drain that takes longer becomes an end.
    pub drain_timeout: Option<Duration>,
    /// Reads the configuration anew, for clients who ask for that.
    pub reload: Option<Reload>,
}

/// Reads the configuration anew.
#[derive(Clone)]
pub struct Reload(pub Arc<ReadPools>);

/// Gives the named pools, or what is wrong with their description.
pub type ReadPools = dyn Fn() -> Result<Vec<(String, PoolSpec)>, String> + Send + Sync;

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

/// What somebody else asks of a running server.
#[derive(Debug)]
pub enum Control {
    /// These are the named pools from now on; tasks of those that go are finished.
    Reload(Vec<(String, PoolSpec)>),
    /// No new tasks; it ends when those that are there have ended.
    Drain,
    /// It ends; tasks that run are stopped.
    Terminate,
}

/// Asks things of a running server, from any thread.
#[derive(Debug, Clone)]
pub struct Controller {
    sender: Sender<Control>,
    waker: Waker,
}

impl Controller {
    /// Asks it. What comes after its end is of no effect.
    pub fn send(&self, control: Control) {
        if self.sender.send(control).is_ok() {
            self.waker.wake();
        }
    }
}

/// Who may connect to a listening server: its own user always, and these.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Their user ids.
    pub users: Vec<u32>,
}

/// Whether a server goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// It ends when its pools have.
    Ending,
}

/// Serves clients until there is nothing more to serve.
#[derive(Debug)]
pub struct Server {
    pub(crate) setup: Setup,
    pub(crate) clients: Clients,
    /// In the order of their opening; of two with the same number the later one takes the tasks.
    pub(crate) pools: Vec<Pool>,
    pub(crate) locks: Locks,
    pub(crate) objects: Objects,
    pub(crate) next_constant: u64,
    poller: Poller,
    waker: Waker,
    controls: Receiver<Control>,
    sender: Sender<Control>,
    listeners: Vec<(UnixListener, Allowed)>,
    parent: Option<Pidfd>,
    /// The client with whom it ends.
    only: Option<ClientId>,
    next_client: u64,
    next_pool: u64,
    phase: Phase,
    /// When a drain becomes an end.
    overdue: Option<Moment>,
    /// Requests that are answered at the very end.
    ending: Vec<(ClientId, u64)>,
}

impl Server {
    /// A server without clients and pools.
    ///
    /// # Errors
    /// The kernel gives no descriptors.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let poller = Poller::new()?;
        let waker = Waker::new()?;
        poller.add(waker.as_fd(), WAKER, Interest::Read)?;
        let (sender, controls) = mpsc::channel();
        let objects = Objects::new(setup.shm_limit);
        Ok(Self {
            setup,
            clients: Clients::default(),
            pools: Vec::new(),
            locks: Locks::default(),
            objects,
            next_constant: 0,
            poller,
            waker,
            controls,
            sender,
            listeners: Vec::new(),
            parent: None,
            only: None,
            next_client: 1,
            next_pool: 1,
            phase: Phase::Serving,
            overdue: None,
            ending: Vec::new(),
        })
    }

    /// Opens a pool that clients attach to by its name.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_named(&mut self, name: String, spec: PoolSpec) -> Result<(), OpenError> {
        self.open_pool(Some(name), None, spec, None).map(drop)
    }

    /// Serves the client at the other end of these two, which may be one socket; the server ends when it goes, or the process
    /// that started this one.
    ///
    /// # Errors
    /// They cannot be read or written without waiting, or that process cannot be watched.
    pub fn serve_one(&mut self, input: OwnedFd, output: Option<OwnedFd>) -> io::Result<()> {
        let parent = Pidfd::open(std::os::unix::process::parent_id())?;
        self.poller.add(parent.as_fd(), PARENT, Interest::Read)?;
        self.parent = Some(parent);
        let stream = match output {
            Some(output) => Stream::over_pipes(input, output)?,
            None => Stream::over_socket(input)?,
        };
        self.only = Some(self.welcome(stream, None)?);
        Ok(())
    }

    /// Serves all who connect and may.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn listen(&mut self, listener: UnixListener, allowed: Allowed) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let token = FIRST_LISTENER + self.listeners.len() as u64;
        self.poller.add(listener.as_fd(), token, Interest::Read)?;
        self.listeners.push((listener, allowed));
        Ok(())
    }

    /// What asks things of it while it runs.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller { sender: self.sender.clone(), waker: self.waker.clone() }
    }

    /// Serves until it has ended.
    ///
    /// # Errors
    /// The kernel lets it wait for nothing.
    pub fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.turn_pools();
            self.end_what_is_overdue();
            self.send_all();
            if self.phase == Phase::Ending && self.pools.is_empty() {
                self.say_goodbye();
                return Ok(());
            }
            self.poller.wait(&mut ready, self.wait_time())?;
            for event in ready.drain(..) {
                self.handle(event);
            }
        }
    }

    /// The names of the pools that can be attached to.
    pub(crate) fn names(&self) -> Vec<String> {
        let open = self.pools.iter().filter(|pool| !pool.is_closing);
        open.filter_map(|pool| pool.name.clone()).collect()
    }

    /// Says something to a client, if it is there.
    pub(crate) fn tell(&mut self, client: ClientId, say: impl FnOnce(&mut Client)) {
        if let Some(client) = self.clients.tell(client) {
            say(client);
        }
    }

    /// Opens a pool; says its number.
    pub(crate) fn open_pool(
        &mut self,
        name: Option<String>,
        owner: Option<ClientId>,
        spec: PoolSpec,
        setup: Option<Arc<Constant>>,
    ) -> Result<u64, OpenError> {
        let number = self.next_pool;
        self.next_pool += 1;
        self.start_pool(number, name, owner, spec, setup)?;
        Ok(number)
    }

    fn start_pool(
        &mut self,
        number: u64,
        name: Option<String>,
        owner: Option<ClientId>,
        spec: PoolSpec,
        setup: Option<Arc<Constant>>,
    ) -> Result<(), OpenError> {
        let Setup { keeper, stock_worker, run_id, .. } = self.setup.clone();
        let around = Surroundings { keeper, stock_worker, run_id };
        let pool = Pool::open(number, name, owner, spec, setup, &around)?;
        if let Some(supervisor) = &pool.supervisor {
            self.poller.add(supervisor.as_fd(), POOL, Interest::Read).map_err(OpenError::Watch)?;
        }
        self.pools.push(pool);
        Ok(())
    }

    /// Turns every pool that something may have happened in, and lets those go that have ended.
    fn turn_pools(&mut self) {
        let now = now();
        for pool in &mut self.pools {
            if pool.is_due || pool.rests_until.is_some_and(|until| until <= now) {
                pool.turn(&mut self.clients, |_, _| {});
            }
        }
        let clients = &mut self.clients;
        self.pools.retain(|pool| {
            if pool.is_over() && pool.owner.is_none() {
                pool.tell_lost(clients);
            }
            !pool.is_over()
        });
        let expired = self.locks.expire(now);
        expired.iter().for_each(|granted| self.tell_granted(granted));
    }

    /// Sends what waits for clients, and gives credit for what has ended.
    fn send_all(&mut self) {
        for id in self.clients.take_touched() {
            let Some(client) = self.clients.tell(id) else { continue };
            let pools: Vec<u64> = client.accounts.keys().copied().collect();
            pools.into_iter().for_each(|pool| client.grant(pool));
            let kept_up = client.keeps_up();
            let sent = client.stream.outbox.flush();
            let is_done = client.is_leaving && !client.stream.outbox.wants_write();
            if !kept_up && client.keeps_up() {
                // Items of this client may be run again.
                let pools: Vec<u64> = client.accounts.keys().copied().collect();
                pools.iter().for_each(|pool| client.grant(*pool));
                self.pools
                    .iter_mut()
                    .filter(|pool| pools.contains(&pool.number))
                    .for_each(|pool| pool.is_due = true);
            }
            if sent.is_err() || is_done {
                self.drop_client(id);
            } else {
                self.watch(id);
            }
        }
        // What was said just now to those who were told something above is on its way.
        self.clients.take_touched();
    }

    /// Has the poller watch for what is wanted of a client.
    fn watch(&mut self, id: ClientId) {
        let Some(client) = self.clients.tell(id) else { return };
        let (writing, reading) =
            (client.stream.outbox.wants_write(), client.is_heard() && !client.is_leaving);
        if (writing, reading) == (client.writing, client.reading) {
            return;
        }
        (client.writing, client.reading) = (writing, reading);
        let token = CLIENT | id.0;
        let interest = |read, write| match (read, write) {
            (true, true) => Interest::ReadWrite,
            (true, false) => Interest::Read,
            (false, true) => Interest::Write,
            (false, false) => Interest::Close,
        };
        let stream = &client.stream;
        let watched = match stream.output() {
            None => self.poller.modify(stream.input(), token, interest(reading, writing)),
            Some(output) => self
                .poller
                .modify(stream.input(), token, interest(reading, false))
                .and_then(|()| self.poller.modify(output, token, interest(false, writing))),
        };
        if let Err(error) = watched {
            tracing::debug!(client = id.0, %error, "cannot watch a client");
        }
    }

    /// How long nothing needs to be done, if nothing happens.
    fn wait_time(&self) -> Option<Duration> {
        if self.pools.iter().any(|pool| pool.is_due) {
            return Some(Duration::ZERO);
        }
        let pools = self.pools.iter().filter_map(|pool| pool.rests_until);
        let due = pools.chain(self.locks.next_deadline()).chain(self.overdue).min()?;
        Some(due - now())
    }

    fn handle(&mut self, event: Ready) {
        match event.token {
            WAKER => {
                self.waker.clear();
                while let Ok(control) = self.controls.try_recv() {
                    self.obey(control);
                }
            }
            PARENT => self.lose_parent(),
            POOL => self.pools.iter_mut().for_each(|pool| pool.is_due = true),
            token if token & CLIENT != 0 => self.hear(ClientId(token & !CLIENT), event),
            token => self.accept(usize::try_from(token - FIRST_LISTENER).unwrap_or(usize::MAX)),
        }
    }

    /// The process that started this one has ended.
    fn lose_parent(&mut self) {
        if let Some(parent) = self.parent.take()
            && let Err(error) = self.poller.remove(parent.as_fd())
        {
            tracing::debug!(%error, "it was not watched any more");
        }
        tracing::info!("the process that started this one has ended");
        self.clients.ids().into_iter().for_each(|id| self.drop_client(id));
    }

    /// Takes in who waits at a listener.
    fn accept(&mut self, listener: usize) {
        loop {
            let Some((socket, allowed)) = self.listeners.get(listener) else { return };
            let stream = match socket.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // No descriptors left: who waits is taken in when somebody goes.
                    tracing::warn!(%error, "cannot accept a client");
                    return;
                }
            };
            let refusal = match named::peer(stream.as_fd()) {
                Ok(peer) if peer.uid == process::user_id() || allowed.users.contains(&peer.uid) => Ok(peer),
                Ok(peer) => Err(format!("user {} is not permitted", peer.uid)),
                Err(error) => Err(format!("nobody knows who it is: {error}")),
            };
            match refusal {
                Ok(_) if self.clients.len() >= self.setup.max_clients => {
                    turn_away(stream, ErrorCode::OverLimit, "there are too many clients already");
                }
                Ok(peer) => {
                    let welcomed = Stream::over_socket(stream.into())
                        .and_then(|stream| self.welcome(stream, Some(peer)));
                    if let Err(error) = welcomed {
                        tracing::warn!(%error, "cannot serve a client");
                    }
                }
                Err(why) => {
                    tracing::warn!(why, "a client is turned away");
                    turn_away(stream, ErrorCode::NotPermitted, &why);
                }
            }
        }
    }

    /// Serves a new client.
    fn welcome(&mut self, stream: Stream, peer: Option<Peer>) -> io::Result<ClientId> {
        let id = ClientId(self.next_client);
        self.next_client += 1;
        let token = CLIENT | id.0;
        self.poller.add(stream.input(), token, Interest::Read)?;
        if let Some(output) = stream.output() {
            self.poller.add(output, token, Interest::Close)?;
        }
        let hello = ServerHello {
            poolctl: CLIENT_PROTOCOL_VERSION,
            server: concat!("poolctl ", env!("CARGO_PKG_VERSION")).to_owned(),
            caps: if stream.passes_descriptors() { vec!["shm".to_owned()] } else { Vec::new() },
            limits: Limits { body: MAX_BODY_BYTES },
            pools: self.names(),
        };
        let mut client = Client::new(id, stream, peer);
        client.send(Kind::Hello, 0, b"", &to_json(&hello));
        self.clients.insert(client);
        Ok(id)
    }

    /// Reads what a client says, and carries it out.
    fn hear(&mut self, id: ClientId, event: Ready) {
        if event.writable {
            // Sent with all others.
            self.tell(id, |_| {});
        }
        if !event.readable && !event.closed {
            return;
        }
        for _ in 0..READS_PER_WAKE {
            let Some(client) = self.clients.tell(id) else { return };
            if client.is_leaving {
                break;
            }
            let filled = match client.stream.read() {
                Ok(filled) => filled,
                Err(error) => {
                    tracing::info!(client = id.0, %error, "cannot hear a client");
                    return self.drop_client(id);
                }
            };
            // The inbox is put aside so that its frames can be read while the server changes.
            let mut inbox = std::mem::replace(&mut client.stream.inbox, Inbox::new());
            let taken = inbox.take_frames(|frame, memfds| self.take_frame(id, frame, memfds));
            let is_stray = inbox.has_stray_descriptors();
            let Some(client) = self.clients.tell(id) else { return };
            client.stream.inbox = inbox;
            match taken {
                Err(Broken(why)) => client.dismiss(why),
                Ok(()) if is_stray => client.dismiss("a descriptor that no frame announces".to_owned()),
                Ok(()) => {}
            }
            match filled {
                Filled::Closed => return self.drop_client(id),
                Filled::Drained => break,
                Filled::More => {}
            }
        }
        let is_gone = event.closed && !event.readable;
        if is_gone {
            self.drop_client(id);
        }
    }

    /// A client has gone: everything of it goes too.
    fn drop_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.remove(id) else { return };
        tracing::info!(client = id.0, "a client has gone");
        for descriptor in [Some(client.stream.input()), client.stream.output()].into_iter().flatten() {
            if let Err(error) = self.poller.remove(descriptor) {
                tracing::debug!(%error, "a client was not watched any more");
            }
        }
        for pool in &mut self.pools {
            if pool.owner == Some(id) || client.accounts.contains_key(&pool.number) {
                pool.forget(id, &mut self.clients);
            }
        }
        drop(client);
        self.pools.iter_mut().for_each(Pool::forget_constants);
        self.objects.forget(id);
        let next = self.locks.forget(id);
        next.iter().for_each(|granted| self.tell_granted(granted));
        self.ending.retain(|(whose, _)| *whose != id);
        if self.only == Some(id) {
            self.end(Stop::Kill);
        }
    }

    /// Does what was asked from outside.
    fn obey(&mut self, control: Control) {
        match control {
            Control::Reload(pools) => self.reload(pools),
            Control::Drain => self.drain(),
            Control::Terminate => self.end(Stop::Term),
        }
    }

    /// These are the named pools from now on.
    fn reload(&mut self, pools: Vec<(String, PoolSpec)>) {
        for pool in &mut self.pools {
            let is_kept = pool.name.as_ref().is_none_or(|name| pools.iter().any(|(kept, _)| kept == name));
            if !is_kept {
                pool.close(None);
            }
        }
        for (name, spec) in pools {
            let now_open = self
                .pools
                .iter_mut()
                .rev()
                .find(|pool| pool.name.as_ref() == Some(&name) && !pool.is_closing);
            let number = match now_open {
                Some(pool) if pool.spec == spec => continue,
                Some(pool) if (PoolSpec { workers: pool.spec.workers, ..spec.clone() }) == pool.spec => {
                    pool.resize(crate::open::workers_of(&spec));
                    pool.spec = spec;
                    continue;
                }
                Some(pool) => Some(pool.number),
                None => None,
            };
            let opened = match number {
                // Its clients go on with the new one; what the old one has, it finishes.
                Some(number) => self.start_pool(number, Some(name.clone()), None, spec, None).map(|()| {
                    let last = self.pools.len() - 1;
                    let old = self.pools[..last].iter_mut().filter(|pool| pool.number == number);
                    old.for_each(|pool| pool.close(None));
                }),
                None => self.open_named(name.clone(), spec),
            };
            if let Err(error) = opened {
                tracing::error!(
                    pool = name,
                    error = crate::sink::chain(&error),
                    "a pool cannot be opened; it stays as it was"
                );
            }
        }
    }

    /// Reads the configuration anew, for a client.
    pub(crate) fn reload_for(&mut self, client: ClientId, request: u64) -> Result<(), ErrorBody> {
        self.check_user(client)?;
        let Some(Reload(read)) = self.setup.reload.clone() else {
            return Err(error(ErrorCode::NotPermitted, "there is no configuration to read"));
        };
        let pools = read().map_err(|why| error(ErrorCode::BadArgument, &why))?;
        self.reload(pools);
        let told = serde_json::json!({ "pools": self.names() }).to_string();
        self.tell(client, |client| client.reply(request, told.as_bytes()));
        Ok(())
    }

    /// Ends the service for a client, when its tasks have ended.
    pub(crate) fn drain_for(&mut self, request: (ClientId, u64)) -> Result<(), ErrorBody> {
        self.check_user(request.0)?;
        self.ending.push(request);
        self.drain();
        Ok(())
    }

    /// Ends the service for a client.
    pub(crate) fn terminate_for(&mut self, request: (ClientId, u64)) -> Result<(), ErrorBody> {
        self.check_user(request.0)?;
        self.ending.push(request);
        self.end(Stop::Term);
        Ok(())
    }

    /// The service itself is for its own user to end.
    fn check_user(&self, client: ClientId) -> Result<(), ErrorBody> {
        let uid = self.clients.get(client).and_then(|client| client.peer.as_ref()).map(|peer| peer.uid);
        if uid.is_none_or(|uid| uid == process::user_id()) {
            return Ok(());
        }
        Err(error(ErrorCode::NotPermitted, "that is for the user of the service"))
    }

    /// It ends when the tasks that are there have ended.
    fn drain(&mut self) {
        self.phase = Phase::Ending;
        self.overdue = self.setup.drain_timeout.map(|most| now() + most).or(self.overdue);
        self.stop_listening();
        self.pools.iter_mut().for_each(|pool| pool.close(None));
    }

    /// It ends, and stops what runs, this hard.
    fn end(&mut self, stop: Stop) {
        self.phase = Phase::Ending;
        self.overdue = None;
        self.stop_listening();
        self.pools.iter_mut().for_each(|pool| pool.stop(stop));
    }

    fn end_what_is_overdue(&mut self) {
        if self.overdue.is_some_and(|overdue| overdue <= now()) {
            tracing::warn!("the drain takes too long");
            self.end(Stop::Term);
        }
    }

    fn stop_listening(&mut self) {
        for (listener, _) in self.listeners.drain(..) {
            if let Err(error) = self.poller.remove(listener.as_fd()) {
                tracing::debug!(%error, "a listener was not watched any more");
            }
        }
    }

    /// The last words to those who asked for the end.
    fn say_goodbye(&mut self) {
        for (client, request) in std::mem::take(&mut self.ending) {
            self.tell(client, |client| client.reply(request, b"{}"));
        }
        for id in self.clients.ids() {
            let sent = self.clients.tell(id).map(|client| client.stream.outbox.flush());
            if let Some(Err(error)) = sent {
                tracing::debug!(client = id.0, %error, "a client has gone before the end");
            }
        }
    }
}

/// Tells who may not come in why.
fn turn_away(stream: UnixStream, code: ErrorCode, msg: &str) {
    let mut bytes = Vec::new();
    let body = to_json(&error(code, msg));
    poolctl_protocol::Frame::write(
        &mut bytes,
        Kind::Error,
        0,
        poolctl_protocol::client::NO_REQUEST,
        b"",
        &body,
    );
    // An empty socket takes this much at once, or its other end is gone.
    if let Err(error) = poolctl_sys::transfer::send(stream.as_fd(), &bytes) {
        tracing::debug!(%error, "who was turned away has gone");
    }
}

fn error(code: ErrorCode, msg: &str) -> ErrorBody {
    ErrorBody { code, msg: msg.to_owned(), hint: None }
}
