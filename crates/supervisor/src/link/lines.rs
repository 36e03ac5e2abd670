//! A line filter: one line in, one line out, no hello, with fences against answers that slip.
//!
//! With one line outstanding the answer must be one line and nothing behind it; more is an error of that item and the
//! filter is replaced. A filter may write its lines one by one, so an answer is taken only once the filter rests
//! (blocked in a call that waits for input) and its pipe is empty after that; a filter that has not come to rest
//! [`FENCE_MOST`] after its line is believed without. For the same reason it gets its first line when it rests for the
//! first time, and what it wrote before that is an error. With more outstanding (`ahead`) only the count can be
//! checked.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use poolctl_engine::{Accounting, Answer, Capacity, Event};
use poolctl_protocol::{Excerpt, MAX_BODY_BYTES};
use poolctl_sys::rest::Rest;
use poolctl_types::{Item, ItemRange, Moment};

use super::{Breach, Peer, Streams, attempt};
use crate::channel::{Filled, Inbox, Outbox};
use crate::desk::{Delivery, Desk};
use crate::held::Held;
use crate::report::{BadReply, Sink, TaskError};
use crate::results::{Form, Results};
use crate::store::Store;

/// How often a filter that still runs after its answer is let run at once, before it is looked at later.
const YIELDS: usize = 4;

/// How soon it is looked at again, and how long at most.
const FENCE_AGAIN: Duration = Duration::from_millis(1);
const FENCE_MOST: Duration = Duration::from_secs(1);

/// The link to a line filter.
#[derive(Debug)]
pub(crate) struct LinesLink {
    pub(super) outbox: Option<Outbox>,
    pub(super) reply: Option<OwnedFd>,
    pub(super) held: Held,
    pub(super) closed: Option<Moment>,
    inbox: Inbox,
    /// Lines that belong to an answer whose end has not come.
    scanned: usize,
    since: Moment,
    rules: Rules,
    /// How the filter's rest is asked for, once its process is known.
    rest: Option<Rest>,
    /// Since when an answer, or the first item, waits for the filter's rest.
    fenced: Option<Moment>,
    /// Whether it has come to rest for the first time.
    pub(super) greeted: bool,
    is_dead: bool,
}

/// What a filter must keep to.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) ahead: u32,
    pub(crate) reply_timeout: Duration,
    pub(crate) eot: Option<Vec<u8>>,
    /// What to do against buffering, for this program.
    pub(crate) hint: &'static str,
}

impl LinesLink {
    pub(crate) fn new(outbox: Outbox, reply: OwnedFd, rules: Rules, now: Moment) -> Self {
        Self {
            outbox: Some(outbox),
            reply: Some(reply),
            held: Held::default(),
            closed: None,
            inbox: Inbox::new(),
            scanned: 0,
            since: now,
            rules,
            rest: None,
            fenced: None,
            greeted: false,
            is_dead: false,
        }
    }

    /// Whether one item is outstanding at a time.
    pub(crate) fn is_fenced(&self) -> bool {
        self.rules.ahead <= 1
    }

    /// The process is dead: what it wrote is all there is.
    pub(super) fn note_dead(&mut self) {
        self.is_dead = true;
    }

    /// The process runs: it is ready once it rests.
    pub(crate) fn began(&mut self, peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) -> Result<(), Breach> {
        if !self.greeted && self.comes_to_rest(peer, desk.now) {
            self.fenced = None;
            self.greeted = true;
            if let Some(reply) = &self.reply {
                self.inbox.fill(reply.as_fd())?;
            }
            self.check_uninvited()?;
            desk.tell_plain(Event::Ready(peer.worker, self.capacity()), sink);
        }
        Ok(())
    }

    /// What the filter can take.
    pub(crate) fn capacity(&self) -> Capacity {
        let accounting = if self.is_fenced() { Accounting::InOrder } else { Accounting::Unknown };
        Capacity { ahead: NonZeroU32::new(self.rules.ahead.max(1)), accounting, cancel: false }
    }

    pub(super) fn dispatch(&mut self, items: ItemRange, desk: &Desk) {
        if self.held.count() == 0 {
            self.since = desk.now;
        }
        self.held.push(items);
        let Some(outbox) = &mut self.outbox else { return };
        for slice in desk.store.slices(items) {
            if outbox.send(slice).is_err() {
                self.closed.get_or_insert(desk.now);
                return;
            }
        }
    }

    /// Reads once, and tells what answers that brought.
    pub(super) fn read(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<Filled, Breach> {
        let filled =
            self.reply.as_ref().map_or(Ok(Filled::Closed), |reply| self.inbox.fill(reply.as_fd()))?;
        if filled == Filled::Closed {
            // Nothing more can come behind what is here.
            self.reply = None;
            self.closed.get_or_insert(desk.now);
        }
        if !self.greeted {
            self.check_uninvited()?;
        }
        if self.is_fenced() || self.rules.eot.is_some() {
            self.take_fenced(peer, streams, desk, sink)?;
        } else {
            self.take_many(peer, desk, sink)?;
        }
        Ok(filled)
    }

    /// As many answers as there are whole lines.
    fn take_many(&mut self, peer: Peer, desk: &mut Desk, sink: &mut dyn Sink) -> Result<(), Breach> {
        let Some(last) = memchr::memrchr(b'\n', self.inbox.content()) else { return self.check_length() };
        let mut whole = last + 1;
        let mut lines = memchr::memchr_iter(b'\n', &self.inbox.content()[..whole]).count() as u64;
        self.since = desk.now;
        while lines > 0 {
            let Some(items) = self.held.front(lines) else { return Err(self.extra(None, 0)) };
            let count = u64::from(items.count);
            self.held.pop(items.count);
            let all = Results { bytes: &self.inbox.content()[..whole], form: Form::Lines };
            let results = if count == lines { all } else { all.split(count).0 };
            let end = results.bytes.len();
            let event = Event::Finished { worker: peer.worker, count: items.count };
            desk.tell(event, Delivery::Run { worker: peer.worker, items, results }, sink);
            self.inbox.consume(end);
            whole -= end;
            lines -= count;
        }
        Ok(())
    }

    /// One answer, if it is whole, and nothing behind it.
    fn take_fenced(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        if self.inbox.content().is_empty() {
            return Ok(());
        }
        let Some(item) = self.held.oldest() else { return Err(self.extra(None, 0)) };
        let Some((answer, end)) = self.answer() else { return self.check_length() };
        if end < self.inbox.content().len() && self.is_fenced() {
            return Err(self.extra(Some(item), end));
        }
        if self.is_fenced() && !self.may_pass(peer, item, end, desk)? {
            return Ok(());
        }
        let out = self.inbox.content()[..answer].to_vec();
        self.inbox.consume(end);
        self.scanned = 0;
        self.held.pop(1);
        let (stdout, stderr) =
            if self.is_fenced() { streams.take(&mut desk.scratch, &desk.spill) } else { Default::default() };
        let mut known = attempt(peer, self.since, desk.now);
        (known.out, known.stdout, known.stderr) = (out.into(), stdout, stderr);
        self.since = desk.now;
        let mut known = Some(known);
        let event = Event::Answered { worker: peer.worker, item, answer: Answer::Ok };
        desk.tell(event, Delivery::Each(&mut |_| known.take().unwrap_or_default()), sink);
        if self.inbox.content().is_empty() { Ok(()) } else { self.take_fenced(peer, streams, desk, sink) }
    }

    /// Whether the filter has said all it has to say to `item`; what comes behind `end` is too much.
    fn may_pass(&mut self, peer: Peer, item: Item, end: usize, desk: &Desk) -> Result<bool, Breach> {
        if !self.comes_to_rest(peer, desk.now) {
            return Ok(false);
        }
        if let Some(reply) = &self.reply
            && self.inbox.fill(reply.as_fd())? == Filled::Closed
        {
            self.reply = None;
            self.closed.get_or_insert(desk.now);
        }
        if self.inbox.content().len() > end {
            return Err(self.extra(Some(item), end));
        }
        self.fenced = None;
        Ok(true)
    }

    /// Whether the filter rests, or has been waited for long enough.
    fn comes_to_rest(&mut self, peer: Peer, now: Moment) -> bool {
        if self.is_dead || self.reply.is_none() {
            return true;
        }
        if self.rest.is_none() {
            self.rest = peer.pid.and_then(|pid| Rest::of(pid).ok());
        }
        let since = *self.fenced.get_or_insert(now);
        self.rest.as_ref().is_none_or(comes_to_rest) || now - since >= FENCE_MOST
    }

    /// Where the answer at the front ends, without and with what marks its end.
    fn answer(&mut self) -> Option<(usize, usize)> {
        let content = self.inbox.content();
        let Some(eot) = &self.rules.eot else {
            let lf = memchr::memchr(b'\n', &content[self.scanned..]);
            let Some(at) = lf else {
                self.scanned = content.len();
                return None;
            };
            let end = self.scanned + at;
            return Some((end, end + 1));
        };
        let mut start = self.scanned;
        while let Some(length) = memchr::memchr(b'\n', &content[start..]) {
            if &content[start..start + length] == eot.as_slice() {
                return Some((start, start + length + 1));
            }
            start += length + 1;
        }
        self.scanned = start;
        None
    }

    fn check_length(&self) -> Result<(), Breach> {
        if self.inbox.content().len() > MAX_BODY_BYTES {
            return Err(BadReply::TooLong { limit: MAX_BODY_BYTES }.into());
        }
        Ok(())
    }

    fn check_uninvited(&self) -> Result<(), Breach> {
        let content = self.inbox.content();
        if content.is_empty() {
            return Ok(());
        }
        Err(Breach { item: None, error: TaskError::Uninvited { shown: Excerpt::of(content) } })
    }

    fn extra(&self, item: Option<Item>, from: usize) -> Breach {
        let shown = Excerpt::of(&self.inbox.content()[from..]);
        Breach { item, error: TaskError::ExtraOutput { shown } }
    }

    /// When it wants to be looked after though nothing came.
    pub(super) fn look_at(&self) -> Option<Moment> {
        self.fenced.map_or_else(|| self.reply_deadline(), |since| Some(since + FENCE_AGAIN))
    }

    /// Takes an answer that waited for the filter's rest, or complains that none came.
    pub(super) fn look(
        &mut self,
        peer: Peer,
        streams: &mut Streams,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        if !self.greeted {
            return self.began(peer, desk, sink);
        }
        if self.fenced.is_some() {
            return self.take_fenced(peer, streams, desk, sink);
        }
        self.check_reply_deadline(desk.now)
    }

    /// Whether all it holds lies unread in its pipe.
    pub(super) fn holds_unread(&self, store: &Store) -> bool {
        let held = self.held.ranges().flat_map(|items| store.slices(items)).map(<[u8]>::len).sum();
        self.outbox.as_ref().is_some_and(|outbox| outbox.holds_unread(held))
    }

    /// When the oldest line must be answered.
    fn reply_deadline(&self) -> Option<Moment> {
        (self.held.count() > 0 && self.closed.is_none()).then(|| self.since + self.rules.reply_timeout)
    }

    fn check_reply_deadline(&self, now: Moment) -> Result<(), Breach> {
        if self.reply_deadline().is_some_and(|deadline| deadline <= now) {
            let error = TaskError::NoReply { after: self.rules.reply_timeout, hint: self.rules.hint };
            return Err(Breach { item: None, error });
        }
        Ok(())
    }
}

/// Whether a filter rests, or does so when it is let run.
fn comes_to_rest(rest: &Rest) -> bool {
    (0..YIELDS).any(|_| {
        let rests = rest.is_at_rest().unwrap_or(true);
        if !rests {
            std::thread::yield_now();
        }
        rests
    })
}

/// What to do against buffering, for programs that are known for it.
pub(crate) fn buffering_hint(program: &[u8]) -> &'static str {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or(program);
    match name {
        b"sed" => "try `sed -u`",
        b"jq" => "try `jq --unbuffered`",
        b"grep" | b"egrep" | b"fgrep" => "try `grep --line-buffered`",
        b"mawk" | b"awk" => "try `mawk -W interactive`, or fflush() after each print in gawk",
        b"perl" => "set `$| = 1`",
        _ if name.starts_with(b"python") => "try `python -u`",
        _ => "try --stdbuf, or the program's own flag for unbuffered output",
    }
}

/// The end of a pipe to read from, without blocking.
pub(crate) fn reading_end(fd: OwnedFd) -> io::Result<OwnedFd> {
    poolctl_sys::pipe::set_nonblocking(&fd)?;
    Ok(fd)
}
