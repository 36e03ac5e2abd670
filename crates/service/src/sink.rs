//! Where a supervisor's news becomes replies to clients.

use std::sync::Arc;

use poolctl_protocol::client::{NO_REQUEST, OutcomeName, ResultMeta, to_json};
use poolctl_protocol::{Frame, Kind, MAX_BODY_BYTES};
use poolctl_supervisor::{
    Attempt, Exit, Form, GaveUp, Item, ItemRange, Level, Moment, NestedOutcome, Notice, Outcome, Output,
    RemoteError, Report, Results, Sink, Stream, TaskError, WorkerId,
};

use crate::client::{Client, beginning};
use crate::clients::Clients;
use crate::ledger::{ClientId, Ledger, Place};
use crate::nests::{NESTED, Nests, Request};
use crate::spec::OnWorkerDeath;

/// How much of what a dead worker wrote last on stderr is told, in bytes.
const TAIL_BYTES: usize = 4096;

/// The longest piece of output in one frame, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// The longest note about progress that is passed on, in bytes: meta is shorter than 64 KiB, and JSON takes up to six
/// bytes for one.
const NOTE_BYTES: usize = 8 << 10;

/// How the items of a pool ended, and what happened to its workers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) timed_out: u64,
    pub(crate) died: u64,
    pub(crate) quarantined: u64,
    pub(crate) cancelled: u64,
    /// Workers that died, but for those that were let go.
    pub(crate) deaths: u64,
    pub(crate) last_death: Option<LastDeath>,
    /// Why it takes nothing more.
    pub(crate) end: Option<End>,
}

/// The last worker that died.
#[derive(Debug)]
pub(crate) struct LastDeath {
    pub(crate) worker: WorkerId,
    pub(crate) exit: Exit,
    pub(crate) out_of_memory: bool,
    pub(crate) stderr: String,
    pub(crate) at: Moment,
}

/// Why a pool takes nothing more, though nobody closed it.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Its workers cannot be started.
    GaveUp(Arc<RemoteError>),
    /// A worker died, and that was to be its end.
    Broken { worker: WorkerId, exit: Exit },
}

impl End {
    /// As the error of an item.
    pub(crate) fn error(&self) -> RemoteError {
        match self {
            End::GaveUp(error) => RemoteError::clone(error),
            End::Broken { worker, exit } => {
                named("BrokenPool", format!("worker {worker} died ({exit}), and the pool with it"))
            }
        }
    }
}

/// Takes what a supervisor tells in one turn.
pub(crate) struct PoolSink<'a> {
    pub(crate) pool: u64,
    pub(crate) owner: Option<ClientId>,
    pub(crate) policy: OnWorkerDeath,
    pub(crate) now: Moment,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) clients: &'a mut Clients,
    pub(crate) tally: &'a mut Tally,
    pub(crate) nests: &'a mut Nests,
    /// What items ask for.
    pub(crate) requests: Vec<Request>,
    /// Items that were cancelled: by whom is known at the end of the turn.
    pub(crate) cancelled: Vec<(ItemRange, u32)>,
}

impl Sink for PoolSink<'_> {
    fn run(&mut self, items: ItemRange, results: Results<'_>) {
        self.tally.ok += u64::from(items.count);
        let Self { ledger, clients, nests, pool, .. } = self;
        let mut rest = results;
        ledger.settle(items, |place, part| {
            let (of_part, behind) = rest.split(u64::from(part.count));
            rest = behind;
            if place.client == NESTED {
                for (at, result) in (0..).zip(each_of(of_part, part.count)) {
                    nests.settle(place.plus(at), NestedOutcome::Ok(result.to_vec().into()));
                }
            } else if let Some(client) = clients.tell(place.client) {
                settle(client, *pool, place, part.count);
                tell_run(client, place, part.count, of_part);
            }
        });
    }

    fn never_ran(&mut self, items: ItemRange) {
        self.cancelled.push((items, 0));
    }

    fn settled(&mut self, report: Report) {
        let items = ItemRange::one(report.item);
        if report.outcome == Outcome::Cancelled {
            self.cancelled.push((items, report.attempts));
            return;
        }
        self.count(&report);
        let Self { ledger, clients, nests, pool, .. } = self;
        let mut report = Some(report);
        ledger.settle(items, |place, _| {
            if place.client == NESTED {
                if let Some(report) = report.take() {
                    nests.settle(place, nested_outcome(report));
                }
            } else if let (Some(client), Some(report)) = (clients.tell(place.client), report.take()) {
                settle(client, *pool, place, 1);
                tell_report(client, *pool, place, report);
            }
        });
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Retry { item, next, why, .. } => {
                tracing::info!(%item, next, ?why, "an attempt did not go well, another follows");
            }
            Notice::Greeted { worker, .. } => tracing::debug!(%worker, "a worker said hello"),
            Notice::WorkerDied { worker, pid, exit } => self.worker_died(worker, pid, exit),
            Notice::WorkerOutput { worker, stream, bytes } => self.worker_output(worker, stream, &bytes),
            Notice::Log { worker, item, level, text } => self.log(worker, item, level, &text),
            Notice::Progress { item, fraction, note } => self.progress(item, fraction, note.as_deref()),
            Notice::GaveUp(why) => {
                tracing::error!(pool = self.pool, reason = %why, "the pool gives up");
                let error = match why {
                    GaveUp::Refused { error, .. } => error,
                    other => RemoteError { trace: last_words(&other), ..named("CannotStart", chain(&other)) },
                };
                self.tally.end.get_or_insert(End::GaveUp(Arc::new(error)));
            }
            Notice::Nested { worker, id, payload, .. } => {
                self.requests.push(Request::Submit { worker, id, payload });
            }
            Notice::NestedForget { worker, id } => self.requests.push(Request::Forget { worker, id }),
            Notice::NestedWait { worker, id } => self.requests.push(Request::Wait { worker, id }),
            Notice::Halted | Notice::KeeperLost => {
                tracing::warn!(pool = self.pool, ?notice, "the pool goes on");
            }
            other => tracing::debug!(notice = ?other, "a notice"),
        }
    }
}

impl PoolSink<'_> {
    /// Tells what was cancelled in this turn, and calls `known` with each part of it. Gives what items ask for.
    pub(crate) fn finish(mut self, mut known: impl FnMut(Place, u32)) -> Vec<Request> {
        let end = self.tally.end.clone();
        for (items, attempts) in std::mem::take(&mut self.cancelled) {
            let Self { ledger, clients, tally, pool, nests, .. } = &mut self;
            tally.cancelled += u64::from(items.count);
            ledger.settle(items, |place, part| {
                known(place, part.count);
                if place.client == NESTED {
                    nests.not_run(place, part.count, || NestedOutcome::Err(why_not_run(end.as_ref()).1));
                } else if let Some(client) = clients.tell(place.client) {
                    settle(client, *pool, place, part.count);
                    tell_not_run(client, place, u64::from(part.count), attempts, end.as_ref());
                }
            });
        }
        self.requests
    }

    fn count(&mut self, report: &Report) {
        let tally = &mut *self.tally;
        match report.outcome {
            Outcome::Ok => tally.ok += 1,
            Outcome::Failed => tally.failed += 1,
            Outcome::TimedOut => tally.timed_out += 1,
            Outcome::WorkerDied => tally.died += 1,
            Outcome::Quarantined => tally.quarantined += 1,
            Outcome::Cancelled => tally.cancelled += 1,
        }
        let attempt = &report.attempt;
        if let (Some(death), true) = (&mut tally.last_death, attempt.worker.is_some())
            && attempt.worker == Some(death.worker)
        {
            death.out_of_memory |= attempt.out_of_memory;
            death.stderr = String::from_utf8_lossy(attempt.stderr.tail(TAIL_BYTES)).into_owned();
        }
    }

    fn worker_died(&mut self, worker: WorkerId, pid: Option<u32>, exit: Exit) {
        tracing::info!(pool = self.pool, %worker, pid, %exit, "a worker died");
        self.tally.deaths += 1;
        self.tally.last_death =
            Some(LastDeath { worker, exit, out_of_memory: false, stderr: String::new(), at: self.now });
        if self.policy == OnWorkerDeath::Break {
            self.tally.end.get_or_insert(End::Broken { worker, exit });
        }
        let (code, signal) = parts_of(exit);
        let event = serde_json::json!({
            "event": "down", "worker": worker.to_string(), "pid": pid, "exit": code, "signal": signal,
        });
        self.tell_all(Kind::Event, self.pool, b"", event.to_string().as_bytes());
    }

    /// What a worker printed that belongs to no item: for the client whose workers they are.
    fn worker_output(&mut self, worker: WorkerId, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        tracing::debug!(target: "poolctl::worker", pool = self.pool, %worker, ?stream, text = text.trim_end());
        if let Some(client) = self.owner.and_then(|owner| self.clients.tell(owner)) {
            let place = Place { client: client.id, id: NO_REQUEST, index: None };
            write_output(client.stream.outbox.bytes(), self.pool, place, stream, Some(worker), bytes);
        }
    }

    fn log(&mut self, worker: WorkerId, item: Option<Item>, level: Level, text: &str) {
        tracing::info!(target: "poolctl::worker", pool = self.pool, %worker, ?level, text);
        let place = item.and_then(|item| self.ledger.whose(item));
        let (client, id) = match place {
            Some(place) => (Some(place.client), place.id),
            None => (self.owner, NO_REQUEST),
        };
        if let Some(client) = client.and_then(|client| self.clients.tell(client)) {
            let level = format!("{level:?}").to_lowercase();
            let meta = serde_json::json!({ "level": level, "worker": worker.to_string(), "pool": self.pool });
            client.send(Kind::Log, id, meta.to_string().as_bytes(), text.as_bytes());
        }
    }

    fn progress(&mut self, item: Item, fraction: f64, note: Option<&str>) {
        let Some(place) = self.ledger.whose(item) else { return };
        if let Some(client) = self.clients.tell(place.client) {
            let note = note.map(|note| beginning(note, NOTE_BYTES));
            let meta = serde_json::json!({ "progress": fraction, "note": note, "index": place.index });
            client.send(Kind::Progress, place.id, meta.to_string().as_bytes(), b"");
        }
    }

    fn tell_all(&mut self, kind: Kind, id: u64, meta: &[u8], payload: &[u8]) {
        for client in self.clients.of_pool(self.pool) {
            if let Some(client) = self.clients.tell(client) {
                client.send(kind, id, meta, payload);
            }
        }
    }
}

/// Items have ended, so others may come.
fn settle(client: &mut Client, pool: u64, place: Place, count: u32) {
    debug_assert_eq!(client.id, place.client);
    if let Some(account) = client.accounts.get_mut(&pool) {
        account.settle(u64::from(count));
    }
}

/// Tells the results of neighbours that are all ok.
fn tell_run(client: &mut Client, place: Place, count: u32, results: Results<'_>) {
    match (place.index, results.form) {
        (None, Form::Sized) => client.send_results(place.id, count, results.bytes),
        (None, _) if count > 1 => client.send_lines(place.id, count, each_of(results, count)),
        _ => {
            for (at, result) in (0..).zip(each_of(results, count)) {
                let place = place.plus(at);
                let meta = ResultMeta { index: place.index, ..ResultMeta::default() };
                client.send_result(place.id, &meta, Vec::new(), result, None);
            }
            client.end_map(place.id);
        }
    }
}

/// The results one by one.
fn each_of(results: Results<'_>, count: u32) -> impl Iterator<Item = &[u8]> {
    let mut rest = results;
    (0..count).map(move |_| {
        let (first, behind) = rest.split(1);
        rest = behind;
        first.only()
    })
}

/// Tells all that is known of one item.
fn tell_report(client: &mut Client, pool: u64, place: Place, report: Report) {
    let Report { outcome, attempts, mut attempt, .. } = report;
    let mut printed = Vec::new();
    let mut add = |stream, output: &Output| match output.to_vec() {
        Ok(bytes) => write_output(&mut printed, pool, place, stream, attempt.worker, &bytes),
        Err(error) => tracing::warn!(pool, %error, "what an item printed cannot be read back"),
    };
    add(Stream::Stdout, &attempt.stdout);
    if outcome != Outcome::Ok {
        // Of a command this is what it wrote before it failed; of others nothing.
        add(Stream::Stdout, &attempt.out);
    }
    add(Stream::Stderr, &attempt.stderr);
    let mut meta = ResultMeta { index: place.index, ..ResultMeta::default() };
    if outcome == Outcome::Ok {
        tell_value(client, place, &meta, &mut attempt, printed);
    } else {
        meta.outcome = Some(name_of(outcome));
        meta.attempts = Some(attempts);
        meta.worker = attempt.worker.map(|worker| worker.to_string());
        meta.pid = attempt.pid;
        (meta.exit, meta.signal) = attempt.exit.map_or((None, None), parts_of);
        meta.ms = attempt.wall.map(|wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        meta.oom = attempt.out_of_memory;
        let error = error_of(outcome, attempt);
        client.send_result(place.id, &meta, printed, &to_json(&error), None);
    }
    client.end_map(place.id);
}

/// Tells the result of one item that is ok.
fn tell_value(client: &mut Client, place: Place, meta: &ResultMeta, attempt: &mut Attempt, printed: Vec<u8>) {
    let size = attempt.out.len();
    if client.takes_descriptors()
        && let Some(memfd) = attempt.out.take_memfd()
    {
        return client.send_result(place.id, meta, printed, b"", Some(Arc::new(memfd)));
    }
    let largest = MAX_BODY_BYTES as u64 - 1024;
    let failure = if size > largest {
        named("TooLarge", format!("the result has {size} bytes, and a frame at most {largest}"))
    } else {
        match attempt.out.to_vec() {
            Ok(bytes) => return client.send_result(place.id, meta, printed, &bytes, None),
            Err(error) => named("LostResult", format!("the result cannot be read back: {error}")),
        }
    };
    let meta = ResultMeta { outcome: Some(OutcomeName::Failed), ..meta.clone() };
    client.send_result(place.id, &meta, printed, &to_json(&failure), None);
}

/// Tells that `count` items from a place on were not run, or stopped.
pub(crate) fn tell_not_run(client: &mut Client, place: Place, count: u64, attempts: u32, end: Option<&End>) {
    let (outcome, error) = why_not_run(end);
    let error = to_json(&error);
    for at in 0..count {
        let place = place.plus(at);
        let meta = ResultMeta {
            index: place.index,
            outcome: Some(outcome),
            attempts: (attempts > 0).then_some(attempts),
            ..ResultMeta::default()
        };
        client.send_result(place.id, &meta, Vec::new(), &error, None);
    }
    client.end_map(place.id);
}

fn why_not_run(end: Option<&End>) -> (OutcomeName, RemoteError) {
    match end {
        Some(end) => (OutcomeName::Refused, end.error()),
        None => (OutcomeName::Cancelled, named("Cancelled", "cancelled".to_owned())),
    }
}

/// How a nested item ended, for who waits for it.
fn nested_outcome(report: Report) -> NestedOutcome {
    match report.outcome {
        Outcome::Ok => NestedOutcome::Ok(report.attempt.out),
        outcome => NestedOutcome::Err(error_of(outcome, report.attempt)),
    }
}

/// Writes log frames with what was printed.
fn write_output(
    out: &mut Vec<u8>,
    pool: u64,
    place: Place,
    stream: Stream,
    worker: Option<WorkerId>,
    bytes: &[u8],
) {
    let name = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let worker = worker.map(|worker| worker.to_string());
    let meta = serde_json::json!({ "stream": name, "worker": worker, "pool": pool, "index": place.index })
        .to_string();
    for piece in bytes.chunks(PIECE_BYTES) {
        Frame::write(out, Kind::Log, 0, place.id, meta.as_bytes(), piece);
    }
}

fn name_of(outcome: Outcome) -> OutcomeName {
    match outcome {
        Outcome::Ok | Outcome::Failed => OutcomeName::Failed,
        Outcome::TimedOut => OutcomeName::TimedOut,
        Outcome::Cancelled => OutcomeName::Cancelled,
        Outcome::WorkerDied => OutcomeName::Died,
        Outcome::Quarantined => OutcomeName::Quarantined,
    }
}

/// The code and the signal with which a process ended.
pub(crate) fn parts_of(exit: Exit) -> (Option<i32>, Option<i32>) {
    match exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
    }
}

fn error_of(outcome: Outcome, attempt: Attempt) -> RemoteError {
    let exit = attempt.exit.map(|exit| format!(": {exit}")).unwrap_or_default();
    let tail = String::from_utf8_lossy(attempt.stderr.tail(TAIL_BYTES)).into_owned();
    let trace = Some(tail).filter(|tail| !tail.is_empty());
    let error = match (attempt.error, outcome) {
        (Some(TaskError::Remote(error)), _) => return error,
        (Some(error), _) => named("BadReply", error.to_string()),
        (None, Outcome::TimedOut) => {
            let after = attempt.wall.map(|wall| format!(" after {:.3} s", wall.as_secs_f64()));
            named("TimedOut", format!("stopped{}: over its time limit", after.unwrap_or_default()))
        }
        (None, Outcome::Failed) => named("Failed", format!("the command failed{exit}")),
        (None, Outcome::Quarantined) => {
            named("Quarantined", format!("given up, since it kept taking workers with it{exit}"))
        }
        (None, _) if attempt.out_of_memory => {
            named("WorkerDied", format!("the worker was killed by the kernel for memory{exit}"))
        }
        (None, _) => named("WorkerDied", format!("the worker died{exit}")),
    };
    RemoteError { trace, ..error }
}

/// What the last worker wrote that could not start.
fn last_words(why: &GaveUp) -> Option<String> {
    let GaveUp::TooManyStarts { last, .. } = why else { return None };
    Some(String::from_utf8_lossy(&last.stderr).into_owned()).filter(|words| !words.is_empty())
}

/// An error of our own.
pub(crate) fn named(type_name: &str, msg: String) -> RemoteError {
    RemoteError { type_name: type_name.to_owned(), msg, trace: None, retry: None, more: None }
}

/// An error with its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
