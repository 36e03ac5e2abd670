//! A handle to a shared object: where the object is, how it is used here, and what keeps it there.
//!
//! In the process that made it, handles and copies on their way keep it; in others, a bit for the process. When neither is
//! left its maker forgets it. A copy that goes to where nobody learns of its arrival pins it instead.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use poolctl_shm::SharedError;
use poolctl_sync::{AttachError, CreateError, Host, Member, Place, RawRLock};
use poolctl_worker::attachments::{self, Kept, Luggage};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::home;
use super::membership::{Hold, Membership};

/// Why there is no shared object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// There is no room for it among the objects of this process.
    #[error("failed to make a shared object")]
    Create(#[source] CreateError),
    /// There is no memory for what it holds.
    #[error("no memory for a shared object")]
    Memory(#[from] SharedError),
    /// It is of a process that has not started this one, and whose objects it has not attached by name.
    #[error(
        "the object is of another host: a process uses its own objects, those of the one that started it, and what it \
         attached by name"
    )]
    Foreign,
    /// As many processes share objects already as can.
    #[error("this process has no seat among those who share objects: all were taken when it started")]
    NoSeat,
    /// This is a forked copy of the process whose objects they are.
    #[error("a forked copy of a process cannot use its shared objects")]
    Forked,
    /// The segment of the objects, 115 MiB of addresses, cannot be mapped into this process.
    #[error("cannot use the shared objects of the process that started this one")]
    Attach(#[source] AttachError),
    /// The handle leads nowhere.
    #[error("the handle leads to no shared object")]
    Nothing,
}

/// An object: where it is, and how it is used here.
#[derive(Clone)]
pub(super) struct Object {
    membership: Arc<Membership>,
    pub(super) place: Place,
    tie: Tie,
}

/// What keeps an object as long as there are handles to it.
#[derive(Debug, Clone)]
enum Tie {
    /// In the process that made it.
    Made(Arc<Made>),
    /// In another one.
    Held { _hold: Arc<Hold> },
    /// In the process that made it, where the handle came back to: it was sent for good, so it stays.
    Pinned,
}

/// What the process that made an object knows of it. Handles on their way have it, too.
#[derive(Debug)]
struct Made {
    place: Place,
    /// Whether another process may use it.
    was_sent: AtomicBool,
}

/// A handle on its way.
#[derive(Debug)]
struct Parting {
    file: Arc<OwnedFd>,
    member: Member,
    place: Place,
    made: Option<Arc<Made>>,
}

/// What travels of a handle.
#[derive(Serialize, Deserialize)]
struct Reference {
    descriptor: u32,
    host: u64,
    line: u32,
    extra: u32,
}

impl Object {
    /// An object that this process makes.
    pub(super) fn make(
        make: impl FnOnce(&mut Host) -> Result<Place, CreateError>,
    ) -> Result<Self, ObjectError> {
        let (membership, place) = home::make(make)?;
        let made = Arc::new(Made { place, was_sent: AtomicBool::new(false) });
        Ok(Self { membership, place, tie: Tie::Made(made) })
    }

    pub(super) fn member(&self) -> &Member {
        &self.membership.member
    }

    /// What a primitive of `poolctl-sync` makes of it.
    pub(super) fn raw<R>(&self, at: impl FnOnce(&Member, Place) -> Option<R>) -> Result<R, ObjectError> {
        at(self.member(), self.place).ok_or(ObjectError::Nothing)
    }

    /// The recursive lock, the same for all handles of this process.
    pub(super) fn recursive(&self) -> Result<RawRLock, ObjectError> {
        self.membership.recursive(self.place)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        home::forget(self.place, self.was_sent.load(Ordering::Relaxed));
    }
}

impl AsFd for Parting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Luggage for Parting {
    fn kept(&self) -> Option<Kept> {
        self.made.clone().map(|made| -> Kept { made })
    }

    fn leaves(&self) {
        self.member.pin(self.place);
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (file, member) = (Arc::clone(self.member().file()), self.member().clone());
        let made = match &self.tie {
            Tie::Made(made) => {
                made.was_sent.store(true, Ordering::Relaxed);
                Some(Arc::clone(made))
            }
            // Who made it does not learn that it is on its way from here.
            Tie::Held { .. } | Tie::Pinned => {
                member.pin(self.place);
                None
            }
        };
        let parting = Parting { file, member, place: self.place, made };
        let descriptor = attachments::attach(Arc::new(parting)).map_err(ser::Error::custom)?;
        let Place { line, extra } = self.place;
        Reference { descriptor, host: self.membership.host, line, extra }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Reference { descriptor, host, line, extra } = Reference::deserialize(deserializer)?;
        let file = attachments::take(descriptor).map_err(de::Error::custom)?;
        let membership = Membership::of(host, file).map_err(de::Error::custom)?;
        let place = Place { line, extra };
        let tie = if host == home::home_id() {
            Tie::Pinned
        } else {
            Tie::Held { _hold: Hold::of(&membership, place) }
        };
        Ok(Self { membership, place, tie })
    }
}

/// Lets a handle travel that is nothing but its object.
macro_rules! travels {
    ($handle:ident) => {
        impl serde::Serialize for $handle {
            /// As an argument of a task or process alone; anything else is an error.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.object.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $handle {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::of(Object::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use travels;

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place.line)
    }
}
