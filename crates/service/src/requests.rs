//! What clients ask for, one method each. A request that cannot be carried out is refused with a typed error; bytes that
//! are no frame end the connection.

use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use poolctl_protocol::client::{
    Attach, CLIENT_PROTOCOL_VERSION, CancelMeta, ClientHello, ErrorBody, ErrorCode, ItemsMeta, KeyMeta,
    NameMeta, Opened, PoolMeta, TaskMeta, When, parse_json, to_json,
};
use poolctl_protocol::{
    FLAG_IN_MEMFD, FLAG_JSON_LINES, Frame, FrameError, HEADER_BYTES, Kind, ValueError, check_value,
    take_sized,
};
use serde::de::IgnoredAny;

use poolctl_supervisor::{Attachment, Block, Constant, Content, Stop, now};
use poolctl_sys::memfd;

use crate::client::Map;
use crate::ledger::{ClientId, Place};
use crate::locks::{Grant, Granted};
use crate::open::Items;
use crate::server::Server;
use crate::sink::{chain, tell_not_run};
use crate::spec::{PoolSpec, TargetSpec};
use crate::stats::kind_of;

/// Longest names of locks, objects and constants, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// Most constants, pools and maps of one client at a time.
const MAX_CONSTANTS: usize = 65_536;
const MAX_POOLS: usize = 1024;
const MAX_MAPS: usize = 1024;

/// The largest id of a request.
const MAX_ID: u64 = 1 << 63;

/// Why a request is refused.
type Refused = ErrorBody;

fn refused(code: ErrorCode, msg: impl Into<String>) -> Refused {
    ErrorBody { code, msg: msg.into(), hint: None }
}

fn bad(msg: impl std::fmt::Display) -> Refused {
    refused(ErrorCode::BadArgument, msg.to_string())
}

/// What a client must never send: the connection ends.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl From<FrameError> for Broken {
    fn from(error: FrameError) -> Self {
        Self(error.to_string())
    }
}

impl Server {
    /// Carries out one frame of a client.
    pub(crate) fn take_frame(
        &mut self,
        client: ClientId,
        frame: &Frame<'_>,
        memfds: &mut Vec<OwnedFd>,
    ) -> Result<(), Broken> {
        let memfd = memfd_of(frame, memfds)?;
        let is_greeted = self.clients.get(client).is_some_and(|client| client.greeted);
        match (frame.header.kind, is_greeted) {
            (Kind::Hello, false) => return self.greet(client, frame),
            (_, false) => return Err(Broken("the first frame is no hello".to_owned())),
            (Kind::Hello, true) => return Err(Broken("a second hello".to_owned())),
            _ => {}
        }
        let id = frame.header.id;
        if id > MAX_ID {
            return Err(Broken(format!("{id} is too large for the id of a request")));
        }
        let carried = match frame.header.kind {
            Kind::Open => self.open(client, frame),
            Kind::Attach => self.attach(client, frame),
            Kind::Define => self.define(client, frame, memfd),
            Kind::Release => self.release(client, frame),
            Kind::Submit => self.submit(client, frame, memfd),
            Kind::Batch => self.batch(client, frame),
            Kind::Map => self.map(client, frame),
            Kind::Items => self.items(client, frame),
            Kind::End => self.end_map(client, id),
            Kind::Withdraw => self.cancel(client, frame),
            Kind::Scale => self.scale(client, frame),
            Kind::Stats => self.stats(client, frame),
            Kind::Lock => self.lock(client, frame),
            Kind::Unlock => self.unlock(client, frame),
            Kind::Owner => self.owner(client, frame),
            Kind::Object => self.object(client, frame),
            Kind::Close => self.close(client, frame),
            Kind::Terminate => self.terminate(client, frame),
            Kind::Reload => self.reload_for(client, id),
            Kind::Ping => {
                self.tell(client, |client| client.send(Kind::Ping, id, b"", b""));
                Ok(())
            }
            other => return Err(Broken(format!("a frame of kind {other:?}, which only a server sends"))),
        };
        if let Err(error) = carried {
            self.tell(client, |client| client.refuse(id, &error));
        }
        Ok(())
    }

    fn greet(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Broken> {
        let hello: ClientHello =
            parse_json(frame.payload, "the hello").map_err(|error| Broken(error.to_string()))?;
        if hello.poolctl != CLIENT_PROTOCOL_VERSION {
            let (theirs, ours) = (hello.poolctl, CLIENT_PROTOCOL_VERSION);
            return Err(Broken(format!(
                "the client speaks version {theirs} of the protocol, this is version {ours}"
            )));
        }
        tracing::info!(client = client.0, name = hello.client, "a client says hello");
        self.tell(client, |client| {
            client.greeted = true;
            client.knows_descriptors = hello.caps.is_none_or(|caps| caps.iter().any(|cap| cap == "shm"));
        });
        Ok(())
    }

    fn open(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        if !self.setup.may_open {
            return Err(ErrorBody {
                hint: Some("attach to one of its pools; `poolctl serve` opens any".to_owned()),
                ..refused(ErrorCode::NotPermitted, "this service has its own pools and opens no others")
            });
        }
        if self.is_ending() {
            return Err(refused(ErrorCode::Closed, "the service is ending"));
        }
        let mut spec: PoolSpec = parse_json(frame.payload, "the description of a pool").map_err(bad)?;
        let known = self.clients.get(client).map(|client| (&client.constants, client.accounts.len()));
        let Some((constants, pools)) = known else { return Ok(()) };
        if pools >= MAX_POOLS {
            return Err(refused(ErrorCode::OverLimit, format!("a client has at most {MAX_POOLS} pools")));
        }
        let setup = match &mut spec.target {
            TargetSpec::Objects { setup: Some(key), .. } => constants.get(key).cloned(),
            _ => None,
        };
        let number = self
            .open_pool(None, Some(client), spec, setup)
            .map_err(|error| refused(ErrorCode::CannotStart, chain(&error)))?;
        self.account_for(client, number, frame.header.id);
        Ok(())
    }

    fn attach(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let Attach { name } = parse_json(frame.payload, "an attach request").map_err(bad)?;
        let pool = self.pools.iter().find(|pool| pool.name.as_deref() == Some(&name) && !pool.is_closing);
        let Some(number) = pool.map(|pool| pool.number) else {
            let names = self.names().join(", ");
            let hint =
                if names.is_empty() { "there are none".to_owned() } else { format!("there are: {names}") };
            let error =
                refused(ErrorCode::NoSuchPool, format!("no pool is called `{}`", name.escape_default()));
            return Err(ErrorBody { hint: Some(hint), ..error });
        };
        self.account_for(client, number, frame.header.id);
        Ok(())
    }

    /// The client has this pool from now on.
    fn account_for(&mut self, client: ClientId, number: u64, request: u64) {
        let Some(pool) = self.pools.iter().rfind(|pool| pool.number == number) else { return };
        let opened =
            Opened { pool: number, workers: pool.workers, kind: kind_of(&pool.spec.target).to_owned() };
        self.tell(client, |client| {
            client.accounts.entry(number).or_default();
            client.reply(request, &to_json(&opened));
            client.grant(number);
        });
    }

    fn define(&mut self, client: ClientId, frame: &Frame<'_>, memfd: Option<OwnedFd>) -> Result<(), Refused> {
        let KeyMeta { key } = parse_json(frame.meta, "the meta of a define").map_err(bad)?;
        check_name(&key)?;
        // Each is known to workers by a name of ours, since clients may choose the same.
        self.next_constant += 1;
        let ours = format!("c{}", self.next_constant);
        let content = match memfd {
            Some(memfd) => Content::Memfd(Arc::new(memfd)),
            None => Content::Bytes(frame.payload.into()),
        };
        let Some(client) = self.clients.tell(client) else { return Ok(()) };
        if client.constants.len() >= MAX_CONSTANTS {
            return Err(refused(
                ErrorCode::OverLimit,
                format!("a client has at most {MAX_CONSTANTS} constants"),
            ));
        }
        client.constants.insert(key, Arc::new(Constant::new(&ours, content)));
        Ok(())
    }

    fn release(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let KeyMeta { key } = parse_json(frame.meta, "the meta of a release").map_err(bad)?;
        let constant = self.clients.tell(client).and_then(|client| client.constants.remove(&key));
        let constant = constant.ok_or_else(|| unknown_key(&key))?;
        drop(constant);
        let accounts = self.clients.get(client).map(|client| &client.accounts);
        let accounts: Vec<u64> = accounts.into_iter().flat_map(|accounts| accounts.keys().copied()).collect();
        let pools = self.pools.iter_mut().filter(|pool| accounts.contains(&pool.number));
        pools.for_each(crate::pool::Pool::forget_constants);
        Ok(())
    }

    fn submit(&mut self, client: ClientId, frame: &Frame<'_>, memfd: Option<OwnedFd>) -> Result<(), Refused> {
        let meta: TaskMeta = parse_json(frame.meta, "the meta of a task").map_err(bad)?;
        let items = self.items_of(meta.pool)?;
        let mut block = Block::new();
        match memfd {
            Some(_) if !self.pools.iter().any(|pool| pool.number == meta.pool && pool.takes_memfds()) => {
                return Err(bad("only pools of Python objects take items in memfds"));
            }
            Some(memfd) => {
                block.push(b"");
                block.attachments.push((0, vec![Attachment::File(Arc::new(memfd))]));
            }
            None => push_item(&mut block, frame.payload, items)?,
        }
        self.take_tasks(client, &meta, block, Place { client, id: frame.header.id, index: None })
    }

    fn batch(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: TaskMeta = parse_json(frame.meta, "the meta of a batch").map_err(bad)?;
        let count =
            meta.n.ok_or_else(|| bad("the meta of a batch does not say how many items there are (`n`)"))?;
        if count == 0 {
            return Err(bad("a batch without items, which nothing would answer"));
        }
        let block = block_of(frame, count, self.items_of(meta.pool)?)?;
        self.take_tasks(client, &meta, block, Place { client, id: frame.header.id, index: None })
    }

    /// Takes tasks in, if there is credit for them.
    fn take_tasks(
        &mut self,
        client: ClientId,
        meta: &TaskMeta,
        mut block: Block,
        place: Place,
    ) -> Result<(), Refused> {
        let constant = self.constant_of(client, meta.key.as_deref())?;
        block.constant = constant;
        self.enqueue(meta.pool, block, place)
    }

    /// Puts items into a pool's intake.
    fn enqueue(&mut self, number: u64, block: Block, place: Place) -> Result<(), Refused> {
        let (count, bytes) = (block.len() as u64, (block.byte_len() - block.len()) as u64);
        let Some(pool) = self.pools.iter_mut().rev().find(|pool| pool.number == number) else {
            return Err(no_pool(number));
        };
        let Some(client) = self.clients.tell(place.client) else { return Ok(()) };
        let Some(account) = client.accounts.get_mut(&number) else { return Err(no_pool(number)) };
        if pool.is_closing {
            return Err(refused(ErrorCode::Closed, "the pool is closed"));
        }
        if !account.take(count, bytes) {
            return Err(ErrorBody {
                hint: Some("wait for credit (37): it comes as results are read".to_owned()),
                ..refused(
                    ErrorCode::OverLimit,
                    format!("{count} items of {bytes} bytes are more than there is credit for"),
                )
            });
        }
        if let Some(end) = pool.refusal() {
            account.settle(count);
            let end = end.clone();
            tell_not_run(client, place, count, 0, Some(&end));
            return Ok(());
        }
        pool.intake.push(place, block);
        pool.is_due = true;
        Ok(())
    }

    fn map(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: TaskMeta = parse_json(frame.meta, "the meta of a map").map_err(bad)?;
        self.items_of(meta.pool)?;
        let constant = self.constant_of(client, meta.key.as_deref())?;
        let Some(client) = self.clients.tell(client) else { return Ok(()) };
        if !client.accounts.contains_key(&meta.pool) {
            return Err(no_pool(meta.pool));
        }
        if client.maps.len() >= MAX_MAPS {
            return Err(refused(
                ErrorCode::OverLimit,
                format!("a client has at most {MAX_MAPS} maps at a time"),
            ));
        }
        if client.maps.contains_key(&frame.header.id) {
            return Err(bad(format!("a map has the id {} already", frame.header.id)));
        }
        client.maps.insert(frame.header.id, Map::new(meta.pool, constant, !meta.unordered));
        Ok(())
    }

    fn items(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let ItemsMeta { n } = parse_json(frame.meta, "the meta of items").map_err(bad)?;
        let id = frame.header.id;
        let known = self.clients.get(client).and_then(|client| client.maps.get(&id));
        let Some(map) = known.filter(|map| !map.has_ended) else {
            return Err(refused(ErrorCode::NoSuchTask, format!("no map has the id {id}, or it was ended")));
        };
        let (pool, first, constant) = (map.pool, map.items, map.key.clone());
        let mut block = block_of(frame, n, self.items_of(pool)?)?;
        block.constant = constant;
        // They are the map's before they can be refused one by one.
        let count = |server: &mut Self, more: i64| {
            if let Some(map) = server.clients.tell(client).and_then(|client| client.maps.get_mut(&id)) {
                map.items = map.items.saturating_add_signed(more);
            }
        };
        count(self, i64::from(n));
        let taken = self.enqueue(pool, block, Place { client, id, index: Some(first) });
        if taken.is_err() {
            count(self, -i64::from(n));
        }
        taken
    }

    fn end_map(&mut self, client: ClientId, id: u64) -> Result<(), Refused> {
        let Some(client) = self.clients.tell(client) else { return Ok(()) };
        let Some(map) = client.maps.get_mut(&id) else {
            return Err(refused(ErrorCode::NoSuchTask, format!("no map has the id {id}")));
        };
        map.has_ended = true;
        client.end_map(id);
        Ok(())
    }

    fn cancel(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let CancelMeta { task, n, queued } = parse_json(frame.meta, "the meta of a cancel").map_err(bad)?;
        let accounts = self.clients.get(client).map(|client| &client.accounts);
        let accounts: Vec<u64> = accounts.into_iter().flat_map(|accounts| accounts.keys().copied()).collect();
        let mut cancelled = 0;
        for pool in self.pools.iter_mut().filter(|pool| accounts.contains(&pool.number)) {
            cancelled += pool.cancel(client, task, n.unwrap_or(1), queued, &mut self.clients);
        }
        self.tell(client, |client| {
            if let Some(map) = client.maps.get_mut(&task) {
                map.has_ended = true;
            }
            client.end_map(task);
            client
                .reply(frame.header.id, serde_json::json!({ "cancelled": cancelled }).to_string().as_bytes());
        });
        Ok(())
    }

    fn scale(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: PoolMeta = parse_json(frame.meta, "the meta of a scale").map_err(bad)?;
        let workers = meta.workers.and_then(NonZeroU32::new);
        let workers = workers.filter(|workers| workers.get() <= 65_536);
        let workers = workers.ok_or_else(|| bad("`workers` must be a number from 1 to 65536"))?;
        let pool = self.own_pool(client, meta.pool)?;
        let pool = &mut self.pools[pool];
        pool.resize(workers.get());
        self.tell(client, |client| {
            client.reply(frame.header.id, serde_json::json!({ "workers": workers }).to_string().as_bytes());
        });
        Ok(())
    }

    fn stats(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: PoolMeta = parse_json(frame.meta, "the meta of a stats request").map_err(bad)?;
        let id = frame.header.id;
        let asked = meta.pool.map(|number| self.own_pool(client, Some(number))).transpose()?;
        if let (Some(at), Some(When::Idle)) = (asked, meta.when) {
            self.pools[at].await_idle((client, id));
            return Ok(());
        }
        let is_asked = |pool: &&crate::pool::Pool| {
            pool.owner.is_none_or(|owner| owner == client)
                && meta.pool.is_none_or(|number| pool.number == number)
        };
        let pools: Vec<_> =
            self.pools.iter().filter(is_asked).map(|pool| pool.stats(&self.clients)).collect();
        let told = serde_json::json!({
            "pools": pools, "clients": self.clients.len(), "pid": std::process::id(),
        });
        self.tell(client, |client| client.reply(id, told.to_string().as_bytes()));
        Ok(())
    }

    fn lock(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: NameMeta = parse_json(frame.meta, "the meta of a lock").map_err(bad)?;
        check_name(&meta.name)?;
        let now = now();
        let until = meta.timeout_ms.map(|most| now + Duration::from_millis(most));
        let (id, locks) = (frame.header.id, &mut self.locks);
        if let Some(how) = locks.take(meta.name, client, id, until, now).map_err(bad)? {
            self.tell_granted(&Granted { client, request: id, how });
        }
        Ok(())
    }

    fn unlock(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: NameMeta = parse_json(frame.meta, "the meta of an unlock").map_err(bad)?;
        let next = self.locks.release(&meta.name, client);
        let next = next.map_err(|error| refused(ErrorCode::NotPermitted, error.to_string()))?;
        self.tell(client, |client| client.reply(frame.header.id, b"{}"));
        next.iter().for_each(|granted| self.tell_granted(granted));
        Ok(())
    }

    /// Tells how a request for a lock went.
    pub(crate) fn tell_granted(&mut self, granted: &Granted) {
        let request = granted.request;
        self.tell(granted.client, |client| match granted.how {
            Grant::Taken { owner_died } => {
                client.reply(request, serde_json::json!({ "owner_died": owner_died }).to_string().as_bytes());
            }
            Grant::TimedOut => {
                client.refuse(request, &refused(ErrorCode::OverLimit, "the lock was not free in time"));
            }
        });
    }

    fn owner(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: NameMeta = parse_json(frame.meta, "the meta of an owner request").map_err(bad)?;
        let owner = self.locks.owner(&meta.name).map(|owner| {
            let pid = self.clients.get(owner).and_then(crate::client::Client::pid);
            serde_json::json!({ "client": owner.0, "pid": pid })
        });
        let told = serde_json::json!({ "owner": owner }).to_string();
        self.tell(client, |client| client.reply(frame.header.id, told.as_bytes()));
        Ok(())
    }

    fn object(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: NameMeta = parse_json(frame.meta, "the meta of an object").map_err(bad)?;
        check_name(&meta.name)?;
        if !self.clients.get(client).is_some_and(crate::client::Client::takes_descriptors) {
            return Err(bad("objects need a connection over a socket, and a client that takes descriptors"));
        }
        let found = self.objects.attach(meta.name, meta.bytes, client);
        let found = found.map_err(|error| refused(ErrorCode::OverLimit, error.to_string()))?;
        let told = serde_json::json!({ "bytes": found.bytes, "created": found.created }).to_string();
        self.tell(client, |client| client.send_object(frame.header.id, told.as_bytes(), found.memfd));
        Ok(())
    }

    fn close(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: PoolMeta = parse_json(frame.meta, "the meta of a close").map_err(bad)?;
        let request = (client, frame.header.id);
        let Some(number) = meta.pool else { return self.drain_for(request) };
        let at = self.pool_of(client, number)?;
        if self.pools[at].owner == Some(client) {
            self.pools[at].close(Some(request));
        } else {
            self.pools[at].leave(request);
        }
        Ok(())
    }

    fn terminate(&mut self, client: ClientId, frame: &Frame<'_>) -> Result<(), Refused> {
        let meta: PoolMeta = parse_json(frame.meta, "the meta of a terminate").map_err(bad)?;
        let request = (client, frame.header.id);
        let Some(number) = meta.pool else { return self.terminate_for(request) };
        let at = self.pool_of(client, number)?;
        if self.pools[at].owner != Some(client) {
            let Self { pools, clients, .. } = self;
            pools[at].forget(client, clients);
            pools[at].leave(request);
            return Ok(());
        }
        self.pools[at].close(Some(request));
        self.pools[at].stop(Stop::Term);
        Ok(())
    }

    /// Where a pool is that the client has opened, or any of the service's own.
    fn own_pool(&self, client: ClientId, number: Option<u64>) -> Result<usize, Refused> {
        let number = number.ok_or_else(|| bad("the meta does not say which pool"))?;
        let may = |owner: Option<ClientId>| owner.is_none_or(|owner| owner == client);
        let found = self.pools.iter().rposition(|pool| pool.number == number && may(pool.owner));
        found.ok_or_else(|| no_pool(number))
    }

    /// Where a pool is that the client has.
    fn pool_of(&self, client: ClientId, number: u64) -> Result<usize, Refused> {
        let has_it = self.clients.get(client).is_some_and(|client| client.accounts.contains_key(&number));
        let found = self.pools.iter().rposition(|pool| pool.number == number && has_it);
        found.ok_or_else(|| no_pool(number))
    }

    fn items_of(&self, number: u64) -> Result<Items, Refused> {
        let pool = self.pools.iter().rev().find(|pool| pool.number == number);
        pool.map(|pool| pool.items).ok_or_else(|| no_pool(number))
    }

    fn constant_of(&self, client: ClientId, key: Option<&str>) -> Result<Option<Arc<Constant>>, Refused> {
        let (Some(client), Some(key)) = (self.clients.get(client), key) else { return Ok(None) };
        client.constants.get(key).cloned().map(Some).ok_or_else(|| unknown_key(key))
    }
}

/// The file in memory that came with a frame which says so.
fn memfd_of(frame: &Frame<'_>, memfds: &mut Vec<OwnedFd>) -> Result<Option<OwnedFd>, Broken> {
    if frame.header.flags & FLAG_IN_MEMFD == 0 {
        return Ok(None);
    }
    if memfds.is_empty() {
        return Err(Broken("a frame without the memfd it announces".to_owned()));
    }
    let file = memfds.remove(0);
    match memfd::unchangeable(file.as_fd()) {
        Ok(Some(_)) => Ok(Some(file)),
        Ok(None) | Err(_) => Err(Broken("a memfd must be sealed against SHRINK, GROW and WRITE".to_owned())),
    }
}

/// The items of a batch.
fn block_of(frame: &Frame<'_>, count: u32, items: Items) -> Result<Block, Refused> {
    // Each item takes at least its end or its length: no count makes more of a frame than there is.
    let most = frame.payload.len().min(u32::MAX as usize - HEADER_BYTES);
    if count as usize > most {
        return Err(bad(format!("{count} items cannot lie in {} bytes", frame.payload.len())));
    }
    let mut block = Block::new();
    if frame.header.flags & FLAG_JSON_LINES != 0 {
        let text = frame.payload.strip_suffix(b"\n").unwrap_or(frame.payload);
        for line in text.split(|byte| *byte == b'\n') {
            push_item(&mut block, line, items)?;
        }
    } else {
        let mut rest = frame.payload;
        while let Some(item) = take_sized(&mut rest) {
            push_item(&mut block, item, items)?;
        }
        if !rest.is_empty() {
            return Err(bad(format!("{} bytes are left behind the last item", rest.len())));
        }
    }
    if block.len() != count as usize {
        return Err(bad(format!("there are {} items, not {count}", block.len())));
    }
    Ok(block)
}

/// Adds an item as its pool takes it.
fn push_item(block: &mut Block, item: &[u8], items: Items) -> Result<(), Refused> {
    match items {
        Items::Bytes => block.push(item),
        Items::Lines if item.contains(&b'\n') => return Err(bad("an item of a line filter is one line")),
        Items::Lines => block.push(item),
        Items::Json => match check_value(item) {
            Ok(_) => block.push(item),
            // Line ends are between tokens, where a space says the same; in a string they would be no JSON.
            Err(ValueError::ManyLines { .. }) => {
                serde_json::from_slice::<IgnoredAny>(item).map_err(bad)?;
                let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
                block.push(
                    &item.iter().map(|byte| if is_end(byte) { b' ' } else { *byte }).collect::<Vec<_>>(),
                );
            }
            Err(error) => return Err(bad(error)),
        },
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains('\0') {
        return Err(bad(format!("a name has 1 to {MAX_NAME_BYTES} bytes, and no NUL")));
    }
    Ok(())
}

fn no_pool(number: u64) -> Refused {
    refused(ErrorCode::NoSuchPool, format!("no pool of this connection has the number {number}"))
}

fn unknown_key(key: &str) -> Refused {
    bad(format!("the constant `{}` was not defined", key.escape_default()))
}
