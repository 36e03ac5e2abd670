//! The link to a native worker: a task ring and a result ring in shared memory, and a socket for what needs descriptors.
//!
//! # Steps
//! 1. The worker says hello on the socket; it gets its two segments, and the initializer's message if there is one.
//! 2. Items are posted as messages, results come as records, in the order of the items (`posting.rs`, `records.rs`).
//! 3. At the end a message says so; the worker runs its exit function, publishes the result and ends.
//!
//! # If the worker dies
//! What it published before it died is drained and counts. It counts the items it begins in shared memory before it
//! begins them: one more begun than answered, and that item was started; the others were not. A segment granted to it is
//! dropped, as is what it was sent.
//!
//! # If it lies
//! The ring copies what it published before anybody looks at it, and checks every number; what is no record, or an answer
//! too many, ends it. Descriptors that it sends are never received.

mod functions;
mod posting;
mod records;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use poolctl_engine::{Accounting, Capacity, Claim, Event};
use poolctl_protocol::{Bye, Encoding, Frame, Hello, Kind, PROTOCOL_VERSION, RemoteError, Stream};
use poolctl_shm::{HostEnd, LAYOUT};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};

use self::functions::Functions;
use self::posting::Waiting;
use super::prints::{Prints, Way};
use super::{Breach, Peer, Streams};
use crate::block::Attachment;
use crate::channel::{Filled, Inbox, Outbox};
use crate::config::{Detail, Native, Taken};
use crate::desk::Desk;
use crate::held::Held;
use crate::output::Output;
use crate::parcels::Parcel;
use crate::report::{BadReply, NestedOutcome, Sink, TaskError, chain};

/// How large each ring is, in bytes.
const RING_BYTES: usize = 256 << 10;

/// How long a worker may say nothing before its ring is looked at, in case a slow item follows quick ones.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// How long a worker with nothing to do spins before it sleeps, where there are processors to spare.
const WORKER_SPIN: Duration = Duration::from_micros(50);

/// The link to a native worker.
#[derive(Debug)]
pub(crate) struct NativeLink {
    pub(super) outbox: Outbox,
    pub(super) held: Held,
    pub(super) closed: Option<Moment>,
    inbox: Inbox,
    native: Arc<Native>,
    manner: Manner,
    stage: Stage,
    /// There is one from the hello on, at the latest.
    ring: Option<HostEnd>,
    functions: Functions,
    /// Dispatched and not posted yet: there was no room.
    queue: VecDeque<Waiting>,
    /// Posted with descriptors and not answered yet, with the parcels that are theirs.
    with_descriptors: VecDeque<(Item, Option<Arc<Parcel>>)>,
    /// For the result of the item in hand.
    granted: Option<Arc<Parcel>>,
    /// Records just drained; for its memory.
    records: Vec<u8>,
    /// Results as lines, on their way to the desk; for its memory.
    lines: Vec<u8>,
    /// A message on its way into the ring; for its memory.
    scratch: Vec<u8>,
    prints: Prints,
    /// Whose prints are read now.
    printing: Option<Item>,
    /// How many items it has answered in this life.
    answered: u64,
    /// When the last answer came, or the first item was sent: nothing running now began before.
    answered_at: Moment,
    /// When the ring was last looked at.
    heard: Moment,
    /// What became of items that its items submitted, on its way to it.
    outcomes: VecDeque<(u64, NestedOutcome)>,
    /// What was found wrong while nobody could be told.
    broken: Option<BadReply>,
    finish: Finish,
    worker: WorkerId,
    /// Its seat among those who share objects; given back once it is dead, at the latest with the link.
    seat: Option<Box<dyn Taken>>,
}

/// How a worker is to behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// It measures each item.
    pub(crate) timed: bool,
    /// It may spin while it has nothing to do.
    pub(crate) may_spin: bool,
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not said hello.
    Greeting,
    /// Its initializer runs.
    Initializing,
    /// It takes items.
    Serving,
}

/// Whether it was told that nothing follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    No,
    /// As soon as there is room.
    Wanted,
    Told,
}

impl NativeLink {
    /// A link over `socket`, on which the hello is to come, to a worker that is certainly a native one: its segments are
    /// on their way to it already, so that a lack of memory or descriptors is known before there is a process.
    pub(crate) fn with_segments(
        socket: OwnedFd,
        worker: WorkerId,
        native: Arc<Native>,
        manner: Manner,
        now: Moment,
    ) -> io::Result<Self> {
        let mut link = Self::new(socket, worker, native, manner, now)?;
        link.send_segments(now)?;
        Ok(link)
    }

    /// A link over `socket`, on which the hello is to come.
    pub(crate) fn new(
        socket: OwnedFd,
        worker: WorkerId,
        native: Arc<Native>,
        manner: Manner,
        now: Moment,
    ) -> io::Result<Self> {
        Ok(Self {
            outbox: Outbox::over_socket(socket)?,
            held: Held::default(),
            closed: None,
            inbox: Inbox::new(),
            native,
            manner,
            stage: Stage::Greeting,
            ring: None,
            functions: Functions::default(),
            queue: VecDeque::new(),
            with_descriptors: VecDeque::new(),
            granted: None,
            records: Vec::new(),
            lines: Vec::new(),
            scratch: Vec::new(),
            prints: Prints::default(),
            printing: None,
            answered: 0,
            answered_at: now,
            heard: now,
            outcomes: VecDeque::new(),
            broken: None,
            finish: Finish::No,
            worker,
            seat: None,
        })
    }

    pub(crate) fn is_greeted(&self) -> bool {
        self.stage == Stage::Serving
    }

    /// Whether it has turned out to be a native worker.
    pub(crate) fn has_said_hello(&self) -> bool {
        self.stage != Stage::Greeting
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    pub(super) fn dispatch(&mut self, items: ItemRange, attempt: u32, desk: &Desk) {
        if self.held.count() == 0 {
            (self.heard, self.answered_at) = (desk.now, desk.now);
        }
        self.held.push(items);
        self.queue.push_back(Waiting { items, attempt });
        self.post_what_fits(desk);
    }

    /// Tells the item in hand what became of one that it submitted.
    pub(crate) fn tell_nested(&mut self, id: u64, outcome: NestedOutcome, desk: &Desk) {
        self.outcomes.push_back((id, outcome));
        self.post_what_fits(desk);
    }

    /// Says that nothing follows.
    pub(super) fn finish(&mut self) {
        if self.finish == Finish::No {
            self.finish = Finish::Wanted;
        }
        if self.stage == Stage::Greeting {
            self.outbox.finish();
        } else {
            self.post_the_end();
        }
    }

    pub(super) fn shut_down_if_finished(&mut self) {
        if self.outbox.is_finished() {
            self.outbox.shut_down();
        }
    }

    /// Reads the socket once and the ring whole, and tells what that brought.
    pub(crate) fn read(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<Filled, Breach> {
        let mut filled = Filled::Closed;
        if self.closed.is_none() {
            filled = self.inbox.fill(self.outbox.as_fd())?;
            self.take_frames(peer, streams, desk, sink)?;
            if filled == Filled::Closed {
                self.closed.get_or_insert(desk.now);
            }
        }
        self.drain(peer, streams, desk, sink)?;
        Ok(filled)
    }

    fn take_frames(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        // The inbox is put aside so that its frames can be read while the link changes.
        let mut inbox = std::mem::replace(&mut self.inbox, Inbox::new());
        let told = inbox.take_frames(|frame, _| self.take_frame(frame, peer, streams, desk, sink));
        self.inbox = inbox;
        told
    }

    fn take_frame(
        &mut self,
        frame: &Frame<'_>,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        match (frame.header.kind, self.stage) {
            (Kind::Hello, Stage::Greeting) => {
                let hello = Hello::parse(frame.payload).map_err(BadReply::from)?;
                self.greet(hello, peer, desk, sink)
            }
            (Kind::Bye, _) => {
                self.drain(peer, streams, desk, sink)?;
                super::say_bye(&Bye::parse(frame.payload).map_err(BadReply::from)?, peer, desk, sink)
            }
            (_, Stage::Greeting) => Err(BadReply::NoHello.into()),
            // The rings are looked at behind every read.
            (Kind::Published, _) => Ok(()),
            (Kind::Need, Stage::Serving) => {
                // What it published before belongs to the items before.
                self.drain(peer, streams, desk, sink)?;
                self.grant(frame.header.id, desk.now)
            }
            (kind, _) => Err(BadReply::Unexpected { kind }.into()),
        }
    }

    /// The worker is there: it gets its segments, and its initializer's message.
    fn greet(
        &mut self,
        hello: Hello,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        match hello.native {
            _ if hello.version != PROTOCOL_VERSION => {
                return Err(BadReply::Version { version: hello.version }.into());
            }
            Some(LAYOUT) => {}
            Some(theirs) => {
                let msg = format!(
                    "the worker knows layout {theirs} of shared memory, this is layout {LAYOUT}; build both with the \
                     same version of poolctl"
                );
                return Err(refusal(126, msg));
            }
            None => return Err(refusal(126, "the worker is not built with poolctl".to_owned())),
        }
        super::announce(&hello, peer, sink);
        self.functions = Functions::new(hello.functions, hello.signatures);
        let found = match &self.native.function {
            Some(function) => self.functions.find(function).map(drop),
            // Values in JSON come from people, who can name none for each item.
            None if self.native.encoding == Encoding::Json => self.functions.only(),
            None => Ok(()),
        };
        found.map_err(|error| refusal(127, error.to_string()))?;
        if self.ring.is_none() {
            self.send_segments(desk.now)?;
        }
        self.heard = desk.now;
        match self.native.initializer.clone() {
            Some((function, argument)) => {
                self.stage = Stage::Initializing;
                let Ok(index) = self.functions.find(&function) else {
                    let msg = format!("the worker has no function `{function}` for the initializer");
                    return Err(refusal(127, msg));
                };
                self.post_initializer(index, &argument);
                Ok(())
            }
            None => {
                self.serve(peer, desk, sink);
                Ok(())
            }
        }
    }

    fn send_segments(&mut self, now: Moment) -> io::Result<()> {
        let (ring, segments) = HostEnd::new(RING_BYTES, RING_BYTES)?;
        ring.set_timed(self.manner.timed);
        ring.set_spin(if self.manner.may_spin { WORKER_SPIN } else { Duration::ZERO });
        self.ring = Some(ring);
        let mut frame = Vec::new();
        let seat = self.native.seats.as_ref().and_then(|seats| seats.take(self.worker));
        let told = seat.as_ref().map_or(&[][..], |seat| &seat.told);
        Frame::write(&mut frame, Kind::Segments, 0, 2, b"", told);
        self.seat = seat.map(|seat| seat.taken);
        let segments = [segments.tasks, segments.results];
        let segments = segments.map(|segment| Attachment::File(Arc::new(segment)));
        self.send_with(frame, segments.into(), now);
        Ok(())
    }

    /// The worker takes items from now on.
    fn serve(&mut self, peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) {
        self.stage = Stage::Serving;
        let capacity = Capacity { ahead: None, accounting: Accounting::Claim, cancel: false };
        desk.tell_plain(Event::Ready(peer.worker, capacity), sink);
    }

    /// The worker needs a segment for the result of the item in its hands.
    fn grant(&mut self, bytes: u64, now: Moment) -> Result<(), Breach> {
        if self.granted.is_some() || self.held.oldest().is_none() {
            return Err(BadReply::Unexpected { kind: Kind::Need }.into());
        }
        let mut frame = Vec::new();
        let descriptors = match self.native.parcels.take(bytes) {
            Ok(parcel) => {
                let parcel = Arc::new(parcel);
                Frame::write(&mut frame, Kind::Grant, 0, parcel.bytes(), b"", b"");
                self.granted = Some(Arc::clone(&parcel));
                vec![Attachment::Writer(parcel)]
            }
            Err(error) => {
                let text = chain(&error);
                Frame::write(&mut frame, Kind::Grant, 0, 0, b"", text.as_bytes());
                Vec::new()
            }
        };
        self.send_with(frame, descriptors, now);
        Ok(())
    }

    fn send_with(&mut self, frame: Vec<u8>, descriptors: Vec<Attachment>, now: Moment) {
        if self.outbox.send_with(frame, descriptors).is_err() {
            self.closed.get_or_insert(now);
        }
    }

    /// Reads what the worker has published, and posts what waited for room.
    pub(crate) fn drain(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        self.heard = desk.now;
        if let Some(broken) = self.broken.take() {
            return Err(Breach { item: None, error: TaskError::BadReply(broken) });
        }
        let news = self.ring.as_ref().map(HostEnd::news).transpose().map_err(BadReply::from)?;
        if let Some(news) = news.filter(|news| !news.is_empty()) {
            if desk.detail == Detail::PerItem {
                // What belongs to these answers lies there already, since it was printed before; what belongs to later
                // ones may not.
                self.read_prints(peer, streams, desk, sink);
            }
            let mut records = std::mem::take(&mut self.records);
            records.clear();
            if let Some(ring) = &mut self.ring {
                ring.take(news, &mut records);
            }
            let told = self.take_records(&records, peer, desk, sink);
            self.records = records;
            told?;
        }
        self.post_what_fits(desk);
        Ok(())
    }

    /// Whether there is something to drain.
    pub(crate) fn has_news(&self) -> bool {
        self.ring.as_ref().is_some_and(HostEnd::has_news)
    }

    /// The worker is dead, and its group.
    pub(crate) fn leave_seat(&mut self) {
        self.seat = None;
    }

    /// Whether the worker has something to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.held.count() > 0 || self.stage != Stage::Serving
    }

    /// Asks the worker to kick when it has news. The caller looks once more before it sleeps.
    pub(crate) fn sleep(&self) {
        if let Some(ring) = &self.ring {
            ring.sleep();
        }
    }

    /// No kicks are needed any more.
    pub(crate) fn awake(&self) {
        if let Some(ring) = &self.ring {
            ring.awake();
        }
    }

    /// The item that the worker has begun and not answered; everything published was told before.
    pub(crate) fn claimed(&self, now: Moment) -> Option<Claim> {
        let claim = self.ring.as_ref()?.claim();
        let item = self.held.oldest().filter(|_| claim.begun > self.answered)?;
        let since = if self.manner.timed { Moment(claim.started_ns) } else { self.answered_at };
        Some(Claim { item, since: since.clamp(self.answered_at.min(now), now) })
    }

    /// Of a dead worker: tells what it published last, and says which item it had begun.
    pub(crate) fn last_claim(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Option<Item> {
        if let Err(breach) = self.drain(peer, streams, desk, sink) {
            tracing::warn!(worker = %peer.worker, error = %breach.error, "a dead worker's ring is damaged");
        }
        self.claimed(desk.now).map(|claim| claim.item)
    }

    /// What the worker printed is read now: notes which item that is of. [`NativeLink::end_reading`] follows.
    pub(crate) fn begin_reading(&mut self) {
        let begun = self.ring.as_ref().map_or(0, |ring| ring.begin_reading().begun);
        let before = begun.checked_sub(self.answered + 1);
        self.printing = before.and_then(|before| self.held.nth(before));
    }

    /// It has been read.
    pub(crate) fn end_reading(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.end_reading();
        }
    }

    /// Reads what the worker has printed so far.
    fn read_prints(&mut self, peer: Peer, streams: &mut Streams, desk: &mut Desk, sink: &mut dyn Sink) {
        self.begin_reading();
        let (stdout, stderr) = streams.take(&mut desk.scratch, &desk.spill);
        self.end_reading();
        for (stream, output) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            if !output.is_empty() {
                self.print_raw(stream, &output.to_vec().unwrap_or_default(), peer, sink);
            }
        }
    }

    /// Gives bytes that came over descriptor 1 or 2 to the item that printed them.
    pub(crate) fn print_raw(&mut self, stream: Stream, bytes: &[u8], peer: Peer, sink: &mut dyn Sink) {
        self.prints.keep(self.printing, stream, Way::Raw, bytes, &self.held, peer, sink);
    }

    /// What an item printed.
    pub(crate) fn take_prints(&mut self, item: Item) -> (Output, Output) {
        self.prints.take(item)
    }

    pub(super) fn look_at(&self) -> Option<Moment> {
        let waits =
            self.held.count() > 0 || self.stage == Stage::Initializing || self.finish == Finish::Wanted;
        (waits && self.ring.is_some()).then(|| self.heard + LOOK_AFTER)
    }
}

impl AsFd for NativeLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outbox.as_fd()
    }
}

/// The worker cannot be used at all.
fn refusal(code: u8, msg: String) -> Breach {
    let error = RemoteError { type_name: String::new(), msg, trace: None, retry: None, more: None };
    Breach { item: None, error: TaskError::Refused { code, error } }
}
