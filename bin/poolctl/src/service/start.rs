//! `poolctl start`: a service in the background, which is waited for until it says that it serves.
//!
//! It tells by its readiness notification, as it would tell systemd; what it says on stderr before is why it failed.

use std::ffi::{CString, OsString};
use std::fs::DirBuilder;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use poolctl_service::{Connection, NoProgram, incumbent, sibling};
use poolctl_supervisor::spawn::{Command, SpawnError, Spawner};
use poolctl_supervisor::{Pidfd, now};
use poolctl_types::{Exit, ExitCode};

use super::ask::{PlaceArgs, print};
use super::logs::usual_log;
use crate::end::End;
use crate::failure::Failure;
use crate::own_process;
use crate::stderr::say;
use crate::value::Span;

const EXAMPLES: &str = "\
Examples:
  poolctl start                           as poold.toml says; returns when it serves
  poolctl start --config pools.toml
";

const NOTES: &str = "\
The log goes to $XDG_STATE_HOME/poolctl/poold.log unless --log or the configuration says otherwise (poolctl logs).
Exit codes: 0 it serves (or did already), 78 its configuration or its place cannot be used, 124 it does not become ready,
127 there is no poold beside poolctl.";

/// The variable by which a service knows whom to tell that it is ready.
const NOTIFY: &str = "NOTIFY_SOCKET";

/// The most that a notification has.
const NOTIFICATION_BYTES: usize = 4096;

/// Start poold in the background, and wait until it serves
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES, after_help = NOTES)]
pub(crate) struct StartArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Append its log to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How long it may take
    #[arg(long, value_name = "DUR", default_value = "60s")]
    timeout: Span,
    #[command(flatten)]
    place: PlaceArgs,
}

/// It ended before it was ready, without a word about it.
#[derive(Debug, thiserror::Error)]
#[error("poold ended before it was ready: {exit}")]
struct EndedError {
    exit: Exit,
}

/// It takes too long.
#[derive(Debug, thiserror::Error)]
#[error("poold did not become ready within {after}; it was asked to end")]
struct SlowError {
    after: Span,
}

/// It could not be started.
#[derive(Debug, thiserror::Error)]
#[error("failed to start `{}`", .program.display())]
struct StartError {
    program: PathBuf,
    source: SpawnError,
}

/// A word that no program can be given.
#[derive(Debug, thiserror::Error)]
#[error("a word of the command or the environment holds NUL")]
struct NulError;

/// What became of it.
enum Outcome {
    Ready(String),
    Ended(Exit),
    Slow,
}

/// Starts it.
pub(crate) fn start(args: &StartArgs) -> Result<End, Failure> {
    let socket = args.place.path()?;
    if let Some(end) = serves_already(&socket) {
        return end;
    }
    let program = sibling("poold").map_err(no_program)?;
    let (listener, name) = notifications().map_err(internal)?;
    let (errors, child, log) = launch(args, &program, &socket, &name)?;
    let mut words = Words { errors, text: Vec::new() };
    match wait(&listener, &mut words, &child, args.timeout).map_err(internal)? {
        Outcome::Ready(status) => {
            let log = log.map(|log| format!("; log: {}", log.display())).unwrap_or_default();
            print(&format!("poold {status} (pid {}){log}\n", child.pid()))
        }
        Outcome::Slow => {
            child.signal(nix::libc::SIGTERM).ok();
            Err(Failure::new(ExitCode::Deadline, SlowError { after: args.timeout }).details(words.rest()))
        }
        // Somebody else was faster by a hair.
        Outcome::Ended(Exit::Code(code)) if code == ExitCode::Overloaded as i32 => {
            serves_already(&socket).unwrap_or_else(|| Ok(failed(Exit::Code(code), &words.rest())))
        }
        Outcome::Ended(exit) => {
            let text = words.rest();
            if text.is_empty() {
                return Err(Failure::new(ExitCode::Internal, EndedError { exit }));
            }
            Ok(failed(exit, &text))
        }
    }
}

/// Passes on why it failed, and ends as it did.
fn failed(exit: Exit, text: &str) -> End {
    say(text);
    End::AsCommand(u8::try_from(exit.shell_status()).unwrap_or(ExitCode::Internal as u8))
}

/// The end of this program where the service is there already.
fn serves_already(socket: &Path) -> Option<Result<End, Failure>> {
    let connection = Connection::open(socket, "poolctl start").ok()?;
    let record = incumbent(socket).ok().flatten().map(|record| record.pid);
    let pid = record.or(connection.peer().map(|peer| peer.pid));
    let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    Some(print(&format!("poold serves at {} already{pid}\n", socket.display())))
}

/// Where the service tells that it is ready, and the name of that place.
fn notifications() -> io::Result<(UnixDatagram, String)> {
    let name = format!("poolctl-start-{}", own_process::run_id(now()));
    let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    Ok((listener, format!("@{name}")))
}

/// Starts the program: its stderr, its process, and where its log goes unless its configuration says otherwise.
fn launch(
    args: &StartArgs,
    program: &Path,
    socket: &Path,
    notify: &str,
) -> Result<(PipeReader, Pidfd, Option<PathBuf>), Failure> {
    let mut words: Vec<OsString> = vec![program.into()];
    let mut flag = |name: &str, value: &Path| words.extend([name.into(), value.as_os_str().to_owned()]);
    flag("--socket", socket);
    if let Some(config) = &args.config {
        flag("--config", config);
    }
    let log = match &args.log {
        Some(log) => {
            flag("--log", log);
            Some(log.clone())
        }
        None => {
            let log = usual_log();
            if let Some(log) = &log {
                make_directory(log).map_err(|error| Failure::new(ExitCode::OutputError, error))?;
                flag("--else-log", log);
            }
            log
        }
    };
    let environment = std::env::vars_os().filter(|(name, _)| name != NOTIFY && name != "LISTEN_FDS");
    let environment = environment.chain([(NOTIFY.into(), notify.into())]).map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    let text = |word: OsString| CString::new(word.into_vec()).map_err(|_| Failure::usage(NulError));
    let path = CString::new(program.as_os_str().as_bytes()).map_err(|_| Failure::usage(NulError))?;
    let argv = words.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let env = environment.map(text).collect::<Result<Vec<_>, _>>()?;
    let (errors, writer) = io::pipe().map_err(internal)?;
    let command = Command {
        path: &path,
        argv: &argv.iter().map(CString::as_c_str).collect::<Vec<_>>(),
        env: &env.iter().map(CString::as_c_str).collect::<Vec<_>>(),
        cwd: None,
        fds: &[(writer.as_fd(), 2)],
        nice: None,
        open_files: None,
        die_with_parent: false,
    };
    let child =
        Spawner::new().and_then(|spawner| spawner.in_own_session().spawn(&command)).map_err(|source| {
            Failure::new(ExitCode::CannotStart, StartError { program: program.to_path_buf(), source })
        })?;
    Ok((errors, child, log))
}

fn make_directory(log: &Path) -> io::Result<()> {
    let Some(directory) = log.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// What the service says on stderr.
struct Words {
    errors: PipeReader,
    text: Vec<u8>,
}

impl Words {
    /// Reads once; whether there may be more.
    fn read(&mut self) -> bool {
        let mut room = [0; 4096];
        let count = self.errors.read(&mut room).unwrap_or(0);
        self.text.extend_from_slice(&room[..count]);
        count > 0
    }

    /// All that is there by now; the service itself has ended, or is not waited for.
    fn rest(&mut self) -> String {
        let mut ready = [PollFd::new(self.errors.as_fd(), PollFlags::POLLIN)];
        while poll(&mut ready, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            let mut room = [0; 4096];
            match (&self.errors).read(&mut room) {
                Ok(count) if count > 0 => self.text.extend_from_slice(&room[..count]),
                _ => break,
            }
        }
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// Waits until it is ready, has ended, or takes too long.
fn wait(listener: &UnixDatagram, words: &mut Words, child: &Pidfd, timeout: Span) -> io::Result<Outcome> {
    let deadline = Instant::now().checked_add(timeout.0);
    let mut is_silent = false;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Outcome::Slow);
        }
        let limit =
            left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        let (told, said, ended) = {
            let mut fds = [
                PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                PollFd::new(child.as_fd(), PollFlags::POLLIN),
                PollFd::new(words.errors.as_fd(), PollFlags::POLLIN),
            ];
            let count = if is_silent { 2 } else { 3 };
            match poll(&mut fds[..count], limit) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
            (is_ready(&fds[0]), !is_silent && is_ready(&fds[2]), is_ready(&fds[1]))
        };
        if told {
            let mut text = [0; NOTIFICATION_BYTES];
            let count = listener.recv(&mut text)?;
            if let Some(status) = readiness(&String::from_utf8_lossy(&text[..count])) {
                return Ok(Outcome::Ready(status));
            }
        } else if ended {
            let exit = child.peek_exit()?.map_or(Exit::Code(0), |(exit, _)| exit);
            child.reap()?;
            return Ok(Outcome::Ended(exit));
        } else if said {
            is_silent = !words.read();
        }
    }
}

/// What a service says of itself that is ready; none of one that is not.
fn readiness(notification: &str) -> Option<String> {
    let is_ready = notification.lines().any(|line| line == "READY=1");
    let status = notification.lines().find_map(|line| line.strip_prefix("STATUS=")).unwrap_or("serves");
    is_ready.then(|| status.to_owned())
}

fn no_program(error: NoProgram) -> Failure {
    Failure::new(ExitCode::NotFound, error).hint("it is built and installed together with poolctl")
}

fn internal(error: io::Error) -> Failure {
    Failure::new(ExitCode::Internal, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_it_says_so() {
        assert_eq!(readiness("READY=1\nSTATUS=serves pools a").as_deref(), Some("serves pools a"));
        assert_eq!(readiness("READY=1").as_deref(), Some("serves"));
        assert_eq!(readiness("STOPPING=1"), None);
        assert_eq!(readiness("STATUS=READY=1"), None);
    }
}
