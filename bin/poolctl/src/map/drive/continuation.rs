//! Where a logged run begins in its output: behind what is there, or behind what an earlier run logged.
//!
//! Results that were written but not logged come again, so they are cut off the output file. That is done only where
//! whatever lies behind the last logged result must be such results: the file is the one of the earlier run, that run
//! did not end in good order, and nobody else was seen to write there. All else is left as it is, and said.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use poolctl_types::ExitCode;

use super::launch::output_failure;
use crate::failure::Failure;
use crate::map::log::{self, EarlierOutput, OutputFile};
use crate::map::outlet::{Landing, OutletError};
use crate::map::plan::LogPlan;
use crate::stderr::say;

/// Why a run that was to be continued cannot be.
#[derive(Debug, thiserror::Error)]
#[error(
    "the results of the earlier run are not there: the log speaks of {logged} bytes, stdout holds {found}"
)]
struct ResultsGone {
    logged: u64,
    found: u64,
}

/// The log, open, and its path.
type OpenLog = (File, PathBuf);

/// Finds where results will land if stdout is a regular file, and opens the log; one that is new or continued begins
/// with a line that says so.
pub(super) fn begin(plan: &LogPlan, quiet: bool) -> Result<(Option<Landing>, Option<OpenLog>), Failure> {
    let failed = |source| output_failure(OutletError::Write { name: "stdout", source });
    let file = stdout_file().map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let mut landing = None;
    if found.is_file() {
        let shared = is_stderr(&found).map_err(failed)?;
        if let Some(earlier) = plan.earlier {
            let words = take_up(&file, &found, earlier, shared)?;
            if let Some(words) = words.filter(|_| !quiet) {
                say(&words);
            }
        }
        landing = Some(Landing::of(&file, shared).map_err(failed)?);
    }
    let output = landing.as_ref().map(|landing| landing.output_file(&file)).transpose().map_err(failed)?;
    let log = open_log(plan, output).map_err(output_failure)?;
    Ok((landing, Some(log)))
}

/// Cuts `file` back to the last logged result if that loses nothing, and goes to its end. Gives the words about it.
fn take_up(
    mut file: &File,
    found: &Metadata,
    earlier: EarlierOutput,
    shared: bool,
) -> Result<Option<String>, Failure> {
    let failed = |source| output_failure(OutletError::Write { name: "stdout", source });
    let logged = earlier.file.offset;
    if found.len() < logged {
        let gone = ResultsGone { logged, found: found.len() };
        return Err(Failure::new(ExitCode::BadInput, gone)
            .hint("append to the file of the earlier run: poolctl map --resume LOG ... >> RESULTS"));
    }
    let behind = found.len() - logged;
    let same = (found.dev(), found.ino()) == (earlier.file.device, earlier.file.inode);
    let why_not = match () {
        // Nothing of the earlier run lies there that would come again.
        () if behind == 0 || earlier.complete => None,
        () if !same => Some("stdout is not the file of the earlier run"),
        () if shared || earlier.file.shared => Some("others write to the file of the results as well"),
        () => {
            file.set_len(logged).map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
            return Ok(Some(format!(
                "poolctl: cut {behind} bytes of results that were not logged off the end of stdout; they come again\n"
            )));
        }
    };
    file.seek(SeekFrom::End(0)).map_err(failed)?;
    Ok(why_not.map(|why| {
        format!(
            "poolctl: {why}, so nothing is cut: the {behind} bytes behind the last logged result stay, and results \
             among them come twice\n"
        )
    }))
}

/// Whether the words for the person go to the same file.
fn is_stderr(found: &Metadata) -> io::Result<bool> {
    let words = File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
    Ok((words.dev(), words.ino()) == (found.dev(), found.ino()))
}

fn open_log(plan: &LogPlan, output: Option<OutputFile>) -> Result<OpenLog, OutletError> {
    let failed = |source| OutletError::Log { path: plan.path.clone(), source };
    let mut file = OpenOptions::new().append(true).create(true).open(&plan.path).map_err(failed)?;
    file.write_all(&log::header(plan.target, output)).map_err(failed)?;
    Ok((file, plan.path.clone()))
}

pub(super) fn stdout_file() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}
