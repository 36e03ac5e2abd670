//! What becomes of results: order, form, the way to stdout, files and log, and the words about failures on stderr.

mod complaint;
mod item_text;
mod record;
mod summary;

use std::sync::Arc;

use poolctl_supervisor::{
    Gate, GaveUp, Level, Notice, Outcome, Output, Report, Results, Sink, Spill, TaskError,
};
use poolctl_types::{ExitCode, Item, ItemRange, WorkerId};

use super::log::{LogLine, Occurrences};
use super::order::Order;
use super::outlet::{Body, Ending, Outlet, Piece};
use crate::end::End;
use complaint::Complaints;

pub(crate) use item_text::ItemForm;
pub(crate) use record::Record;
pub(crate) use summary::{Summary, WallClock};

/// In what form results are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As they are.
    Plain,
    /// With the item before each line.
    Tagged,
    /// One JSON object for each item.
    Json,
    /// One file for each item.
    Files,
}

/// What the results of a target are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultForm {
    /// What a command wrote, as it was.
    Stream,
    /// A line without its line break.
    Line,
    /// JSON text.
    Value,
}

/// What the only item of a run is, whose end is that of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sole {
    /// A command, which has a status of its own.
    Command,
    /// A call.
    Function,
}

/// How results are treated.
#[derive(Debug)]
pub(crate) struct SinkConfig {
    pub(crate) style: Style,
    pub(crate) results: ResultForm,
    pub(crate) items: ItemForm,
    pub(crate) ordered: bool,
    /// Memory for results that wait, in bytes.
    pub(crate) buffer: usize,
    /// Whether there is but one item, as which the program ends.
    pub(crate) sole: Option<Sole>,
    /// How many attempts an item may have.
    pub(crate) most_attempts: u32,
    /// The program, if all items run the same, so that one that cannot be run is the end.
    pub(crate) program: Option<String>,
    pub(crate) verbose: bool,
    pub(crate) quiet: bool,
}

/// How many items ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) retried: u64,
}

/// Takes what a run yields.
#[derive(Debug)]
pub(crate) struct ItemSink {
    config: SinkConfig,
    order: Order<Piece>,
    /// The memory of what waits in `order`.
    waiting: usize,
    gate: Gate,
    out: Outlet,
    err: Outlet,
    spill: Arc<Spill>,
    spill_error: Option<std::io::Error>,
    names: Option<Occurrences>,
    clock: WallClock,
    complaints: Complaints,
    tally: Tally,
    halted: bool,
    gave_up: Option<GaveUp>,
    has_given_up: bool,
    cannot_run: bool,
    /// What the last worker that said hello offers.
    offered: Vec<String>,
    /// With what status the only item ended.
    sole_end: Option<End>,
}

impl ItemSink {
    /// A sink that writes results to `out` and words to `err`; what has no room goes to `spill`. With `names` every
    /// item is logged.
    pub(crate) fn new(
        config: SinkConfig,
        (out, err): (Outlet, Outlet),
        spill: Arc<Spill>,
        names: Option<Occurrences>,
        clock: WallClock,
    ) -> Self {
        Self {
            complaints: Complaints::new(&config),
            config,
            order: Order::default(),
            waiting: 0,
            gate: Gate::Open,
            out,
            err,
            spill,
            spill_error: None,
            names,
            clock,
            tally: Tally::default(),
            halted: false,
            gave_up: None,
            has_given_up: false,
            cannot_run: false,
            offered: Vec::new(),
            sole_end: None,
        }
    }

    /// How many items ended how.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether `--halt` ended the run.
    pub(crate) fn was_halted(&self) -> bool {
        self.halted
    }

    /// Why the run was given up, once.
    pub(crate) fn take_gave_up(&mut self) -> Option<GaveUp> {
        self.gave_up.take()
    }

    /// With what status the only item ended, if there is but one.
    pub(crate) fn sole_end(&self) -> Option<End> {
        self.sole_end
    }

    /// The functions that the workers say they have, once.
    pub(crate) fn take_offered(&mut self) -> Vec<String> {
        std::mem::take(&mut self.offered)
    }

    /// The program, if it turned out to be none.
    pub(crate) fn no_program(&self) -> Option<&str> {
        self.config.program.as_deref().filter(|_| self.cannot_run)
    }

    /// Whether the run was given up.
    pub(crate) fn has_given_up(&self) -> bool {
        self.has_given_up
    }

    /// Why output could not be put aside, once.
    pub(crate) fn take_spill_error(&mut self) -> Option<std::io::Error> {
        self.spill_error.take()
    }

    /// Whether results cannot be written, or not be kept until they are.
    pub(crate) fn has_failed(&self) -> bool {
        self.out.has_failed() || self.spill_error.is_some()
    }

    /// Writes words for the person to stderr, behind what is already on its way there.
    pub(crate) fn say(&mut self, text: &str) {
        self.err.put(text.as_bytes());
    }

    /// Hands over what this turn of the loop has yielded, and says whether new items may start.
    pub(crate) fn end_turn(&mut self) -> Gate {
        self.out.flush();
        self.err.flush();
        let (held, low) = (self.held(), self.config.buffer / 2);
        if held > self.config.buffer {
            self.gate = Gate::Closed;
        } else if held <= low {
            self.gate = Gate::Open;
        }
        if self.gate == Gate::Closed && self.waiting < low {
            // It is the writers who can make room. (Else it is an earlier result, and that is news by itself.)
            let each = (low - self.waiting) / 2;
            for outlet in [&self.out, &self.err] {
                if outlet.held() > each {
                    outlet.wake_below(each);
                }
            }
        }
        self.gate
    }

    /// Says that nothing follows, and gives the outlets back to be waited for.
    pub(crate) fn finish(mut self) -> (Outlet, Outlet) {
        // When the reader of the results went away, the run ended as it was meant to; when no worker could start,
        // there is more to say than how many items that left over.
        let is_summed_up = self.config.sole.is_none() && !self.config.quiet;
        if is_summed_up && !self.out.has_failed() && !self.has_given_up {
            let summary = self.complaints.summary(self.tally);
            self.err.put(summary.as_bytes());
        }
        self.out.close();
        self.err.close();
        (self.out, self.err)
    }

    fn held(&self) -> usize {
        self.waiting + self.out.held() + self.err.held()
    }

    /// Gives a piece out if it is its turn, else keeps it.
    fn place(&mut self, items: ItemRange, mut piece: Piece) {
        if self.held() > self.config.buffer {
            self.put_aside(&mut piece);
        }
        if !self.config.ordered {
            self.out.push(piece);
            return;
        }
        if !self.order.is_turn_of(items) {
            self.waiting += piece.held();
            self.order.keep(items, piece);
            return;
        }
        self.order.pass(items);
        self.out.push(piece);
        self.give_out_waiting();
    }

    fn give_out_waiting(&mut self) {
        while let Some(piece) = self.order.take() {
            self.waiting -= piece.held();
            self.out.push(piece);
        }
    }

    /// Moves the outputs of a piece to the spill file. What cannot be moved stays in memory, and ends the run.
    fn put_aside(&mut self, piece: &mut Piece) {
        for output in piece.outputs() {
            if output.memory_len() > 0
                && let Err(error) = output.move_to(&self.spill)
            {
                self.spill_error.get_or_insert(error);
            }
        }
    }

    /// What goes to stderr of an item, apart from complaints.
    fn pass_on_words(&mut self, output: Output, tag: Option<Vec<u8>>) {
        if output.is_empty() {
            return;
        }
        let body = match tag {
            Some(tag) => Body::Tagged { output, tag },
            None => Body::Output { output, ending: Ending::AsItIs },
        };
        let mut piece = Piece { body, log: None };
        if self.held() > self.config.buffer {
            self.put_aside(&mut piece);
        }
        self.err.push(piece);
    }

    /// A log line of a worker.
    fn log(&mut self, worker: WorkerId, item: Option<Item>, level: Level, text: &str) {
        let word = match level {
            Level::Debug if !self.config.verbose => return,
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warning",
            Level::Error => "error",
        };
        let item = item.map(|item| format!(", item {item}")).unwrap_or_default();
        self.say(&format!("{word}: {text} (worker {worker}{item})\n"));
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ok => self.tally.ok += 1,
            Outcome::Cancelled => self.tally.cancelled += 1,
            Outcome::Failed | Outcome::TimedOut | Outcome::WorkerDied | Outcome::Quarantined => {
                self.tally.failed += 1;
            }
        }
    }

    /// The piece of an item's result.
    fn body(&self, report: Report, summary: Summary) -> Body {
        let ok = report.outcome == Outcome::Ok;
        let ending = match self.config.results {
            ResultForm::Stream => Ending::AsItIs,
            ResultForm::Line | ResultForm::Value => Ending::LineBreak,
        };
        let has_result = ok || (self.config.results == ResultForm::Stream && !report.attempt.out.is_empty());
        match self.config.style {
            Style::Json => Body::Json(Box::new(Record::new(summary, report, self.config.results))),
            Style::Files if !has_result && report.outcome != Outcome::Cancelled => {
                Body::NoFile { item: report.item }
            }
            _ if !has_result => Body::Nothing,
            Style::Plain if ending == Ending::AsItIs && report.attempt.out.in_memory().is_some() => {
                Body::Bytes(report.attempt.out.in_memory().map(<[u8]>::to_vec).unwrap_or_default())
            }
            Style::Plain => Body::Output { output: report.attempt.out, ending },
            Style::Tagged => {
                let tag = self.config.items.tag(&report.payload);
                Body::Tagged { output: report.attempt.out, tag }
            }
            Style::Files => Body::File { item: report.item, ok, output: report.attempt.out, ending },
        }
    }
}

/// The status of a program that ends as its only item did; none if nobody wanted it any more.
fn sole_end(sole: Sole, report: &Report) -> Option<End> {
    Some(match (sole, report.outcome, report.attempt.exit) {
        (_, Outcome::Cancelled, _) => return None,
        (_, Outcome::Ok, _) => ExitCode::Ok.into(),
        (_, Outcome::TimedOut, _) => ExitCode::Deadline.into(),
        (Sole::Command, _, Some(exit)) => {
            End::AsCommand(u8::try_from(exit.shell_status()).unwrap_or(u8::MAX))
        }
        _ => ExitCode::Failed.into(),
    })
}

/// Whether the kernel found the file to be no program at all.
fn is_no_program(report: &Report) -> bool {
    const ENOEXEC: i32 = nix::errno::Errno::ENOEXEC as i32;
    matches!(&report.attempt.error, Some(TaskError::Spawn { reason }) if reason.raw_os_error() == Some(ENOEXEC))
}

impl Sink for ItemSink {
    fn run(&mut self, items: ItemRange, results: Results<'_>) {
        // Values are JSON here, so results are lines whatever the target.
        let results = results.bytes;
        self.tally.ok += u64::from(items.count);
        let has_room = self.held() + results.len() <= self.config.buffer;
        let at_once = !self.config.ordered || self.order.is_turn_of(items);
        if at_once && has_room {
            self.out.put(results);
            if self.config.ordered {
                self.order.pass(items);
                self.give_out_waiting();
            }
        } else {
            self.place(items, Piece { body: Body::Bytes(results.to_vec()), log: None });
        }
    }

    fn settled(&mut self, mut report: Report) {
        self.count(report.outcome);
        self.cannot_run |= self.config.program.is_some() && is_no_program(&report);
        self.sole_end = self.config.sole.and_then(|sole| sole_end(sole, &report));
        let items = ItemRange::one(report.item);
        let tag = (self.config.style == Style::Tagged).then(|| self.config.items.tag(&report.payload));
        if self.config.style != Style::Json {
            let stdout = std::mem::take(&mut report.attempt.stdout);
            self.pass_on_words(stdout, tag.clone());
            let stderr = std::mem::take(&mut report.attempt.stderr);
            if self.config.sole == Some(Sole::Command) {
                self.pass_on_words(stderr, None);
            } else if complaint::shows_whole(&report, &stderr) {
                report.attempt.stderr = stderr;
            } else {
                let tail = stderr.tail(complaint::TAIL_BYTES).to_vec();
                self.pass_on_words(stderr, tag);
                report.attempt.stderr = Output::from(tail);
            }
        }
        if let Some(complaint) = self.complaints.about(&report) {
            self.err.put(complaint.as_bytes());
        }
        let summary = Summary::new(&report, self.clock);
        let log = self.names.as_mut().map(|names| LogLine::new(names.next(&report.payload), &summary));
        let body = self.body(report, summary);
        self.place(items, Piece { body, log });
    }

    fn never_ran(&mut self, items: ItemRange) {
        self.tally.cancelled += u64::from(items.count);
        self.place(items, Piece { body: Body::Bytes(Vec::new()), log: None });
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Retry { item, next, why, attempt } => {
                self.tally.retried += 1;
                if !self.config.quiet {
                    let words = self.complaints.retry(item, next, why, &attempt, self.config.verbose);
                    self.err.put(words.as_bytes());
                }
            }
            Notice::WorkerOutput { bytes, .. } => self.pass_on_words(Output::from(bytes), None),
            Notice::Log { worker, item, level, text } => self.log(worker, item, level, &text),
            Notice::Greeted { hello, .. } => self.offered = hello.functions,
            Notice::WorkerDied { worker, pid, exit } => {
                tracing::info!(%worker, pid, %exit, "a worker died");
            }
            Notice::Progress { item, fraction, note } => {
                tracing::info!(%item, fraction, note, "progress of an item");
            }
            Notice::Halted => {
                self.halted = true;
                if !self.config.quiet {
                    self.say("poolctl: stopping: --halt says so\n");
                }
            }
            Notice::GaveUp(why) => {
                self.gave_up = Some(why);
                self.has_given_up = true;
            }
            Notice::KeeperLost => {
                if !self.config.quiet {
                    self.say("warning: the keeper of the workers died; started another\n");
                }
            }
            other => tracing::debug!(notice = ?other, "a notice"),
        }
    }
}
