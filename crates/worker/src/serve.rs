//! How a program becomes a native worker: it was started as one.

use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::str::FromStr;

use poolctl_protocol::RemoteError;
use poolctl_shm::WorkerEnd;
use poolctl_sys::{affinity, inherited};
use poolctl_types::{ExitCode, Slot};

use crate::control::{Control, Gone};
use crate::failure::{chain, lasting};
use crate::life::Life;
use crate::link::{Link, Prints};
use crate::state::drop_states;
use crate::task::{Entry, entries};
use crate::{journal, panics, seat};

/// What a worker is told by its environment, and must not tell its own children.
const VARIABLES: [&str; 9] = [
    "POOLCTL_PROTOCOL",
    "POOLCTL_FRAMING",
    "POOLCTL_IN_FD",
    "POOLCTL_OUT_FD",
    "POOLCTL_CONTROL_FD",
    "POOLCTL_SLOT",
    "POOLCTL_AFFINITY",
    "POOLCTL_TIMING",
    PARENT,
];

/// The pid of the keeper. A descendant of a worker inherits it too, and knows by it that it was not meant.
const PARENT: &str = "POOLCTL_PARENT";

/// Where a worker finds its host.
#[derive(Debug)]
struct Asked {
    /// The socket's number, and those of descriptors that another protocol would use.
    control: RawFd,
    others: Vec<RawFd>,
    slot: Slot,
    processors: Vec<usize>,
    prints: Prints,
    /// The host speaks another protocol than frames, and has no socket for ours.
    is_foreign: bool,
}

/// Serves as a native worker, if this program was started as one, and then ends the process. Returns at once if not.
///
/// To be called first thing in `main`, before there are threads.
#[expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "there is nothing to destroy before main has begun"
)]
pub fn serve_if_asked() {
    if let Some(asked) = Asked::from_environment() {
        let code = serve(&asked);
        std::process::exit(i32::from(code as u8));
    }
}

/// Whether this program was started as a native worker.
#[must_use]
pub fn is_asked() -> bool {
    variable::<u32>(PARENT) == Some(std::os::unix::process::parent_id())
}

impl Asked {
    fn from_environment() -> Option<Self> {
        if !is_asked() {
            return None;
        }
        let numbers = ["POOLCTL_IN_FD", "POOLCTL_OUT_FD"].map(variable::<RawFd>);
        let own = variable("POOLCTL_CONTROL_FD");
        let control = own.or(numbers[0])?;
        let others = numbers.into_iter().flatten().filter(|number| *number != control).collect();
        let is_framed = std::env::var("POOLCTL_FRAMING").is_ok_and(|framing| framing == "frame");
        let slot = Slot(variable("POOLCTL_SLOT").unwrap_or(0));
        let processors = std::env::var("POOLCTL_AFFINITY").unwrap_or_default();
        let processors = processors.split(',').filter_map(|number| number.parse().ok()).collect();
        let is_told_apart = std::env::var("POOLCTL_TIMING").is_ok_and(|timing| timing == "1");
        let prints = if is_told_apart { Prints::PerItem } else { Prints::Loose };
        Some(Self { control, others, slot, processors, prints, is_foreign: own.is_none() && !is_framed })
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn serve(asked: &Asked) -> ExitCode {
    if asked.is_foreign {
        say(
            "this program is a native worker of poolctl, but was asked to speak JSON lines; name it as a native one",
        );
        return ExitCode::CannotStart;
    }
    let (control, _others) = match take_descriptors(asked) {
        Ok(taken) => taken,
        Err(error) => {
            say(&format!("this worker was started without its socket: {error}"));
            return ExitCode::CannotStart;
        }
    };
    let mut control = control;
    let entries: Vec<&'static Entry> = entries().collect();
    if let Err(error) = prepare(asked, &entries) {
        // The host is told, or is gone.
        return control.say_cannot_start(&error).map_or(ExitCode::Internal, |()| ExitCode::CannotStart);
    }
    match run(control, entries, asked.slot, asked.prints) {
        // A host that is gone wants nothing any more.
        Ok(()) | Err(Gone::Closed) => ExitCode::Ok,
        Err(error) => {
            say(&chain(&error));
            ExitCode::Internal
        }
    }
}

/// The socket, and what else was inherited for it, kept open but from children.
fn take_descriptors(asked: &Asked) -> io::Result<(Control, Vec<OwnedFd>)> {
    let control = Control::new(inherited::take(asked.control)?)?;
    let others = asked.others.iter().map(|number| inherited::take(*number)).collect::<io::Result<_>>()?;
    Ok((control, others))
}

fn prepare(asked: &Asked, entries: &[&Entry]) -> Result<(), RemoteError> {
    refuse_twins(entries)?;
    if !asked.processors.is_empty() {
        affinity::set(&asked.processors).map_err(|error| {
            let msg = format!("failed to keep to processors {:?}: {error}", asked.processors);
            lasting("AffinityError", msg)
        })?;
    }
    if let Err(error) = inherited::forget(&VARIABLES) {
        // Children are still told apart by their parent's pid.
        tracing::debug!(%error, "the environment keeps the worker's variables");
    }
    Ok(())
}

/// A task is found by its name alone.
pub(crate) fn refuse_twins(entries: &[&Entry]) -> Result<(), RemoteError> {
    let twin = entries.windows(2).find(|pair| pair[0].name == pair[1].name);
    if let Some([one, other]) = twin {
        let msg = format!(
            "two tasks are called `{}`: {} and {}; give one another name with `#[task(name = \"…\")]`",
            one.name, one.signature, other.signature
        );
        return Err(lasting("DuplicateTask", msg));
    }
    Ok(())
}

/// A worker's whole life, from its hello on.
pub(crate) fn run(
    mut control: Control,
    entries: Vec<&'static Entry>,
    slot: Slot,
    prints: Prints,
) -> Result<(), Gone> {
    control.say_hello(&entries)?;
    let (tasks, results, seat) = control.segments()?;
    seat::set(seat);
    let link = Rc::new(Link::new(WorkerEnd::attach(tasks, results)?, control, prints));
    journal::connect(Rc::clone(&link));
    panics::install_hook();
    Life::new(link, entries, slot).run()?;
    // In good order: what tasks have left behind may want to be closed.
    if let Err(error) = panics::caught(drop_states) {
        say(&format!("the worker's state panicked when it was dropped: {}", error.msg));
    }
    Ok(())
}

/// To the host's person, by standard error, which the host captures.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}
