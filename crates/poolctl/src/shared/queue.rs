//! Queues of values between any number of threads of any processes.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::time::Duration;

use poolctl_sync::{LockError, NoEntry, Participant, RawQueue};
use poolctl_worker::{DecodeError, Decoder, EncodeError, Encoder, attachments};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::object::{Object, ObjectError};

/// How many bytes of values a queue has room for if nothing else is said.
pub(super) const DEFAULT_BYTES: usize = 1 << 20;

/// How much of a record's memory is kept, in bytes.
const LONG_RECORD: usize = 64 << 10;

/// A bounded queue of values that any number of threads of any processes put into and get from.
///
/// - It is given to other processes as (part of) an argument; clones, and what a process gets, are the same queue.
/// - It is bounded in bytes, of which each value takes 8 and what it is long, rounded up to 8. Who finds no room waits.
/// - When a put has returned, the value is in the queue, whatever becomes of the process. A process that dies while it
///   puts has put it whole or not at all; one that dies while it gets has got it or left it for the next.
/// - Values are whatever serde knows; handles cannot travel so.
/// - `try_put` and `try_get` wait for the turns of others, which are over in less than a microsecond, for a second at most: longer takes only one that stands still.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = poolctl::Queue::new()?;
/// queue.put(&("one".to_owned(), 1))?;
/// assert_eq!(queue.get()?, ("one".to_owned(), 1));
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    raw: RawQueue,
    object: Object,
    bytes: usize,
    kind: PhantomData<fn(T) -> T>,
}

/// A [`Queue`] under the name by which those know it who come from `multiprocessing`.
pub type SimpleQueue<T> = Queue<T>;

/// Why a value was not put or not got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The time was up: the queue was full, or empty.
    #[error("the time was up")]
    TimedOut,
    /// The value would not fit into the empty queue.
    #[error("a value of {bytes} bytes is longer than the {most} that fit; make the queue `with_capacity`")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// The longest that fits.
        most: usize,
    },
    /// The value cannot travel.
    #[error("failed to encode the value")]
    Encode(#[source] EncodeError),
    /// What was in the queue is no such value. It was taken.
    #[error("failed to decode the value")]
    Decode(#[source] DecodeError),
    /// A handle cannot travel through a queue.
    #[error("a handle cannot travel through a queue: give it as an argument, or send it through a pipe")]
    Handle,
    /// A process that does not keep to the rules has written into it.
    #[error("the queue is damaged")]
    Damaged,
    /// Its lock could not be taken.
    #[error("failed to lock the queue")]
    Lock(#[source] LockError),
    /// This thread cannot take part.
    #[error("failed to use the queue")]
    NoEntry(#[from] NoEntry),
}

impl From<poolctl_sync::QueueError> for QueueError {
    fn from(error: poolctl_sync::QueueError) -> Self {
        match error {
            poolctl_sync::QueueError::TimedOut => Self::TimedOut,
            poolctl_sync::QueueError::TooLong { bytes, most } => Self::TooLong { bytes, most },
            poolctl_sync::QueueError::Lock { source } => Self::Lock(source),
            poolctl_sync::QueueError::NoEntry { source } => Self::NoEntry(source),
            _ => Self::Damaged,
        }
    }
}

thread_local! {
    /// Records on their way; for their memory.
    static RECORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<T> Queue<T> {
    /// A queue with room for 1 MiB of values.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new() -> Result<Self, ObjectError> {
        Self::with_capacity(DEFAULT_BYTES)
    }

    /// A queue with room for so many bytes of values, rounded up to a power of two, 128 at least.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn with_capacity(bytes: usize) -> Result<Self, ObjectError> {
        Self::on(Object::make(poolctl_sync::Host::create_queue)?, bytes, 0)
    }

    /// A queue that this process makes.
    pub(super) fn on(object: Object, bytes: usize, hands: u32) -> Result<Self, ObjectError> {
        let raw = RawQueue::with_hands(object.member(), object.place, bytes, hands)?;
        Ok(Self { raw: raw.ok_or(ObjectError::Nothing)?, object, bytes, kind: PhantomData })
    }

    fn attach(object: Object, file: OwnedFd, bytes: usize, hands: u32) -> Result<Self, ObjectError> {
        let raw = RawQueue::attach_with_hands(object.member(), object.place, file, bytes, hands)?;
        Ok(Self { raw: raw.ok_or(ObjectError::Nothing)?, object, bytes, kind: PhantomData })
    }

    pub(super) fn raw(&self) -> &RawQueue {
        &self.raw
    }

    /// How many values are in it at this moment; a guess from their bytes while others put and get all the time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is nothing in it at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// How many bytes are taken at this moment.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.raw.bytes()
    }
    /// Everybody who waits at this moment, to put or to get.
    #[must_use]
    pub fn waiters(&self) -> Vec<Participant> {
        self.raw.waiters()
    }
}

impl<T: Serialize> Queue<T> {
    /// Puts a value at the end, if need be after waiting for room.
    ///
    /// # Errors
    /// [`QueueError`]; nothing was put then.
    #[track_caller]
    pub fn put(&self, value: &T) -> Result<(), QueueError> {
        self.put_some(value, None)
    }

    /// Puts a value at the end, if need be after waiting for room for so long.
    ///
    /// # Errors
    /// [`QueueError`]; nothing was put then.
    #[track_caller]
    pub fn put_timeout(&self, value: &T, limit: Duration) -> Result<(), QueueError> {
        self.put_some(value, Some(limit))
    }

    /// Puts a value at the end if there is room; whether there was.
    ///
    /// # Errors
    /// [`QueueError`]; nothing was put then.
    #[track_caller]
    pub fn try_put(&self, value: &T) -> Result<bool, QueueError> {
        whether(self.put_some(value, Some(Duration::ZERO)))
    }

    #[track_caller]
    fn put_some(&self, value: &T, limit: Option<Duration>) -> Result<(), QueueError> {
        let mut encoder = Encoder::onto(kept());
        encoder.value(value).map_err(QueueError::Encode)?;
        if !encoder.attachments().is_empty() {
            return Err(QueueError::Handle);
        }
        let record = encoder.into_main();
        let put = self.raw.put(&record, limit);
        keep(record);
        Ok(put?)
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the oldest value, if need be after waiting for one.
    ///
    /// # Errors
    /// [`QueueError`].
    #[track_caller]
    pub fn get(&self) -> Result<T, QueueError> {
        self.get_some(None)
    }

    /// Takes the oldest value, if need be after waiting for one for so long.
    ///
    /// # Errors
    /// [`QueueError`].
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T, QueueError> {
        self.get_some(Some(limit))
    }

    /// Takes the oldest value, if there is one.
    ///
    /// # Errors
    /// [`QueueError`].
    #[track_caller]
    pub fn try_get(&self) -> Result<Option<T>, QueueError> {
        match self.get_some(Some(Duration::ZERO)) {
            Ok(value) => Ok(Some(value)),
            Err(QueueError::TimedOut) => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[track_caller]
    fn get_some(&self, limit: Option<Duration>) -> Result<T, QueueError> {
        let mut record = kept();
        let got = self.raw.get(&mut record, limit).map_err(QueueError::from);
        let value = got.and_then(|()| Decoder::new(&record).value().map_err(QueueError::Decode));
        keep(record);
        value
    }
}

/// The memory of a record before; none in a thread that is at its end.
fn kept() -> Vec<u8> {
    RECORD.try_with(RefCell::take).unwrap_or_default()
}

/// Keeps the memory of a record for the next, but not that of a long one.
fn keep(mut record: Vec<u8>) {
    record.clear();
    record.shrink_to(LONG_RECORD);
    RECORD.try_with(|kept| *kept.borrow_mut() = record).unwrap_or_default();
}

/// Whether it was possible at once.
fn whether(done: Result<(), QueueError>) -> Result<bool, QueueError> {
    match done {
        Ok(()) => Ok(true),
        Err(QueueError::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}

impl<T> Clone for Queue<T> {
    /// The same queue.
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), object: self.object.clone(), bytes: self.bytes, kind: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Queue");
        debug.field("number", &self.object).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> Serialize for Queue<T> {
    /// As an argument of a task or process alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let descriptor = attachments::attach(self.raw.file().clone()).map_err(S::Error::custom)?;
        (&self.object, descriptor, self.bytes as u64, self.raw.hand_count()).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (object, descriptor, bytes, hands): (Object, u32, u64, u32) =
            Deserialize::deserialize(deserializer)?;
        let file = attachments::take(descriptor).map_err(D::Error::custom)?;
        let bytes = usize::try_from(bytes).map_err(D::Error::custom)?;
        Self::attach(object, file, bytes, hands).map_err(D::Error::custom)
    }
}
