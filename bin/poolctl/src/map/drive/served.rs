//! The loop of a run in a pool of a service: items go out as the service's credit allows, results come in as there is room for
//! them here.

use std::collections::{HashMap, VecDeque};
use std::env;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use poolctl_service::{
    Arrival, Connection, Mapping, Order, OutcomeName, Pool, Reading, RequestError, ResultMeta,
};
use poolctl_supervisor::{
    Attempt, Block, Counts, Detail, Form, Gate, Outcome, Output, RemoteError, Report, Results, Sink, Spill,
    Stream, TaskError, Waker, now,
};
use poolctl_types::{Exit, ExitCode, Item, ItemRange, Moment, WorkerId};

use super::News;
use super::continuation;
use super::ending::finish_writing;
use super::launch::{output_failure, stderr_outlet, stdout_outlet, thread_failure};
use crate::end::End;
use crate::failure::Failure;
use crate::map::log::Occurrences;
use crate::map::outlet::make_directory;
use crate::map::plan::{Plan, input_failure};
use crate::map::progress::Progress;
use crate::map::signals::{self, Wish};
use crate::map::sink::{ItemSink, WallClock};
use crate::map::source::{InputError, Intake};
use crate::service;
use crate::stderr::say;
use crate::value::Span;

/// So many items are handed over before it is looked again whether there is room.
const ITEMS_AT_A_TIME: usize = 4096;

/// The errors of the service's own making.
const OWN_ERRORS: [&str; 4] = ["Failed", "TimedOut", "WorkerDied", "Quarantined"];

/// The state of the loop, but for the map itself.
struct Pilot {
    sink: ItemSink,
    news: Receiver<News>,
    progress: Progress,
    intake: Receiver<Intake>,
    /// Read and not sent: blocks, and how many of the first one's items are sent.
    waiting: VecDeque<Block>,
    taken: usize,
    /// How many of the first one's items are settled already.
    settled_early: usize,
    /// Sent and not settled, for messages: blocks with the index of their first item and how many are not settled.
    sent: VecDeque<(u64, Block, usize)>,
    /// What items printed whose results are not there yet.
    printed: HashMap<u64, Printed>,
    bulk: bool,
    /// Whether items are commands, which write their results.
    is_command: bool,
    counts: Counts,
    input_error: Option<InputError>,
    /// What ended the run before its time: the first cause.
    cause: Option<ExitCode>,
    /// Whether the service was told that no further item comes.
    has_ended: bool,
    deadline: Option<Moment>,
    grace: Duration,
    terminate_at: Option<Moment>,
    interrupts: u32,
}

#[derive(Debug, Default)]
struct Printed {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs a plan in a pool of a service.
pub(in crate::map) fn drive_served(
    plan: Plan,
    mut connection: Connection,
    pool: &Pool,
) -> Result<End, Failure> {
    let internal = |error| Failure::new(ExitCode::Internal, error);
    // Before the first thread, so that no thread but one ever sees these signals.
    let held = signals::hold().map_err(internal)?;
    let (tell, news) = sync_channel(super::NEWS);
    let waker = Waker::new().map_err(internal)?;
    let order = if plan.sink.ordered { Order::OfItems } else { Order::AsTheyCome };
    let mut pilot = launch(plan, &tell, news, &waker, pool)?;
    let waking = waker.clone();
    held.watch(move |wish| {
        // A full channel holds more wishes of this kind than anybody can mean.
        tell.try_send(News::Wish(wish)).ok();
        waking.wake();
    })
    .map_err(internal)?;
    let mut mapping = connection.map(pool, order).map_err(service::refused)?;
    let lost = pilot.run(&mut mapping, &waker);
    // Whatever the service still has of this run it may drop.
    drop(connection);
    pilot.finish(lost)
}

/// Sets everything up and starts the reader and the writers.
fn launch(
    plan: Plan,
    tell: &SyncSender<News>,
    news: Receiver<News>,
    waker: &Waker,
    pool: &Pool,
) -> Result<Pilot, Failure> {
    let now = now();
    let quiet = plan.sink.quiet;
    if plan.input.reads_terminal() && !quiet {
        say("poolctl: reading items from the terminal, one per line; Ctrl-D ends them\n");
    }
    let input = plan.input.open(plan.steps).map_err(input_failure)?;
    let (landing, log) = match &plan.log {
        Some(log) => continuation::begin(log, quiet)?,
        None => (None, None),
    };
    if let Some(directory) = &plan.directory {
        make_directory(directory).map_err(output_failure)?;
    }
    let progress = Progress::new(plan.progress, quiet || plan.input.reads_terminal(), now);
    let screen = || progress.screen();
    let out = stdout_outlet(landing, log, plan.directory, screen(), waker.clone(), tell.clone());
    let err = stderr_outlet(screen(), waker.clone(), tell.clone());
    let outlets = (out.map_err(thread_failure)?, err.map_err(thread_failure)?);
    let names = plan.log.map(|log| Occurrences::new(log.target, log.done));
    let spill = Arc::new(Spill::new(env::temp_dir()));
    let sink = ItemSink::new(plan.sink, outlets, spill, names, WallClock::at(now));
    let intake = input.start(waker.clone()).map_err(thread_failure)?;
    Ok(Pilot {
        sink,
        news,
        progress,
        intake,
        waiting: VecDeque::new(),
        taken: 0,
        settled_early: 0,
        sent: VecDeque::new(),
        printed: HashMap::new(),
        bulk: plan.detail == Detail::Bulk && pool.kind != "command",
        is_command: pool.kind == "command",
        counts: Counts { workers: pool.workers, ..Counts::default() },
        input_error: None,
        cause: None,
        has_ended: false,
        deadline: plan.deadline.map(|span| now + span),
        grace: plan.engine.grace,
        terminate_at: None,
        interrupts: 0,
    })
}

impl Pilot {
    /// Runs the map to its end; what made it impossible, if something did.
    fn run(&mut self, mapping: &mut Mapping<'_>, waker: &Waker) -> Option<RequestError> {
        while mapping.over().is_none() {
            waker.clear();
            while let Ok(news) = self.news.try_recv() {
                if let News::Wish(wish) = news {
                    self.fulfil(wish, mapping);
                }
            }
            // Nobody waits for what is still to come.
            if self.interrupts > 2 || self.sink.has_failed() {
                self.cause.get_or_insert(ExitCode::OutputError);
                return None;
            }
            if let Err(error) = self.feed(mapping) {
                return Some(error);
            }
            let until = self.look_at_clocks(mapping);
            let reading = if self.sink.end_turn() == Gate::Open { Reading::On } else { Reading::Off };
            let timeout = until.map(|until| until.since(now()));
            let turned = mapping.turn(reading, timeout, waker, &mut |arrival| self.take(arrival));
            if let Err(error) = turned {
                return Some(error);
            }
        }
        None
    }

    /// Sends what was read, as far as the service takes it.
    fn feed(&mut self, mapping: &mut Mapping<'_>) -> Result<(), RequestError> {
        while !self.has_ended {
            if let Some(block) = self.waiting.front() {
                let room = usize::try_from(mapping.room().items).unwrap_or(usize::MAX);
                let some = (self.taken..block.len()).take(room.min(ITEMS_AT_A_TIME));
                let items: Vec<&[u8]> = some.map(|index| block.item(index)).collect();
                let pushed = mapping.push(&items)?;
                self.taken += pushed;
                if self.taken == block.len() {
                    self.pass_on_first();
                } else if pushed == 0 {
                    return Ok(());
                }
                continue;
            }
            match self.intake.try_recv() {
                Ok(Intake::Items(block)) => {
                    self.counts.read += block.len() as u64;
                    self.waiting.push_back(block);
                }
                Ok(Intake::End) => self.end_input(mapping),
                Ok(Intake::Failed(error)) => {
                    self.cause.get_or_insert(ExitCode::BadInput);
                    self.input_error = Some(error);
                    self.end_input(mapping);
                }
                Err(TryRecvError::Empty) => return Ok(()),
                // The reader is gone without a word: it can only have panicked.
                Err(TryRecvError::Disconnected) => {
                    self.cause.get_or_insert(ExitCode::Internal);
                    self.end_input(mapping);
                }
            }
        }
        Ok(())
    }

    /// The first block that waits is sent; its items are kept until they are settled.
    fn pass_on_first(&mut self) {
        let Some(block) = self.waiting.pop_front() else { return };
        self.taken = 0;
        let first = self.counts.held;
        self.counts.held += block.len() as u64;
        let left = block.len() - std::mem::take(&mut self.settled_early);
        self.sent.push_back((first, block, left));
        self.drop_settled();
    }

    fn end_input(&mut self, mapping: &mut Mapping<'_>) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.counts.input_ended = true;
            mapping.end();
        }
    }

    /// Ends the run for this cause: what waits is not sent, what is queued there is cancelled, what runs unless
    /// `only_queued`.
    fn stop(&mut self, cause: ExitCode, mapping: &mut Mapping<'_>, only_queued: bool) {
        self.cause.get_or_insert(cause);
        self.end_input(mapping);
        mapping.cancel(only_queued);
    }

    fn look_at_clocks(&mut self, mapping: &mut Mapping<'_>) -> Option<Moment> {
        let now = now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.sink.say("poolctl: the deadline has passed; stopping\n");
            self.stop(ExitCode::Deadline, mapping, false);
        }
        if self.terminate_at.is_some_and(|terminate_at| terminate_at <= now) {
            self.terminate_at = None;
            mapping.cancel(false);
        }
        self.counts.running = u64::from(self.counts.workers).min(self.unsettled());
        if let Some(text) = self.progress.look(now, &self.counts) {
            self.sink.say(&text);
        }
        [self.deadline, self.terminate_at, self.progress.next_look()].into_iter().flatten().min()
    }

    fn unsettled(&self) -> u64 {
        (self.counts.held + self.taken as u64).saturating_sub(self.counts.settled())
    }

    fn fulfil(&mut self, wish: Wish, mapping: &mut Mapping<'_>) {
        match wish {
            Wish::Interrupt => {
                self.interrupts += 1;
                let words = match self.interrupts {
                    1 => "poolctl: stopping: no new items; Ctrl-C again to stop what runs\n",
                    2 => "poolctl: stopping what runs; Ctrl-C again to leave at once\n",
                    _ => "",
                };
                self.sink.say(words);
                self.stop(ExitCode::Interrupted, mapping, self.interrupts == 1);
            }
            Wish::Terminate => {
                self.sink.say(&format!(
                    "poolctl: stopping: no new items; those that run have {}\n",
                    Span(self.grace)
                ));
                self.stop(ExitCode::Terminated, mapping, true);
                self.terminate_at.get_or_insert(now() + self.grace);
            }
            Wish::Suspend => {
                if let Err(error) = signals::stand_still() {
                    tracing::warn!(%error, "cannot stop");
                }
            }
            Wish::Status => {
                let Counts { ok, failed, read, .. } = self.counts;
                let unsettled = self.unsettled();
                self.sink.say(&format!(
                    "poolctl: {ok} ok, {failed} failed, {unsettled} with the service, {} read\n",
                    read
                ));
            }
        }
    }

    /// Takes what has come.
    fn take(&mut self, arrival: Arrival<'_>) {
        match arrival {
            Arrival::Ok { index, result, .. } if self.bulk && !self.printed.contains_key(&index) => {
                self.counts.ok += 1;
                self.forget(index);
                let mut line = result.to_vec();
                line.push(b'\n');
                let results = Results { bytes: &line, form: Form::Lines };
                self.sink.run(ItemRange::one(Item(index)), results);
            }
            Arrival::Ok { index, meta, result } => {
                self.settle(index, meta, Outcome::Ok, result.to_vec(), None)
            }
            Arrival::Ended { index, meta, error } => {
                let outcome = outcome_of(meta.outcome);
                let error = self.told_apart(index, meta, error);
                self.settle(index, meta, outcome, Vec::new(), error.map(TaskError::Remote));
            }
            Arrival::Log { index, meta, text } => match (index, meta.stream) {
                (Some(index), Some(Stream::Stdout)) => {
                    self.printed.entry(index).or_default().stdout.extend_from_slice(text);
                }
                (Some(index), Some(Stream::Stderr)) => {
                    self.printed.entry(index).or_default().stderr.extend_from_slice(text);
                }
                _ => self.sink.say(&String::from_utf8_lossy(text)),
            },
        }
    }

    /// The error of a function. What the service only says in words of its own, outcome, exit code and stderr, is told here
    /// as of any other run.
    fn told_apart(&mut self, index: u64, meta: &ResultMeta, error: &[u8]) -> Option<RemoteError> {
        let error = RemoteError::parse(error).ok()?;
        let is_known =
            meta.exit.is_some() || meta.signal.is_some() || meta.outcome == Some(OutcomeName::TimedOut);
        if !(is_known && OWN_ERRORS.contains(&error.type_name.as_str())) {
            return Some(error).filter(|error| !error.msg.is_empty());
        }
        let printed = self.printed.entry(index).or_default();
        if printed.stderr.is_empty() {
            printed.stderr = error.trace.unwrap_or_default().into_bytes();
        }
        None
    }

    fn settle(
        &mut self,
        index: u64,
        meta: &ResultMeta,
        outcome: Outcome,
        result: Vec<u8>,
        error: Option<TaskError>,
    ) {
        match outcome {
            Outcome::Ok => self.counts.ok += 1,
            Outcome::Cancelled => self.counts.cancelled += 1,
            _ => self.counts.failed += 1,
        }
        let payload = self.payload(index);
        self.forget(index);
        let printed = self.printed.remove(&index).unwrap_or_default();
        // What a command wrote before it failed is its output as well.
        let (out, stdout) = match outcome {
            Outcome::Ok => (result, printed.stdout),
            _ if self.is_command => (printed.stdout, Vec::new()),
            _ => (Vec::new(), printed.stdout),
        };
        let exit = meta.signal.map(Exit::Signal).or(meta.exit.map(Exit::Code));
        let attempt = Attempt {
            worker: meta.worker.as_deref().and_then(worker_id),
            pid: meta.pid,
            exit,
            out: Output::from(out),
            stdout: Output::from(stdout),
            stderr: Output::from(printed.stderr),
            error,
            wall: meta.ms.filter(|ms| *ms > 0).map(Duration::from_millis),
            out_of_memory: meta.oom,
            ..Attempt::default()
        };
        let attempts = meta.attempts.unwrap_or(1);
        self.sink.settled(Report { item: Item(index), payload, outcome, attempts, attempt });
    }

    /// The bytes of an item that is not settled.
    fn payload(&self, index: u64) -> Vec<u8> {
        let place = self.sent.partition_point(|(first, ..)| *first <= index).checked_sub(1);
        let found = match place {
            Some(place) => {
                let (first, block, _) = &self.sent[place];
                usize::try_from(index - first)
                    .ok()
                    .filter(|at| *at < block.len())
                    .map(|at| block.item(at).to_vec())
            }
            None => None,
        };
        // Of a block that is sent in part.
        let waiting = || {
            let at = usize::try_from(index.checked_sub(self.counts.held)?).ok()?;
            self.waiting.front().filter(|block| at < block.len()).map(|block| block.item(at).to_vec())
        };
        found.or_else(waiting).unwrap_or_default()
    }

    /// An item is settled: when all of its block are, the block goes.
    fn forget(&mut self, index: u64) {
        if index >= self.counts.held {
            self.settled_early += 1;
            return;
        }
        let place = self.sent.partition_point(|(first, ..)| *first <= index).checked_sub(1);
        if let Some((_, _, left)) = place.and_then(|place| self.sent.get_mut(place)) {
            *left = left.saturating_sub(1);
        }
        self.drop_settled();
    }

    fn drop_settled(&mut self) {
        while self.sent.front().is_some_and(|(.., left)| *left == 0) {
            self.sent.pop_front();
        }
    }

    /// Everything written, and one exit code.
    fn finish(mut self, lost: Option<RequestError>) -> Result<End, Failure> {
        let (sole_end, tally) = (self.sink.sole_end(), self.sink.tally());
        let unsettled = self.unsettled();
        if let Some(text) = self.progress.end(now(), &self.counts) {
            self.sink.say(&text);
        }
        if lost.is_some() && unsettled > 0 {
            self.sink.say(&format!("poolctl: {unsettled} items have no outcome: the service had them\n"));
        }
        let cause = self.cause;
        let patience = if cause == Some(ExitCode::Terminated) { self.grace } else { Duration::MAX };
        if let Some(end) = finish_writing(self.sink, &self.news, cause, patience, || ())? {
            return Ok(end);
        }
        if let Some(error) = lost {
            return Err(service::refused(error));
        }
        match (cause, self.input_error) {
            (Some(ExitCode::BadInput), Some(error)) => Err(input_failure(error)),
            (Some(cause), _) => Ok(cause.into()),
            (None, _) if tally.failed > 0 || tally.cancelled > 0 => {
                Ok(sole_end.unwrap_or(ExitCode::Failed.into()))
            }
            (None, _) => Ok(ExitCode::Ok.into()),
        }
    }
}

/// What never ran because the pool is closed or broken failed, as far as this run is concerned.
fn outcome_of(name: Option<OutcomeName>) -> Outcome {
    match name {
        None => Outcome::Ok,
        Some(OutcomeName::Failed | OutcomeName::Refused) => Outcome::Failed,
        Some(OutcomeName::TimedOut) => Outcome::TimedOut,
        Some(OutcomeName::Cancelled) => Outcome::Cancelled,
        Some(OutcomeName::Died) => Outcome::WorkerDied,
        Some(OutcomeName::Quarantined) => Outcome::Quarantined,
    }
}

/// The worker `slot.generation`.
fn worker_id(text: &str) -> Option<WorkerId> {
    let (slot, generation) = text.split_once('.')?;
    Some(WorkerId::new(slot.parse().ok()?, generation.parse().ok()?))
}
