//! Memory that processes share: handles that travel as arguments of tasks, while what they stand for stays where it is.

mod array;
mod element;
mod home;
mod joinable_queue;
mod lock;
mod locked;
mod locked_array;
mod meeting;
mod membership;
mod memory;
mod object;
mod queue;
mod semaphore;
mod shareable_list;
mod value;

pub use self::array::Array;
pub use self::element::Element;
pub(crate) use self::home::{HomeSeats, home_id};
pub use self::joinable_queue::{JoinableQueue, NothingUnfinished};
pub use self::lock::{Lock, LockGuard, RLock, RLockGuard};
pub use self::locked::Locked;
pub use self::locked_array::{LockedArray, LockedArrayGuard};
pub use self::meeting::{Barrier, Condition, Event};
pub(crate) use self::membership::{known_hosts, take_seat};
pub use self::memory::{SharedMemory, set_shm_limit, shm_used};
pub use self::object::ObjectError;
pub use self::queue::{Queue, QueueError, SimpleQueue};
pub use self::semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use self::shareable_list::{ShareableItem, ShareableList, ShareableListError};
pub use self::value::{Value, ValueGuard};

use poolctl_shm::{Cell, SharedCells};
use poolctl_worker::attachments;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// What travels of a handle: which of the item's descriptors it is, and how many cells there are.
#[derive(Serialize, Deserialize)]
struct Reference {
    descriptor: u32,
    count: u64,
}

fn serialize<C: Cell, S: Serializer>(cells: &SharedCells<C>, serializer: S) -> Result<S::Ok, S::Error> {
    let descriptor = attachments::attach(cells.file().clone()).map_err(ser::Error::custom)?;
    Reference { descriptor, count: cells.cells().len() as u64 }.serialize(serializer)
}

fn deserialize<'de, C: Cell, D: Deserializer<'de>>(deserializer: D) -> Result<SharedCells<C>, D::Error> {
    let Reference { descriptor, count } = Reference::deserialize(deserializer)?;
    let file = attachments::take(descriptor).map_err(de::Error::custom)?;
    let count = usize::try_from(count).map_err(de::Error::custom)?;
    SharedCells::attach(file, count).map_err(de::Error::custom)
}

/// Cells that are a part of what travels.
struct Travelling<'a, C>(&'a SharedCells<C>);
struct Travelled<C>(SharedCells<C>);

impl<C: Cell> Serialize for Travelling<'_, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, serializer)
    }
}

impl<'de, C: Cell> Deserialize<'de> for Travelled<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}
