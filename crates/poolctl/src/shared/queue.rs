//! Queues of values between any number of threads of any processes.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use poolctl_sync::{LockError, NoEntry, RawQueue};
use poolctl_worker::{DecodeError, Decoder, EncodeError, Encoder, attachments};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::home::{Object, ObjectError};
use super::meeting::Condition;
use super::value::Value;

/// How many bytes of values a queue has room for if nothing else is said.
const DEFAULT_BYTES: usize = 1 << 20;

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

/// A [`Queue`] whose users say when they have done with what they got, so that others can wait until all is done.
///
/// A process that dies between a get and its [`JoinableQueue::task_done`], or in the middle of a put, leaves a task that
/// is never done: wait with a limit where that may happen.
pub struct JoinableQueue<T> {
    queue: Queue<T>,
    /// How many values were put and are not done.
    unfinished: Value<u64>,
    all_done: Condition,
}

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
    /// `task_done` was called more often than values were put.
    #[error("no task is unfinished")]
    NothingUnfinished,
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
        let object = Object::make(poolctl_sync::Host::create_queue)?;
        let raw = RawQueue::new(object.member(), object.place, bytes)?.ok_or(ObjectError::Nothing)?;
        Ok(Self { raw, object, bytes, kind: PhantomData })
    }

    fn attach(object: Object, file: OwnedFd, bytes: usize) -> Result<Self, ObjectError> {
        let raw = RawQueue::attach(object.member(), object.place, file, bytes)?;
        Ok(Self { raw: raw.ok_or(ObjectError::Nothing)?, object, bytes, kind: PhantomData })
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
        let mut encoder = Encoder::onto(RECORD.take());
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
        let mut record = RECORD.take();
        let got = self.raw.get(&mut record, limit).map_err(QueueError::from);
        let value = got.and_then(|()| Decoder::new(&record).value().map_err(QueueError::Decode));
        keep(record);
        value
    }
}

/// Keeps the memory of a record for the next, but not that of a long one.
fn keep(mut record: Vec<u8>) {
    record.clear();
    record.shrink_to(LONG_RECORD);
    RECORD.set(record);
}

/// Whether it was possible at once.
fn whether(done: Result<(), QueueError>) -> Result<bool, QueueError> {
    match done {
        Ok(()) => Ok(true),
        Err(QueueError::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}

impl<T> JoinableQueue<T> {
    /// A queue with room for 1 MiB of values.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn new() -> Result<Self, ObjectError> {
        Self::with_capacity(DEFAULT_BYTES)
    }

    /// A queue with room for so many bytes of values, rounded up to a power of two.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn with_capacity(bytes: usize) -> Result<Self, ObjectError> {
        Ok(Self {
            queue: Queue::with_capacity(bytes)?,
            unfinished: Value::new(0)?,
            all_done: Condition::new()?,
        })
    }

    /// Whether there is nothing in it at this moment. What was taken out may not be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many values were put and are not done at this moment.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.unfinished.load()
    }

    /// Says that what was got is done, once for each.
    ///
    /// # Errors
    /// [`QueueError::NothingUnfinished`].
    #[track_caller]
    pub fn task_done(&self) -> Result<(), QueueError> {
        // In one step: those who put count theirs without the lock.
        match self.unfinished.update(|count| count.saturating_sub(1)) {
            0 => Err(QueueError::NothingUnfinished),
            1 => {
                // Under the lock, or it would be missed by one who has looked and does not sleep yet.
                let guard = self.unfinished.get_lock().acquire().map_err(QueueError::Lock)?;
                self.all_done.notify_all()?;
                drop(guard);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Waits until all that was put is done.
    ///
    /// # Errors
    /// [`QueueError::Lock`], [`QueueError::NoEntry`].
    #[track_caller]
    pub fn join(&self) -> Result<(), QueueError> {
        self.join_some(None).map(|_| ())
    }

    /// Waits until all that was put is done, for so long at most; whether it is.
    ///
    /// # Errors
    /// [`QueueError::Lock`], [`QueueError::NoEntry`].
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<bool, QueueError> {
        self.join_some(Some(limit))
    }

    #[track_caller]
    fn join_some(&self, limit: Option<Duration>) -> Result<bool, QueueError> {
        let until = limit.map(|limit| poolctl_supervisor::now() + limit);
        let mut guard = self.unfinished.get_lock().acquire().map_err(QueueError::Lock)?;
        while self.unfinished.load() > 0 {
            let left = until.map(|until| until - poolctl_supervisor::now());
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            let waited = match left {
                Some(left) => self.all_done.wait_timeout(&mut guard, left).map(|_| ()),
                None => self.all_done.wait(&mut guard),
            };
            waited.map_err(|error| match error {
                poolctl_sync::WaitError::Lock { source } => QueueError::Lock(source),
                _ => QueueError::Damaged,
            })?;
        }
        Ok(true)
    }
}

impl<T: Serialize> JoinableQueue<T> {
    /// As [`Queue::put`].
    ///
    /// # Errors
    /// As [`Queue::put`].
    #[track_caller]
    pub fn put(&self, value: &T) -> Result<(), QueueError> {
        self.counted(|| self.queue.put(value))
    }

    /// As [`Queue::put_timeout`].
    ///
    /// # Errors
    /// As [`Queue::put_timeout`].
    #[track_caller]
    pub fn put_timeout(&self, value: &T, limit: Duration) -> Result<(), QueueError> {
        self.counted(|| self.queue.put_timeout(value, limit))
    }

    /// As [`Queue::try_put`].
    ///
    /// # Errors
    /// As [`Queue::try_put`].
    #[track_caller]
    pub fn try_put(&self, value: &T) -> Result<bool, QueueError> {
        whether(self.counted(|| self.queue.put_timeout(value, Duration::ZERO)))
    }

    fn counted(&self, put: impl FnOnce() -> Result<(), QueueError>) -> Result<(), QueueError> {
        // Before it is there to be got, or it could be done before it is counted.
        self.unfinished.update(|count| count + 1);
        let done = put();
        if done.is_err() {
            self.task_done()?;
        }
        done
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// As [`Queue::get`]. [`JoinableQueue::task_done`] is to follow.
    ///
    /// # Errors
    /// As [`Queue::get`].
    #[track_caller]
    pub fn get(&self) -> Result<T, QueueError> {
        self.queue.get()
    }

    /// As [`Queue::get_timeout`].
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T, QueueError> {
        self.queue.get_timeout(limit)
    }

    /// As [`Queue::try_get`].
    ///
    /// # Errors
    /// As [`Queue::try_get`].
    #[track_caller]
    pub fn try_get(&self) -> Result<Option<T>, QueueError> {
        self.queue.try_get()
    }
}

impl<T> Clone for Queue<T> {
    /// The same queue.
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), object: self.object.clone(), bytes: self.bytes, kind: PhantomData }
    }
}

impl<T> Clone for JoinableQueue<T> {
    /// The same queue.
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            unfinished: self.unfinished.clone(),
            all_done: self.all_done.clone(),
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Queue");
        debug.field("number", &self.object).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("JoinableQueue");
        debug.field("queue", &self.queue).field("unfinished", &self.unfinished()).finish_non_exhaustive()
    }
}

impl<T> Serialize for Queue<T> {
    /// As an argument of a task or process alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let descriptor = attachments::attach(Arc::clone(self.raw.file())).map_err(S::Error::custom)?;
        (&self.object, descriptor, self.bytes as u64).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (object, descriptor, bytes): (Object, u32, u64) = Deserialize::deserialize(deserializer)?;
        let file = attachments::take(descriptor).map_err(D::Error::custom)?;
        let bytes = usize::try_from(bytes).map_err(D::Error::custom)?;
        Self::attach(object, file, bytes).map_err(D::Error::custom)
    }
}

impl<T> Serialize for JoinableQueue<T> {
    /// As an argument of a task or process alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.queue, &self.unfinished, &self.all_done).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (queue, unfinished, all_done) = Deserialize::deserialize(deserializer)?;
        Ok(Self { queue, unfinished, all_done })
    }
}
