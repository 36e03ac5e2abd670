//! What the poller says: answers, room to write, captured output, news from the keeper.

use std::os::fd::AsFd;
use std::time::Duration;

use poolctl_engine::Event;
use poolctl_protocol::Stream;
use poolctl_sys::limits;
use poolctl_sys::poller::{Interest, Ready};
use poolctl_types::WorkerId;

use super::deaths::Usage;
use super::effects::link_of;
use super::{KEEPER_PIDFD, KEEPER_SOCKET, KeeperState, Supervisor, WAKER};
use crate::capture::{Capture, Stage};
use crate::channel::Filled;
use crate::config::Detail;
use crate::keeper::Report;
use crate::life::{Channel, Life, Token, Work};
use crate::link::Link;
use crate::report::{Notice, Sink};

/// How often a worker's memory is looked at, at most.
const WEIGH_EVERY: Duration = Duration::from_millis(100);

impl Supervisor {
    pub(super) fn handle(&mut self, event: Ready, sink: &mut dyn Sink) {
        match event.token {
            WAKER => self.waker.clear(),
            KEEPER_SOCKET | KEEPER_PIDFD => self.hear_keeper(event, sink),
            number => {
                if let Some(token) = Token::from_number(number) {
                    self.handle_worker(token, event, sink);
                }
            }
        }
    }

    fn handle_worker(&mut self, token: Token, event: Ready, sink: &mut dyn Sink) {
        let Some(life) = self.lives.by_token(token) else { return };
        let worker = life.worker;
        match token.channel {
            Channel::Reply | Channel::Input => {
                if event.writable
                    && let Some(link) = link_of(Some(life))
                {
                    link.flush(self.desk.now);
                }
                if event.closed && token.channel == Channel::Input {
                    self.request_pipe_closed(worker);
                }
                if event.readable && token.channel == Channel::Reply {
                    self.receive(worker, sink);
                }
                self.watch_room(worker);
            }
            Channel::Stdout => self.capture(worker, Stream::Stdout, sink),
            Channel::Stderr => self.capture(worker, Stream::Stderr, sink),
            Channel::Control => self.hear_control(worker, sink),
            Channel::Pidfd => self.lost_worker_ended(worker, sink),
        }
    }

    /// The worker closed its end of the pipe to it, or died.
    fn request_pipe_closed(&mut self, worker: WorkerId) {
        let Some(Life { work: Work::Warm(link), .. }) = self.lives.get_mut(worker) else { return };
        link.note_closed(self.desk.now);
        if let Some((outbox, false)) = link.outbox()
            && let Err(error) = self.poller.remove(outbox.as_fd())
        {
            tracing::debug!(%error, %worker, "its input was not watched any more");
        }
    }

    /// Reads a worker's answers.
    fn receive(&mut self, worker: WorkerId, sink: &mut dyn Sink) {
        let Some(life) = self.lives.get_mut(worker) else { return };
        let peer = life.peer();
        let Life { work: Work::Warm(link), streams, control, fault: None, greeted, .. } = life else {
            return;
        };
        let was_open = link.is_shared_open();
        let received = link.receive(peer, streams, &mut self.desk, sink);
        if !*greeted && link.is_greeted() {
            *greeted = true;
            *control = None;
            let (stdout, stderr) = streams.take(&mut self.desk.scratch, &self.desk.spill);
            for (stream, output) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
                if !output.is_empty() {
                    let bytes = output.to_vec().unwrap_or_default();
                    sink.notice(Notice::WorkerOutput { worker, stream, bytes });
                }
            }
        }
        if was_open
            && !link.is_shared_open()
            && let Some(fd) = link.shared_fd()
            && let Err(error) = self.poller.remove(fd)
        {
            tracing::debug!(%error, %worker, "its link was not watched any more");
        }
        match received {
            Ok(_) => self.weigh(worker, sink),
            Err(breach) => self.accuse(worker, breach, sink),
        }
    }

    /// A worker that may be a native one says so, or that it is none.
    fn hear_control(&mut self, worker: WorkerId, sink: &mut dyn Sink) {
        let Some(life) = self.lives.get_mut(worker) else { return };
        let peer = life.peer();
        let Some(mut control) = life.control.take() else { return };
        let heard = control.read(peer, &mut life.streams, &mut self.desk, sink);
        if matches!(heard, Ok(Filled::Closed)) {
            // It has no use for it, and says hello in its own way.
            return;
        }
        let Some(life) = self.lives.get_mut(worker) else { return };
        if !control.has_said_hello() && heard.is_ok() {
            life.control = Some(control);
            return;
        }
        let reply = Token::of(worker, Channel::Reply).number();
        if let Err(error) = self.poller.modify(control.as_fd(), reply, Interest::Read) {
            tracing::error!(%error, %worker, "cannot watch its link");
        }
        life.greeted = control.is_greeted();
        life.work = Work::Warm(Box::new(Link::Native(control)));
        if let Err(breach) = heard {
            self.accuse(worker, breach, sink);
        }
    }

    /// Reads what a process wrote on one of its streams.
    fn capture(&mut self, worker: WorkerId, stream: Stream, sink: &mut dyn Sink) {
        let Some(life) = self.lives.get_mut(worker) else { return };
        let peer = life.peer();
        let slot = match stream {
            Stream::Stdout => &mut life.streams.stdout,
            Stream::Stderr => &mut life.streams.stderr,
        };
        let Some(capture) = slot else { return };
        if let Work::Warm(link) = &mut life.work {
            link.begin_reading();
        }
        let stage = capture.read(&mut self.desk.scratch, &self.desk.spill);
        if let Work::Warm(link) = &mut life.work {
            link.end_reading();
        }
        if let Work::Warm(link) = &mut life.work
            && life.greeted
            && life.fault.is_none()
            && !capture.is_empty()
            && !(link.prints_belong_to_item() && link.oldest_held().is_some())
        {
            // A line that is read in parts is not torn by what others print; but where items are told one by one, what
            // each has printed is its own, whole or not.
            let is_whole = self.desk.detail == Detail::PerItem || stage == Stage::Closed;
            let bytes = if is_whole { taken(capture) } else { capture.take_lines() };
            if !bytes.is_empty() && !link.print_raw(stream, &bytes, peer, sink) {
                sink.notice(Notice::WorkerOutput { worker, stream, bytes });
            }
        }
        if stage == Stage::Closed
            && let Err(error) = self.poller.remove(capture.as_fd())
        {
            tracing::debug!(%error, %worker, "its output was not watched any more");
        }
    }

    /// Has the poller watch for room to write where something waits, and only there.
    pub(super) fn watch_room(&mut self, worker: WorkerId) {
        let Some(life) = self.lives.get_mut(worker) else { return };
        let Work::Warm(link) = &life.work else { return };
        let reply = Token::of(worker, Channel::Reply).number();
        let input = Token::of(worker, Channel::Input).number();
        let changed = match (link.waiting(), life.writing) {
            (Some((outbox, true)), false) => self.poller.modify(outbox.as_fd(), reply, Interest::ReadWrite),
            (Some((outbox, false)), false) => self.poller.modify(outbox.as_fd(), input, Interest::Write),
            (None, true) => match link.outbox() {
                Some((outbox, true)) => self.poller.modify(outbox.as_fd(), reply, Interest::Read),
                Some((outbox, false)) => self.poller.modify(outbox.as_fd(), input, Interest::Close),
                None => Ok(()),
            },
            (Some(_), true) | (None, false) => return,
        };
        life.writing = !life.writing;
        if let Err(error) = changed {
            tracing::debug!(%error, %worker, "cannot watch its link for room");
        }
    }

    /// Looks after links whose time has come, and tells the engine the time.
    pub(super) fn look_after(&mut self, sink: &mut dyn Sink) {
        let now = self.desk.now;
        let due: Vec<WorkerId> = self
            .lives
            .iter()
            .filter(|life| life.look_at().is_some_and(|at| at <= now))
            .map(|life| life.worker)
            .collect();
        for worker in due {
            self.look_after_one(worker, sink);
        }
        if self.desk.engine.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.desk.tell_plain(Event::Tick, sink);
        }
    }

    /// Looks after one link.
    pub(super) fn look_after_one(&mut self, worker: WorkerId, sink: &mut dyn Sink) {
        let Some(life) = self.lives.get_mut(worker) else { return };
        let peer = life.peer();
        let Life { work: Work::Warm(link), streams, greeted, fault: None, .. } = life else { return };
        let looked = link.look(peer, streams, &mut self.desk, sink);
        *greeted = link.is_greeted();
        if let Err(breach) = looked {
            self.accuse(worker, breach, sink);
        }
    }

    /// Retires a worker that has grown too large.
    pub(super) fn weigh(&mut self, worker: WorkerId, sink: &mut dyn Sink) {
        let (Some(limit), Some(life)) = (self.max_rss, self.lives.get_mut(worker)) else { return };
        if self.desk.now - life.weighed < WEIGH_EVERY {
            return;
        }
        life.weighed = self.desk.now;
        let memory = life.pid.and_then(|pid| limits::memory_of(pid).ok());
        if memory.is_some_and(|bytes| bytes > limit) {
            tracing::info!(%worker, ?memory, limit, "a worker is over --max-rss and is replaced");
            self.desk.tell_plain(Event::Retire(worker), sink);
        }
    }

    /// Reads the keeper's reports, or learns that it is gone.
    fn hear_keeper(&mut self, event: Ready, sink: &mut dyn Sink) {
        let KeeperState::Alive(keeper) = &mut self.keeper else { return };
        let mut reports = std::mem::take(&mut self.reports);
        let heard = keeper.receive(&mut reports);
        for report in reports.drain(..) {
            self.hear(report, sink);
        }
        self.reports = reports;
        if heard.is_err() || event.token == KEEPER_PIDFD {
            self.keeper_lost(sink);
        }
    }

    fn hear(&mut self, report: Report, sink: &mut dyn Sink) {
        match report {
            Report::Spawned { worker, pid, pidfd } => self.spawned(worker, pid, pidfd, sink),
            Report::SpawnFailed { worker, errno, .. } => self.spawn_failed(worker, errno, sink),
            Report::Dropped { worker } => self.never_ran(worker, sink),
            Report::Exited { worker, exit, wall, cpu, max_rss_kib } => {
                self.ended(worker, exit, Some(Usage { wall, cpu, max_rss_kib }), sink);
            }
        }
    }

    /// Sends what is queued for the keeper.
    pub(super) fn flush_keeper(&mut self) {
        let KeeperState::Alive(keeper) = &mut self.keeper else { return };
        let waited = keeper.wants_write();
        if let Err(error) = keeper.flush() {
            // Its pidfd tells that it is gone; nothing is lost before that is handled.
            tracing::debug!(%error, "cannot send to the keeper");
            return;
        }
        if keeper.wants_write() != waited {
            let interest = if waited { Interest::Read } else { Interest::ReadWrite };
            if let Err(error) = self.poller.modify(keeper.socket(), KEEPER_SOCKET, interest) {
                tracing::debug!(%error, "cannot watch the keeper's socket for room");
            }
        }
    }
}

/// What was captured, in memory: a warm worker's streams keep only a tail.
pub(super) fn taken(capture: &mut Capture) -> Vec<u8> {
    let (output, failure) = capture.take_output();
    if let Some(error) = failure {
        tracing::warn!(%error, "cannot read a worker's output");
    }
    output.to_vec().unwrap_or_default()
}
