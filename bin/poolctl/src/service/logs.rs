//! `poolctl logs`: where the log of the service is, and its last lines.

use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use poolctl_service::{LogPlace, incumbent};
use poolctl_types::ExitCode;

use super::ask::{PlaceArgs, print};
use crate::end::End;
use crate::failure::Failure;
use crate::stderr::say;

const EXAMPLES: &str = "\
Examples:
  poolctl logs              where the log is, and its last 20 lines
  poolctl logs -n 100 -f    the last 100, and what comes
";

/// How much of a log is looked through for its last lines.
const TAIL_BYTES: u64 = 1 << 20;

/// How often a log is looked at for more.
const LOOK: Duration = Duration::from_millis(200);

/// Show the log of poold
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct LogsArgs {
    /// How many of the last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// A log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the log `{}`", .path.display())]
struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// No service runs, and none has left a log.
#[derive(Debug, thiserror::Error)]
#[error("no service listens at `{}`, and none that `poolctl start` has started left a log", .path.display())]
struct NoLog {
    path: PathBuf,
}

/// Shows the log.
pub(crate) fn logs(args: &LogsArgs) -> Result<End, Failure> {
    let socket = args.place.path()?;
    let place = match incumbent(&socket).ok().flatten() {
        Some(record) => record.log,
        None => match usual_log().filter(|path| path.exists()) {
            Some(path) => LogPlace::File(path),
            None => {
                return Err(
                    Failure::new(ExitCode::NoService, NoLog { path: socket }).hint("start it: poolctl start")
                );
            }
        },
    };
    match place {
        LogPlace::File(path) => {
            say(&format!("poolctl: the log is {}\n", path.display()));
            show(&path, args).map_err(|source| match source.kind() {
                io::ErrorKind::BrokenPipe => Failure::new(ExitCode::ReaderGone, source),
                _ => Failure::new(ExitCode::OutputError, ReadError { path, source }),
            })
        }
        LogPlace::Journal(unit) => {
            let unit = unit.unwrap_or_else(|| "poold.service".to_owned());
            let follow = if args.follow { " -f" } else { "" };
            print(&format!(
                "the log is in the journal: journalctl --user -u {unit} -n {}{follow}\n",
                args.lines
            ))
        }
        LogPlace::Stderr => print(
            "the log goes to the stderr of poold; `poold --log FILE` and `poolctl start` keep it in a file\n",
        ),
    }
}

/// Where the log of a service goes that was started in the background.
pub(super) fn usual_log() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".local/state")));
    state.map(|state| state.join("poolctl/poold.log"))
}

fn show(path: &Path, args: &LogsArgs) -> io::Result<End> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut out = io::stdout();
    match out.write_all(last_lines(&bytes, args.lines)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::ReaderGone.into()),
        other => other?,
    }
    // Nobody sends: a wait that only time ends.
    let (_quiet, nothing) = channel::<()>();
    if !args.follow {
        return Ok(ExitCode::Ok.into());
    }
    loop {
        nothing.recv_timeout(LOOK).ok();
        bytes.clear();
        file.read_to_end(&mut bytes)?;
        if bytes.is_empty() && is_moved_away(&file, path) {
            file = File::open(path)?;
        }
        match out.write_all(&bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::ReaderGone.into()),
            other => other?,
        }
    }
}

fn is_moved_away(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let name = |found: std::fs::Metadata| (found.dev(), found.ino());
    let (open, there) = (file.metadata().map(name).ok(), std::fs::metadata(path).map(name).ok());
    there.is_some() && there != open
}

fn last_lines(bytes: &[u8], lines: usize) -> &[u8] {
    let mut ends = memchr::memrchr_iter(b'\n', bytes.strip_suffix(b"\n").unwrap_or(bytes));
    match lines.checked_sub(1).map(|lines| ends.nth(lines)) {
        None => &[],
        Some(None) => bytes,
        Some(Some(end)) => &bytes[end + 1..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 2), b"b\nc");
        assert_eq!(last_lines(b"a\nb\n", 5), b"a\nb\n");
        assert_eq!(last_lines(b"a\n", 0), b"");
        assert_eq!(last_lines(b"", 3), b"");
    }
}
