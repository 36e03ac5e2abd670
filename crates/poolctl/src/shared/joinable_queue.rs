//! Queues whose users say when they have done with what they got.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use poolctl_sync::{JoinError, RawJoinableQueue};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::home;
use super::object::{Object, ObjectError};
use super::queue::{DEFAULT_BYTES, Queue};

/// A [`Queue`] whose users say when they have done with what they got, so that others can wait until all is done.
///
/// All that a [`Queue`] can do, it can. Who has got a value calls [`JoinableQueue::task_done`] when it is done with it, in
/// the process that got it: what a process has got and not done when it dies is *abandoned*. When nothing else is left,
/// [`JoinableQueue::join`] says so instead of waiting for ever, as long as the process that made the queue has a handle.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = poolctl::JoinableQueue::new()?;
/// queue.put(&7)?;
/// assert_eq!((queue.len(), queue.unfinished()), (1, 1));
/// assert_eq!(queue.get()?, 7);
/// assert_eq!((queue.len(), queue.unfinished()), (0, 1));
/// queue.task_done()?;
/// queue.join()?;
/// # Ok(())
/// # }
/// ```
pub struct JoinableQueue<T> {
    queue: Queue<T>,
    raw: RawJoinableQueue,
}

/// `task_done` was called more often than values were put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no task is unfinished: `task_done` was called more often than values were put")]
pub struct NothingUnfinished;

impl<T> JoinableQueue<T> {
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
        let mut hands = 0;
        let object = Object::make(|host| {
            hands = host.hands();
            host.create_joinable_queue()
        })?;
        let made = Self::of(Queue::on(object, bytes, hands)?)?;
        home::watch(&made.raw);
        Ok(made)
    }

    fn of(queue: Queue<T>) -> Result<Self, ObjectError> {
        let raw = RawJoinableQueue::of(queue.raw().clone()).ok_or(ObjectError::Nothing)?;
        Ok(Self { queue, raw })
    }

    /// How many values were put and are not done at this moment, the abandoned ones among them.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.raw.unfinished()
    }

    /// How many values were got by processes that died before they were done with them.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.raw.abandoned()
    }

    /// Takes what was abandoned as done, for instance after putting it again; how many values that were.
    pub fn forget_abandoned(&self) -> u64 {
        self.raw.forget_abandoned()
    }

    /// Says that a value that was got is done, once for each.
    ///
    /// # Errors
    /// [`NothingUnfinished`].
    pub fn task_done(&self) -> Result<(), NothingUnfinished> {
        if self.raw.task_done() { Ok(()) } else { Err(NothingUnfinished) }
    }

    /// Waits until all that was put is done.
    ///
    /// # Errors
    /// [`JoinError::Abandoned`] when all that is left was abandoned.
    #[track_caller]
    pub fn join(&self) -> Result<(), JoinError> {
        self.raw.join(None).map(|_| ())
    }

    /// Waits until all that was put is done, for so long at most; whether it is.
    ///
    /// # Errors
    /// As [`JoinableQueue::join`].
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<bool, JoinError> {
        self.raw.join(Some(limit))
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.queue
    }
}

impl<T> Clone for JoinableQueue<T> {
    /// The same queue.
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), raw: self.raw.clone() }
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("JoinableQueue");
        debug.field("queue", &self.queue).field("unfinished", &self.unfinished()).finish_non_exhaustive()
    }
}

impl<T> Serialize for JoinableQueue<T> {
    /// As an argument of a task or process alone; anything else is an error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.queue.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Queue::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
