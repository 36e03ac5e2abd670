//! Shared objects under names, for programs that did not start each other.
//!
//! A name is a socket in the abstract namespace, held by the process that publishes: no file that could stay behind, and
//! the kernel takes it back, whoever dies (`docs/adr/0009-a-name-is-an-abstract-socket.md`). Whoever attaches connects
//! to it and gets the handles as through a [`pipe`](crate::pipe), and, if locks are among them, a seat among those who
//! share them. The connection stays: its end says that this user has gone.
//!
//! # If a process dies
//! The publisher: its name is gone; memory stays with those who have it, but nobody recovers locks any more. One that has
//! attached: its connection and its pidfd tell the publisher, which recovers what it held.

mod service;

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::time::Duration;

use poolctl_supervisor::now;
use poolctl_sys::packet::MAX_DESCRIPTORS;
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::poller::{Interest, Poller};
use poolctl_sys::ready::{self, Wanted};
use poolctl_sys::{named, process};
use poolctl_worker::EncodeError;
use poolctl_worker::attachments::Whose;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::pipe::{End, PipeError};
use crate::shared::{known_hosts, take_seat};

/// The longest name, in bytes: what remains beside the user of those a socket can have.
pub const MAX_NAME_BYTES: usize = 80;

/// What both sides speak.
const VERSION: u32 = 1;

/// A value that other programs of this user can attach, until this is dropped and all have ended who attached it.
#[must_use = "the name is taken back at once"]
pub struct Published {
    name: String,
    publication: u64,
}

/// What was attached by its name; it counts as in use until this is dropped. Clones of the handle in it go on working.
///
/// The process that published it recovers its locks: when that ends, a lock held by another one that dies later does not
/// come back any more ([`Attached::has_publisher`]).
pub struct Attached<T> {
    value: T,
    /// Its end tells the publisher that this user has gone.
    line: End,
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// It is too long.
    #[error("a name has {MAX_NAME_BYTES} bytes at most, not {bytes}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// There are control characters in it.
    #[error("a name has no control characters")]
    Control,
}

/// Why a value has no name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// That is no name.
    #[error("failed to publish")]
    Name(#[from] NameError),
    /// Another value has it.
    #[error(
        "the name `{name}` is taken by process {pid}: drop its `Published` and let its users end, or take another name"
    )]
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        pid: u32,
    },
    /// The value cannot travel.
    #[error("failed to encode the value")]
    Encode(#[source] EncodeError),
    /// There are more handles in it than one message can carry.
    #[error("{count} handles are more than can be published under one name ({most})")]
    TooManyHandles {
        /// How many there are.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// A lock or another object in it was made by another process.
    #[error("an object can be published by the process alone that made it")]
    Foreign,
    /// This is a forked copy of a process that publishes.
    #[error("a forked copy of a process cannot publish")]
    Forked,
    /// The system refused.
    #[error("the system refused to name the value `{name}`")]
    Refused {
        /// The name.
        name: String,
        /// What it answered.
        source: io::Error,
    },
}

/// Why nothing was attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// That is no name.
    #[error("failed to attach")]
    Name(#[from] NameError),
    /// Nobody has it.
    #[error("nothing is published as `{name}` by this user on this machine")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The process that has it is another user's.
    #[error("`{name}` is held by process {pid} of user {uid}, who is not this one")]
    OtherUser {
        /// The name.
        name: String,
        /// Who has it.
        pid: u32,
        /// Its user.
        uid: u32,
    },
    /// It is something else.
    #[error("`{name}` is a `{published}`, not a `{asked}`")]
    Kind {
        /// The name.
        name: String,
        /// What was published, as Rust names it.
        published: String,
        /// What was asked for.
        asked: &'static str,
    },
    /// The other side is of a version that this one does not know.
    #[error("`{name}` is published by version {theirs} of the protocol, this is version {VERSION}")]
    Version {
        /// The name.
        name: String,
        /// The other side's.
        theirs: u32,
    },
    /// No answer came in time.
    #[error("no answer for `{name}` within {limit:?}")]
    TimedOut {
        /// The name.
        name: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The process that published it is dead, and a forked copy of it keeps the name.
    #[error(
        "process {pid}, which published `{name}`, is dead; a forked copy of it keeps the name until it ends"
    )]
    Orphaned {
        /// The name.
        name: String,
        /// Who had it.
        pid: u32,
    },
    /// As many processes as can share locks with that one already.
    #[error("process {pid}, which has `{name}`, has no seat left for one more that uses its locks")]
    NoSeat {
        /// The name.
        name: String,
        /// Who has it.
        pid: u32,
    },
    /// The other side has gone, or cannot give it.
    #[error("failed to get `{name}` from the process that has it")]
    Line {
        /// The name.
        name: String,
        /// Why.
        source: PipeError,
    },
    /// The system refused.
    #[error("the system refused to look for `{name}`")]
    Refused {
        /// The name.
        name: String,
        /// What it answered.
        source: io::Error,
    },
}

/// What whoever attaches says first.
#[derive(Serialize, Deserialize)]
struct Hello {
    version: u32,
    /// Hosts with whom it has a seat.
    hosts: Vec<u64>,
}

/// What is answered, before the value.
#[derive(Serialize, Deserialize)]
struct Greeting {
    version: u32,
    kind: String,
    /// What the other side needs to use locks, if there are any, with the host they are of.
    seat: Option<(u64, Vec<u8>)>,
}

/// Gives a value a name, under which other programs of this user on this machine can [`attach`] it: a handle, such as
/// [`SharedMemory`](crate::SharedMemory), [`Array`](crate::Array), [`Lock`](crate::Lock) or [`Queue`](crate::Queue), or
/// anything with handles in it. What is no handle is copied now.
///
/// - `name`: up to [`MAX_NAME_BYTES`] bytes without control characters.
/// - The name is gone with its last user: when the [`Published`] is dropped and whoever attached it has dropped it or
///   ended. It is gone with this process in any case, and with the copies
///   that it has forked: one that lives keeps the name, and answers nobody ([`AttachError::Orphaned`]).
/// - A thread of this process answers those who attach.
/// - This process alone gives back what the dead held: when it ends, whoever waits for something that it held, or that
///   somebody holds who dies later, waits until its limit. [`Attached::has_publisher`] says so.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = format!("weights of {}", std::process::id());
/// let weights = poolctl::Array::from_slice(&[0.5, 0.25])?;
/// let published = poolctl::publish(&name, &weights)?;
///
/// // In another program:
/// let attached = poolctl::attach::<poolctl::Array<f64>>(&name)?;
/// assert_eq!(attached.get(1), Some(0.25));
/// # drop(published);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`PublishError`].
pub fn publish<T: Serialize>(name: &str, value: &T) -> Result<Published, PublishError> {
    let address = address(name)?;
    let (main, handles) = End::encode(value).map_err(PublishError::Encode)?;
    if handles.len() >= MAX_DESCRIPTORS {
        return Err(PublishError::TooManyHandles { count: handles.len(), most: MAX_DESCRIPTORS - 1 });
    }
    if handles.iter().any(|handle| handle.whose() == Whose::Anothers) {
        return Err(PublishError::Foreign);
    }
    let value = service::Value { kind: std::any::type_name::<T>(), main, handles };
    let publication = service::publish(&address, value).map_err(|error| match error {
        service::Refused::Forked => PublishError::Forked,
        service::Refused::System(source) => refused(name, &address, source),
    })?;
    Ok(Published { name: name.to_owned(), publication })
}

fn refused(name: &str, address: &[u8], source: io::Error) -> PublishError {
    let name = name.to_owned();
    if source.kind() != io::ErrorKind::AddrInUse {
        return PublishError::Refused { name, source };
    }
    let holder = named::find(address).and_then(|socket| named::peer(socket.as_fd()));
    PublishError::Taken { name, pid: holder.map_or(0, |holder| holder.pid) }
}

/// The value that a program of this user has [`publish`]ed under this name. Waits for its answer.
///
/// # Errors
/// [`AttachError`].
pub fn attach<T: DeserializeOwned>(name: &str) -> Result<Attached<T>, AttachError> {
    attach_within(name, None)
}

/// As [`attach`], and waits so long at most.
///
/// # Errors
/// [`AttachError`].
pub fn attach_timeout<T: DeserializeOwned>(name: &str, limit: Duration) -> Result<Attached<T>, AttachError> {
    attach_within(name, Some(limit))
}

fn attach_within<T: DeserializeOwned>(
    name: &str,
    limit: Option<Duration>,
) -> Result<Attached<T>, AttachError> {
    let address = address(name)?;
    let owned = || name.to_owned();
    let socket = named::find(&address).map_err(|source| match source.kind() {
        io::ErrorKind::ConnectionRefused => AttachError::NotFound { name: owned() },
        _ => AttachError::Refused { name: owned(), source },
    })?;
    let line = End::of(socket);
    let peer = named::peer(line.as_fd());
    let peer = peer.map_err(|source| AttachError::Refused { name: owned(), source })?;
    if peer.uid != process::user_id() {
        return Err(AttachError::OtherUser { name: owned(), pid: peer.pid, uid: peer.uid });
    }
    let publisher = Pidfd::open(peer.pid).map_err(|_| AttachError::NotFound { name: owned() })?;
    let asked_of = Asked { line, publisher, name, limit, until: limit.map(|limit| now() + limit) };
    let of_line = |source| AttachError::Line { name: owned(), source };
    let hello = Hello { version: VERSION, hosts: known_hosts() };
    asked_of.line.send(&hello, limit).map_err(of_line)?;
    let greeting: Greeting = asked_of.answer()?;
    if greeting.version != VERSION {
        return Err(AttachError::Version { name: owned(), theirs: greeting.version });
    }
    let asked = std::any::type_name::<T>();
    if greeting.kind != asked {
        return Err(AttachError::Kind { name: owned(), published: greeting.kind, asked });
    }
    match greeting.seat {
        Some((_, told)) if told.is_empty() => {
            return Err(AttachError::NoSeat { name: owned(), pid: peer.pid });
        }
        Some((host, told)) => take_seat(host, &told),
        None => {}
    }
    let value = asked_of.answer()?;
    Ok(Attached { value, line: asked_of.line })
}

/// A question on its way.
struct Asked<'a> {
    line: End,
    publisher: Pidfd,
    name: &'a str,
    limit: Option<Duration>,
    until: Option<poolctl_supervisor::Moment>,
}

impl Asked<'_> {
    /// What comes next from the publisher.
    fn answer<T: DeserializeOwned>(&self) -> Result<T, AttachError> {
        let name = || self.name.to_owned();
        let refused = |source| AttachError::Refused { name: name(), source };
        loop {
            // Looked at first: whatever a process has closed or sent is seen behind its end.
            let has_ended = self.publisher.wait_for_end(Some(Duration::ZERO)).map_err(refused)?;
            let came = self.line.receive(Some(Duration::ZERO));
            if let Some(came) = came.map_err(|source| AttachError::Line { name: name(), source })? {
                return Ok(came);
            }
            let left = self.until.map(|until| until - now());
            if let (Some(Duration::ZERO), Some(limit)) = (left, self.limit) {
                return Err(AttachError::TimedOut { name: name(), limit });
            }
            if has_ended {
                return Err(AttachError::Orphaned { name: name(), pid: self.publisher.pid() });
            }
            self.wait(left).map_err(refused)?;
        }
    }

    /// Until there is an answer, or nobody who could give one.
    fn wait(&self, left: Option<Duration>) -> io::Result<()> {
        let mut poller = Poller::new()?;
        poller.add(self.line.as_fd(), 0, Interest::Read)?;
        poller.add(self.publisher.as_fd(), 1, Interest::Read)?;
        poller.wait(&mut Vec::new(), left)
    }
}

/// The name of a socket. Users do not get in each other's way.
fn address(name: &str) -> Result<Vec<u8>, NameError> {
    match name {
        "" => Err(NameError::Empty),
        _ if name.len() > MAX_NAME_BYTES => Err(NameError::TooLong { bytes: name.len() }),
        _ if name.chars().any(char::is_control) => Err(NameError::Control),
        _ => Ok(format!("poolctl/{}/{name}", process::user_id()).into_bytes()),
    }
}

impl Published {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many have attached it and use it at this moment.
    #[must_use]
    pub fn users(&self) -> usize {
        service::users(self.publication)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        service::withdraw(self.publication);
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Published");
        debug.field("name", &self.name).field("users", &self.users()).finish_non_exhaustive()
    }
}

impl<T> Attached<T> {
    /// The pid of the process that published it, living or dead.
    #[must_use]
    pub fn publisher(&self) -> Option<u32> {
        named::peer(self.line.as_fd()).ok().map(|peer| peer.pid)
    }

    /// Whether that process lives. Without it nobody recovers what a dead process held of its locks; memory stays.
    #[must_use]
    pub fn has_publisher(&self) -> bool {
        // It says nothing more, so that there is something to read at the end alone.
        matches!(ready::wait(self.line.as_fd(), Wanted::Data, Some(Duration::ZERO)), Ok(false))
    }
}

impl<T> Deref for Attached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Attached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("value", &self.value).finish_non_exhaustive()
    }
}
