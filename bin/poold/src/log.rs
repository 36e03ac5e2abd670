//! The log of the service: to stderr or a file, as text or JSON.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use poolctl_service::LogPlace;
use poolctl_types::ExitCode;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::failure::Failure;

/// The variable that says what to log.
const VARIABLE: &str = "POOLD_LOG";

/// Says of which file stderr is a stream to the journal of systemd.
const JOURNAL: &str = "JOURNAL_STREAM";

/// What the log is to be.
#[derive(Debug)]
pub(crate) struct LogPlan<'a> {
    /// The file; none: stderr.
    pub(crate) file: Option<&'a Path>,
    pub(crate) format: LogFormat,
    /// What is logged where the variable does not say.
    pub(crate) level: &'a str,
}

/// The log that runs.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    file: Option<LogFile>,
}

/// A log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the log `{}`", .path.display())]
struct LogError {
    path: PathBuf,
    source: io::Error,
}

/// A file that is written by all threads, and opened anew when somebody has moved it away.
#[derive(Debug, Clone)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Log {
    /// Starts the log. Panics go there too.
    pub(crate) fn start(plan: &LogPlan<'_>) -> Result<Self, Failure> {
        let filter = match env::var(VARIABLE) {
            Ok(text) => EnvFilter::try_new(text),
            Err(_) => EnvFilter::try_new(plan.level),
        };
        let filter = filter.map_err(|error| {
            Failure::new(ExitCode::BadConfig, error).hint(format!(
                "log_level and {VARIABLE} take a level (info, debug) or target=level, with commas between"
            ))
        })?;
        let file = plan
            .file
            .map(LogFile::open)
            .transpose()
            .map_err(|error| Failure::new(ExitCode::OutputError, error))?;
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
        let started = match (plan.format, file.clone()) {
            (LogFormat::Text, None) => subscriber.compact().with_writer(io::stderr).try_init(),
            (LogFormat::Json, None) => subscriber.json().with_writer(io::stderr).try_init(),
            (LogFormat::Text, Some(file)) => {
                subscriber.compact().with_writer(move || file.clone()).try_init()
            }
            (LogFormat::Json, Some(file)) => subscriber.json().with_writer(move || file.clone()).try_init(),
        };
        started.map_err(|error| Failure::new(ExitCode::Internal, error))?;
        panic::set_hook(Box::new(|why| tracing::error!("a bug in poolctl: {why}")));
        Ok(Self { file })
    }

    /// Where it goes.
    pub(crate) fn place(&self) -> LogPlace {
        match &self.file {
            Some(file) => LogPlace::File(file.path.clone()),
            None if is_journal() => LogPlace::Journal(unit()),
            None => LogPlace::Stderr,
        }
    }

    /// Goes on in a new file where somebody has moved the old one away.
    pub(crate) fn reopen(&self) {
        let Some(log) = &self.file else { return };
        match LogFile::open(&log.path) {
            Ok(fresh) => {
                let fresh = Arc::into_inner(fresh.file).and_then(|file| file.into_inner().ok());
                if let Some(fresh) = fresh {
                    *log.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                }
            }
            Err(error) => tracing::warn!(%error, "the log goes on in the old file"),
        }
    }
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, LogError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        match File::options().append(true).create(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Self { path, file: Arc::new(Mutex::new(file)) }),
            Err(source) => Err(LogError { path, source }),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether stderr leads to the journal of systemd.
fn is_journal() -> bool {
    let stderr = fs::metadata("/proc/self/fd/2").map(|stderr| format!("{}:{}", stderr.dev(), stderr.ino()));
    stderr.is_ok_and(|stderr| env::var(JOURNAL).is_ok_and(|journal| journal == stderr))
}

/// The unit of systemd that this process is in, if it is in one.
fn unit() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let name = groups.lines().find_map(|line| line.strip_prefix("0::"))?.rsplit('/').next()?;
    name.ends_with(".service").then(|| name.to_owned())
}
