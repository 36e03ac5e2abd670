//! How a warm worker is talked to. One file per way of talking; the loop knows only [`Link`].
//!
//! A link never blocks, and believes nothing: what breaks its rules is a [`Breach`], which ends that worker.

mod frames;
mod lines;
mod native;
mod prints;
mod ring;
mod text;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use poolctl_engine::{Claim, Event};
use poolctl_protocol::{Bye, Hello, RemoteError, Stream};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};

use crate::capture::{Capture, Stage};
use crate::channel::{Filled, Outbox};
use crate::desk::Desk;
use crate::output::Output;
use crate::report::{Attempt, BadReply, NestedOutcome, Notice, Sink, TaskError};
use crate::spill::Spill;
use crate::store::Store;

pub(crate) use frames::{FrameLink, Payloads, Wants};
pub(crate) use lines::{LinesLink, Rules, buffering_hint, reading_end};
pub(crate) use native::{Manner, NativeLink};
pub(crate) use text::{Form, TextLink};

/// A worker that closed its link may take this long to die of it before it counts as broken.
const CLOSED_GRACE: Duration = Duration::from_secs(1);

/// How many times one wake-up reads, so that one worker cannot starve the others.
const READS_PER_WAKE: usize = 16;

/// The way of talking to one warm worker.
#[derive(Debug)]
pub(crate) enum Link {
    /// One line in, one line out.
    Lines(LinesLink),
    /// The worker protocol, a line a message.
    Text(TextLink),
    /// The worker protocol in frames.
    Frames(FrameLink),
    /// Rings in shared memory.
    Native(Box<NativeLink>),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) worker: WorkerId,
    pub(crate) pid: Option<u32>,
}

/// The worker broke its rules, or its link failed.
#[derive(Debug)]
pub(crate) struct Breach {
    /// The item it did so with; none: the one it had started.
    pub(crate) item: Option<Item>,
    /// What it did.
    pub(crate) error: TaskError,
}

impl<E: Into<BadReply>> From<E> for Breach {
    fn from(error: E) -> Self {
        Self { item: None, error: TaskError::BadReply(error.into()) }
    }
}

impl From<io::Error> for BadReply {
    fn from(error: io::Error) -> Self {
        BadReply::Link(error)
    }
}

/// A worker's own two streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdout: Option<Capture>,
    pub(crate) stderr: Option<Capture>,
}

impl Streams {
    /// Reads what is there of both and takes what was kept.
    pub(crate) fn take(&mut self, scratch: &mut Vec<u8>, spill: &Arc<Spill>) -> (Output, Output) {
        (take(&mut self.stdout, scratch, spill), take(&mut self.stderr, scratch, spill))
    }
}

fn take(stream: &mut Option<Capture>, scratch: &mut Vec<u8>, spill: &Arc<Spill>) -> Output {
    let Some(capture) = stream else { return Output::default() };
    let stage = capture.read(scratch, spill);
    let (output, failure) = capture.take_output();
    if let Some(error) = failure {
        tracing::warn!(%error, "cannot read a worker's output");
    }
    if stage == Stage::Closed {
        *stream = None;
    }
    output
}

impl Link {
    /// Sends items; their answers come later, the oldest first unless the worker said otherwise.
    pub(crate) fn dispatch(&mut self, items: ItemRange, attempt: u32, desk: &Desk) {
        match self {
            Link::Lines(link) => link.dispatch(items, desk),
            Link::Text(link) => link.dispatch(items, attempt, desk),
            Link::Frames(link) => link.dispatch(items, desk),
            Link::Native(link) => link.dispatch(items, attempt, desk),
        }
    }

    /// Reads what has come and tells the desk.
    pub(crate) fn receive(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<Filled, Breach> {
        for _ in 0..READS_PER_WAKE {
            let filled = match self {
                Link::Lines(link) => link.read(peer, streams, desk, sink)?,
                Link::Text(link) => link.read(peer, streams, desk, sink)?,
                Link::Frames(link) => link.read(peer, desk, sink)?,
                Link::Native(link) => link.read(peer, streams, desk, sink)?,
            };
            if filled != Filled::More {
                return Ok(filled);
            }
        }
        Ok(Filled::More)
    }

    /// Sends what waited for room.
    pub(crate) fn flush(&mut self, now: Moment) {
        let (outbox, closed) = match self {
            Link::Lines(link) => (link.outbox.as_mut(), &mut link.closed),
            Link::Text(link) => (link.outbox.as_mut(), &mut link.closed),
            Link::Frames(link) => (Some(&mut link.outbox), &mut link.closed),
            Link::Native(link) => (Some(&mut link.outbox), &mut link.closed),
        };
        if let Some(outbox) = outbox
            && outbox.flush().is_err()
        {
            closed.get_or_insert(now);
        }
        self.close_if_finished();
    }

    /// Says that nothing follows.
    pub(crate) fn close_input(&mut self) {
        match self {
            Link::Lines(link) => finish(&mut link.outbox),
            Link::Text(link) => finish(&mut link.outbox),
            Link::Frames(link) => link.outbox.finish(),
            Link::Native(link) => link.finish(),
        }
        self.close_if_finished();
    }

    fn close_if_finished(&mut self) {
        match self {
            Link::Lines(link) => close_if_finished(&mut link.outbox),
            Link::Text(link) => close_if_finished(&mut link.outbox),
            Link::Frames(link) => link.shut_down_if_finished(),
            Link::Native(link) => link.shut_down_if_finished(),
        }
    }

    /// Lets the worker forget constants that nobody here keeps any more.
    pub(crate) fn forget_constants(&mut self, now: Moment) {
        if let Link::Frames(link) = self {
            link.forget_constants();
            self.flush(now);
        }
    }

    /// Says that an item is not wanted any more.
    pub(crate) fn cancel(&mut self, item: Item, now: Moment) {
        match self {
            Link::Lines(_) | Link::Native(_) => {}
            Link::Text(link) => link.cancel(item),
            Link::Frames(link) => link.cancel(item),
        }
        self.flush(now);
    }

    /// Where answers come from; none: it is closed.
    pub(crate) fn reply_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Link::Lines(link) => link.reply.as_ref().map(AsFd::as_fd),
            Link::Text(link) => link.reply.as_ref().map(AsFd::as_fd),
            Link::Frames(link) => link.is_open().then(|| link.outbox.as_fd()),
            Link::Native(link) => link.is_open().then(|| link.outbox.as_fd()),
        }
    }

    /// [`Link::outbox`], if something in it waits for room.
    pub(crate) fn waiting(&self) -> Option<(&Outbox, bool)> {
        self.outbox().filter(|(outbox, _)| outbox.wants_write())
    }

    /// The way to the worker, while it is open, and whether answers come over the same descriptor.
    pub(crate) fn outbox(&self) -> Option<(&Outbox, bool)> {
        match self {
            Link::Lines(link) => link.outbox.as_ref().map(|outbox| (outbox, false)),
            Link::Text(link) => link.outbox.as_ref().map(|outbox| (outbox, false)),
            Link::Frames(link) => Some((&link.outbox, true)),
            Link::Native(link) => Some((&link.outbox, true)),
        }
    }

    /// The one descriptor of a link that uses one for both ways; it stays when the worker has closed its end.
    pub(crate) fn shared_fd(&self) -> Option<BorrowedFd<'_>> {
        self.outbox().and_then(|(outbox, shared)| shared.then(|| outbox.as_fd()))
    }

    /// Whether the other end of [`Link::shared_fd`] is open as far as known.
    pub(crate) fn is_shared_open(&self) -> bool {
        match self {
            Link::Lines(_) | Link::Text(_) => false,
            Link::Frames(link) => link.is_open(),
            Link::Native(link) => link.is_open(),
        }
    }

    /// Whether the worker has said hello, or needs none.
    pub(crate) fn is_greeted(&self) -> bool {
        match self {
            Link::Lines(link) => link.greeted,
            Link::Text(link) => link.is_greeted(),
            Link::Frames(link) => link.is_greeted(),
            Link::Native(link) => link.is_greeted(),
        }
    }

    /// When it wants to be looked after though nothing came.
    pub(crate) fn look_at(&self) -> Option<Moment> {
        let (own, closed) = match self {
            Link::Lines(link) => (link.look_at(), link.closed),
            Link::Text(link) => (link.look_at(), link.closed),
            Link::Frames(link) => (link.look_at(), link.closed),
            Link::Native(link) => (link.look_at(), link.closed),
        };
        let closed = closed.map(|since| since + CLOSED_GRACE);
        own.into_iter().chain(closed).min()
    }

    /// Looks after it, when that time has come.
    pub(crate) fn look(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let closed = match self {
            Link::Lines(link) => link.closed,
            Link::Text(link) => link.closed,
            Link::Frames(link) => link.closed,
            Link::Native(link) => link.closed,
        };
        if closed.is_some_and(|since| since + CLOSED_GRACE <= desk.now) {
            return Err(BadReply::Closed.into());
        }
        match self {
            Link::Lines(link) => link.look(peer, streams, desk, sink),
            Link::Text(link) => link.look(desk),
            Link::Frames(link) => link.drain(peer, desk, sink),
            Link::Native(link) => link.drain(peer, streams, desk, sink),
        }
    }

    /// Whether everything the worker holds lies unread in its link, as far as that can be known.
    pub(crate) fn holds_unread(&self, store: &Store) -> bool {
        match self {
            Link::Lines(link) => link.holds_unread(store),
            Link::Text(link) => link.holds_unread(store),
            Link::Frames(_) | Link::Native(_) => false,
        }
    }

    /// Notes that the worker is dead, before what it left is received.
    pub(crate) fn note_dead(&mut self) {
        if let Link::Lines(link) = self {
            link.note_dead();
        }
    }

    /// Notes that the worker closed its end of the way to it.
    pub(crate) fn note_closed(&mut self, now: Moment) {
        match self {
            Link::Lines(link) => link.closed.get_or_insert(now),
            Link::Text(link) => link.closed.get_or_insert(now),
            Link::Frames(link) => link.closed.get_or_insert(now),
            Link::Native(link) => link.closed.get_or_insert(now),
        };
    }

    /// The oldest item not answered yet.
    pub(crate) fn oldest_held(&self) -> Option<Item> {
        match self {
            Link::Lines(link) => link.held.oldest(),
            Link::Text(link) => link.held.oldest(),
            Link::Frames(link) => link.held.oldest(),
            Link::Native(link) => link.held.oldest(),
        }
    }

    /// The item that a worker which breaks its rules breaks them with, where that is not the oldest it holds.
    pub(crate) fn in_hand(&self, now: Moment) -> Option<Item> {
        match self {
            Link::Lines(_) | Link::Text(_) => None,
            Link::Frames(link) => link.begun(now).or_else(|| link.held.oldest()),
            Link::Native(link) => link.claimed(now).map(|claim| claim.item).or_else(|| link.held.oldest()),
        }
    }

    /// The item that the worker says it has begun and not answered, where it can say so.
    pub(crate) fn claimed(&self, now: Moment) -> Option<Claim> {
        match self {
            Link::Lines(_) | Link::Text(_) => None,
            Link::Frames(link) => link.claimed(now),
            Link::Native(link) => link.claimed(now),
        }
    }

    /// Of a dead worker: tells what it published last, and says which item it had begun.
    pub(crate) fn last_claim(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Option<Item> {
        match self {
            Link::Lines(_) | Link::Text(_) => None,
            Link::Frames(link) => link.last_claim(peer, desk, sink),
            Link::Native(link) => link.last_claim(peer, streams, desk, sink),
        }
    }

    /// What the worker printed is read now: notes whose that is, where it must be known before.
    /// [`Link::end_reading`] follows.
    pub(crate) fn begin_reading(&mut self) {
        if let Link::Native(link) = self {
            link.begin_reading();
        }
    }

    /// It has been read.
    pub(crate) fn end_reading(&mut self) {
        if let Link::Native(link) = self {
            link.end_reading();
        }
    }

    /// Gives bytes that came over descriptor 1 or 2 to the item begun just now; false: the link keeps no prints.
    pub(crate) fn print_raw(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        peer: Peer,
        sink: &mut dyn Sink,
    ) -> bool {
        match self {
            Link::Lines(_) | Link::Text(_) => return false,
            Link::Frames(link) => link.print_raw(stream, bytes, peer, sink),
            Link::Native(link) => link.print_raw(stream, bytes, peer, sink),
        }
        true
    }

    /// What an item printed, where the link keeps prints.
    pub(crate) fn take_prints(&mut self, item: Item) -> (Output, Output) {
        match self {
            Link::Lines(_) | Link::Text(_) => Default::default(),
            Link::Frames(link) => link.take_prints(item),
            Link::Native(link) => link.take_prints(item),
        }
    }

    /// The worker is dead: gives its seat among those who share objects back.
    pub(crate) fn leave_seat(&mut self) {
        if let Link::Native(link) = self {
            link.leave_seat();
        }
    }

    /// Tells the item in hand what became of one that it submitted.
    pub(crate) fn tell_nested(&mut self, id: u64, outcome: NestedOutcome, desk: &Desk) {
        match self {
            Link::Lines(_) | Link::Text(_) => {}
            Link::Frames(link) => link.tell_nested(id, outcome, desk),
            Link::Native(link) => link.tell_nested(id, outcome, desk),
        }
    }

    /// The link, if it is one over shared memory.
    pub(crate) fn native(&self) -> Option<&NativeLink> {
        match self {
            Link::Native(link) => Some(link),
            Link::Lines(_) | Link::Text(_) | Link::Frames(_) => None,
        }
    }

    /// Whether what the worker prints belongs to the one item it holds.
    pub(crate) fn prints_belong_to_item(&self) -> bool {
        match self {
            Link::Lines(link) => link.is_fenced(),
            Link::Text(link) => link.is_single(),
            Link::Frames(_) | Link::Native(_) => false,
        }
    }
}

fn finish(outbox: &mut Option<Outbox>) {
    if let Some(outbox) = outbox {
        outbox.finish();
    }
}

fn close_if_finished(outbox: &mut Option<Outbox>) {
    if outbox.as_ref().is_some_and(Outbox::is_finished) {
        *outbox = None;
    }
}

/// Carries out a worker's farewell.
fn say_bye(bye: &Bye, peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) -> Result<(), Breach> {
    if bye.cannot_start() {
        let error = bye.error.clone().unwrap_or_else(|| RemoteError {
            type_name: String::new(),
            msg: bye.reason.clone(),
            trace: None,
            retry: None,
            more: None,
        });
        let error = TaskError::Refused { code: bye.code.unwrap_or(126), error };
        return Err(Breach { item: None, error });
    }
    desk.tell_plain(Event::Retire(peer.worker), sink);
    Ok(())
}

/// Tells what a worker says of itself.
fn announce(hello: &Hello, peer: Peer, sink: &mut dyn Sink) {
    sink.notice(Notice::Greeted { worker: peer.worker, hello: Box::new(hello.clone()) });
}

/// Holds a hello against the function that is asked for.
fn check_function(hello: &Hello, wanted: Option<&str>) -> Result<(), Breach> {
    let Some(wanted) = wanted else { return Ok(()) };
    if hello.functions.is_empty() || hello.functions.iter().any(|offered| offered == wanted) {
        return Ok(());
    }
    let msg = format!("the worker has no function `{wanted}`; it offers {}", hello.functions.join(", "));
    let error = RemoteError { type_name: String::new(), msg, trace: None, retry: None, more: None };
    Err(Breach { item: None, error: TaskError::Refused { code: 127, error } })
}

/// An attempt that ran from `since` until now.
pub(crate) fn attempt(peer: Peer, since: Moment, now: Moment) -> Attempt {
    Attempt {
        worker: Some(peer.worker),
        pid: peer.pid,
        started: Some(since),
        wall: Some(now - since),
        ..Attempt::default()
    }
}
