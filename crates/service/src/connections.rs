//! Clients come, are heard and told, and go.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use poolctl_protocol::client::{
    CLIENT_PROTOCOL_VERSION, ErrorCode, Limits, NO_REQUEST, ServerHello, to_json,
};
use poolctl_protocol::{Frame, Kind, MAX_BODY_BYTES};
use poolctl_supervisor::channel::{Filled, Inbox};
use poolctl_supervisor::{Stop, now};
use poolctl_sys::named::{self, Peer};
use poolctl_sys::poller::{Interest, Ready};
use poolctl_sys::{process, transfer};

use crate::client::Client;
use crate::ledger::ClientId;
use crate::pool::Pool;
use crate::requests::Broken;
use crate::server::{CLIENT, FIRST_LISTENER, Server, error};
use crate::stream::Stream;

/// How many times one wake-up reads, so that one client cannot starve the others.
const READS_PER_WAKE: usize = 4;

/// For how long nobody is accepted when there are no descriptors left.
const LISTENING_REST: Duration = Duration::from_millis(500);

/// How many are accepted at once: then it is seen who has gone meanwhile.
const ACCEPTS_PER_WAKE: usize = 16;

impl Server {
    /// Sends what waits for clients, and gives credit for what has ended. Says whether there were any.
    pub(crate) fn send_all(&mut self) -> bool {
        let touched = self.clients.take_touched();
        let has_sent = !touched.is_empty();
        for id in touched {
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
        has_sent
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

    /// Takes in who waits at a listener.
    pub(crate) fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPTS_PER_WAKE {
            let Some((socket, allowed)) = self.listeners.get(listener) else { return };
            let stream = match socket.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // No descriptors left: who waits is taken in later.
                    tracing::warn!(%error, "cannot accept a client");
                    return self.rest_listening();
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

    /// Listens no more for a while: who waits would be told again and again.
    fn rest_listening(&mut self) {
        for (listener, _) in &self.listeners {
            if let Err(error) = self.poller.remove(listener.as_fd()) {
                tracing::debug!(%error, "a listener was not watched any more");
            }
        }
        self.listens_again = Some(now() + LISTENING_REST);
    }

    /// Listens again when its rest is over.
    pub(crate) fn listen_again(&mut self) {
        if self.listens_again.is_none_or(|again| again > now()) {
            return;
        }
        self.listens_again = None;
        for (number, (listener, _)) in self.listeners.iter().enumerate() {
            let token = FIRST_LISTENER + number as u64;
            if let Err(error) = self.poller.add(listener.as_fd(), token, Interest::Read) {
                tracing::error!(%error, "cannot listen");
            }
        }
    }

    /// Serves a new client.
    pub(crate) fn welcome(&mut self, stream: Stream, peer: Option<Peer>) -> io::Result<ClientId> {
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
    pub(crate) fn hear(&mut self, id: ClientId, event: Ready) {
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
    pub(crate) fn drop_client(&mut self, id: ClientId) {
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
}

/// Tells who may not come in why.
fn turn_away(stream: UnixStream, code: ErrorCode, msg: &str) {
    let mut bytes = Vec::new();
    let body = to_json(&error(code, msg));
    Frame::write(&mut bytes, Kind::Error, 0, NO_REQUEST, b"", &body);
    // An empty socket takes this much at once, or its other end is gone.
    if let Err(error) = transfer::send(stream.as_fd(), &bytes) {
        tracing::debug!(%error, "who was turned away has gone");
    }
}
