//! The process itself: how it knows that it is one, what it does, and what it is called.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::parent_id;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use poolctl_protocol::{FLAG_IN_MEMFD, Frame, FrameError, Kind, MAX_BODY_BYTES, RemoteError};
use poolctl_sys::{ancillary, inherited, transfer};
use poolctl_worker::travel::Decoder;
use poolctl_worker::{Grants, Outlet, entries, seat};

use super::launch::{Encoding, Meta};
use crate::thread_pool::message_of;

/// Says that this program was started to be one process, if it is the parent's pid: a grandchild that has merely
/// inherited it was not.
pub(super) const MARK: &str = "POOLCTL_PROCESS";

/// The descriptor at which it finds its end of the line.
pub(super) const LINE: i32 = 3;

/// The most that an answer takes on the line: it is written without anybody reading.
pub(super) const MAX_ANSWER_BYTES: usize = 32 << 10;

/// The most bytes of a message or trace in an answer.
const MAX_TEXT_BYTES: usize = 6 << 10;

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// Who this process is.
static IDENTITY: OnceLock<Identity> = OnceLock::new();

#[derive(Debug)]
struct Identity {
    name: String,
    id: String,
}

/// The process that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentProcess {
    name: &'static str,
    pid: u32,
}

/// Who this process is.
#[must_use]
pub fn current_process() -> CurrentProcess {
    let name = IDENTITY.get().map_or("MainProcess", |identity| identity.name.as_str());
    CurrentProcess { name, pid: std::process::id() }
}

impl CurrentProcess {
    /// What it is called: the name of its [`Process`](crate::Process), `PoolWorker-0` and so on in a worker of a pool of
    /// tasks, else `MainProcess`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// The number of a child of this process, behind that of this one.
pub(super) fn child_id(number: u64) -> String {
    match IDENTITY.get() {
        Some(identity) => format!("{}:{number}", identity.id),
        None => number.to_string(),
    }
}

/// Whether this program was started to be a process.
pub(crate) fn requested() -> bool {
    env::var_os(MARK).is_some_and(|parent| parent == *parent_id().to_string())
}

/// This process is a worker of a pool.
pub(crate) fn be_worker() {
    // Its place in its pool; said by the host that started it.
    let slot = env::var("POOLCTL_SLOT").unwrap_or_default();
    let identity = Identity { name: format!("PoolWorker-{slot}"), id: format!("w{slot}") };
    // Set here only, or where a process begins.
    IDENTITY.set(identity).unwrap_or_default();
}

/// Why a process cannot begin.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error("failed to take over its descriptor")]
    Inherit(#[source] io::Error),
    #[error("failed to read what to do")]
    Read(#[source] io::Error),
    #[error("cannot make sense of what to do")]
    Frame(#[source] FrameError),
    #[error("cannot make sense of what to do")]
    Meta(#[source] serde_json::Error),
    #[error("not told what to do")]
    NotATask,
    #[error("no task is called `{name}`")]
    UnknownTask { name: String },
}

/// Runs the one task that this process is for. Says the status to exit with: 0 if it returned, else 1.
pub(crate) fn serve() -> i32 {
    let (line, outcome) = match begin() {
        Ok((line, order)) => (Some(line), order.carry_out()),
        Err(error) => {
            let msg = error_chain(&error);
            let error =
                RemoteError { type_name: "StartError".to_owned(), msg, trace: None, retry: None, more: None };
            (None, Err(error))
        }
    };
    let Err(error) = outcome else { return 0 };
    complain(&error);
    if let Some(line) = line {
        answer(&line, error);
    }
    1
}

/// What to do.
struct Order {
    function: String,
    main: Vec<u8>,
    attachments: Vec<OwnedFd>,
}

fn begin() -> Result<(OwnedFd, Order), BeginError> {
    let line = inherited::take(LINE).map_err(BeginError::Inherit)?;
    // A thread that runs before main, as some libraries have, may be reading the environment: then it stays, and is
    // told from one's own by the pid in it.
    let forgotten = inherited::forget(&[MARK]);
    drop(forgotten);
    let (bytes, mut attachments) = receive(&line)?;
    let frame = Frame::parse(&bytes, MAX_BODY_BYTES).map_err(BeginError::Frame)?;
    let frame = frame.filter(|frame| frame.header.kind == Kind::Task).ok_or(BeginError::NotATask)?;
    let meta: Meta = serde_json::from_slice(frame.meta).map_err(BeginError::Meta)?;
    let Meta { function, enc: Encoding::Bincode, name, id, cwd, seat } = meta;
    seat::set(seat);
    if let Some(cwd) = cwd {
        // It may have been removed, which is no reason not to run.
        env::set_current_dir(OsString::from_vec(cwd)).unwrap_or_default();
    }
    let main = if frame.header.flags & FLAG_IN_MEMFD == 0 {
        frame.payload.to_vec()
    } else {
        if attachments.is_empty() {
            return Err(BeginError::NotATask);
        }
        read_whole(attachments.remove(0)).map_err(BeginError::Read)?
    };
    // Set here only.
    IDENTITY.set(Identity { name, id }).unwrap_or_default();
    Ok((line, Order { function, main, attachments }))
}

/// Reads the one frame that waits there, and its descriptors.
fn receive(line: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), BeginError> {
    let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    while Frame::parse(&bytes, MAX_BODY_BYTES).map_err(BeginError::Frame)?.is_none() {
        let count =
            ancillary::receive(line.as_fd(), &mut buffer, &mut descriptors).map_err(BeginError::Read)?;
        if count == 0 {
            return Err(BeginError::NotATask);
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
    Ok((bytes, descriptors))
}

fn read_whole(memfd: OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(memfd), &mut bytes)?;
    Ok(bytes)
}

impl Order {
    fn carry_out(self) -> Result<(), RemoteError> {
        let Some(entry) = entries().find(|entry| entry.name == self.function) else {
            let msg = BeginError::UnknownTask { name: self.function }.to_string();
            return Err(RemoteError {
                type_name: "StartError".to_owned(),
                msg,
                trace: None,
                retry: None,
                more: None,
            });
        };
        let mut decoder = Decoder::with_attachments(&self.main, self.attachments);
        let mut nowhere = Nowhere;
        let mut outlet = Outlet::new(Vec::new(), &mut nowhere);
        catch_unwind(AssertUnwindSafe(|| (entry.binary)(&mut decoder, &mut outlet))).unwrap_or_else(|panic| {
            let msg = message_of(&*panic);
            Err(RemoteError { type_name: "panic".to_owned(), msg, trace: None, retry: None, more: None })
        })
    }
}

/// Where big results go: nobody gets them.
struct Nowhere;

impl Grants for Nowhere {
    fn grant(&mut self, _bytes: u64) -> Result<OwnedFd, RemoteError> {
        let null = std::fs::File::options().write(true).open("/dev/null");
        null.map(OwnedFd::from).map_err(|error| RemoteError {
            type_name: "ResultError".to_owned(),
            msg: error.to_string(),
            trace: None,
            retry: None,
            more: None,
        })
    }
}

/// Tells the error on stderr. The panic hook has told where a panic was.
#[expect(clippy::print_stderr, reason = "there is nobody else to tell it to, and `multiprocessing` does so")]
fn complain(error: &RemoteError) {
    let name = current_process().name;
    eprintln!("Process {name}: {}: {}", error.type_name, error.msg);
    if let Some(trace) = &error.trace {
        eprintln!("{trace}");
    }
}

/// Tells the error to the host, as much of it as fits.
fn answer(line: &OwnedFd, mut error: RemoteError) {
    cut(&mut error.type_name, 256);
    cut(&mut error.msg, MAX_TEXT_BYTES);
    if let Some(trace) = &mut error.trace {
        cut(trace, MAX_TEXT_BYTES);
    }
    let Ok(mut payload) = serde_json::to_vec(&error) else { return };
    if payload.len() > MAX_ANSWER_BYTES / 2 {
        // Texts of what JSON writes in six bytes each.
        error.trace = None;
        cut(&mut error.msg, MAX_ANSWER_BYTES / 16);
        payload = serde_json::to_vec(&error).unwrap_or_default();
    }
    let mut frame = Vec::new();
    Frame::write(&mut frame, Kind::Err, 0, 0, b"", &payload);
    // A host that is gone does not want to know.
    transfer::send(line.as_fd(), &frame).unwrap_or_default();
}

/// Shortens a text to so many bytes at most.
fn cut(text: &mut String, bytes: usize) {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
}

/// An error and everything that caused it.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
