//! The end of a run: everything written, everyone gone, and one exit code.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use poolctl_supervisor::GaveUp;
use poolctl_types::{ExitCode, Moment};

use super::News;
use super::launch::output_failure;
use super::pilot::Pilot;
use crate::end::End;
use crate::failure::Failure;
use crate::map::outlet::OutletError;
use crate::map::plan::input_failure;
use crate::map::sink::ItemSink;

/// Output that had to wait found no room.
#[derive(Debug, thiserror::Error)]
#[error("failed to put output aside in `{}`", .directory.display())]
struct NoRoom {
    directory: std::path::PathBuf,
    source: io::Error,
}

/// What all items should run is no program.
#[derive(Debug, thiserror::Error)]
#[error("cannot run `{program}`: Exec format error")]
struct NoProgram {
    program: String,
}

/// The writers of stdout and stderr.
const WRITERS: u32 = 2;

/// Waits until everything is written, and says how the run ended.
pub(super) fn finish(mut pilot: Pilot, now: Moment) -> Result<End, Failure> {
    let counts = pilot.supervisor.counts();
    let gave_up = pilot.sink.take_gave_up();
    let sole_end = pilot.sink.sole_end();
    let offered = pilot.sink.take_offered();
    let tally = pilot.sink.tally();
    let no_program = pilot.sink.no_program().map(ToOwned::to_owned);
    tracing::info!(
        ok = tally.ok,
        failed = tally.failed,
        cancelled = tally.cancelled,
        "every item is settled"
    );
    let cause = pilot.cause;
    let Pilot { supervisor, mut sink, progress, news, input_error, grace, start_hint, .. } = pilot;
    if let Some(text) = progress.end(now, &counts) {
        sink.say(&text);
    }
    let patience = if cause == Some(ExitCode::Terminated) { grace } else { Duration::MAX };
    if let Some(end) = finish_writing(sink, &news, cause, patience, || supervisor.shut_down())? {
        return Ok(end);
    }
    if let Some(why) = gave_up {
        let hint = start_hint.about(&why, &offered);
        return Err(given_up(why, hint));
    }
    if let (Some(program), Some(ExitCode::CannotStart)) = (no_program, cause) {
        return Err(Failure::new(ExitCode::CannotStart, NoProgram { program })
            .hint("it is no program for this machine; a script begins with #!/bin/sh or the like"));
    }
    match (cause, input_error) {
        (Some(ExitCode::BadInput), Some(error)) => {
            let failure = input_failure(error);
            Err(match start_hint.about_input(&offered) {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
        (Some(cause), _) => Ok(cause.into()),
        (None, _) if tally.failed > 0 || tally.cancelled > 0 => {
            Ok(sole_end.unwrap_or(ExitCode::Failed.into()))
        }
        (None, _) => Ok(ExitCode::Ok.into()),
    }
}

/// Says that nothing follows and waits until everything is written, at most for `patience`; `meanwhile` is done while the
/// writers are at it. An end, if that is how the run ended.
pub(super) fn finish_writing(
    mut sink: ItemSink,
    news: &Receiver<News>,
    cause: Option<ExitCode>,
    patience: Duration,
    meanwhile: impl FnOnce(),
) -> Result<Option<End>, Failure> {
    let spill_error = sink.take_spill_error();
    let (out, err) = sink.finish();
    meanwhile();
    let mut ended = 0;
    while ended < WRITERS {
        match news.recv_timeout(patience) {
            Ok(News::WriterEnded) => ended += 1,
            // Nothing runs any more, and nobody reads what is left.
            Ok(News::Wish(wish)) => {
                if let Some(code) = wish.leaves_with() {
                    return Ok(Some(cause.unwrap_or(code).into()));
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ok(Some(ExitCode::Terminated.into())),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    drop(err.join());
    let written = out.join();
    if let Some(source) = spill_error {
        return Err(Failure::new(ExitCode::OutputError, NoRoom { directory: std::env::temp_dir(), source })
            .hint("point TMPDIR to a directory with more room, or lower --window"));
    }
    match written {
        Err(OutletError::ReaderGone { .. }) => Ok(Some(first(cause, ExitCode::ReaderGone).into())),
        Err(error) => Err(output_failure(error)),
        Ok(()) => Ok(None),
    }
}

/// The first cause; a failed output shows up as one of its own before its kind is known.
fn first(cause: Option<ExitCode>, output: ExitCode) -> ExitCode {
    match cause {
        None | Some(ExitCode::OutputError) => output,
        Some(earlier) => earlier,
    }
}

/// Workers that could not be started: with what they said, and what the person can do.
pub(crate) fn given_up(why: GaveUp, hint: Option<String>) -> Failure {
    let not_found = |reason: &io::Error| reason.kind() == io::ErrorKind::NotFound;
    let (code, details) = match &why {
        GaveUp::CannotStart { reason, .. } if not_found(reason) => (ExitCode::NotFound, None),
        GaveUp::Refused { code, error } => {
            let code =
                if *code == ExitCode::NotFound as u8 { ExitCode::NotFound } else { ExitCode::CannotStart };
            (code, error.trace.clone())
        }
        GaveUp::TooManyStarts { last, .. } => {
            (ExitCode::CannotStart, Some(String::from_utf8_lossy(&last.stderr).into_owned()))
        }
        GaveUp::Keeper { .. } => (ExitCode::Internal, None),
        _ => (ExitCode::CannotStart, None),
    };
    let failure = Failure::new(code, why).details(details.unwrap_or_default());
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
