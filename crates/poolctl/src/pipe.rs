//! Typed connections between processes.
//!
//! One socketpair of whole packets (`AF_UNIX`, `SOCK_SEQPACKET`) per pair. A message is one packet, so it is there as a
//! whole or not at all, whatever dies when; `docs/adr/0004-a-pipe-is-a-socketpair-of-ours.md` says why it is ours.
//!
//! # Packets
//! A tag, then the encoded value ([`TAG_HERE`]); or, when that is longer than [`MAX_INLINE_BYTES`], its length, with a
//! sealed memfd of it as the first descriptor ([`TAG_IN_MEMFD`]). Such a packet is padded to the size of a large one, so
//! that the socket holds few of them: what is on its way is bounded in messages *and* in memory. Other descriptors are
//! those of the handles in the value, in their order.
//!
//! # If a side dies
//! What it had sent arrives; then the other side is told [`PipeError::Closed`]. Who dies while it sends has sent nothing.

mod end;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use poolctl_worker::{DecodeError, EncodeError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use self::end::End;

#[cfg(doc)]
use self::end::{MAX_INLINE_BYTES, TAG_HERE, TAG_IN_MEMFD};

/// One of two ends that send `S` and receive `R`.
///
/// - It is given to another process as (part of) an argument of a [`Process`](crate::Process) or a task, or in a message
///   of another pipe. Given so, it is there *and* here, unless the value here is dropped, as arguments of a process are.
/// - Values travel as they do for tasks: whatever serde knows, with the handles in it. How long one is, memory decides.
/// - [`Connection::send`] blocks after about 278 unread messages, or four that are longer than 64 KiB; it is no buffer.
/// - Usable from several threads and processes at once: each message comes to one that receives.
/// - Reading it with `poll` ([`AsFd`]) tells that a message is there, or the end.
///
/// What both sides of a pipe receive they trust each other with: decoding a value of a hostile process can cost memory.
pub struct Connection<S, R> {
    end: End,
    kind: PhantomData<fn(S) -> R>,
}

/// The end of a one-way pipe that sends. See [`Connection`].
pub struct Sender<T> {
    end: End,
    kind: PhantomData<fn(T)>,
}

/// The end of a one-way pipe that receives. See [`Connection`].
pub struct Receiver<T> {
    end: End,
    kind: PhantomData<fn() -> T>,
}

/// Why a message was not sent or received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipeError {
    /// The other end is gone, with every copy of it, and all it had sent is received.
    #[error("the other end of the pipe is gone")]
    Closed,
    /// The value cannot travel. Nothing was sent.
    #[error("failed to encode the message")]
    Encode(#[source] EncodeError),
    /// What came is no such value. The next message is not affected.
    #[error("failed to decode the message")]
    Decode(#[source] DecodeError),
    /// What came was not sent by a pipe.
    #[error("not a message of a pipe")]
    Foreign,
    /// There are more handles in the value than one message can carry. Nothing was sent.
    #[error("{count} handles are more than a message can carry ({most})")]
    TooManyHandles {
        /// How many there are.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// The message came, but this process has no descriptors left for the handles in it; it is lost.
    #[error("no descriptors are left for the handles in the message")]
    HandlesLost,
    /// The system refused: no memory, or too many descriptors of this user are on their way.
    #[error("the system refused")]
    Refused(#[source] io::Error),
}

/// A pipe that goes both ways: what `A` one end sends the other receives, and `B` the other way.
///
/// ```
/// let (near, far) = poolctl::pipe::<u32, String>()?;
/// near.send(7)?;
/// assert_eq!(far.recv()?, 7);
/// far.send("seven".to_owned())?;
/// assert_eq!(near.recv()?, "seven");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// No descriptors or memory left.
pub fn pipe<A, B>() -> io::Result<(Connection<A, B>, Connection<B, A>)> {
    let (one, other) = End::pair()?;
    Ok((Connection { end: one, kind: PhantomData }, Connection { end: other, kind: PhantomData }))
}

/// A pipe that goes one way.
///
/// # Errors
/// No descriptors or memory left.
pub fn channel<T>() -> io::Result<(Sender<T>, Receiver<T>)> {
    let (one, other) = End::pair()?;
    Ok((Sender { end: one, kind: PhantomData }, Receiver { end: other, kind: PhantomData }))
}

/// The half that sends, of a type that has an end and a type of value for it.
macro_rules! sends {
    ($value:ident) => {
        /// Sends a value. Blocks while the pipe is full. The value is dropped, and with it the handles in it, of which
        /// the other end has its own then.
        ///
        /// # Errors
        /// [`PipeError`]; nothing was sent.
        pub fn send(&self, value: $value) -> Result<(), PipeError> {
            self.end.send(&value, None).map(|_| ())
        }

        /// Sends a value, or gives it back if the pipe is full.
        ///
        /// # Errors
        /// [`PipeError`]; nothing was sent.
        pub fn try_send(&self, value: $value) -> Result<Option<$value>, PipeError> {
            self.send_timeout(value, Duration::ZERO)
        }

        /// Sends a value, or gives it back if the pipe stays full for so long.
        ///
        /// # Errors
        /// [`PipeError`]; nothing was sent.
        pub fn send_timeout(&self, value: $value, limit: Duration) -> Result<Option<$value>, PipeError> {
            let is_sent = self.end.send(&value, Some(limit))?;
            Ok(if is_sent { None } else { Some(value) })
        }
    };
}

/// The half that receives.
macro_rules! receives {
    ($value:ident) => {
        /// Waits for the next value.
        ///
        /// # Errors
        /// [`PipeError`].
        pub fn recv(&self) -> Result<$value, PipeError> {
            loop {
                if let Some(value) = self.end.receive(None)? {
                    return Ok(value);
                }
            }
        }

        /// The next value, if it is there.
        ///
        /// # Errors
        /// [`PipeError`].
        pub fn try_recv(&self) -> Result<Option<$value>, PipeError> {
            self.end.receive(Some(Duration::ZERO))
        }

        /// The next value, if it comes within `limit`.
        ///
        /// # Errors
        /// [`PipeError`].
        pub fn recv_timeout(&self, limit: Duration) -> Result<Option<$value>, PipeError> {
            self.end.receive(Some(limit))
        }

        /// The values as they come, until the other end is gone.
        pub fn iter(&self) -> impl Iterator<Item = Result<$value, PipeError>> + '_ {
            std::iter::from_fn(|| match self.recv() {
                Err(PipeError::Closed) => None,
                other => Some(other),
            })
        }
    };
}

impl<S: Serialize, R> Connection<S, R> {
    sends!(S);
}

impl<S, R: DeserializeOwned> Connection<S, R> {
    receives!(R);
}

impl<T: Serialize> Sender<T> {
    sends!(T);
}

impl<T: DeserializeOwned> Receiver<T> {
    receives!(T);
}

impl<T> Sender<T> {
    /// Another sender of the same pipe, for one more process. The pipe ends when all are gone; one that is killed takes
    /// nothing along.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { end: self.end.try_clone()?, kind: PhantomData })
    }
}

/// What all three have.
macro_rules! end {
    ($name:ident<$($kind:ident),+>) => {
        impl<$($kind),+> $name<$($kind),+> {
            /// Closes this end, as dropping it does.
            pub fn close(self) {
                drop(self);
            }
        }

        impl<$($kind),+> Serialize for $name<$($kind),+> {
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                self.end.serialize(serializer)
            }
        }

        impl<'de, $($kind),+> Deserialize<'de> for $name<$($kind),+> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self { end: End::deserialize(deserializer)?, kind: PhantomData })
            }
        }

        impl<$($kind),+> AsFd for $name<$($kind),+> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.end.as_fd()
            }
        }

        impl<$($kind),+> fmt::Debug for $name<$($kind),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.end.as_fd()).finish()
            }
        }
    };
}

end!(Connection<S, R>);
end!(Sender<T>);
end!(Receiver<T>);
