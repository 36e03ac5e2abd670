//! Programs that speak the client protocol, well and badly: with `poolctl serve`, and many at once with `poold`.

mod bad_frames;
mod bad_requests;
mod connections;
mod descriptors;
mod ends;
mod exchanges;
mod other_languages;
mod pools;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use poolctl_testkit::{DEADLINE, Running, Sandbox};
use serde_json::{Value, json};

/// Kinds of frames, as in docs/protocol.md.
mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const PROGRESS: u8 = 5;
    pub(super) const LOG: u8 = 7;
    pub(super) const PING: u8 = 8;
    pub(super) const BATCH: u8 = 10;
    pub(super) const DEFINE: u8 = 11;
    pub(super) const RELEASE: u8 = 13;
    pub(super) const OPEN: u8 = 32;
    pub(super) const ATTACH: u8 = 33;
    pub(super) const SUBMIT: u8 = 34;
    pub(super) const MAP: u8 = 35;
    pub(super) const ITEMS: u8 = 36;
    pub(super) const CREDIT: u8 = 37;
    pub(super) const END: u8 = 38;
    pub(super) const CANCEL: u8 = 39;
    pub(super) const SCALE: u8 = 40;
    pub(super) const STATS: u8 = 41;
    pub(super) const LOCK: u8 = 42;
    pub(super) const UNLOCK: u8 = 43;
    pub(super) const OWNER: u8 = 44;
    pub(super) const OBJECT: u8 = 45;
    pub(super) const CLOSE: u8 = 46;
    pub(super) const TERMINATE: u8 = 47;
    pub(super) const RELOAD: u8 = 48;
    pub(super) const RESULT: u8 = 64;
    pub(super) const EVENT: u8 = 65;
    pub(super) const ERROR: u8 = 66;
}

/// The id of what belongs to no request.
const NO_REQUEST: u64 = u64::MAX;

const HELLO: &str = r#"{"poolctl":1,"client":"tests"}"#;

/// A frame as it goes over the wire.
fn frame(kind: u8, flags: u8, id: u64, meta: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(meta.len() + payload.len()).expect("a short frame");
    let meta_length = u16::try_from(meta.len()).expect("short meta");
    let mut bytes = header(length, kind, flags, meta_length, id);
    bytes.extend_from_slice(meta);
    bytes.extend_from_slice(payload);
    bytes
}

/// A header, of a frame that may be none.
fn header(length: u32, kind: u8, flags: u8, meta_length: u16, id: u64) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(meta_length.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes
}

/// Items with their lengths before them.
fn sized(items: &[&[u8]]) -> Vec<u8> {
    let each =
        |item: &&[u8]| [&u32::try_from(item.len()).expect("a short item").to_le_bytes(), *item].concat();
    items.iter().flat_map(each).collect()
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    kind: u8,
    flags: u8,
    id: u64,
    meta: Value,
    payload: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `code` of an error; empty for what is none.
    fn code(&self) -> String {
        if self.kind != kind::ERROR {
            return String::new();
        }
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// How a task ended.
    fn outcome(&self) -> &str {
        match self.kind {
            kind::RESULT => self.meta["outcome"].as_str().unwrap_or("ok"),
            _ => "no result",
        }
    }
}

/// One connection.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    bytes: VecDeque<u8>,
    waiting: VecDeque<Reply>,
    /// What came and was not asked for: events, credit, logs.
    news: Vec<Reply>,
}

impl Client {
    /// A `poolctl serve` of one's own, over a socket; hello has been said.
    fn serve(sandbox: &Sandbox) -> (Running, Self) {
        let (near, far) = UnixStream::pair().expect("descriptors are left");
        let input = File::from(OwnedFd::from(far.try_clone().expect("descriptors are left")));
        let output = File::from(OwnedFd::from(far));
        let serve = sandbox.poolctl(["serve"]).input_file(input).stdout_file(output).start();
        let mut client = Self::over(near);
        client.greet();
        (serve, client)
    }

    /// A connection to the service in this sandbox; hello has been said.
    fn connect(sandbox: &Sandbox) -> Self {
        let mut client = Self::strange(sandbox);
        client.greet();
        client
    }

    /// A connection on which nothing has been said.
    fn strange(sandbox: &Sandbox) -> Self {
        let path = sandbox.run_directory().join("poolctl/poold.sock");
        Self::at(&path)
    }

    fn at(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).expect("the service listens"))
    }

    fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
        Self { stream, bytes: VecDeque::new(), waiting: VecDeque::new(), news: Vec::new() }
    }

    #[track_caller]
    fn greet(&mut self) {
        self.send(kind::HELLO, 0, "", HELLO);
        let hello = self.next().expect("a hello");
        assert_eq!((hello.kind, hello.json()["poolctl"].as_u64()), (kind::HELLO, Some(1)), "{hello:?}");
    }

    #[track_caller]
    fn send(&mut self, kind: u8, id: u64, meta: &str, payload: impl AsRef<[u8]>) {
        self.write(&frame(kind, 0, id, meta.as_bytes(), payload.as_ref()));
    }

    #[track_caller]
    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// As [`Client::write`], where the server may have had enough already.
    fn try_write(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(error) => panic!("writing to the server: {error}"),
        }
    }

    /// The next frame; none at the end.
    #[track_caller]
    fn next(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.waiting.pop_front() {
                return Some(reply);
            }
            if let Some(reply) = self.whole() {
                self.unpack(reply);
                continue;
            }
            let mut bytes = vec![0; 1 << 16];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(got) => self.bytes.extend(&bytes[..got]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => {
                    panic!("no frame within the deadline ({error}); before it came {:?}", self.news)
                }
            }
        }
    }

    /// The frame that is whole now.
    fn whole(&mut self) -> Option<Reply> {
        let bytes = self.bytes.make_contiguous();
        let head = bytes.first_chunk::<16>()?;
        let length =
            usize::try_from(u32::from_le_bytes([head[0], head[1], head[2], head[3]])).expect("64 bit");
        assert!(length <= 64 << 20, "a server keeps to its own limit");
        let meta_length = usize::from(u16::from_le_bytes([head[6], head[7]]));
        let (kind, flags) = (head[4], head[5]);
        let id = u64::from_le_bytes(*head[8..].first_chunk().expect("8 of 16 bytes"));
        let body = bytes.get(16..16 + length)?;
        let (meta, payload) = body.split_at(meta_length);
        let meta =
            if meta.is_empty() { json!({}) } else { serde_json::from_slice(meta).expect("meta is JSON") };
        let reply = Reply { kind, flags, id, meta, payload: payload.to_vec() };
        self.bytes.drain(..16 + length);
        Some(reply)
    }

    /// A batch of results is many.
    fn unpack(&mut self, reply: Reply) {
        if reply.kind != kind::BATCH {
            return self.waiting.push_back(reply);
        }
        let mut rest = &reply.payload[..];
        let mut id = reply.id;
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (payload, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            let (kind, flags, meta) = (kind::RESULT, 0, json!({}));
            self.waiting.push_back(Reply { kind, flags, id, meta, payload: payload.to_vec() });
            (rest, id) = (behind, id + 1);
        }
        assert_eq!(reply.meta["n"].as_u64(), Some(id - reply.id), "a batch has as many as it says");
    }

    /// The next frame of kind 64 or 66; all others become news.
    #[track_caller]
    fn reply(&mut self) -> Reply {
        self.end_or_reply().expect("the connection goes on")
    }

    /// As [`Client::reply`]; none at the end.
    #[track_caller]
    fn end_or_reply(&mut self) -> Option<Reply> {
        loop {
            let next = self.next()?;
            if matches!(next.kind, kind::RESULT | kind::ERROR) {
                return Some(next);
            }
            self.news.push(next);
        }
    }

    /// Sends a request and gives its reply, which is the next.
    #[track_caller]
    fn ask(&mut self, kind: u8, id: u64, meta: &str, payload: impl AsRef<[u8]>) -> Reply {
        self.send(kind, id, meta, payload);
        let reply = self.reply();
        assert_eq!(reply.id, id, "{reply:?}");
        reply
    }

    /// Opens a pool; gives its number.
    #[track_caller]
    fn open(&mut self, spec: &Value) -> u64 {
        let reply = self.ask(kind::OPEN, 1 << 40, "", spec.to_string());
        self.number_of(&reply)
    }

    /// Attaches to a pool; gives its number.
    #[track_caller]
    fn attach(&mut self, name: &str) -> u64 {
        let reply = self.ask(kind::ATTACH, 1 << 40, "", json!({ "name": name }).to_string());
        self.number_of(&reply)
    }

    /// The number of a pool, and the credit that comes behind it.
    #[track_caller]
    fn number_of(&mut self, reply: &Reply) -> u64 {
        assert_eq!(reply.kind, kind::RESULT, "{}", reply.text());
        let number = reply.json()["pool"].as_u64().expect("a number");
        let credit = self.next().expect("credit");
        assert_eq!((credit.kind, credit.id), (kind::CREDIT, number), "{credit:?}");
        self.news.push(credit);
        number
    }

    /// Runs one task that must go well.
    #[track_caller]
    fn apply(&mut self, pool: u64, id: u64, item: &str) -> String {
        let reply = self.ask(kind::SUBMIT, id, &json!({ "pool": pool }).to_string(), item);
        assert_eq!(reply.outcome(), "ok", "{}", reply.text());
        reply.text()
    }

    /// How a pool stands.
    #[track_caller]
    fn stats(&mut self, pool: u64) -> Value {
        let reply = self.ask(kind::STATS, 1 << 41, &json!({ "pool": pool }).to_string(), "");
        reply.json()["pools"][0].clone()
    }

    /// The last words of the server, and then the end: a `bad frame`.
    #[track_caller]
    fn expect_dismissal(&mut self) -> String {
        let last = self.end_or_reply().expect("an error before the end");
        assert_eq!(
            (last.kind, last.id, last.code()),
            (kind::ERROR, NO_REQUEST, "bad frame".to_owned()),
            "{last:?}"
        );
        let behind = self.end_or_reply();
        assert_eq!(behind, None, "nothing follows");
        last.json()["msg"].as_str().expect("a message").to_owned()
    }

    /// All events of a pool so far, in a few words each.
    fn events(&self, pool: u64) -> Vec<Value> {
        self.news.iter().filter(|news| news.kind == kind::EVENT && news.id == pool).map(Reply::json).collect()
    }
}

/// Pools that many clients share.
const POOLS: &str = r#"
[pools.double]
target = { kind = "lines", argv = ["sed", "-u", "s/.*/&&/"] }
workers = 1

[pools.json]
target = { kind = "native", function = "square" }
workers = 1

[pools.gate]
target = { kind = "command", argv = ["sh", "-c", "cat gate-$1; echo $1", "sh", "{}"] }
workers = 1

[pools.large]
target = { kind = "command", argv = ["sh", "-c", "head -c 1000000 /dev/zero", "sh", "{}"] }
workers = 1
"#;

/// A service with these pools, and a client of good manners that has the pool `double`.
struct Service {
    running: Running,
    steady: Client,
    double: u64,
    asked: u64,
}

impl Service {
    #[track_caller]
    fn start(sandbox: &Sandbox) -> Self {
        sandbox.write("poold.toml", POOLS);
        let running = sandbox.poold(["--config", "poold.toml"]).start();
        running.wait_stderr(" serves ");
        let mut steady = Client::connect(sandbox);
        let double = steady.attach("double");
        Self { running, steady, double, asked: 0 }
    }

    /// The client of good manners notices nothing.
    #[track_caller]
    fn expect_undisturbed(&mut self) {
        self.asked += 1;
        let result = self.steady.apply(self.double, self.asked, &format!("{}-", self.asked));
        assert_eq!(result, format!("{0}-{0}-", self.asked));
    }

    /// Ends it; nothing of those who have gone is left in its pools before that.
    #[track_caller]
    fn end_with_pool_at_rest(mut self) {
        let meta = json!({ "pool": self.double, "when": "idle" }).to_string();
        let reply = self.steady.ask(kind::STATS, 1 << 42, &meta, "");
        let pool = &reply.json()["pools"][0];
        assert_eq!((&pool["queued"], &pool["running"], &pool["clients"]), (&json!(0), &json!(0), &json!(1)));
        self.end();
    }

    /// Ends it; every client has gone before.
    #[track_caller]
    fn end(mut self) {
        self.expect_undisturbed();
        self.running.signal(nix::sys::signal::Signal::SIGTERM);
        self.running.wait().expect_code(0);
    }
}
