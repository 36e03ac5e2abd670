//! What a task says while it runs: log lines and progress, on their way to the host's own log and hooks.
//!
//! They go through the result ring, in order with the results, and only from the thread that runs the task. What other
//! threads log goes to standard error, which the host captures too; so does everything where there is no host.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::io::Write as _;
use std::rc::Rc;

use poolctl_protocol::{Level, RecordKind};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::current::current;
use crate::link::{Link, boundary};

/// The most bytes of one line; the rest is cut off.
const MAX_TEXT_BYTES: usize = 32 << 10;

thread_local! {
    /// Of the thread that runs the tasks of a worker.
    static LINK: RefCell<Option<Rc<Link>>> = const { RefCell::new(None) };
}

/// From now on what this thread says goes that way.
pub(crate) fn connect(link: Rc<Link>) {
    LINK.set(Some(link));
}

/// The way of what this thread says, if it has one.
pub(crate) fn link() -> Option<Rc<Link>> {
    LINK.with_borrow(Clone::clone)
}

/// Puts a line into the log of the pool, in the name of the task that runs in this thread.
///
/// In a program that is no worker, it is an event of `tracing` with the target `poolctl::task`.
pub fn log(level: Level, text: &str) {
    if let Some(link) = link() {
        let text = &text.as_bytes()[..boundary(text, MAX_TEXT_BYTES)];
        let grade = match level {
            Level::Debug => 0,
            Level::Info => 1,
            Level::Warn => 2,
            Level::Error => 3,
        };
        link.publish(RecordKind::Log, None, &[&[grade], text].concat());
        link.kick_if_asleep();
        return;
    }
    match level {
        Level::Debug => tracing::debug!(target: TARGET, "{text}"),
        Level::Info => tracing::info!(target: TARGET, "{text}"),
        Level::Warn => tracing::warn!(target: TARGET, "{text}"),
        Level::Error => tracing::error!(target: TARGET, "{text}"),
    }
}

/// The target of lines that are logged where there is no host.
const TARGET: &str = "poolctl::task";

/// Says how far the task is that runs in this thread, from 0 to 1, for the pool's progress hook.
///
/// - `fraction`: what is outside of 0 to 1 counts as the nearer of them.
/// - `note`: a few words for a person; may be empty.
///
/// Does nothing in a thread that runs no task, and in a program that is no worker. At most some thousand times a second:
/// each is a record of its own.
pub fn progress(fraction: f64, note: &str) {
    if let (Some(link), Some(_)) = (link(), current()) {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        let note = &note.as_bytes()[..boundary(note, MAX_TEXT_BYTES)];
        link.publish(RecordKind::Progress, None, &[&fraction.to_le_bytes(), note].concat());
        link.kick_if_asleep();
    }
}

/// Turns events of `tracing` into log lines. Spans are not told.
#[derive(Debug)]
pub(crate) struct Forwarder {
    max: LevelFilter,
}

impl Forwarder {
    /// One that tells as much as `RUST_LOG` says, if that is a plain level, else information and worse.
    pub(crate) fn from_env() -> Self {
        let wanted = std::env::var("RUST_LOG").ok().and_then(|word| word.trim().parse().ok());
        Self { max: wanted.unwrap_or(LevelFilter::INFO) }
    }
}

impl Subscriber for Forwarder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.message + &line.fields;
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
        };
        if LINK.with_borrow(Option::is_some) {
            log(level, &text);
        } else {
            // Nobody is left to tell that this line could not be written.
            drop(writeln!(std::io::stderr(), "{} {text}", event.metadata().level()));
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event as text: its message, then `name=value` of each field.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
        written.expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_and_logs_where_there_is_no_host_do_no_harm() {
        progress(f64::NAN, "nowhere");
        log(Level::Info, "nowhere");
    }
}
