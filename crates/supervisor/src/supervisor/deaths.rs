//! The end of processes, and of the keeper.
//!
//! When the keeper says that a process is dead, its group is killed already, and neither its pid nor its group can be
//! given to another until it is reaped. So the order is: drain its link, settle its items, reap.
//!
//! # If the keeper dies
//! Its workers die by their parent-death signal. What it reported before is heard; then every group is killed, and
//! every process that carries this run's mark; each worker's end is told by its pidfd, as killed. A start that was
//! asked for and not reported may have happened: its item counts as started. When no worker is left, a new keeper
//! starts, and with it the starts that waited.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use poolctl_engine::{Answer, End, EndCause, Event};
use poolctl_protocol::{Level, Stream};
use poolctl_sys::poller::Interest;
use poolctl_types::{Exit, Item, Moment, WorkerId};

use super::readiness::taken;
use super::{KeeperState, SIGKILL, Supervisor};
use crate::channel::Filled;
use crate::desk::Delivery;
use crate::keeper::{self, Keeper};
use crate::life::{Channel, Life, Token, Work};
use crate::link::attempt;
use crate::output::Output;
use crate::report::{Attempt, GaveUp, LastStart, Notice, Sink, TaskError};

impl Supervisor {
    /// A process is dead: drains what it left, and settles its items.
    pub(super) fn ended(&mut self, worker: WorkerId, exit: Exit, usage: Option<Usage>, sink: &mut dyn Sink) {
        let Some(mut life) = self.lives.remove(worker) else {
            self.reap(worker);
            return;
        };
        let killed_by_us = life.dismissed;
        let out_of_memory = exit == Exit::Signal(SIGKILL) && !killed_by_us && self.memory_kills.have_grown();
        let cause = if out_of_memory { EndCause::OutOfMemory } else { EndCause::Ended };
        let ending = Ending { exit, usage, out_of_memory };
        match life.work {
            Work::Command { item, .. } => self.command_ended(&mut life, item, &ending, cause, sink),
            Work::Warm(_) => self.warm_ended(&mut life, &ending, cause, sink),
        }
    }

    fn command_ended(
        &mut self,
        life: &mut Life,
        item: Item,
        ending: &Ending,
        cause: EndCause,
        sink: &mut dyn Sink,
    ) {
        let worker = life.worker;
        let Work::Command { started, .. } = life.work else { return };
        let mut known = attempt(life.peer(), started.unwrap_or(self.desk.now), self.desk.now);
        ending.tell(&mut known);
        if let Some(usage) = &ending.usage {
            known.wall = Some(usage.wall);
            known.started = Some(Moment(self.desk.now.0 - nanos(usage.wall).min(self.desk.now.0)));
        }
        let mut failure = None;
        for (stream, output) in
            [(&mut life.streams.stdout, &mut known.out), (&mut life.streams.stderr, &mut known.stderr)]
        {
            if let Some(capture) = stream {
                capture.read_to_end(&mut self.desk.scratch, &self.desk.spill);
                let (kept, failed) = capture.take_output();
                *output = kept;
                failure = failure.or(failed);
            }
        }
        let answer = match (ending.exit, failure) {
            (_, Some(reason)) => {
                known.out = Output::default();
                known.error =
                    Some(TaskError::Spill { directory: self.desk.spill.directory().into(), reason });
                Some(Answer::FailedForGood)
            }
            (Exit::Code(0), None) => Some(Answer::Ok),
            (Exit::Code(_), None) => Some(Answer::Failed),
            (Exit::Signal(_), None) => None,
        };
        let mut known = Some(known);
        let mut once = |_| known.take().unwrap_or_default();
        if let Some(answer) = answer {
            self.desk.tell(Event::Answered { worker, item, answer }, Delivery::Each(&mut once), sink);
        }
        let end = End { claimed: None, cause };
        self.desk.tell(Event::Exited { worker, end }, Delivery::Each(&mut once), sink);
    }

    fn warm_ended(&mut self, life: &mut Life, ending: &Ending, cause: EndCause, sink: &mut dyn Sink) {
        let (worker, peer) = (life.worker, life.peer());
        let Work::Warm(link) = &mut life.work else { return };
        link.note_dead();
        if life.fault.is_none() {
            // What it published before it died counts.
            loop {
                match link.receive(peer, &mut life.streams, &mut self.desk, sink) {
                    Ok(Filled::More) => {}
                    Ok(Filled::Drained | Filled::Closed) => break,
                    Err(breach) if link.oldest_held().is_none() => {
                        let text = breach.error.to_string();
                        sink.notice(Notice::Log { worker, item: None, level: Level::Warn, text });
                        break;
                    }
                    Err(breach) => {
                        life.fault = Some(breach.error);
                        break;
                    }
                }
            }
        }
        let claimed = match life.fault {
            None => link.last_claim(peer, &mut life.streams, &mut self.desk, sink),
            Some(_) => None,
        };
        let started = claimed.or_else(|| link.oldest_held());
        let (stdout, stderr) = last_words(life, started, self, sink);
        if !life.greeted {
            // Who was ended before its hello had its time.
            let late = life.dismissed.then_some(TaskError::NoHello { after: self.start_timeout });
            let error = life.fault.take().or(late);
            let native = matches!(&life.work, Work::Warm(link) if link.native().is_some());
            let native = native.then(|| self.launcher.program());
            self.last_start = LastStart { exit: Some(ending.exit), error, stderr: stderr.clone(), native };
        } else if life.dismissed {
            if let Exit::Code(code @ 1..) = ending.exit {
                let text = format!("the worker ended with exit code {code} after its last item");
                sink.notice(Notice::Log { worker, item: None, level: Level::Warn, text });
            }
        } else {
            sink.notice(Notice::WorkerDied { worker, pid: peer.pid, exit: ending.exit });
        }
        let mut known = Attempt { worker: Some(worker), pid: peer.pid, ..Attempt::default() };
        ending.tell(&mut known);
        (known.stdout, known.stderr, known.error) = (stdout.into(), stderr.into(), life.fault.take());
        if let Work::Warm(link) = &life.work {
            known.started = link.claimed(self.desk.now).map(|claim| claim.since);
            known.wall = known.started.map(|since| self.desk.now - since);
        }
        let (exit, out_of_memory) = (known.exit, known.out_of_memory);
        let mut known = Some(known);
        let mut one = |_| {
            let plain = Attempt { worker: Some(worker), exit, out_of_memory, ..Attempt::default() };
            known.take().unwrap_or(plain)
        };
        // What the engine dispatched in this very pass of the loop is not even in the link.
        let unread = matches!(&life.work, Work::Warm(link)
            if link.oldest_held().is_none() || link.holds_unread(&self.desk.store));
        let cause = if unread && cause == EndCause::Ended { EndCause::Unread } else { cause };
        if let Work::Warm(link) = &mut life.work {
            // Who is told of its items finds free what it held.
            link.leave_seat();
        }
        let event = Event::Exited { worker, end: End { claimed, cause } };
        self.desk.tell(event, Delivery::Each(&mut one), sink);
    }

    /// A start that the keeper dropped before it began.
    pub(super) fn never_ran(&mut self, worker: WorkerId, sink: &mut dyn Sink) {
        if self.lives.remove(worker).is_some() {
            let end = End { claimed: None, cause: EndCause::NeverRan };
            self.desk.tell_plain(Event::Exited { worker, end }, sink);
        }
    }

    fn reap(&mut self, worker: WorkerId) {
        if let KeeperState::Alive(keeper) = &mut self.keeper {
            keeper.reap(worker);
        }
    }

    /// The keeper is gone, and with it every worker.
    pub(super) fn keeper_lost(&mut self, sink: &mut dyn Sink) {
        let lost = KeeperState::Lost { waiting: Vec::new() };
        if !matches!(std::mem::replace(&mut self.keeper, lost), KeeperState::Alive(_)) {
            return;
        }
        tracing::warn!("the keeper died; its workers end, and it is started anew");
        sink.notice(Notice::KeeperLost);
        let mut unreported = Vec::new();
        for life in self.lives.iter() {
            let Some(pidfd) = &life.pidfd else {
                unreported.push(life.worker);
                continue;
            };
            if let Err(error) = pidfd.signal_group(SIGKILL) {
                tracing::debug!(%error, worker = %life.worker, "its group is gone already");
            }
            let token = Token::of(life.worker, Channel::Pidfd).number();
            if let Err(error) = self.poller.add(pidfd.as_fd(), token, Interest::Read) {
                tracing::error!(%error, worker = %life.worker, "cannot wait for its end");
                unreported.push(life.worker);
            }
        }
        if let Err(error) = keeper::sweep(&self.setup.run_id) {
            tracing::error!(%error, "cannot look for what the keeper left");
        }
        for worker in unreported {
            self.ended(worker, Exit::Signal(SIGKILL), None, sink);
        }
        self.renew_keeper(sink);
    }

    /// A worker of a keeper that is gone has ended.
    pub(super) fn lost_worker_ended(&mut self, worker: WorkerId, sink: &mut dyn Sink) {
        self.ended(worker, Exit::Signal(SIGKILL), None, sink);
        self.renew_keeper(sink);
    }

    /// Starts a new keeper once nothing of the old one lives.
    fn renew_keeper(&mut self, sink: &mut dyn Sink) {
        if self.lives.iter().next().is_some() {
            return;
        }
        let KeeperState::Lost { waiting } = &mut self.keeper else { return };
        let waiting = std::mem::take(waiting);
        let renewed = Keeper::start(&self.keeper_program, self.setup.clone());
        match renewed {
            Ok(keeper) => {
                self.keeper = KeeperState::Alive(keeper);
                if let Err(error) = self.watch_keeper() {
                    return self.keeper_failed(error, sink);
                }
                for effect in waiting.into_iter().rev() {
                    self.desk.effects.push_front(effect);
                }
            }
            Err(error) => self.keeper_failed(io::Error::other(error), sink),
        }
    }

    fn keeper_failed(&mut self, reason: io::Error, sink: &mut dyn Sink) {
        self.keeper = KeeperState::Gone;
        self.give_up(GaveUp::Keeper { reason }, sink);
    }
}

/// What a process used, as the keeper saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    pub(super) max_rss_kib: u64,
}

/// How a process ended.
struct Ending {
    exit: Exit,
    usage: Option<Usage>,
    out_of_memory: bool,
}

impl Ending {
    fn tell(&self, known: &mut Attempt) {
        known.exit = Some(self.exit);
        known.cpu = self.usage.map(|usage| usage.cpu);
        known.max_rss_kib = self.usage.map(|usage| usage.max_rss_kib);
        known.out_of_memory = self.out_of_memory;
    }
}

/// What a dead worker wrote last: for its started item if there is one, else for whoever listens to the worker.
fn last_words(
    life: &mut Life,
    started: Option<Item>,
    supervisor: &mut Supervisor,
    sink: &mut dyn Sink,
) -> (Vec<u8>, Vec<u8>) {
    let (worker, peer, greeted) = (life.worker, life.peer(), life.greeted);
    let desk = &mut supervisor.desk;
    let mut words = [Vec::new(), Vec::new()];
    if let Work::Warm(link) = &mut life.work {
        // Nobody waits for the end of it.
        link.begin_reading();
    }
    let streams = [(&mut life.streams.stdout, Stream::Stdout), (&mut life.streams.stderr, Stream::Stderr)];
    for ((stream, kind), words) in streams.into_iter().zip(&mut words) {
        let Some(capture) = stream else { continue };
        capture.read_to_end(&mut desk.scratch, &desk.spill);
        let bytes = taken(capture);
        if bytes.is_empty() {
            continue;
        }
        let is_kept = match &mut life.work {
            Work::Warm(link) if greeted => link.print_raw(kind, &bytes, peer, sink),
            Work::Warm(_) | Work::Command { .. } => false,
        };
        if is_kept {
            continue;
        }
        if started.is_some() || !greeted {
            *words = bytes;
        } else {
            sink.notice(Notice::WorkerOutput { worker, stream: kind, bytes });
        }
    }
    if let (Work::Warm(link), Some(item)) = (&mut life.work, started) {
        let (stdout, stderr) = link.take_prints(item);
        for (words, output) in words.iter_mut().zip([stdout, stderr]) {
            words.extend(output.to_vec().unwrap_or_default());
        }
    }
    words.into()
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
