//! `poolctl lock` and `poolctl semaphore`: runs a command while holding what other shells cannot hold then.
//!
//! There is no daemon: a lock is a file in the runtime directory that the kernel keeps locked as long as this process
//! lives. How it is got and given back, and what a death leaves: [`acquire`].

mod acquire;
mod command;
mod deadlock;
mod name;
mod place;
mod record;
mod signals;
mod table;
mod terminal;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use poolctl_service::RuntimeDirectoryError;
use poolctl_supervisor::resolve;
use poolctl_types::ExitCode;

use crate::end::End;
use crate::failure::Failure;
use crate::stderr::say;
use crate::value::Span;
use acquire::{AcquireError, Grant, Request, Seat, Verdict, acquire};
use command::{Command, Fate, Running, StartError};

pub(crate) use deadlock::stuck;
pub(crate) use name::{Kind, Name, Object};
pub(crate) use place::Place;
pub(crate) use record::{Party, Run};
pub(crate) use table::{State, Table};

use record::{Life, shown_command};
use terminal::{Terminal, stand_still};

const LOCK_EXAMPLES: &str = "\
Examples:
  poolctl lock deploy -- ./deploy.sh               one at a time, in whatever shell
  poolctl lock --timeout 10s db -- pg_dump app     give up after ten seconds (status 124)
  poolctl lock --timeout 0 cron -- ./nightly       not at all while another one runs
  poolctl lock log -- sh -c 'date >> shared.log'   several writers of one file
  poolctl locks                                    who holds what, who waits
";

const SEMAPHORE_EXAMPLES: &str = "\
Examples:
  poolctl semaphore net -n 4 -- curl -O \"$url\"       at most four at a time, in whatever shell
  poolctl semaphore -n 2 --timeout 1m gpu -- ./train  give up after a minute (status 124)
  poolctl locks                                       who holds what, who waits
";

const NOTES: &str = "\
The lock is held until the command and all of its process group have ended. POOLCTL_OWNER_DIED=1
tells the command that whoever held it before died. A name is any text without `/` of up to 200
bytes, and the same lock in every shell and in every run of `poolctl map`.
At a terminal the command is in the foreground if poolctl is: it may read, and Ctrl-C and Ctrl-Z
reach it. If poolctl itself is killed (SIGKILL), so is the command, but not what it had started.
Exit codes: the command's own status, 128+n if signal n ended it; 124 after --timeout, 75 where
waiting would never end (a deadlock), 2 usage, also another -n than others have, 78 no usable
runtime directory, 126/127 the command cannot start / was not found.";

/// Signals that are not yet seen to; further ones of a burst say nothing new.
const NEWS: usize = 64;

/// How soon to look whether somebody has left the group of a command that has ended, and how seldom in the end. Deaths
/// are told; that a process leaves its group is not.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The most permits of a semaphore.
const MAX_PERMITS: i64 = 10_000;

/// Run a command while holding a lock that other shells know by name
#[derive(Debug, clap::Args)]
#[command(before_help = LOCK_EXAMPLES, before_long_help = LOCK_EXAMPLES, after_help = NOTES)]
pub(crate) struct LockArgs {
    /// Which lock
    name: Name,
    /// Give up after waiting so long: 10s (0: do not wait)
    #[arg(long, value_name = "DUR")]
    timeout: Option<Span>,
    /// The command, without a shell
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<OsString>,
}

/// Run a command while holding one of N permits that other shells know by name
#[derive(Debug, clap::Args)]
#[command(before_help = SEMAPHORE_EXAMPLES, before_long_help = SEMAPHORE_EXAMPLES, after_help = NOTES)]
pub(crate) struct SemaphoreArgs {
    /// Which semaphore
    name: Name,
    /// How many may hold it at once; refused while others hold it or wait with another number
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_PERMITS))]
    permits: u32,
    /// Give up after waiting so long: 10s (0: do not wait)
    #[arg(long, value_name = "DUR")]
    timeout: Option<Span>,
    /// The command, without a shell
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command under the lock.
pub(crate) fn run_locked(args: &LockArgs) -> Result<End, Failure> {
    let object = Object { kind: Kind::Lock, name: args.name.clone() };
    run(object, 1, args.timeout, &args.command)
}

/// Runs the command with a permit.
pub(crate) fn run_permitted(args: &SemaphoreArgs) -> Result<End, Failure> {
    let object = Object { kind: Kind::Semaphore, name: args.name.clone() };
    run(object, args.permits, args.timeout, &args.command)
}

/// What other threads tell this one.
#[derive(Debug)]
enum News {
    Signal(Signal),
    /// There is a verdict.
    Verdict,
    /// Of something below the command, or of itself.
    Fate(Fate),
}

/// `--timeout` passed.
#[derive(Debug, thiserror::Error)]
#[error("{object} was not free within {}", Span(*.timeout))]
struct TimedOut {
    object: Object,
    timeout: Duration,
}

fn run(object: Object, permits: u32, timeout: Option<Span>, words: &[OsString]) -> Result<End, Failure> {
    let start = Instant::now();
    // Before the first thread, so that no thread but one ever sees these signals.
    let held = signals::hold().map_err(internal)?;
    let program = resolve(words[0].as_bytes()).map_err(|error| {
        let code = if error.is_not_found() { ExitCode::NotFound } else { ExitCode::CannotStart };
        Failure::new(code, error)
    })?;
    let request = Request {
        place: Place::open().map_err(no_place)?,
        object: object.clone(),
        permits,
        me: Life::of(std::process::id()).map_err(internal)?,
        command: shown_command(words),
        under: Life::above(),
        run: Run::above(),
    };
    let (mut below, me) = (request.under.clone(), request.me);
    let (terminal, stops) = (Terminal::open(), held.stops());
    let (tell, news) = sync_channel(NEWS);
    let tell_signal = tell.clone();
    // A full channel holds more signals than anybody can mean.
    held.watch(move |signal| drop(tell_signal.try_send(News::Signal(signal)))).map_err(internal)?;
    let verdicts = start_acquiring(request, tell.clone()).map_err(internal)?;
    let grant = match wait(&news, &verdicts, start, timeout.map(|span| span.0), terminal.as_ref())? {
        Waited::Granted(grant) => grant,
        Waited::TimedOut(timeout) => {
            return Err(Failure::new(ExitCode::Deadline, TimedOut { object, timeout })
                .hint("`poolctl locks` says who holds it"));
        }
        Waited::Signalled(signal) => return Ok(status(128 + signal as i32)),
    };
    if let Some(died) = &grant.died {
        say(&format!("poolctl: {object}: {}\n", died.tell()));
    }
    below.push(me);
    let command = Command { program: &program, words, held: below, owner_died: grant.died.is_some(), stops };
    let end = run_command(&command, &program, terminal, tell, &news);
    if let Err(error) = grant.release() {
        say(&format!(
            "poolctl: {object} could not be given back in order, so the next one takes it for a death: {error}\n"
        ));
    }
    end
}

/// Starts the thread that gets the lock, however long that takes.
fn start_acquiring(request: Request, tell: SyncSender<News>) -> io::Result<Receiver<Verdict>> {
    // At most two ever come, so sending never blocks.
    let (settle, verdicts) = sync_channel(2);
    let work = move || {
        acquire(&request, &|verdict| {
            // Nobody listens only where the process is about to end.
            drop(settle.send(verdict));
            // If it is full, the verdicts are looked at after what is in it.
            drop(tell.try_send(News::Verdict));
        });
    };
    thread::Builder::new().name("acquire".to_owned()).spawn(work)?;
    Ok(verdicts)
}

enum Waited {
    Granted(Grant),
    TimedOut(Duration),
    Signalled(Signal),
}

/// Waits until the lock is got, the time is over, or a signal asks to end.
fn wait(
    news: &Receiver<News>,
    verdicts: &Receiver<Verdict>,
    start: Instant,
    timeout: Option<Duration>,
    terminal: Option<&Terminal>,
) -> Result<Waited, Failure> {
    let mut seat: Option<Seat> = None;
    loop {
        // Whether it is free at all is seen in any case, so the time counts from there.
        let left = timeout.filter(|_| seat.is_some()).map(|timeout| timeout.saturating_sub(start.elapsed()));
        let heard = match left {
            Some(left) => news.recv_timeout(left),
            None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        for verdict in verdicts.try_iter() {
            match verdict {
                Verdict::Queued(queued) => seat = Some(queued),
                Verdict::Settled(Ok(grant)) => return Ok(Waited::Granted(grant)),
                Verdict::Settled(Err(error)) => return Err(refused(error)),
            }
        }
        let why = match heard {
            Ok(News::Signal(Signal::SIGTSTP)) => {
                stand_still(terminal).map_err(internal)?;
                continue;
            }
            Ok(News::Signal(signal)) => Waited::Signalled(signal),
            Err(RecvTimeoutError::Timeout) => Waited::TimedOut(timeout.unwrap_or_default()),
            Ok(News::Verdict | News::Fate(_)) => continue,
            Err(RecvTimeoutError::Disconnected) => unreachable!("this thread keeps a sender"),
        };
        if let Some(seat) = &seat {
            seat.give_up().map_err(internal)?;
        }
        // It may have been granted a moment before that.
        for verdict in verdicts.try_iter() {
            if let Verdict::Settled(Ok(grant)) = verdict {
                grant.release().map_err(internal)?;
            }
        }
        return Ok(why);
    }
}

fn run_command(
    command: &Command<'_>,
    program: &Path,
    terminal: Option<Terminal>,
    tell: SyncSender<News>,
    news: &Receiver<News>,
) -> Result<End, Failure> {
    // Blocks only while other news are being seen to; nobody listens only where the process is about to end.
    let start = command.start(terminal, move |fate| drop(tell.send(News::Fate(fate))));
    let mut running = start.map_err(|error| cannot_start(error, program))?;
    loop {
        match news.recv().map_err(internal)? {
            News::Signal(signal) => running.pass_on(signal),
            News::Fate(Fate::Stopped { pid, by }) => running.see_stopped(pid, by),
            News::Fate(Fate::LeaderDied(exit)) => {
                wait_for_group(&mut running, news);
                running.leave_terminal(exit);
                return Ok(status(exit.shell_status()));
            }
            // Its status is lost, so nobody may say that it went well.
            News::Fate(Fate::NoneLeft) => return Err(internal(io::Error::from(io::ErrorKind::NotFound))),
            News::Verdict | News::Fate(Fate::OtherDied) => {}
        }
    }
}

/// Waits until nobody is left in the group of a leader that has ended.
fn wait_for_group(running: &mut Running, news: &Receiver<News>) {
    let mut look = FIRST_LOOK;
    while !running.group_is_gone() {
        match news.recv_timeout(look) {
            Ok(News::Signal(signal)) => running.pass_on(signal),
            Ok(News::Fate(Fate::Stopped { pid, by })) => running.see_stopped(pid, by),
            Ok(News::Fate(Fate::NoneLeft)) => return,
            Ok(News::Verdict | News::Fate(_)) => {}
            Err(_) => look = (look * 2).min(LAST_LOOK),
        }
    }
}

fn status(number: i32) -> End {
    End::AsCommand(u8::try_from(number).expect("statuses fit a byte"))
}

fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitCode::Internal, error)
}

/// No place for locks, and what mends it.
pub(crate) fn no_place(error: RuntimeDirectoryError) -> Failure {
    let hint = error.hint();
    Failure::new(ExitCode::BadConfig, error).hint(hint)
}

fn refused(error: AcquireError) -> Failure {
    match error {
        AcquireError::Deadlock(deadlock) => {
            let details = deadlock.details();
            Failure::new(ExitCode::Overloaded, deadlock)
                .details(details)
                .hint("take the locks in the same order everywhere, the outer one first")
        }
        AcquireError::OtherNumber { theirs, .. } => {
            let hint = format!("-n {theirs} as long as others hold it (`poolctl locks`), or another name");
            Failure::usage(error).hint(hint)
        }
        AcquireError::Io(_) => internal(error),
    }
}

fn cannot_start(error: StartError, program: &Path) -> Failure {
    let code = match &error {
        StartError::Prepare(_) => ExitCode::Internal,
        StartError::Nul | StartError::Spawn { .. } => ExitCode::CannotStart,
    };
    let hint = match &error {
        StartError::Spawn { source, .. } if source.errno() == nix::errno::Errno::ENOEXEC as i32 => {
            Some(format!("a script needs a first line like #!/bin/sh, or: sh {}", program.display()))
        }
        _ => None,
    };
    let failure = Failure::new(code, error);
    if let Some(hint) = hint { failure.hint(hint) } else { failure }
}
