//! Time and memory of one program: how they are taken.
//!
//! Peak memory is what `getrusage` says of the children of a process that has had one child only, so `cargo xtask
//! measure REPORT PROGRAM ARG…` is such a process: it runs the program and writes the figure to REPORT. It covers the
//! program and everything that the program waited for, the largest one of them counting.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::{fs, io};

use nix::sys::resource::{UsageWho, getrusage};

/// Why a program could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    /// It could not be run.
    #[error("failed to run {program}")]
    Run { program: String, source: io::Error },
    /// The kernel did not tell.
    #[error("failed to read the usage of children")]
    Usage { source: nix::Error },
    /// The report could not be written.
    #[error("failed to write {path}")]
    Report { path: String, source: io::Error },
}

/// Runs the program to its end and writes its peak memory, in KiB, to the file `report`.
pub(crate) fn child(report: &str, program: &str, arguments: &[&str]) -> Result<ExitCode, MeasureError> {
    let status = Command::new(program).args(arguments).status();
    let status = status.map_err(|source| MeasureError::Run { program: program.to_owned(), source })?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|source| MeasureError::Usage { source })?;
    fs::write(report, usage.max_rss().to_string())
        .map_err(|source| MeasureError::Report { path: report.to_owned(), source })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Reads such a report: peak memory in MiB.
pub(crate) fn read_memory(path: &Path) -> Option<f64> {
    read_figure(path).map(|kib| kib / 1024.0)
}

/// Reads a figure that a runner wrote.
pub(crate) fn read_figure(path: &Path) -> Option<f64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
