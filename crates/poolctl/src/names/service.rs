//! The thread that answers those who attach by name, and knows who they are.
//!
//! One epoll over the listening sockets, the connections and the pidfds of those who have a seat. Nothing blocks there: a
//! connection gets two packets, for which a new socket has room, or is dropped. A process gets one seat, however often it
//! attaches, given back when its pidfd says that it is dead.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use poolctl_supervisor::{Seats, Taken, Waker, WorkerId};
use poolctl_sys::named::{self, Listener};
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::poller::{Interest, Poller};
use poolctl_sys::process;
use poolctl_sys::ready::{self, Wanted};
use poolctl_worker::attachments::{Luggage, Whose};

use super::{Greeting, Hello, VERSION};
use crate::pipe::{End, PipeError};
use crate::shared::{HomeSeats, home_id};

const WAKER: u64 = 0;
/// How many are taken in before others are heard.
const MOST_AT_ONCE: usize = 64;
const NOW: Option<Duration> = Some(Duration::ZERO);
/// How long to wait before looking again whether there are descriptors.
const REST: Duration = Duration::from_millis(100);

/// A value on its way to whoever asks.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) kind: &'static str,
    pub(super) main: Vec<u8>,
    pub(super) handles: Vec<Arc<dyn Luggage>>,
}

/// Why nothing was published.
#[derive(Debug)]
pub(super) enum Refused {
    Forked,
    System(io::Error),
}

struct Service {
    waker: Waker,
    state: Mutex<State>,
}

/// What a number stands for in the set of what is waited for.
#[derive(Default)]
struct State {
    last: u64,
    publications: HashMap<u64, Publication>,
    lines: HashMap<u64, Line>,
    clients: HashMap<u64, Client>,
    /// Publications that are not listened for: new ones, and those for which there were no descriptors.
    unheard: Vec<u64>,
}

/// A name and what it stands for.
struct Publication {
    listener: Listener,
    value: Value,
    /// Whether locks are in it.
    needs_seat: bool,
    is_published: bool,
    users: usize,
}

/// A connection.
struct Line {
    end: End,
    publication: u64,
    has_asked: bool,
}

/// A process that shares objects, until it is dead.
struct Client {
    pidfd: Pidfd,
    told: Vec<u8>,
    /// Given back when this is dropped.
    _seat: Box<dyn Taken>,
}

/// The process that has the service; 0: none yet. A forked copy has no thread, and a mutex may be held by one that was
/// not copied.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The service of this process, with its thread, which begins with the first name.
fn service() -> Result<Arc<Service>, Refused> {
    static SERVICE: Mutex<Option<Arc<Service>>> = Mutex::new(None);
    if ![0, std::process::id()].contains(&OWNER.load(Ordering::Relaxed)) {
        return Err(Refused::Forked);
    }
    let mut known = SERVICE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(service) = &*known {
        return Ok(Arc::clone(service));
    }
    let service = Service::start().map_err(Refused::System)?;
    OWNER.store(std::process::id(), Ordering::Relaxed);
    Ok(Arc::clone(known.insert(service)))
}

/// Takes a name for a value; by which number it is known here.
pub(super) fn publish(address: &[u8], value: Value) -> Result<u64, Refused> {
    let service = service()?;
    let listener = Listener::bind(address).map_err(Refused::System)?;
    let needs_seat = value.handles.iter().any(|handle| handle.whose() == Whose::Own);
    let mut state = service.lock();
    let publication = state.number();
    let what = Publication { listener, value, needs_seat, is_published: true, users: 0 };
    state.publications.insert(publication, what);
    state.unheard.push(publication);
    drop(state);
    service.waker.wake();
    Ok(publication)
}

/// How many use it.
pub(super) fn users(publication: u64) -> usize {
    service()
        .map_or(0, |service| service.lock().publications.get(&publication).map_or(0, |known| known.users))
}

/// Its name goes with its last user.
pub(super) fn withdraw(publication: u64) {
    if let Ok(service) = service() {
        let mut state = service.lock();
        if let Some(known) = state.publications.get_mut(&publication) {
            known.is_published = false;
        }
        state.forget_unused(publication);
    }
}

fn is_of_this_user(end: &End) -> bool {
    named::peer(end.as_fd()).is_ok_and(|peer| peer.uid == process::user_id())
}

impl Service {
    fn start() -> io::Result<Arc<Self>> {
        let poller = Poller::new()?;
        let waker = Waker::new()?;
        poller.add(waker.as_fd(), WAKER, Interest::Read)?;
        let service = Arc::new(Self { waker, state: Mutex::default() });
        let attending = Arc::clone(&service);
        thread::Builder::new().name("poolctl-names".to_owned()).spawn(move || attending.attend(poller))?;
        Ok(service)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attend(&self, mut poller: Poller) {
        let mut ready = Vec::new();
        let mut rest = None;
        loop {
            if let Err(error) = poller.wait(&mut ready, rest) {
                tracing::error!(%error, "nobody is answered any more who attaches by name");
                return;
            }
            self.waker.clear();
            let mut state = self.lock();
            for event in ready.drain(..) {
                state.hear(event.token, &poller);
            }
            state.listen(&poller);
            rest = (!state.unheard.is_empty()).then_some(REST);
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        WAKER + self.last
    }

    fn hear(&mut self, token: u64, poller: &Poller) {
        if self.publications.contains_key(&token) {
            self.accept(token, poller);
        } else if let Some(line) = self.lines.remove(&token) {
            let publication = line.publication;
            match self.answered(line, poller) {
                Ok(line) => drop(self.lines.insert(token, line)),
                Err(error) => {
                    tracing::debug!(error = ?error, "one who attached by name has gone");
                    self.forget_unused(publication);
                }
            }
        } else {
            // It is dead: what it held is free again.
            self.clients.remove(&token);
        }
    }

    /// Listens for those that are not listened for, which is not possible while there are no descriptors.
    fn listen(&mut self, poller: &Poller) {
        let publications = &self.publications;
        self.unheard.retain(|token| {
            let Some(known) = publications.get(token) else { return false };
            poller.add(known.listener.as_fd(), *token, Interest::Read).is_err()
        });
    }

    fn accept(&mut self, publication: u64, poller: &Poller) {
        // Who waits longer is told of again.
        for _ in 0..MOST_AT_ONCE {
            let Some(known) = self.publications.get(&publication) else { return };
            match known.listener.accept().map(|socket| socket.map(End::of)) {
                Ok(None) => return,
                // Other users can connect, and are let go before they are heard.
                Ok(Some(end)) if !is_of_this_user(&end) => {}
                Ok(Some(end)) => {
                    let token = self.number();
                    if poller.add(end.as_fd(), token, Interest::Read).is_ok() {
                        self.lines.insert(token, Line { end, publication, has_asked: false });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take in one who attaches by name");
                    // Else this would be told again at once.
                    poller.remove(known.listener.as_fd()).unwrap_or_default();
                    self.unheard.push(publication);
                    return;
                }
            }
        }
    }

    /// The line, when all that is ready there has been answered; an error when it is over.
    fn answered(&mut self, mut line: Line, poller: &Poller) -> Result<Line, PipeError> {
        while let Some(hello) = self.asked(&line)? {
            let peer = named::peer(line.end.as_fd()).map_err(PipeError::Refused)?;
            let is_again = std::mem::replace(&mut line.has_asked, true);
            if is_again {
                self.left(&line, is_again);
                return Err(PipeError::Foreign);
            }
            let seat = self.seat_for(&line, peer.pid, &hello, poller)?;
            let Some(known) = self.publications.get_mut(&line.publication) else {
                return Err(PipeError::Closed);
            };
            let Value { kind, main, handles } = &known.value;
            let greeting = Greeting { version: VERSION, kind: (*kind).to_owned(), seat };
            let is_sent =
                line.end.send(&greeting, NOW)? && line.end.send_encoded(main, handles.clone(), NOW)?;
            if !is_sent {
                return Err(PipeError::Closed);
            }
            known.users += 1;
        }
        Ok(line)
    }

    /// What was asked for, if anything was.
    fn asked(&mut self, line: &Line) -> Result<Option<Hello>, PipeError> {
        let asked = line.end.receive(NOW);
        if asked.is_err() {
            self.left(line, line.has_asked);
        }
        asked
    }

    fn left(&mut self, line: &Line, was_user: bool) {
        if let Some(known) = self.publications.get_mut(&line.publication) {
            known.users -= usize::from(was_user && known.users > 0);
        }
    }

    /// The seat of the process at the other end, if it needs one.
    fn seat_for(
        &mut self,
        line: &Line,
        pid: u32,
        hello: &Hello,
        poller: &Poller,
    ) -> Result<Option<(u64, Vec<u8>)>, PipeError> {
        let host = home_id();
        let needs = self.publications.get(&line.publication).is_some_and(|known| known.needs_seat);
        if !needs || pid == std::process::id() || hello.hosts.contains(&host) {
            return Ok(None);
        }
        if let Some(known) = self.clients.values().find(|client| client.pidfd.pid() == pid) {
            return Ok(Some((host, known.told.clone())));
        }
        let pidfd = Pidfd::open(pid).map_err(PipeError::Refused)?;
        // Whoever is at the other end still was so when the pid was its, so that it is its now.
        if ready::wait(line.end.as_fd(), Wanted::Data, Some(Duration::ZERO)).map_err(PipeError::Refused)? {
            return Err(PipeError::Closed);
        }
        let token = self.number();
        let Some(seat) = HomeSeats.take(WorkerId::new(0, token)) else { return Ok(Some((host, Vec::new()))) };
        poller.add(pidfd.as_fd(), token, Interest::Read).map_err(PipeError::Refused)?;
        let told = seat.told;
        self.clients.insert(token, Client { pidfd, told: told.clone(), _seat: seat.taken });
        Ok(Some((host, told)))
    }

    fn forget_unused(&mut self, publication: u64) {
        if self.publications.get(&publication).is_some_and(|known| !known.is_published && known.users == 0) {
            self.publications.remove(&publication);
        }
    }
}
