//! A handle to a shared object: where the object is, how it is used here, and what keeps it there.
//!
//! In the process that made it, handles and copies on their way keep it; in others, a bit for the process. When neither is
//! left its maker forgets it. A copy that goes to where nobody learns of its arrival pins it instead.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use poolctl_shm::SharedError;
use poolctl_sync::{AttachError, CreateError, Host, Member, Place, RawRLock};
use poolctl_worker::attachments::{self, Kept, Luggage, Whose};
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
    pub(super) place: Place,
    hold: Arc<Hold>,
}

/// A handle on its way.
#[derive(Debug)]
struct Parting {
    file: Arc<OwnedFd>,
    member: Member,
    place: Place,
    /// In the process that made the object.
    own: Option<Arc<Hold>>,
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
        Ok(Self { place, hold: Hold::of(&membership, place) })
    }

    pub(super) fn member(&self) -> &Member {
        &self.hold.membership.member
    }

    /// What a primitive of `poolctl-sync` makes of it.
    pub(super) fn raw<R>(&self, at: impl FnOnce(&Member, Place) -> Option<R>) -> Result<R, ObjectError> {
        at(self.member(), self.place).ok_or(ObjectError::Nothing)
    }

    /// The recursive lock, the same for all handles of this process.
    pub(super) fn recursive(&self) -> Result<RawRLock, ObjectError> {
        self.hold.membership.recursive(self.place)
    }
}

impl AsFd for Parting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Luggage for Parting {
    fn whose(&self) -> Whose {
        if self.own.is_some() { Whose::Own } else { Whose::Anothers }
    }

    fn kept(&self) -> Option<Kept> {
        self.own.clone().map(|hold| -> Kept { hold })
    }

    fn leaves(&self) {
        self.member.pin(self.place);
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Hold { membership, place, was_sent } = &*self.hold;
        was_sent.store(true, Ordering::Relaxed);
        let own = membership.is_own().then(|| Arc::clone(&self.hold));
        let (file, member) = (Arc::clone(self.member().file()), self.member().clone());
        let parting = Parting { file, member, place: *place, own };
        let descriptor = attachments::attach(Arc::new(parting)).map_err(ser::Error::custom)?;
        let Place { line, extra } = *place;
        Reference { descriptor, host: membership.host, line, extra }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Reference { descriptor, host, line, extra } = Reference::deserialize(deserializer)?;
        let file = attachments::take(descriptor).map_err(de::Error::custom)?;
        let membership = Membership::of(host, file).map_err(de::Error::custom)?;
        let place = Place { line, extra };
        Ok(Self { place, hold: Hold::of(&membership, place) })
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
