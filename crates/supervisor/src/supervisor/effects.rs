//! Carrying out what the engine asks for.

use poolctl_engine::{Effect, Event, GiveUp, Stop};
use poolctl_protocol::Level;
use poolctl_types::WorkerId;

use super::{KeeperState, SIGCONT, SIGKILL, SIGTERM, Supervisor};
use crate::life::Work;
use crate::link::Link;
use crate::report::{GaveUp, Notice, Sink, TaskError};

impl Supervisor {
    /// Carries out every effect, and those that follow from it.
    pub(super) fn carry_out(&mut self, sink: &mut dyn Sink) {
        while let Some(effect) = self.desk.effects.pop_front() {
            self.carry_out_one(effect, sink);
        }
    }

    fn carry_out_one(&mut self, effect: Effect, sink: &mut dyn Sink) {
        match effect {
            Effect::Spawn(_) | Effect::Run { .. } => match &mut self.keeper {
                KeeperState::Alive(_) => self.start_process(effect, sink),
                KeeperState::Lost { waiting } => waiting.push(effect),
                KeeperState::Gone => {}
            },
            Effect::Dispatch { worker, items, attempt } => {
                self.desk.observer.dispatched(worker, items.count, self.desk.now);
                if let Some(link) = link_of(self.lives.get_mut(worker)) {
                    link.dispatch(items, attempt, &self.desk);
                    self.watch_room(worker);
                }
            }
            Effect::Probe(worker) => {
                let now = self.desk.now;
                let claim = link_of(self.lives.get_mut(worker)).and_then(|link| link.claimed(now));
                self.desk.tell_plain(Event::Claimed { worker, claim }, sink);
            }
            Effect::Cancel { worker, item } => {
                if let Some(link) = link_of(self.lives.get_mut(worker)) {
                    link.cancel(item, self.desk.now);
                    self.watch_room(worker);
                }
            }
            Effect::CloseInput(worker) => {
                if let Some(life) = self.lives.get_mut(worker) {
                    life.dismissed = true;
                    if let Work::Warm(link) = &mut life.work {
                        link.close_input();
                    }
                    self.watch_room(worker);
                }
            }
            Effect::Terminate(worker) => {
                self.signal(worker, SIGTERM);
                self.signal(worker, SIGCONT);
            }
            Effect::Kill(worker) => self.signal(worker, SIGKILL),
            Effect::Reap(worker) => {
                if let KeeperState::Alive(keeper) = &mut self.keeper {
                    keeper.reap(worker);
                }
            }
            Effect::Halted => sink.notice(Notice::Halted),
            Effect::GaveUp(why) => {
                let why = self.why_given_up(why);
                self.give_up(why, sink);
            }
            Effect::Settle { .. } | Effect::Retry { .. } => {
                unreachable!("the desk hands these to the sink: {effect:?}")
            }
        }
    }

    /// Sends a signal to a worker's whole group.
    fn signal(&mut self, worker: WorkerId, signal: i32) {
        if let Some(life) = self.lives.get_mut(worker) {
            life.dismissed = true;
        }
        if let KeeperState::Alive(keeper) = &mut self.keeper {
            keeper.signal(worker, signal);
        }
    }

    /// Sends a signal to every worker's group.
    pub(super) fn signal_all(&mut self, signal: i32) {
        if let KeeperState::Alive(keeper) = &mut self.keeper {
            // One that does not run yet is dropped instead, and its item goes back to the queue.
            for life in self.lives.iter() {
                keeper.signal(life.worker, signal);
            }
        }
    }

    fn why_given_up(&mut self, why: GiveUp) -> GaveUp {
        if let Some(refusal) = self.refusal.take() {
            return refusal;
        }
        let starts = match why {
            GiveUp::TooManyStarts(starts) => starts,
            GiveUp::CannotStart => 1,
        };
        GaveUp::TooManyStarts { starts, last: Box::new(std::mem::take(&mut self.last_start)) }
    }

    /// Ends the run for a reason the engine does not know; told once.
    pub(super) fn give_up(&mut self, why: GaveUp, sink: &mut dyn Sink) {
        if !std::mem::replace(&mut self.given_up, true) {
            sink.notice(Notice::GaveUp(why));
            self.desk.tell_plain(Event::Stop(Stop::Term), sink);
        }
    }

    /// Tells the engine that a worker broke its rules; it believes it no more and has it killed.
    pub(super) fn accuse(&mut self, worker: WorkerId, breach: crate::link::Breach, sink: &mut dyn Sink) {
        let Some(life) = self.lives.get_mut(worker) else { return };
        if let Work::Warm(link) = &life.work
            && let Some(fd) = link.reply_fd()
            && let Err(error) = self.poller.remove(fd)
        {
            tracing::debug!(%error, %worker, "its link was not watched any more");
        }
        if let TaskError::Refused { code, error } = breach.error {
            self.give_up(GaveUp::Refused { code, error }, sink);
            return;
        }
        tracing::warn!(%worker, error = %breach.error, "a worker broke its rules");
        let item = breach.item.or_else(|| match &life.work {
            Work::Warm(link) => link.in_hand(self.desk.now),
            Work::Command { .. } => None,
        });
        let is_idle = matches!(&life.work, Work::Warm(link) if life.greeted && link.oldest_held().is_none());
        if is_idle {
            // No item's error tells of it.
            let text = breach.error.to_string();
            sink.notice(Notice::Log { worker, item: None, level: Level::Warn, text });
        }
        life.fault = Some(breach.error);
        self.desk.tell_plain(Event::Fault { worker, item }, sink);
    }
}

/// The link of a warm worker that is still believed.
pub(super) fn link_of(life: Option<&mut crate::life::Life>) -> Option<&mut Link> {
    match life {
        Some(crate::life::Life { work: Work::Warm(link), fault: None, .. }) => Some(link),
        _ => None,
    }
}
