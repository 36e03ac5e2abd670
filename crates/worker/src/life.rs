//! The loop of a native worker: message by message, item by item.
//!
//! # Steps, for each item
//! 1. Claim it: from then on whatever happens counts as done by it.
//! 2. Decode, call, encode.
//! 3. Publish the answer. Now and then, and at the end of each message, kick the host if it sleeps.
//!
//! # If the worker dies
//! Between 1 and 3, the item was started and has no answer: its outcome is the death. Elsewhere every item has been
//! answered or not begun. What was not published never was.
//!
//! # If the host dies
//! Its keeper kills the worker, which has nothing to do for that.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use poolctl_protocol::{
    Encoding, FLAG_PARCEL, FLAG_SLICE, MessageHeader, MessageKind, RecordKind, RemoteError, ends_bytes,
};
use poolctl_sys::{clock, transfer};
use poolctl_types::{Item, Slot};

use crate::control::Gone;
use crate::current::{self, Current};
use crate::failure;
use crate::journal::Forwarder;
use crate::link::{Link, MAX_INLINE_BYTES};
use crate::outlet::{Given, Granted, Grants, Outlet};
use crate::pace::Pace;
use crate::panics;
use crate::slice::Piece;
use crate::task::Entry;
use crate::travel::Decoder;

/// How much memory is kept from result to result, in bytes.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// A worker at work.
#[derive(Debug)]
pub(crate) struct Life {
    link: Rc<Link>,
    entries: Vec<&'static Entry>,
    slot: Slot,
    /// How many items have begun.
    begun: u64,
    pace: Pace,
    /// Memory for results.
    main: Vec<u8>,
}

/// A message at work: which items there are, and which is next.
struct Chunk<'a> {
    header: &'a MessageHeader,
    entry: &'static Entry,
    /// The table of the items' ends.
    ends: &'a [u8],
    /// The items.
    bytes: &'a [u8],
    /// The one item's descriptors.
    attachments: Vec<OwnedFd>,
    next: u32,
    /// How many there are for this worker: fewer than came, once an item has waited for others.
    count: u32,
    /// When the item at work began, where items are timed.
    started_ns: Option<u64>,
}

impl Life {
    pub(crate) fn new(link: Rc<Link>, entries: Vec<&'static Entry>, slot: Slot) -> Self {
        Self { link, entries, slot, begun: 0, pace: Pace::new(), main: Vec::new() }
    }

    /// Serves until the host says that nothing follows.
    pub(crate) fn run(mut self) -> Result<(), Gone> {
        let mut payload = Vec::new();
        let mut is_first = true;
        loop {
            let header = self.link.next_message(&mut payload)?;
            if std::mem::take(&mut is_first) {
                self.forward_events(&header, &payload)?;
                if header.kind == MessageKind::Initialize {
                    continue;
                }
            }
            if header.kind == MessageKind::Chunk {
                self.run_chunk(&header, &payload)?;
            } else if header.kind == MessageKind::Initialize {
                self.initialize(&header, &payload);
            } else if header.kind == MessageKind::Finish {
                self.finish(&header, &payload);
                return Ok(());
            }
            if let Some((header, payload)) = self.link.nests.take_last() {
                self.finish(&header, &payload);
                return Ok(());
            }
            self.link.kick_if_asleep();
        }
    }

    /// Sends events of `tracing` to the host, but for an initializer that sets up something else.
    fn forward_events(&mut self, header: &MessageHeader, payload: &[u8]) -> Result<(), Gone> {
        if header.kind == MessageKind::Initialize {
            tracing::subscriber::with_default(Forwarder::from_env(), || self.initialize(header, payload));
            self.link.kick_if_asleep();
        }
        if let Err(error) = tracing::subscriber::set_global_default(Forwarder::from_env()) {
            tracing::debug!(%error, "this worker's events go where its initializer sends them");
        }
        Ok(())
    }

    fn run_chunk(&mut self, header: &MessageHeader, payload: &[u8]) -> Result<(), Gone> {
        let mut attachments = self.link.attachments(header.attachments)?;
        let started_ns = self.link.is_timed().then(|| clock::now().0);
        let Some(entry) = self.entries.get(header.function as usize).copied() else {
            for _ in 0..header.count {
                self.claim(started_ns);
                self.link.publish_error(RecordKind::Err, started_ns.map(|_| 0), no_such_function());
            }
            return Ok(());
        };
        let parcel;
        let (ends, bytes) = if header.flags & FLAG_PARCEL == 0 {
            payload.split_at_checked(ends_bytes(header.count)).ok_or(Gone::NoMessage)?
        } else {
            match read_parcel(header, &mut attachments) {
                Ok(bytes) => parcel = bytes,
                Err(error) => {
                    self.claim(started_ns);
                    self.link.publish_error(RecordKind::Err, started_ns.map(|_| 0), error);
                    return Ok(());
                }
            }
            (&[][..], &parcel[..])
        };
        let mut chunk =
            Chunk { header, entry, ends, bytes, attachments, next: 0, count: header.count, started_ns };
        while chunk.next < chunk.count {
            if let Err(error) = panics::caught(|| self.run_items(&mut chunk)) {
                self.answer_error(&mut chunk, error);
                chunk.let_go_of_given_back(&self.link);
            }
        }
        current::set(None);
        Ok(())
    }

    /// Runs the items that are left, until one panics.
    fn run_items(&mut self, chunk: &mut Chunk<'_>) {
        let link = Rc::clone(&self.link);
        let mut grants = &*link;
        let mut outlet = Outlet::new(std::mem::take(&mut self.main), &mut grants);
        let is_plain = chunk.header.flags == 0 && chunk.header.attachments == 0;
        while chunk.next < chunk.count {
            let item = chunk.item();
            link.nests.set_behind(chunk.count - chunk.next - 1);
            let number = Item(chunk.header.first.wrapping_add(chunk.next.into()));
            current::set(Some(Current::new(self.slot, number, chunk.header.attempt)));
            self.claim(chunk.started_ns);
            let done = match chunk.header.encoding {
                Encoding::Binary if is_plain => {
                    outlet.clear();
                    (chunk.entry.binary)(&mut Decoder::new(item), &mut outlet)
                }
                Encoding::Binary => chunk.run_with_attachments(item, &mut outlet),
                Encoding::Json => {
                    outlet.clear();
                    (chunk.entry.json)(item, outlet.text())
                }
            };
            match done.and_then(|()| outlet.limit(MAX_INLINE_BYTES)) {
                Ok(()) => {
                    let nanos = chunk.measure();
                    publish(&link, RecordKind::Ok, nanos, outlet.given());
                    link.hand_over_prints();
                    chunk.next += 1;
                    if self.pace.is_due() {
                        link.kick_if_asleep();
                    }
                }
                Err(error) => self.answer_error(chunk, error),
            }
            chunk.let_go_of_given_back(&link);
        }
        self.main = outlet.into_main();
        self.main.shrink_to(MAX_KEPT_BYTES);
    }

    #[inline]
    fn claim(&mut self, started_ns: Option<u64>) {
        self.begun += 1;
        self.link.begin(self.begun, started_ns);
    }

    #[cold]
    fn answer_error(&mut self, chunk: &mut Chunk<'_>, error: RemoteError) {
        let nanos = chunk.measure();
        self.link.publish_error(RecordKind::Err, nanos, error);
        self.link.hand_over_prints();
        chunk.next += 1;
        if self.pace.is_due() {
            self.link.kick_if_asleep();
        }
    }

    fn initialize(&mut self, header: &MessageHeader, payload: &[u8]) {
        match self.call_once(header, payload) {
            Ok(_) => self.link.publish(RecordKind::Initialized, None, b""),
            Err(error) => self.link.publish_error(RecordKind::InitializerFailed, None, error),
        }
    }

    fn finish(&mut self, header: &MessageHeader, payload: &[u8]) {
        if header.function != poolctl_protocol::NO_FUNCTION {
            match self.call_once(header, payload) {
                Ok(result) => self.link.publish(RecordKind::Exit, None, &result),
                Err(error) => self.link.publish_error(RecordKind::ExitFailed, None, error),
            }
        }
        self.link.kick_if_asleep();
    }

    /// Runs a function that is no item's, and gives its encoded result.
    fn call_once(&self, header: &MessageHeader, payload: &[u8]) -> Result<Vec<u8>, RemoteError> {
        let entry = self.entries.get(header.function as usize).ok_or_else(no_such_function)?;
        let (_, item) = payload.split_at_checked(ends_bytes(header.count)).unwrap_or_default();
        let item = item.strip_suffix(b"\n").unwrap_or(item);
        let attachments = self.link.attachments(header.attachments);
        let attachments = attachments
            .map_err(|_| failure::lasting("ArgumentError", "its descriptors did not come".to_owned()))?;
        let mut grants = NoGrants;
        let mut outlet = Outlet::new(Vec::new(), &mut grants);
        panics::caught(|| match header.encoding {
            Encoding::Binary => {
                (entry.binary)(&mut Decoder::with_attachments(item, attachments), &mut outlet)
            }
            Encoding::Json => (entry.json)(item, outlet.text()),
        })??;
        outlet.limit(MAX_INLINE_BYTES)?;
        Ok(outlet.into_main())
    }
}

impl<'a> Chunk<'a> {
    /// The next item, without its LF.
    #[inline]
    fn item(&self) -> &'a [u8] {
        let next = self.next as usize;
        let start = next.checked_sub(1).and_then(|before| self.end(before)).unwrap_or(0);
        // The item of a parcel has no table and no LF.
        self.end(next).map_or(self.bytes, |end| self.bytes.get(start..end - 1).unwrap_or_default())
    }

    /// What an item gave back while it waited is not this worker's any more.
    #[inline]
    fn let_go_of_given_back(&mut self, link: &Link) {
        if link.nests.take_given_back() {
            self.count = self.next;
        }
    }

    /// Where an item and its LF end.
    #[inline]
    fn end(&self, index: usize) -> Option<usize> {
        let end = self.ends.get(index * 4..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*end) as usize)
    }

    /// How long the item at work took; the next one begins now.
    #[inline]
    fn measure(&mut self) -> Option<u64> {
        let started_ns = self.started_ns.as_mut()?;
        let now_ns = clock::now().0;
        Some(now_ns - std::mem::replace(started_ns, now_ns))
    }

    #[cold]
    fn run_with_attachments(&mut self, item: &[u8], outlet: &mut Outlet<'_>) -> Result<(), RemoteError> {
        outlet.clear();
        if self.header.flags & FLAG_SLICE != 0 {
            return self.run_slice(item);
        }
        let attachments = std::mem::take(&mut self.attachments);
        (self.entry.binary)(&mut Decoder::with_attachments(item, attachments), outlet)
    }

    fn run_slice(&self, item: &[u8]) -> Result<(), RemoteError> {
        let refuse = |why: &str| failure::lasting("SliceError", format!("`{}` {why}", self.entry.name));
        let slice = (self.entry.slice)().ok_or_else(|| refuse("does not map plain data to plain data"))?;
        let (Some((start, rest)), [input, output]) = (item.split_first_chunk::<8>(), &self.attachments[..])
        else {
            return Err(refuse("was given no slice"));
        };
        let len = rest.first_chunk::<8>().ok_or_else(|| refuse("was given half a slice"))?;
        let (start, len) = (u64::from_le_bytes(*start), u64::from_le_bytes(*len));
        slice(&Piece { input: input.as_fd(), output: output.as_fd(), start, len })
    }
}

/// For results that cannot travel in parcels.
struct NoGrants;

impl Grants for NoGrants {
    fn grant(&mut self, bytes: u64) -> Result<OwnedFd, RemoteError> {
        let msg =
            format!("the result has {bytes} bytes; this function's may have {MAX_INLINE_BYTES} at most");
        Err(failure::lasting("EncodeError", msg))
    }
}

#[inline]
fn publish(link: &Link, kind: RecordKind, nanos: Option<u64>, given: Given<'_>) {
    match given {
        Given::Bytes(bytes) => link.publish(kind, nanos, bytes),
        Given::Parcel(Granted { main, whole }) => {
            link.publish(RecordKind::OkParcel, nanos, &[main.to_le_bytes(), whole.to_le_bytes()].concat());
        }
    }
}

#[cold]
fn read_parcel(header: &MessageHeader, attachments: &mut Vec<OwnedFd>) -> Result<Vec<u8>, RemoteError> {
    if attachments.is_empty() {
        return Err(failure::passing("ParcelError", "the item's parcel did not come along".to_owned()));
    }
    let segment = attachments.remove(0);
    let count = usize::try_from(header.parcel).unwrap_or(usize::MAX);
    transfer::read_vec_at(segment.as_fd(), count, 0)
        .map_err(|error| failure::passing("ParcelError", failure::chain(&error)))
}

fn no_such_function() -> RemoteError {
    failure::lasting("NoSuchFunction", "this worker has no such function".to_owned())
}
