//! A client of the client protocol that waits for its answers: for our own commands, and for tests.
//!
//! One request after another, each with its reply; and maps, in which items go out and results come in at the same time, as
//! the server's credit allows.
//!
//! # If the server dies
//! The stream ends; what was asked and is not answered is [`RequestError::Lost`]. Nothing is asked again: whether it was
//! carried out is not known.

mod mapping;
mod stats;
mod wire;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use poolctl_protocol::client::{
    Attach, CLIENT_PROTOCOL_VERSION, ClientHello, Credit, ErrorBody, JsonError, Opened, PoolMeta, ResultMeta,
    ServerHello, TaskMeta, When, parse_json, to_json,
};
use poolctl_protocol::{FrameError, Kind};
use poolctl_sys::named::{Peer, peer};
use poolctl_sys::pidfd::Pidfd;
use serde::Deserialize;

use crate::spec::PoolSpec;
use wire::{Incoming, Wire};

pub use mapping::{Arrival, MapEnd, Mapping, Reading};
pub use stats::{Alive, LastDeath, PoolStats, Running, Stats};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("no service listens at `{}`", .path.display())]
    NoService {
        /// The socket.
        path: PathBuf,
    },
    /// The kernel lets nobody through.
    #[error("failed to connect to `{}`", .path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It speaks another version.
    #[error(
        "`{server}` speaks version {version} of the client protocol, and this is version {CLIENT_PROTOCOL_VERSION}"
    )]
    Version {
        /// What it says it is.
        server: String,
        /// What it speaks.
        version: u64,
    },
    /// It does not want this client, or says no hello.
    #[error("the service does not take this client")]
    Greeting(#[from] RequestError),
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server has gone.
    #[error("pool lost: the service has gone")]
    Lost,
    /// The pool has gone, and the server has not.
    #[error("pool lost: the service has closed it")]
    PoolLost,
    /// The server refuses.
    #[error("{}", .0.msg)]
    Refused(ErrorBody),
    /// An item that never fits.
    #[error("an item of {bytes} bytes is more than the service takes at a time ({most})")]
    ItemTooLong {
        /// Its length.
        bytes: usize,
        /// The most.
        most: u64,
    },
    /// The stream cannot be used.
    #[error("failed to talk to the service")]
    Io(#[from] io::Error),
    /// The server sent something that is no frame.
    #[error("the service broke the protocol")]
    Frame(#[from] FrameError),
    /// The server sent a frame that says nothing.
    #[error("the service broke the protocol")]
    Json(#[from] JsonError),
}

/// A pool that this connection may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its number.
    pub id: u64,
    /// How many workers it has at most.
    pub workers: u32,
    /// The kind of its target, as in a configuration: it says what items and results are.
    pub kind: String,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnd {
    /// What is known of it; without an outcome it is ok.
    pub meta: ResultMeta,
    /// The result, or the error in JSON.
    pub payload: Vec<u8>,
}

/// A connection to a service.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    hello: ServerHello,
    peer: Option<Peer>,
    /// So that its end can be waited for, even when its pid is another's.
    process: Option<Pidfd>,
    next_id: u64,
    flows: HashMap<u64, Flow>,
    /// Pools of which the server said that they are gone.
    lost: Vec<u64>,
}

/// What may be sent to a pool, and what was, since it was attached to.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    credit: Credit,
    sent: Credit,
}

/// The terminal reply to a request.
#[derive(Debug)]
struct Reply {
    meta: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct Workers {
    workers: u32,
}

#[derive(Debug, Deserialize)]
struct Pools {
    #[serde(default)]
    pools: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct EventBody {
    #[serde(default)]
    event: String,
}

impl Connection {
    /// Connects to the service that listens at `path`. `client`: who this is, for its log.
    ///
    /// # Errors
    /// Nobody listens there, or whoever does wants nothing of this client.
    pub fn open(path: &Path, client: &str) -> Result<Self, ConnectError> {
        use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
        match UnixStream::connect(path) {
            Ok(socket) => Self::over(socket, client),
            Err(error) if matches!(error.kind(), NotFound | ConnectionRefused | NotADirectory) => {
                Err(ConnectError::NoService { path: path.to_path_buf() })
            }
            Err(source) => Err(ConnectError::Connect { path: path.to_path_buf(), source }),
        }
    }

    /// Greets whoever is at the other end of `socket`.
    ///
    /// # Errors
    /// It wants nothing of this client.
    pub fn over(socket: UnixStream, client: &str) -> Result<Self, ConnectError> {
        let peer = peer(socket.as_fd()).ok();
        let process = peer.and_then(|peer| Pidfd::open(peer.pid).ok());
        let mut wire = Wire::new(socket).map_err(RequestError::from)?;
        let caps = Some(vec!["shm".to_owned()]);
        let hello = ClientHello { poolctl: CLIENT_PROTOCOL_VERSION, client: client.to_owned(), caps };
        wire.put(Kind::Hello, 0, &[], &to_json(&hello));
        let hello: ServerHello = loop {
            match wire.next_or_wait()? {
                frame if frame.kind == Kind::Hello => {
                    break parse_json(&frame.payload, "a hello").map_err(RequestError::from)?;
                }
                frame if frame.kind == Kind::Error => {
                    let body = parse_json(&frame.payload, "an error").map_err(RequestError::from)?;
                    return Err(RequestError::Refused(body).into());
                }
                _ => {}
            }
        };
        if hello.poolctl != CLIENT_PROTOCOL_VERSION {
            return Err(ConnectError::Version { server: hello.server, version: hello.poolctl });
        }
        Ok(Self { wire, hello, peer, process, next_id: 1, flows: HashMap::new(), lost: Vec::new() })
    }

    /// What the server said of itself.
    #[must_use]
    pub fn hello(&self) -> &ServerHello {
        &self.hello
    }

    /// The server's process and user, where the kernel tells.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// The server's process, to wait for its end.
    #[must_use]
    pub fn process(&self) -> Option<&Pidfd> {
        self.process.as_ref()
    }

    /// Attaches to a named pool.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn attach(&mut self, name: &str) -> Result<Pool, RequestError> {
        self.begin(Kind::Attach, &to_json(&Attach { name: name.to_owned() }))
    }

    /// Opens a pool that ends with this connection.
    ///
    /// # Errors
    /// The server lets nobody open pools, or cannot open this one.
    pub fn open_pool(&mut self, spec: &PoolSpec) -> Result<Pool, RequestError> {
        self.begin(Kind::Open, &to_json(spec))
    }

    fn begin(&mut self, kind: Kind, payload: &[u8]) -> Result<Pool, RequestError> {
        let reply = self.ask(kind, &[], payload)?;
        let Opened { pool, workers, kind } = parse_json(&reply.payload, "the reply to open or attach")?;
        self.flows.entry(pool).or_default();
        Ok(Pool { id: pool, workers, kind })
    }

    /// Runs one task, and waits for its end.
    ///
    /// # Errors
    /// The pool takes none, or is lost.
    pub fn submit(&mut self, pool: &Pool, item: &[u8]) -> Result<TaskEnd, RequestError> {
        let meta = TaskMeta { pool: pool.id, n: None, key: None, unordered: false };
        let bytes = item.len() as u64;
        while !self.has_credit(pool.id, bytes)? {
            let frame = self.wire.next_or_wait()?;
            self.note(&frame)?;
        }
        let flow = self.flows.entry(pool.id).or_default();
        flow.sent.items += 1;
        flow.sent.bytes += bytes;
        let Reply { meta, payload } = self.ask(Kind::Submit, &to_json(&meta), item)?;
        Ok(TaskEnd { meta: parse_json(&meta, "the meta of a result")?, payload })
    }

    /// Begins a map, whose items may go out and whose results may come in from now on.
    ///
    /// # Errors
    /// None is known before the first turn.
    pub fn map(&mut self, pool: &Pool, order: Order) -> Result<Mapping<'_>, RequestError> {
        let meta = TaskMeta { pool: pool.id, n: None, key: None, unordered: order == Order::AsTheyCome };
        let id = self.next_id();
        self.wire.put(Kind::Map, id, &to_json(&meta), &[]);
        Ok(Mapping::new(self, id, pool.id))
    }

    /// From now on a pool has so many workers; how many it then has.
    ///
    /// # Errors
    /// It cannot have so many.
    pub fn scale(&mut self, pool: &Pool, workers: u32) -> Result<u32, RequestError> {
        let meta = PoolMeta { pool: Some(pool.id), workers: Some(workers), when: None };
        let reply = self.ask(Kind::Scale, &to_json(&meta), &[])?;
        let Workers { workers } = parse_json(&reply.payload, "the reply to scale")?;
        Ok(workers)
    }

    /// How a pool stands, or all of them.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn stats(&mut self, pool: Option<&Pool>) -> Result<Stats, RequestError> {
        self.ask_stats(&PoolMeta { pool: pool.map(|pool| pool.id), workers: None, when: None })
    }

    /// The same of one pool, once nothing is queued in it and nothing runs.
    ///
    /// # Errors
    /// As [`Connection::stats`].
    pub fn stats_when_idle(&mut self, pool: &Pool) -> Result<Stats, RequestError> {
        self.ask_stats(&PoolMeta { pool: Some(pool.id), workers: None, when: Some(When::Idle) })
    }

    fn ask_stats(&mut self, meta: &PoolMeta) -> Result<Stats, RequestError> {
        let reply = self.ask(Kind::Stats, &to_json(meta), &[])?;
        Ok(parse_json(&reply.payload, "the reply to stats")?)
    }

    /// Has the service read its configuration again; the pools it has then.
    ///
    /// # Errors
    /// The configuration is bad, and everything stays as it is.
    pub fn reload(&mut self) -> Result<Vec<String>, RequestError> {
        let reply = self.ask(Kind::Reload, &[], &[])?;
        let Pools { pools } = parse_json(&reply.payload, "the reply to reload")?;
        Ok(pools)
    }

    /// Has the service finish what is there, and end; returns when it is through.
    ///
    /// # Errors
    /// It is not for this client.
    pub fn drain_service(&mut self) -> Result<(), RequestError> {
        self.end_service(Kind::Close)
    }

    /// Has the service stop what runs, and end; returns when it is through.
    ///
    /// # Errors
    /// It is not for this client.
    pub fn terminate_service(&mut self) -> Result<(), RequestError> {
        self.end_service(Kind::Terminate)
    }

    fn end_service(&mut self, kind: Kind) -> Result<(), RequestError> {
        match self.ask(kind, &[], &[]) {
            // It has gone, which is what was asked for.
            Ok(_) | Err(RequestError::Lost) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and waits for its terminal reply.
    fn ask(&mut self, kind: Kind, meta: &[u8], payload: &[u8]) -> Result<Reply, RequestError> {
        let id = self.next_id();
        self.wire.put(kind, id, meta, payload);
        loop {
            let frame = self.wire.next_or_wait()?;
            match frame.kind {
                Kind::Result if frame.id == id => {
                    return Ok(Reply { meta: frame.meta, payload: frame.payload });
                }
                Kind::Error if frame.id == id => {
                    return Err(RequestError::Refused(parse_json(&frame.payload, "an error")?));
                }
                _ => self.note(&frame)?,
            }
        }
    }

    /// Takes notice of a frame that is no reply to what is being waited for.
    fn note(&mut self, frame: &Incoming) -> Result<(), RequestError> {
        match frame.kind {
            Kind::Credit => {
                let credit: Credit = parse_json(&frame.payload, "credit")?;
                self.flows.entry(frame.id).or_default().credit = credit;
            }
            Kind::Event => {
                let event: EventBody = parse_json(&frame.payload, "an event")?;
                if event.event == "lost" {
                    self.lost.push(frame.id);
                }
            }
            // Of the connection as a whole: it is about to be closed.
            Kind::Error if frame.id == poolctl_protocol::client::NO_REQUEST => {
                return Err(RequestError::Refused(parse_json(&frame.payload, "an error")?));
            }
            _ => {}
        }
        Ok(())
    }

    fn has_credit(&self, pool: u64, bytes: u64) -> Result<bool, RequestError> {
        if self.lost.contains(&pool) {
            return Err(RequestError::PoolLost);
        }
        let flow = self.flows.get(&pool).copied().unwrap_or_default();
        Ok(flow.sent.items < flow.credit.items && flow.sent.bytes + bytes <= flow.credit.bytes)
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// In which order the results of a map come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In that of its items.
    OfItems,
    /// As they are there.
    AsTheyCome,
}

#[cfg(test)]
mod tests;
