//! A map: items go out as credit allows, results come in as they are there, by one thread.

use std::time::Duration;

use poolctl_protocol::client::{
    CancelMeta, Credit, ErrorBody, ItemsMeta, NO_REQUEST, ResultMeta, parse_json, to_json,
};
use poolctl_protocol::{FLAG_JSON_LINES, Kind, LogMeta, take_sized, write_raw_batch};
use poolctl_sys::poller::Interest;
use poolctl_sys::waker::Waker;
use serde::Deserialize;

use super::wire::Incoming;
use super::{Connection, RequestError};

/// So many bytes of items go into a frame, unless one alone has more.
const FRAME_BYTES: u64 = 256 << 10;

/// Nor more items than this.
const FRAME_ITEMS: usize = 1 << 16;

/// When so much waits to be sent, no more is taken.
const UNSENT_BYTES: usize = 1 << 20;

/// Whether results are taken from the server now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// They are.
    On,
    /// They are not: there is no room for them here. Its credit will run out.
    Off,
}

/// What has come.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// The result of an item.
    Ok {
        /// Which.
        index: u64,
        /// What is known of it.
        meta: &'a ResultMeta,
        /// The result.
        result: &'a [u8],
    },
    /// An item that is not ok.
    Ended {
        /// Which.
        index: u64,
        /// How.
        meta: &'a ResultMeta,
        /// The error, in JSON.
        error: &'a [u8],
    },
    /// What an item printed, or a worker has to say.
    Log {
        /// Of which item, if that is known.
        index: Option<u64>,
        /// Which stream, or how grave it is.
        meta: LogMeta,
        /// What.
        text: &'a [u8],
    },
}

/// How a map ended as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct MapEnd {
    /// How many items it had.
    pub items: u64,
    /// How many of them are ok.
    pub ok: u64,
}

/// A map that goes on.
#[derive(Debug)]
pub struct Mapping<'a> {
    connection: &'a mut Connection,
    id: u64,
    pool: u64,
    over: Option<MapEnd>,
}

impl<'a> Mapping<'a> {
    pub(super) fn new(connection: &'a mut Connection, id: u64, pool: u64) -> Self {
        Self { connection, id, pool, over: None }
    }

    /// How much may be pushed now.
    #[must_use]
    pub fn room(&self) -> Credit {
        if self.connection.wire.unsent() > UNSENT_BYTES {
            return Credit::default();
        }
        let flow = self.connection.flows.get(&self.pool).copied().unwrap_or_default();
        Credit {
            items: flow.credit.items.saturating_sub(flow.sent.items),
            bytes: flow.credit.bytes.saturating_sub(flow.sent.bytes),
        }
    }

    /// Sends as many of `items` as there is credit for, and says how many that were.
    ///
    /// # Errors
    /// The first of them is longer than there will ever be credit for.
    pub fn push(&mut self, items: &[&[u8]]) -> Result<usize, RequestError> {
        let mut pushed = 0;
        while pushed < items.len() {
            let count = self.fitting(&items[pushed..]);
            if count == 0 {
                break;
            }
            let batch = &items[pushed..pushed + count];
            let n = u32::try_from(count).unwrap_or(u32::MAX);
            let meta = to_json(&ItemsMeta { n });
            write_raw_batch(
                self.connection.wire.outgoing(),
                Kind::Items,
                self.id,
                &meta,
                batch.iter().copied(),
            );
            let sent = &mut self.connection.flows.entry(self.pool).or_default().sent;
            sent.items += u64::from(n);
            sent.bytes += batch.iter().map(|item| cost(item)).sum::<u64>();
            pushed += count;
        }
        if pushed == 0 && !items.is_empty() {
            self.refuse_too_long(items[0])?;
        }
        Ok(pushed)
    }

    /// How many of the first items go into one frame now.
    fn fitting(&self, items: &[&[u8]]) -> usize {
        let room = self.room();
        let most = usize::try_from(room.items).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |item: &&&[u8]| {
            let with = bytes + cost(item);
            let fits = with <= room.bytes && (bytes == 0 || with <= FRAME_BYTES);
            bytes = with;
            fits
        };
        items.iter().take(most.min(FRAME_ITEMS)).take_while(fits).count()
    }

    /// One for which there is no credit although nothing is on its way will never have any.
    fn refuse_too_long(&self, item: &[u8]) -> Result<(), RequestError> {
        let flow = self.connection.flows.get(&self.pool).copied().unwrap_or_default();
        let window = flow.credit.bytes.saturating_sub(flow.sent.bytes);
        let body = self.connection.hello.limits.body as u64;
        let is_first = flow.sent.items == 0 && flow.credit.items > 0;
        if cost(item) > body || is_first && cost(item) > window {
            let most = if is_first { window.min(body) } else { body };
            return Err(RequestError::ItemTooLong { bytes: item.len(), most });
        }
        Ok(())
    }

    /// Says that no further item comes.
    pub fn end(&mut self) {
        self.connection.wire.put(Kind::End, self.id, &[], &[]);
    }

    /// Takes the map back: items that do not run end as cancelled; those that run as well, unless `only_queued`.
    pub fn cancel(&mut self, only_queued: bool) {
        let id = self.connection.next_id();
        let meta = CancelMeta { task: self.id, n: None, queued: only_queued };
        self.connection.wire.put(Kind::Withdraw, id, &to_json(&meta), &[]);
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn over(&self) -> Option<MapEnd> {
        self.over
    }

    /// Passes on what has come; waits for something to come, for room to send, for `waker`, or for `timeout` to pass, where
    /// there is nothing yet.
    ///
    /// # Errors
    /// The server refuses the map, or is lost: nothing more will come.
    pub fn turn(
        &mut self,
        reading: Reading,
        timeout: Option<Duration>,
        waker: &Waker,
        tell: &mut dyn FnMut(Arrival<'_>),
    ) -> Result<(), RequestError> {
        self.connection.wire.listen_to(waker)?;
        // What the server said before it went counts, whether there is room for it or not.
        if (reading == Reading::On || self.connection.wire.has_ended()) && self.take(tell)? {
            return Ok(());
        }
        if self.connection.wire.has_ended() {
            return Err(RequestError::Lost);
        }
        let interest = match reading {
            Reading::On => Interest::Read,
            Reading::Off => Interest::Close,
        };
        self.connection.wire.turn(interest, timeout)?;
        if reading == Reading::On {
            self.take(tell)?;
        }
        Ok(())
    }

    /// Passes on what has come; whether there was something.
    fn take(&mut self, tell: &mut dyn FnMut(Arrival<'_>)) -> Result<bool, RequestError> {
        let mut found = false;
        while self.over.is_none()
            && let Some(frame) = self.connection.wire.next()?
        {
            found = true;
            self.sort(&frame, tell)?;
        }
        if self.connection.lost.contains(&self.pool) && self.over.is_none() {
            return Err(RequestError::PoolLost);
        }
        Ok(found)
    }

    fn sort(&mut self, frame: &Incoming, tell: &mut dyn FnMut(Arrival<'_>)) -> Result<(), RequestError> {
        match frame.kind {
            Kind::Result | Kind::Batch if frame.id == self.id => self.result(frame, tell),
            Kind::Error if frame.id == self.id => {
                let body: ErrorBody = parse_json(&frame.payload, "an error")?;
                Err(RequestError::Refused(body))
            }
            Kind::Log => {
                let index = (frame.id != NO_REQUEST).then(|| index_of(frame)).flatten();
                let meta = LogMeta::parse(&frame.meta).unwrap_or_default();
                tell(Arrival::Log { index, meta, text: &frame.payload });
                Ok(())
            }
            _ => self.connection.note(frame),
        }
    }

    fn result(&mut self, frame: &Incoming, tell: &mut dyn FnMut(Arrival<'_>)) -> Result<(), RequestError> {
        let meta: ResultMeta = parse_json(&frame.meta, "the meta of a result")?;
        match (meta.index, meta.n, meta.outcome) {
            (None, ..) => self.over = Some(parse_json(&frame.payload, "the end of a map")?),
            (Some(index), _, Some(_)) => {
                tell(Arrival::Ended { index, meta: &meta, error: &frame.payload });
            }
            (Some(index), None, None) => tell(Arrival::Ok { index, meta: &meta, result: &frame.payload }),
            (Some(first), Some(n), None) => {
                for (index, result) in (first..first + u64::from(n)).zip(results(frame)) {
                    tell(Arrival::Ok { index, meta: &meta, result });
                }
            }
        }
        Ok(())
    }
}

/// What an item counts against the credit: it travels with its length before it.
fn cost(item: &[u8]) -> u64 {
    item.len() as u64 + size_of::<u32>() as u64
}

/// The results in the payload of a frame that has several.
fn results(frame: &Incoming) -> Vec<&[u8]> {
    if frame.flags & FLAG_JSON_LINES != 0 {
        return frame.payload.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    }
    let mut rest = &frame.payload[..];
    std::iter::from_fn(|| take_sized(&mut rest)).collect()
}

/// Which item of a map a frame is about, where it says.
fn index_of(frame: &Incoming) -> Option<u64> {
    #[derive(Deserialize)]
    struct Index {
        index: Option<u64>,
    }
    parse_json::<Index>(&frame.meta, "the meta of a log").ok()?.index
}
