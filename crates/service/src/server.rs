//! The loop that serves clients: one epoll over their streams, the supervisors of all pools, and who asks from outside.
//!
//! # If somebody dies
//! A worker: its supervisor tells. A client: its stream ends; what it had queued is dropped, what it had running stopped. The
//! process that started `poolctl serve`: its pidfd tells, also where a forked copy of it keeps the stream open. This
//! process: the keepers of its pools kill all workers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use poolctl_protocol::client::{ErrorBody, ErrorCode};
use poolctl_supervisor::{Constant, Moment, Pidfd, Stop, Waker, now};
use poolctl_sys::poller::{Interest, Poller, Ready};
use poolctl_sys::process;

use crate::client::Client;
use crate::clients::Clients;
use crate::control::{Allowed, Control, Controller, Reload, Setup};
use crate::ledger::ClientId;
use crate::locks::Locks;
use crate::objects::Objects;
use crate::open::{OpenError, Surroundings};
use crate::pool::Pool;
use crate::spec::PoolSpec;
use crate::spin::Spin;
use crate::stream::Stream;

/// The poller's numbers for what is no client and no pool.
const WAKER: u64 = 0;
const PARENT: u64 = 1;
pub(crate) const FIRST_LISTENER: u64 = 16;

/// Those of clients and pools have one of these bits.
pub(crate) const CLIENT: u64 = 1 << 62;
const POOL: u64 = 1 << 61;

/// How long a service that has ended waits for its clients to read what they were told last.
const PARTING: Duration = Duration::from_secs(10);

/// Whether a server goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// It ends when its pools have.
    Ending,
    /// Its pools have ended; clients are told the rest.
    Parting,
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
    pub(crate) poller: Poller,
    waker: Waker,
    controls: Receiver<Control>,
    sender: Sender<Control>,
    pub(crate) listeners: Vec<(UnixListener, Allowed)>,
    parent: Option<Pidfd>,
    /// The client with whom it ends.
    pub(crate) only: Option<ClientId>,
    pub(crate) next_client: u64,
    next_pool: u64,
    /// When it listens again, having had no descriptors left.
    pub(crate) listens_again: Option<Moment>,
    phase: Phase,
    /// When a drain becomes an end.
    overdue: Option<Moment>,
    /// Requests that are answered at the very end.
    pub(crate) ending: Vec<(ClientId, u64)>,
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
            listens_again: None,
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
        // A parent outside of this process's namespace has no number here; then the end of the input has to do.
        if let Some(pid) = Some(std::os::unix::process::parent_id()).filter(|pid| *pid > 0) {
            let parent = Pidfd::open(pid)?;
            self.poller.add(parent.as_fd(), PARENT, Interest::Read)?;
            self.parent = Some(parent);
        }
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
        let mut spin = Spin::new();
        loop {
            self.turn_pools();
            self.end_what_is_overdue();
            self.listen_again();
            let has_answered = self.send_all();
            if self.phase == Phase::Ending && self.pools.is_empty() {
                self.say_goodbye();
                self.send_all();
            }
            if self.phase == Phase::Parting && self.clients.len() == 0 {
                return Ok(());
            }
            let most = self.wait_time();
            let is_expectant = has_answered && self.pools.iter().all(Pool::is_idle);
            spin.wait(&mut self.poller, &mut ready, most, is_expectant)?;
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
        if self.pools.iter().any(Pool::is_over) {
            self.remove_ended_pools();
        }
        let expired = self.locks.expire(now);
        expired.iter().for_each(|granted| self.tell_granted(granted));
    }

    fn remove_ended_pools(&mut self) {
        let (over, left): (Vec<Pool>, _) = self.pools.drain(..).partition(Pool::is_over);
        self.pools = left;
        // A pool may have a successor of the same number, with which its clients go on.
        for pool in over.iter().filter(|pool| !self.pools.iter().any(|other| other.number == pool.number)) {
            pool.part_from_clients(&mut self.clients);
        }
    }

    /// How long nothing needs to be done, if nothing happens.
    fn wait_time(&self) -> Option<Duration> {
        if self.pools.iter().any(|pool| pool.is_due) {
            return Some(Duration::ZERO);
        }
        let pools = self.pools.iter().filter_map(|pool| pool.rests_until);
        let due =
            pools.chain(self.locks.next_deadline()).chain(self.overdue).chain(self.listens_again).min()?;
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
                Some(pool) if pool.spec == spec && pool.refusal().is_none() => continue,
                Some(pool)
                    if (PoolSpec { workers: pool.spec.workers, ..spec.clone() }) == pool.spec
                        && pool.refusal().is_none() =>
                {
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

    /// Whether it takes in nothing new.
    pub(crate) fn is_ending(&self) -> bool {
        self.phase != Phase::Serving
    }

    /// It ends when the tasks that are there have ended.
    fn drain(&mut self) {
        if self.is_ending() {
            return;
        }
        self.phase = Phase::Ending;
        self.overdue = self.setup.drain_timeout.map(|most| now() + most).or(self.overdue);
        self.stop_listening();
        self.pools.iter_mut().for_each(|pool| pool.close(None));
    }

    /// It ends, and stops what runs, this hard.
    pub(crate) fn end(&mut self, stop: Stop) {
        if self.phase == Phase::Parting {
            return;
        }
        self.phase = Phase::Ending;
        self.overdue = None;
        self.stop_listening();
        self.pools.iter_mut().for_each(|pool| pool.stop(stop));
    }

    fn end_what_is_overdue(&mut self) {
        if self.overdue.is_none_or(|overdue| overdue > now()) {
            return;
        }
        if self.phase == Phase::Parting {
            tracing::warn!("some clients do not read what they were told last");
            self.clients.ids().into_iter().for_each(|id| self.drop_client(id));
        } else {
            tracing::warn!("the drain takes too long");
            self.end(Stop::Term);
        }
    }

    fn stop_listening(&mut self) {
        self.listens_again = None;
        for (listener, _) in self.listeners.drain(..) {
            if let Err(error) = self.poller.remove(listener.as_fd()) {
                tracing::debug!(%error, "a listener was not watched any more");
            }
        }
    }

    /// The last words to those who asked for the end. Everybody gets what waits, and goes then.
    fn say_goodbye(&mut self) {
        self.phase = Phase::Parting;
        // The client that this server was started for is waited for as long as it is there.
        self.overdue = self.only.is_none().then(|| now() + PARTING);
        for (client, request) in std::mem::take(&mut self.ending) {
            self.tell(client, |client| client.reply(request, b"{}"));
        }
        for id in self.clients.ids() {
            self.tell(id, |client| client.is_leaving = true);
        }
    }
}

pub(crate) fn error(code: ErrorCode, msg: &str) -> ErrorBody {
    ErrorBody { code, msg: msg.to_owned(), hint: None }
}
