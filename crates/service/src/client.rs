//! One connection: its stream, what it may still send, and what it has been promised.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use poolctl_protocol::client::{Credit, ErrorBody, ErrorCode, NO_REQUEST, ResultMeta, to_json};
use poolctl_protocol::{FLAG_IN_MEMFD, Frame, Kind, MAX_BODY_BYTES, write_raw_batch};
use poolctl_supervisor::{Attachment, Constant};
use poolctl_sys::named::Peer;

use crate::ledger::ClientId;
use crate::stream::Stream;

/// How many items a client may have in a pool without having read their results.
const WINDOW_ITEMS: u64 = 65_536;

/// How many bytes of payload, likewise.
const WINDOW_BYTES: u64 = 16 << 20;

/// A client that has so many bytes of replies unread gets no items run until it has read some.
const SLOW_BYTES: usize = 4 << 20;

/// One that has so many is not listened to either.
const DEAF_BYTES: usize = 16 << 20;

/// The longest message of an error, in bytes: it may quote what the client has sent.
const MESSAGE_BYTES: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) stream: Stream,
    pub(crate) peer: Option<Peer>,
    /// Whether its hello came.
    pub(crate) greeted: bool,
    /// Whether it can be sent descriptors, if its stream can pass them.
    pub(crate) knows_descriptors: bool,
    /// Whether it is to be dropped once its replies are sent.
    pub(crate) is_leaving: bool,
    /// Whether the poller watches for room to write.
    pub(crate) writing: bool,
    /// Whether the poller watches for requests.
    pub(crate) reading: bool,
    /// Constants by the client's names for them.
    pub(crate) constants: HashMap<String, Arc<Constant>>,
    /// Pools it has opened or attached to.
    pub(crate) accounts: BTreeMap<u64, Account>,
    /// Maps that have not ended.
    pub(crate) maps: HashMap<u64, Map>,
}

/// What a client has sent to one pool.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// What it has sent in all.
    sent: Credit,
    /// Of that, what has ended and was told.
    done: Credit,
    /// What it was told it may send in all.
    granted: Credit,
}

/// A map that has not ended.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) pool: u64,
    pub(crate) key: Option<Arc<Constant>>,
    /// Whether results go in the order of the items.
    pub(crate) ordered: bool,
    /// How many items have come.
    pub(crate) items: u64,
    /// How many have ended, and how many of those are ok.
    pub(crate) settled: u64,
    pub(crate) ok: u64,
    /// Whether no item follows.
    pub(crate) has_ended: bool,
    /// The item whose result goes next.
    next: u64,
    /// Results that wait for earlier ones.
    held: BTreeMap<u64, Reply>,
    held_bytes: usize,
}

/// A frame that waits for its turn.
#[derive(Debug)]
struct Reply {
    /// Other frames, then the result.
    bytes: Vec<u8>,
    /// Where the result begins.
    start: usize,
    memfd: Option<Arc<OwnedFd>>,
}

impl Map {
    pub(crate) fn new(pool: u64, key: Option<Arc<Constant>>, ordered: bool) -> Self {
        Self {
            pool,
            key,
            ordered,
            items: 0,
            settled: 0,
            ok: 0,
            has_ended: false,
            next: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
        }
    }

    /// Whether all of it has its outcome.
    pub(crate) fn is_over(&self) -> bool {
        self.has_ended && self.settled == self.items
    }
}

impl Account {
    /// Counts what came in, if there is credit for it.
    pub(crate) fn take(&mut self, items: u64, bytes: u64) -> bool {
        let sent = Credit { items: self.sent.items + items, bytes: self.sent.bytes + bytes };
        let is_covered = sent.items <= self.granted.items
            // The last one may go beyond, so that an item that is larger than the window can be sent at all.
            && (sent.bytes <= self.granted.bytes || self.sent.bytes < self.granted.bytes);
        if is_covered {
            self.sent = sent;
        }
        is_covered
    }

    /// What has ended.
    pub(crate) fn settle(&mut self, items: u64) {
        self.done.items += items;
        // Bytes are counted with their items: as many as one has on average.
        let open = self.sent.items - (self.done.items - items);
        let share =
            (self.sent.bytes - self.done.bytes).checked_mul(items).map_or(0, |bytes| bytes / open.max(1));
        self.done.bytes =
            if self.done.items == self.sent.items { self.sent.bytes } else { self.done.bytes + share };
    }

    /// What it is told next that it may send, if that is worth a frame.
    pub(crate) fn grant(&mut self) -> Option<Credit> {
        let items = self.done.items + WINDOW_ITEMS;
        let bytes = self.done.bytes + WINDOW_BYTES;
        let is_due =
            items - self.granted.items >= WINDOW_ITEMS / 4 || bytes - self.granted.bytes >= WINDOW_BYTES / 4;
        is_due.then(|| {
            self.granted = Credit { items, bytes };
            self.granted
        })
    }
}

impl Client {
    pub(crate) fn new(id: ClientId, stream: Stream, peer: Option<Peer>) -> Self {
        Self {
            id,
            stream,
            peer,
            greeted: false,
            knows_descriptors: true,
            is_leaving: false,
            writing: false,
            reading: true,
            constants: HashMap::new(),
            accounts: BTreeMap::new(),
            maps: HashMap::new(),
        }
    }

    /// Whether it reads what it is told, so that more may be run for it.
    pub(crate) fn keeps_up(&self) -> bool {
        self.stream.outbox.backlog() + self.maps.values().map(|map| map.held_bytes).sum::<usize>()
            < SLOW_BYTES
    }

    /// Whether it is listened to.
    pub(crate) fn is_heard(&self) -> bool {
        self.stream.outbox.backlog() < DEAF_BYTES
    }

    /// Sends one frame.
    pub(crate) fn send(&mut self, kind: Kind, id: u64, meta: &[u8], payload: &[u8]) {
        Frame::write(self.stream.outbox.bytes(), kind, 0, id, meta, payload);
    }

    /// Answers a request.
    pub(crate) fn reply(&mut self, id: u64, payload: &[u8]) {
        self.send(Kind::Result, id, b"", payload);
    }

    /// Refuses a request.
    pub(crate) fn refuse(&mut self, id: u64, error: &ErrorBody) {
        let msg = beginning(&error.msg, MESSAGE_BYTES).to_owned();
        self.send(Kind::Error, id, b"", &to_json(&ErrorBody { msg, ..error.clone() }));
    }

    /// Whether a reply may come with a descriptor.
    pub(crate) fn takes_descriptors(&self) -> bool {
        self.knows_descriptors && self.stream.passes_descriptors()
    }

    /// Ends the connection because of something that cannot be read on from.
    pub(crate) fn dismiss(&mut self, msg: String) {
        let error = ErrorBody { code: ErrorCode::BadFrame, msg, hint: None };
        self.refuse(NO_REQUEST, &error);
        self.is_leaving = true;
    }

    /// Sends the results of neighbouring tasks, all ok; each has its length before it.
    pub(crate) fn send_results(&mut self, id: u64, count: u32, sized: &[u8]) {
        let out = self.stream.outbox.bytes();
        let whole = sized.len() + 32;
        if count > 1 && whole <= MAX_BODY_BYTES {
            let meta = to_json(&ResultMeta { n: Some(count), ..ResultMeta::default() });
            Frame::write(out, Kind::Batch, 0, id, &meta, sized);
            return;
        }
        let mut rest = sized;
        for id in id..id + u64::from(count) {
            let result = poolctl_protocol::take_sized(&mut rest).unwrap_or_default();
            Frame::write(out, Kind::Result, 0, id, b"", result);
        }
    }

    /// Sends the results of neighbouring tasks, all ok.
    pub(crate) fn send_lines<'a>(&mut self, id: u64, count: u32, lines: impl Iterator<Item = &'a [u8]>) {
        let meta = to_json(&ResultMeta { n: Some(count), ..ResultMeta::default() });
        write_raw_batch(self.stream.outbox.bytes(), Kind::Batch, id, &meta, lines);
    }

    /// Sends the result of one item, behind frames that belong to it: at once, or when it is its turn in its map.
    pub(crate) fn send_result(
        &mut self,
        id: u64,
        meta: &ResultMeta,
        before: Vec<u8>,
        payload: &[u8],
        memfd: Option<Arc<OwnedFd>>,
    ) {
        let mut bytes = before;
        let flags = if memfd.is_some() { FLAG_IN_MEMFD } else { 0 };
        let start = bytes.len();
        let text = if *meta == ResultMeta::default() { Vec::new() } else { to_json(meta) };
        Frame::write(&mut bytes, Kind::Result, flags, id, &text, payload);
        let reply = Reply { bytes, start, memfd };
        let Some((index, map)) = meta.index.and_then(|index| Some((index, self.maps.get_mut(&id)?))) else {
            return self.send_reply(reply);
        };
        map.settled += 1;
        map.ok += u64::from(meta.outcome.is_none());
        if !map.ordered {
            return self.send_reply(reply);
        }
        map.held_bytes += reply.bytes.len();
        map.held.insert(index, reply);
        let mut due = Vec::new();
        while let Some(reply) = map.held.remove(&map.next) {
            map.held_bytes -= reply.bytes.len();
            map.next += 1;
            due.push(reply);
        }
        due.into_iter().for_each(|reply| self.send_reply(reply));
    }

    fn send_reply(&mut self, mut reply: Reply) {
        match reply.memfd {
            None => self.stream.outbox.bytes().extend_from_slice(&reply.bytes),
            Some(memfd) => {
                let result = reply.bytes.split_off(reply.start);
                self.stream.outbox.bytes().extend_from_slice(&reply.bytes);
                // A stream that is gone is noticed when it is read.
                if let Err(error) = self.stream.outbox.send_with(result, vec![Attachment::File(memfd)]) {
                    tracing::debug!(client = self.id.0, %error, "cannot send");
                }
            }
        }
    }

    /// Answers a request with an object.
    pub(crate) fn send_object(&mut self, id: u64, payload: &[u8], memfd: Arc<OwnedFd>) {
        let mut bytes = Vec::new();
        // What it is stands in the meta, since the payload is the object itself.
        Frame::write(&mut bytes, Kind::Result, FLAG_IN_MEMFD, id, payload, b"");
        self.send_reply(Reply { bytes, start: 0, memfd: Some(memfd) });
    }

    /// Ends a map whose items have all ended.
    pub(crate) fn end_map(&mut self, id: u64) {
        if let Some(map) = self.maps.get(&id).filter(|map| map.is_over()) {
            let told = serde_json::json!({ "items": map.items, "ok": map.ok });
            self.maps.remove(&id);
            self.reply(id, told.to_string().as_bytes());
        }
    }

    /// Tells what may be sent to this pool from now on, if there is news.
    pub(crate) fn grant(&mut self, pool: u64) {
        if !self.keeps_up() {
            return;
        }
        if let Some(credit) = self.accounts.get_mut(&pool).and_then(Account::grant) {
            self.send(Kind::Credit, pool, b"", &to_json(&credit));
        }
    }

    /// Says a line about the connection, for logs and for who holds a lock.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.peer.as_ref().map(|peer| peer.pid)
    }
}

/// The first characters of a text that have at most `most` bytes together.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(beginning("aé", 2), "a");
        assert_eq!(beginning("aé", 3), "aé");
        assert_eq!(beginning("", 0), "");
    }

    #[test]
    fn credit_is_given_as_items_end_and_told_in_large_steps() {
        let mut account = Account::default();
        let first = account.grant().expect("the first grant");

        assert!(account.take(first.items, 100));
        assert!(!account.take(1, 1), "there is no credit left");
        account.settle(10);
        assert_eq!(account.grant(), None);
        account.settle(first.items - 10);
        assert_eq!(account.grant().map(|credit| credit.items), Some(2 * first.items));
        assert!(account.take(1, 1));
    }

    #[test]
    fn one_item_may_be_larger_than_the_window() {
        let mut account = Account::default();
        let first = account.grant().expect("the first grant");

        assert!(account.take(1, first.bytes * 3));
        assert!(!account.take(1, 1));
        account.settle(1);
        assert!(account.grant().is_some());
        assert!(account.take(1, 1));
    }
}
