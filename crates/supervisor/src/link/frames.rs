//! The worker protocol in frames over a socket, with batches and the claim for who announces them.
//!
//! # If the worker dies
//! What it published in the ring before it died is drained and counts; half a frame on the socket is dropped; the one
//! item claimed and not answered was started, the others were not.

mod nesting;
mod sending;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use poolctl_engine::{Accounting, Answer, Capacity, Claim, Event};
use poolctl_protocol::{
    Bye, Caps, FLAG_IN_MEMFD, Frame, Hello, Kind, LogMeta, MAX_BODY_BYTES, ProgressMeta, RemoteError,
    ReplyMeta, Stream, check_value, push_sized,
};
use poolctl_sys::memfd;
use poolctl_types::{Item, ItemRange, Moment};

use self::sending::Constants;
pub(crate) use self::sending::Payloads;
use super::prints::{Prints, Way};
use super::ring::RingReader;
use super::text::capacity_of;
use super::{Breach, Peer};
use crate::channel::{Filled, Inbox, Outbox};
use crate::config::Detail;
use crate::desk::{Delivery, Desk};
use crate::held::Held;
use crate::output::Output;
use crate::report::{Attempt, BadReply, ExitResult, Notice, Sink, TaskError};
use crate::results::{Form, Results};

/// How long a worker may say nothing before its ring is looked at, in case a slow item follows quick ones.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// The link to a worker that speaks frames.
#[derive(Debug)]
pub(crate) struct FrameLink {
    pub(super) outbox: Outbox,
    pub(super) held: Held,
    pub(super) closed: Option<Moment>,
    inbox: Inbox,
    ring: RingReader,
    caps: Option<Caps>,
    wants: Wants,
    constants: Constants,
    /// When the ring was last looked at.
    heard: Moment,
    /// When the last answer came, or the first item was sent: nothing running now began before.
    answered: Moment,
    /// Which item that was.
    last_answered: Option<Item>,
    prints: Prints,
    /// Results of neighbours that are told together.
    run: Run,
}

/// What is asked of a worker.
#[derive(Debug)]
pub(crate) struct Wants {
    /// Which of its functions; none: its only one.
    pub(crate) function: Option<String>,
    /// How payloads are written.
    pub(crate) form: Payloads,
}

#[derive(Debug, Default)]
struct Run {
    /// The first item; says nothing while `count` is 0.
    first: u64,
    count: u32,
    results: Vec<u8>,
}

impl FrameLink {
    /// A link over `socket`, and the claim to hand to the worker.
    pub(crate) fn new(socket: OwnedFd, wants: Wants, now: Moment) -> io::Result<(Self, OwnedFd)> {
        let ring = RingReader::new()?;
        let claim = ring.worker_end()?;
        let link = Self {
            outbox: Outbox::over_socket(socket)?,
            held: Held::default(),
            closed: None,
            inbox: Inbox::new(),
            ring,
            caps: None,
            wants,
            constants: Constants::default(),
            heard: now,
            answered: now,
            last_answered: None,
            prints: Prints::default(),
            run: Run::default(),
        };
        Ok((link, claim))
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.caps.is_some()
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    pub(super) fn shut_down_if_finished(&mut self) {
        if self.outbox.is_finished() {
            self.outbox.shut_down();
        }
    }

    pub(super) fn cancel(&mut self, item: Item) {
        Frame::write(self.outbox.bytes(), Kind::Cancel, 0, item.0, b"", b"");
    }

    /// Reads once, and tells what that brought.
    pub(super) fn read(
        &mut self,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<Filled, Breach> {
        if self.closed.is_some() {
            return Ok(Filled::Closed);
        }
        let filled = match self.inbox.fill_with_descriptors(self.outbox.as_fd()) {
            // There was no room for a descriptor in this process: what follows has lost its order.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(BadReply::NoMemfd.into()),
            other => other?,
        };
        self.take_frames(peer, desk, sink)?;
        if filled == Filled::Closed {
            self.closed.get_or_insert(desk.now);
        }
        Ok(filled)
    }

    fn take_frames(&mut self, peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) -> Result<(), Breach> {
        // The inbox is put aside so that its frames can be read while the link changes.
        let mut inbox = std::mem::replace(&mut self.inbox, Inbox::new());
        let told = inbox.take_frames(|frame, memfds| self.take_frame(frame, memfds, peer, desk, sink));
        let is_stray = inbox.has_stray_descriptors();
        self.inbox = inbox;
        self.tell_run(peer, desk, sink);
        if told.is_err() {
            // What is in the ring was published in good order, whatever the socket says. If the ring lies too, the
            // first complaint stands.
            self.drain(peer, desk, sink).ok();
        }
        told?;
        if is_stray { Err(BadReply::StrayDescriptor.into()) } else { Ok(()) }
    }

    fn take_frame(
        &mut self,
        frame: &Frame<'_>,
        memfds: &mut Vec<OwnedFd>,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let memfd = sealed_memfd(frame, memfds)?;
        match (frame.header.kind, self.caps) {
            (Kind::Hello, None) => self.greet(frame, peer, desk, sink),
            (Kind::Bye, _) => {
                self.drain(peer, desk, sink)?;
                super::say_bye(&Bye::parse(frame.payload).map_err(BadReply::from)?, peer, desk, sink)
            }
            (_, None) => Err(BadReply::NoHello.into()),
            (Kind::Published, _) => self.drain(peer, desk, sink),
            (Kind::Ping, _) => {
                // A worker waits for this echo behind a reply on the socket, before it publishes in the ring again.
                Frame::write(self.outbox.bytes(), Kind::Ping, 0, frame.header.id, b"", b"");
                self.flush_at(desk.now);
                Ok(())
            }
            (Kind::Ok | Kind::Err | Kind::Progress | Kind::Log, Some(caps)) => {
                if caps.claim {
                    // What is in the ring was published before this frame was sent.
                    self.drain(peer, desk, sink)?;
                }
                match memfd {
                    Some(output) => self.take_lodged(frame, output, peer, desk, sink),
                    None => self.take_news(frame, peer, desk, sink),
                }
            }
            (Kind::Result, Some(_)) if self.wants.form == Payloads::Raw => {
                let result = match frame.meta {
                    b"" => Ok(frame.payload.to_vec()),
                    _ => Err(RemoteError::parse(frame.payload).map_err(BadReply::from)?),
                };
                desk.exits.push(ExitResult { worker: peer.worker, result });
                Ok(())
            }
            (Kind::Submit | Kind::Withdraw | Kind::Waits | Kind::GoesOn, Some(caps))
                if caps.claim && self.wants.form == Payloads::Raw =>
            {
                self.take_nested(frame, peer, desk, sink)
            }
            (kind, _) => Err(BadReply::Unexpected { kind }.into()),
        }
    }

    /// Drains the ring and tells what was in it.
    pub(super) fn drain(&mut self, peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) -> Result<(), Breach> {
        if !self.caps.is_some_and(|caps| caps.claim) {
            return Ok(());
        }
        self.heard = desk.now;
        let bytes = self.ring.drain()?;
        let mut rest = &bytes[..];
        let mut told = Ok(());
        while told.is_ok() && !rest.is_empty() {
            match Frame::parse(rest, MAX_BODY_BYTES) {
                Ok(Some(frame)) => {
                    told = self.take_news(&frame, peer, desk, sink);
                    rest = &rest[frame.frame_len()..];
                }
                Ok(None) => told = Err(BadReply::TornRing.into()),
                Err(error) => told = Err(error.into()),
            }
        }
        self.tell_run(peer, desk, sink);
        self.ring.recycle(bytes);
        if let Some(consumed) = self.ring.release() {
            Frame::write(self.outbox.bytes(), Kind::Release, 0, consumed, b"", b"");
            self.flush_at(desk.now);
        }
        told
    }

    fn take_news(
        &mut self,
        frame: &Frame<'_>,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let item = Item(frame.header.id);
        match frame.header.kind {
            Kind::Ok => {
                if self.wants.form == Payloads::Json {
                    check_value(frame.payload).map_err(BadReply::from)?;
                }
                self.take_held(item)?;
                let is_plain = desk.detail == Detail::Bulk && self.prints.is_empty() && !self.is_mux();
                if is_plain {
                    self.add_to_run(item, frame.payload, peer, desk, sink);
                    return Ok(());
                }
                let mut known = self.known(item, frame, peer, desk)?;
                known.out = frame.payload.to_vec().into();
                self.answer(item, Answer::Ok, known, peer, desk, sink);
            }
            Kind::Err => {
                let error = RemoteError::parse(frame.payload).map_err(BadReply::from)?;
                self.take_held(item)?;
                let answer = if error.retry == Some(false) { Answer::FailedForGood } else { Answer::Failed };
                let mut known = self.known(item, frame, peer, desk)?;
                known.error = Some(TaskError::Remote(error));
                self.answer(item, answer, known, peer, desk, sink);
            }
            Kind::Log => self.take_log(item, frame, peer, sink)?,
            Kind::Progress => {
                let meta = ProgressMeta::parse(frame.meta).map_err(BadReply::from)?;
                sink.notice(Notice::Progress { item, fraction: meta.progress, note: meta.note });
            }
            kind => return Err(BadReply::Unexpected { kind }.into()),
        }
        Ok(())
    }

    /// A result that lies in a file in memory.
    fn take_lodged(
        &mut self,
        frame: &Frame<'_>,
        output: Output,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        if frame.header.kind != Kind::Ok || self.wants.form != Payloads::Raw {
            return Err(BadReply::Unexpected { kind: frame.header.kind }.into());
        }
        let item = Item(frame.header.id);
        self.take_held(item)?;
        let mut known = self.known(item, frame, peer, desk)?;
        known.out = output;
        self.answer(item, Answer::Ok, known, peer, desk, sink);
        Ok(())
    }

    fn take_log(
        &mut self,
        item: Item,
        frame: &Frame<'_>,
        peer: Peer,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let meta = LogMeta::parse(frame.meta).map_err(BadReply::from)?;
        match meta.stream {
            Some(stream) => {
                self.prints.keep(Some(item), stream, Way::Told, frame.payload, &self.held, peer, sink)
            }
            None => {
                let text = String::from_utf8_lossy(frame.payload).into_owned();
                let item = self.held.contains(item).then_some(item);
                sink.notice(Notice::Log { worker: peer.worker, item, level: meta.level, text });
            }
        }
        Ok(())
    }

    /// Gives bytes that came over descriptor 1 or 2 to the item claimed just now.
    pub(crate) fn print_raw(&mut self, stream: Stream, bytes: &[u8], peer: Peer, sink: &mut dyn Sink) {
        let claimed = self.ring.claim().ok().and_then(|claim| claim.claimed).map(Item);
        let item = claimed.or_else(|| self.held.oldest());
        self.prints.keep(item, stream, Way::Raw, bytes, &self.held, peer, sink);
    }

    /// What an item printed, its last words included.
    pub(crate) fn take_prints(&mut self, item: Item) -> (Output, Output) {
        self.prints.take(item)
    }

    fn known(&mut self, item: Item, frame: &Frame<'_>, peer: Peer, desk: &Desk) -> Result<Attempt, BadReply> {
        let wall = ReplyMeta::parse(frame.meta)?.ns.map(Duration::from_nanos);
        let (stdout, stderr) = self.take_prints(item);
        let started = wall.map(|wall| {
            Moment(desk.now.0.saturating_sub(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX)))
        });
        let (worker, pid) = (Some(peer.worker), peer.pid);
        Ok(Attempt { worker, pid, stdout, stderr, wall, started, ..Attempt::default() })
    }

    fn answer(
        &mut self,
        item: Item,
        answer: Answer,
        known: Attempt,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) {
        self.tell_run(peer, desk, sink);
        self.answered = desk.now;
        let mut known = Some(known);
        let event = Event::Answered { worker: peer.worker, item, answer };
        desk.tell(event, Delivery::Each(&mut |_| known.take().unwrap_or_default()), sink);
    }

    fn flush_at(&mut self, now: Moment) {
        if self.outbox.flush().is_err() {
            self.closed.get_or_insert(now);
        }
    }

    fn is_mux(&self) -> bool {
        self.caps.is_some_and(|caps| caps.mux.is_some() && !caps.claim)
    }

    fn take_held(&mut self, item: Item) -> Result<(), BadReply> {
        let is_next = self.held.oldest() == Some(item);
        if is_next {
            self.held.pop(1);
        } else if !(self.is_mux() && self.held.take(item)) {
            return Err(BadReply::NotHeld { item: item.0 });
        }
        self.last_answered = Some(item);
        Ok(())
    }

    fn add_to_run(&mut self, item: Item, result: &[u8], peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) {
        if self.run.count > 0 && self.run.first + u64::from(self.run.count) != item.0 {
            self.tell_run(peer, desk, sink);
        }
        if self.run.count == 0 {
            self.run.first = item.0;
        }
        self.run.count += 1;
        match self.wants.form {
            Payloads::Json => {
                self.run.results.extend_from_slice(result);
                self.run.results.push(b'\n');
            }
            Payloads::Raw => push_sized(&mut self.run.results, result),
        }
    }

    fn tell_run(&mut self, peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) {
        if self.run.count == 0 {
            return;
        }
        let items = ItemRange::new(Item(self.run.first), self.run.count);
        self.run.count = 0;
        let event = Event::Finished { worker: peer.worker, count: items.count };
        let form = match self.wants.form {
            Payloads::Json => Form::Lines,
            Payloads::Raw => Form::Sized,
        };
        let results = Results { bytes: &self.run.results, form };
        desk.tell(event, Delivery::Run { worker: peer.worker, items, results }, sink);
        self.run.results.clear();
        self.answered = desk.now;
    }

    fn greet(
        &mut self,
        frame: &Frame<'_>,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let hello = Hello::parse(frame.payload).map_err(BadReply::from)?;
        let mut capacity = capacity_of(&hello)?;
        super::announce(&hello, peer, sink);
        if hello.native.is_some() {
            let msg = "it is a native worker, which is known by its hello: leave --framing out".to_owned();
            let error = RemoteError { type_name: String::new(), msg, trace: None, retry: None, more: None };
            return Err(Breach { item: None, error: TaskError::Refused { code: 126, error } });
        }
        super::check_function(&hello, self.wants.function.as_deref())?;
        if self.wants.form == Payloads::Raw && !hello.caps.raw {
            let msg = "it takes JSON alone (no `raw` among its capabilities)".to_owned();
            let error = RemoteError { type_name: String::new(), msg, trace: None, retry: None, more: None };
            return Err(Breach { item: None, error: TaskError::Refused { code: 126, error } });
        }
        if hello.caps.claim {
            let Capacity { cancel, .. } = capacity;
            capacity = Capacity { ahead: None, accounting: Accounting::Claim, cancel };
        }
        self.caps = Some(hello.caps);
        desk.interpreter = hello.executable;
        self.heard = desk.now;
        desk.tell_plain(Event::Ready(peer.worker, capacity), sink);
        Ok(())
    }

    /// The item the worker has begun and not answered, by its claim; everything published was told before.
    pub(crate) fn claimed(&self, now: Moment) -> Option<Claim> {
        let claim = self.ring.claim().ok()?;
        let item = Item(claim.claimed?);
        self.held
            .contains(item)
            .then(|| Claim { item, since: Moment(claim.started_ns).clamp(self.answered.min(now), now) })
    }

    /// Of a dead worker: tells what it published last, and says which item it had begun.
    pub(crate) fn last_claim(&mut self, peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) -> Option<Item> {
        if let Err(breach) = self.drain(peer, desk, sink) {
            tracing::warn!(worker = %peer.worker, error = %breach.error, "a dead worker's ring is damaged");
        }
        self.begun(desk.now)
    }

    /// The item that a worker which claims had begun and not answered. One that claims an item which it neither holds
    /// nor answered last does not keep to the rules: the item in its hands counts as begun.
    pub(crate) fn begun(&self, now: Moment) -> Option<Item> {
        if !self.caps.is_some_and(|caps| caps.claim) {
            return None;
        }
        let claimed = self.ring.claim().ok()?.claimed.map(Item);
        match self.claimed(now) {
            Some(claim) => Some(claim.item),
            None if claimed.is_none() || claimed == self.last_answered => None,
            None => self.held.oldest(),
        }
    }

    pub(super) fn look_at(&self) -> Option<Moment> {
        let claims = self.caps.is_some_and(|caps| caps.claim);
        (claims && self.held.count() > 0).then(|| self.heard + LOOK_AFTER)
    }
}

/// The file in memory that came with a frame which says so; nobody can change it.
fn sealed_memfd(frame: &Frame<'_>, memfds: &mut Vec<OwnedFd>) -> Result<Option<Output>, BadReply> {
    if frame.header.flags & FLAG_IN_MEMFD == 0 {
        return Ok(None);
    }
    if memfds.is_empty() {
        return Err(BadReply::NoMemfd);
    }
    let file = memfds.remove(0);
    let size = memfd::unchangeable(file.as_fd())?.ok_or(BadReply::Unsealed)?;
    Ok(Some(Output::in_memfd(file, size)))
}
