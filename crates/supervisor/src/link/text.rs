//! The worker protocol as lines: JSON objects, or tab-separated for shells.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use poolctl_engine::{Accounting, Answer, Capacity, Event};
use poolctl_protocol::jsonl::{self, STDIO_MARK, Task};
use poolctl_protocol::{Caps, Hello, MAX_BODY_BYTES, PROTOCOL_VERSION, Reply, Stream, tsv};
use poolctl_types::{Item, ItemRange, Moment};

use super::{Breach, Peer, Streams, attempt};
use crate::channel::{Filled, Inbox, Outbox};
use crate::config::Framing;
use crate::desk::{Delivery, Desk};
use crate::held::Held;
use crate::report::{BadReply, Notice, Sink, TaskError};
use crate::store::Store;

/// How long a worker that said bye may leave an item unread that was on its way to it.
const BYE_GRACE: Duration = Duration::from_secs(1);

/// The link to a worker that speaks lines.
#[derive(Debug)]
pub(crate) struct TextLink {
    pub(super) outbox: Option<Outbox>,
    pub(super) reply: Option<OwnedFd>,
    pub(super) held: Held,
    pub(super) closed: Option<Moment>,
    inbox: Inbox,
    scanned: usize,
    since: Moment,
    caps: Option<Caps>,
    form: Form,
    last_answered: Option<Item>,
    /// Since when it has said bye while items are on their way to it.
    bye: Option<Moment>,
    /// Whether all it holds was dispatched when nothing could be sent any more.
    is_unsent: bool,
}

/// How messages look.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) framing: Framing,
    /// Whether answers come on stdout, marked, between other text.
    pub(crate) stdio: bool,
    /// Which function is asked for.
    pub(crate) function: Option<String>,
}

impl TextLink {
    pub(crate) fn new(outbox: Outbox, reply: OwnedFd, form: Form, now: Moment) -> Self {
        Self {
            outbox: Some(outbox),
            reply: Some(reply),
            held: Held::default(),
            closed: None,
            inbox: Inbox::new(),
            scanned: 0,
            since: now,
            caps: None,
            form,
            last_answered: None,
            bye: None,
            is_unsent: false,
        }
    }

    /// Whether one item is outstanding at a time, so that what is printed is its.
    pub(super) fn is_single(&self) -> bool {
        self.caps.is_some_and(|caps| caps.mux.is_none() && caps.ahead.is_none())
    }

    /// When a worker that said bye must have read what was on its way to it.
    pub(super) fn look_at(&self) -> Option<Moment> {
        self.bye.filter(|_| self.held.count() > 0).map(|bye| bye + BYE_GRACE)
    }

    /// Complains of a worker that said bye, and leaves unread what was on its way to it.
    pub(super) fn look(&mut self, desk: &Desk) -> Result<(), Breach> {
        if self.look_at().is_none_or(|at| at > desk.now) {
            return Ok(());
        }
        self.bye = None;
        if self.holds_unread(&desk.store) {
            return Err(BadReply::Lingers.into());
        }
        super::finish(&mut self.outbox);
        super::close_if_finished(&mut self.outbox);
        Ok(())
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.caps.is_some()
    }

    pub(super) fn dispatch(&mut self, items: ItemRange, attempt: u32, desk: &Desk) {
        let held_nothing = self.held.count() == 0;
        if held_nothing {
            self.since = desk.now;
        }
        self.held.push(items);
        let Some(outbox) = &mut self.outbox else {
            // The engine had dispatched these when it heard the bye.
            self.is_unsent = held_nothing;
            self.bye = Some(desk.now);
            return;
        };
        for item in items.iter() {
            write_task(&self.form, item, attempt, desk.store.item(item), outbox.bytes());
        }
        if outbox.flush().is_err() {
            self.closed.get_or_insert(desk.now);
        }
    }

    /// Whether all it holds lies unread in its pipe. A further attempt's line is a little longer than the one made
    /// here, so that it may be taken for read, never the other way.
    pub(super) fn holds_unread(&self, store: &Store) -> bool {
        if self.is_unsent {
            return true;
        }
        let mut lines = Vec::new();
        for item in self.held.ranges().flat_map(ItemRange::iter) {
            write_task(&self.form, item, 1, store.item(item), &mut lines);
        }
        self.outbox.as_ref().is_some_and(|outbox| outbox.holds_unread(lines.len()))
    }

    pub(super) fn cancel(&mut self, item: Item) {
        if let Some(outbox) = &mut self.outbox
            && self.form.framing == Framing::JsonLines
        {
            jsonl::write_cancel(outbox.bytes(), item.0);
        }
    }

    /// Reads once, and tells what that brought.
    pub(super) fn read(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<Filled, Breach> {
        let Some(reply) = &self.reply else { return Ok(Filled::Closed) };
        let filled = self.inbox.fill(reply.as_fd())?;
        self.take_lines(peer, streams, desk, sink)?;
        if filled == Filled::Closed {
            self.reply = None;
            self.closed.get_or_insert(desk.now);
        }
        Ok(filled)
    }

    fn take_lines(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        // The inbox is put aside so that its lines can be read while the link changes.
        let mut inbox = std::mem::replace(&mut self.inbox, Inbox::new());
        let mut told = Ok(());
        while told.is_ok()
            && let Some(length) = memchr::memchr(b'\n', &inbox.content()[self.scanned..])
        {
            let end = self.scanned + length;
            told = self.take_line(&inbox.content()[..end], peer, streams, desk, sink);
            inbox.consume(end + 1);
            self.scanned = 0;
        }
        self.scanned = inbox.content().len();
        self.inbox = inbox;
        if told.is_ok() && self.scanned > MAX_BODY_BYTES {
            return Err(BadReply::TooLong { limit: MAX_BODY_BYTES }.into());
        }
        told
    }

    fn take_line(
        &mut self,
        line: &[u8],
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let message = if self.form.stdio {
            let Some(message) = line.strip_prefix(&[STDIO_MARK]) else {
                let bytes = [line, b"\n"].concat();
                sink.notice(Notice::WorkerOutput { worker: peer.worker, stream: Stream::Stdout, bytes });
                return Ok(());
            };
            message
        } else {
            line
        };
        let reply = match self.form.framing {
            Framing::Tsv => tsv::parse_reply(message),
            Framing::JsonLines | Framing::Frames => jsonl::parse_reply(message),
        }
        .map_err(BadReply::Line)?;
        self.take_reply(reply, peer, streams, desk, sink)
    }

    fn take_reply(
        &mut self,
        reply: Reply<'_>,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        if self.caps.is_none() && !matches!(reply, Reply::Hello(_) | Reply::Bye(_) | Reply::Log { .. }) {
            return Err(BadReply::NoHello.into());
        }
        match reply {
            Reply::Hello(hello) => self.greet(&hello, peer, desk, sink),
            Reply::Ok { id, value } => {
                self.settle(Item(id), Answer::Ok, Verdict::Value(value), peer, streams, desk, sink)
            }
            Reply::Err { id, error } => {
                let answer = if error.retry == Some(false) { Answer::FailedForGood } else { Answer::Failed };
                let verdict = Verdict::Error(TaskError::Remote(error));
                self.settle(Item(id), answer, verdict, peer, streams, desk, sink)
            }
            Reply::Progress { id, fraction, note } => {
                let note = note.map(|note| note.to_string());
                sink.notice(Notice::Progress { item: Item(id), fraction, note });
                Ok(())
            }
            Reply::Log { id, level, text } => {
                let (worker, item, text) = (peer.worker, id.map(Item), text.to_string());
                sink.notice(Notice::Log { worker, item, level, text });
                Ok(())
            }
            Reply::Bye(bye) => {
                super::say_bye(&bye, peer, desk, sink)?;
                if self.holds_unread(&desk.store) {
                    // Sent before the bye came: it may still be read.
                    self.bye = Some(desk.now);
                } else {
                    super::finish(&mut self.outbox);
                    super::close_if_finished(&mut self.outbox);
                }
                Ok(())
            }
        }
    }

    fn greet(
        &mut self,
        hello: &Hello,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        if self.caps.is_some() {
            return Err(BadReply::Unexpected { kind: poolctl_protocol::Kind::Hello }.into());
        }
        let capacity = capacity_of(hello)?;
        super::announce(hello, peer, sink);
        super::check_function(hello, self.form.function.as_deref())?;
        self.caps = Some(hello.caps);
        desk.tell_plain(Event::Ready(peer.worker, capacity), sink);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "who, what and where to, each once")]
    fn settle(
        &mut self,
        item: Item,
        answer: Answer,
        verdict: Verdict<'_>,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        if self.last_answered == Some(item) && !self.held.contains(item) {
            // A second answer to the same item goes nowhere, and whoever gives one is replaced.
            tracing::warn!(worker = %peer.worker, %item, "an item was answered twice");
            desk.tell_plain(Event::Retire(peer.worker), sink);
            return Ok(());
        }
        let in_order = self.caps.is_some_and(|caps| caps.mux.is_none());
        if (in_order && self.held.oldest() != Some(item)) || !self.held.take(item) {
            return Err(BadReply::NotHeld { item: item.0 }.into());
        }
        self.last_answered = Some(item);
        let mut known = attempt(peer, self.since, desk.now);
        if self.is_single() {
            (known.stdout, known.stderr) = streams.take(&mut desk.scratch, &desk.spill);
        }
        match verdict {
            Verdict::Value(value) => known.out = value.into_owned().into_bytes().into(),
            Verdict::Error(error) => known.error = Some(error),
        }
        self.since = desk.now;
        let mut known = Some(known);
        let event = Event::Answered { worker: peer.worker, item, answer };
        desk.tell(event, Delivery::Each(&mut |_| known.take().unwrap_or_default()), sink);
        Ok(())
    }
}

/// Appends the line that asks for `item`.
fn write_task(form: &Form, item: Item, attempt: u32, data: &[u8], out: &mut Vec<u8>) {
    match form.framing {
        Framing::Tsv => tsv::write_task(out, item.0, data),
        Framing::JsonLines | Framing::Frames => Task {
            id: item.0,
            data,
            function: form.function.as_deref(),
            deadline_ms: None,
            attempt: (attempt > 1).then_some(attempt),
        }
        .write(out),
    }
}

/// What an answer says.
enum Verdict<'a> {
    Value(Cow<'a, str>),
    Error(TaskError),
}

/// What the engine must know of a hello.
pub(super) fn capacity_of(hello: &Hello) -> Result<Capacity, BadReply> {
    if hello.version != PROTOCOL_VERSION {
        return Err(BadReply::Version { version: hello.version });
    }
    let caps = hello.caps;
    let one = NonZeroU32::MIN;
    let (ahead, accounting) = match (caps.mux, caps.ahead) {
        (Some(mux), _) => (NonZeroU32::new(mux).unwrap_or(one), Accounting::Mux),
        (None, ahead) => (ahead.and_then(NonZeroU32::new).unwrap_or(one), Accounting::InOrder),
    };
    Ok(Capacity { ahead: Some(ahead), accounting, cancel: caps.cancel })
}
