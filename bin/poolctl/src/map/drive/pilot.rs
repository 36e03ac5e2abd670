//! What the loop does between two turns of the supervisor, and what it remembers for the end.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use poolctl_supervisor::{Gate, Stop, Supervisor, Turn, now};
use poolctl_types::{ExitCode, Moment};

use super::News;
use super::launch::Parts;
use super::start_hint::StartHint;
use crate::map::progress::Progress;
use crate::map::signals::{self, Wish};
use crate::map::sink::{ItemForm, ItemSink};
use crate::map::source::{InputError, Intake};
use crate::map::status;
use crate::map::throttle::Throttle;
use crate::value::Span;

/// The state of the loop.
pub(super) struct Pilot {
    pub(super) supervisor: Supervisor,
    pub(super) sink: ItemSink,
    pub(super) news: Receiver<News>,
    pub(super) progress: Progress,
    pub(super) input_error: Option<InputError>,
    /// What ended the run before its time: the first cause.
    pub(super) cause: Option<ExitCode>,
    intake: Receiver<Intake>,
    input_over: bool,
    throttle: Throttle,
    gate: Gate,
    /// When the whole run must be over.
    deadline: Option<Moment>,
    pub(super) grace: Duration,
    /// When running items are stopped after a TERM.
    terminate_at: Option<Moment>,
    interrupts: u32,
    items: ItemForm,
    pub(super) start_hint: StartHint,
}

impl Pilot {
    pub(super) fn new(parts: Parts, news: Receiver<News>) -> Self {
        let mut pilot = Self {
            supervisor: parts.supervisor,
            sink: parts.sink,
            news,
            progress: parts.progress,
            input_error: None,
            cause: None,
            intake: parts.intake,
            input_over: false,
            throttle: parts.throttle,
            gate: Gate::Open,
            deadline: parts.deadline,
            grace: parts.grace,
            terminate_at: None,
            interrupts: 0,
            items: parts.items,
            start_hint: parts.start_hint,
        };
        // Before the first item, or it would start whatever the machine is like.
        pilot.set_gate(now());
        pilot
    }

    /// Sees to everything that is due; returns when the next thing is.
    pub(super) fn prepare(&mut self) -> Option<Moment> {
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Wish(wish) => self.fulfil(wish),
                News::WriterEnded => unreachable!("writers go on until they are told that nothing follows"),
            }
        }
        self.feed();
        let now = now();
        if self.sink.has_failed() {
            // Nobody reads, or there is no room: whatever is still computed is lost.
            self.end(ExitCode::OutputError, Stop::Kill);
        }
        if self.sink.no_program().is_some() {
            self.end(ExitCode::CannotStart, Stop::Drain);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.sink.say("poolctl: the deadline has passed; stopping\n");
            self.end(ExitCode::Deadline, Stop::Term);
        }
        if self.terminate_at.is_some_and(|terminate_at| terminate_at <= now) {
            self.terminate_at = None;
            self.supervisor.stop(Stop::Term);
        }
        if let Some(text) = self.progress.look(now, &self.supervisor.counts()) {
            self.sink.say(&text);
        }
        self.set_gate(now);
        let dues = [self.deadline, self.terminate_at, self.progress.next_look(), self.throttle.next_look()];
        dues.into_iter().flatten().min()
    }

    /// One turn of the supervisor.
    pub(super) fn turn(&mut self, until: Option<Moment>) -> Turn {
        let turn = self.supervisor.turn(&mut self.sink, until);
        if self.sink.was_halted() {
            self.cause.get_or_insert(ExitCode::Halted);
            self.input_over = true;
        }
        if self.sink.has_given_up() || self.sink.no_program().is_some() {
            self.cause.get_or_insert(ExitCode::CannotStart);
            self.input_over = true;
        }
        turn
    }

    /// Passes on what was read, as far as it is wanted.
    fn feed(&mut self) {
        while !self.input_over && self.supervisor.wants_input() {
            match self.intake.try_recv() {
                Ok(Intake::Items(block)) => {
                    tracing::debug!(items = block.len(), bytes = block.byte_len(), "read");
                    self.supervisor.push(block);
                }
                Ok(Intake::End) => self.end_input(None),
                Ok(Intake::Failed(error)) => self.end_input(Some(error)),
                Err(TryRecvError::Empty) => {
                    self.supervisor.input_idle();
                    return;
                }
                // The reader is gone without a word: it can only have panicked.
                Err(TryRecvError::Disconnected) => {
                    self.cause.get_or_insert(ExitCode::Internal);
                    self.end_input(None);
                }
            }
        }
    }

    fn end_input(&mut self, error: Option<InputError>) {
        self.input_over = true;
        if error.is_some() {
            self.cause.get_or_insert(ExitCode::BadInput);
            self.input_error = error;
        }
        self.supervisor.end_of_input();
    }

    fn set_gate(&mut self, now: Moment) {
        let held_back = self.throttle.holds(now);
        if let Some(words) = self.throttle.words() {
            self.sink.say(&words);
        }
        let gate = match self.sink.end_turn() {
            Gate::Open if !held_back => Gate::Open,
            Gate::Open | Gate::Closed => Gate::Closed,
        };
        if gate != self.gate {
            self.gate = gate;
            self.supervisor.set_gate(gate);
        }
    }

    /// Ends the run for this cause, this hard.
    fn end(&mut self, cause: ExitCode, stop: Stop) {
        self.cause.get_or_insert(cause);
        self.input_over = true;
        self.supervisor.stop(stop);
    }

    fn fulfil(&mut self, wish: Wish) {
        if matches!(wish, Wish::Interrupt | Wish::Terminate) {
            // What has begun by now runs, also where nobody has told so yet.
            self.turn(Some(now()));
        }
        match wish {
            Wish::Interrupt => self.interrupt(),
            Wish::Terminate => {
                let running = self.supervisor.counts().running;
                self.sink.say(&format!(
                    "poolctl: stopping: no new items, {running} running, which have {}\n",
                    Span(self.grace)
                ));
                self.end(ExitCode::Terminated, Stop::Drain);
                self.terminate_at.get_or_insert(now() + self.grace);
            }
            Wish::Suspend => self.suspend(),
            Wish::Status => self.tell_status(),
        }
    }

    fn interrupt(&mut self) {
        self.interrupts += 1;
        let (stop, words) = match self.interrupts {
            1 => {
                let running = self.supervisor.counts().running;
                let words =
                    format!("poolctl: stopping: no new items, {running} running; Ctrl-C again to kill\n");
                (Stop::Drain, words)
            }
            2 => (Stop::Term, "poolctl: ending what runs; Ctrl-C again to kill at once\n".to_owned()),
            _ => (Stop::Kill, String::new()),
        };
        self.sink.say(&words);
        self.end(ExitCode::Interrupted, stop);
    }

    /// Stops workers and clocks, then this process; goes on when somebody continues it.
    fn suspend(&mut self) {
        self.supervisor.pause();
        // The clocks must stand still before this process does.
        self.turn(Some(now()));
        if let Err(error) = signals::stand_still() {
            tracing::warn!(%error, "cannot stop");
        }
        self.supervisor.resume();
    }

    fn tell_status(&mut self) {
        let running = self.supervisor.running();
        let shown =
            running.iter().map(|running| (running, self.items.shown(self.supervisor.item(running.item))));
        let table = status::table(now(), &self.supervisor.counts(), shown);
        self.sink.say(&table);
    }
}
