//! What a host and its keeper say to each other, and how it travels.
//!
//! # Packets
//! A packet of the socket holds messages one after another, at most [`MAX_PACKET_BYTES`] together, and carries the
//! descriptors of all of them in the same order, at most [`MAX_PACKET_DESCRIPTORS`]. A longer request travels as
//! [`Request::Large`]: its bytes stand in a memfd, which is the first of its descriptors, before those of the
//! request itself.
//!
//! # Order
//! Requests are carried out in the order they were sent. Of one worker the host hears `Spawned`, then `Exited`; or
//! one of `SpawnFailed` and `Dropped`.

use poolctl_types::{Exit, WorkerId};
use serde::{Deserialize, Serialize, Serializer};

use crate::codec;
pub use crate::codec::{DecodeMessageError, MAX_MESSAGE_BYTES, MessageTooLong};

/// The most bytes of one packet.
pub const MAX_PACKET_BYTES: usize = 60 * 1024;

/// The most descriptors of one packet (the kernel's own limit is 253).
pub const MAX_PACKET_DESCRIPTORS: usize = 250;

/// The most descriptors one worker can be given, so that its spawn fits into a packet, `Large` included.
pub const MAX_WORKER_DESCRIPTORS: usize = MAX_PACKET_DESCRIPTORS - 1;

/// From the host to the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// What all workers have in common. The first request, and never again.
    Setup(#[serde(borrow)] Setup<'a>),
    /// Start a worker as soon as fewer than `max_running` live and all spawns before it have begun.
    Spawn(#[serde(borrow)] Spawn<'a>),
    /// Send `signal` to the worker's whole group; drop its spawn if that has not begun.
    Signal {
        /// Which worker.
        worker: WorkerId,
        /// Which signal.
        signal: i32,
    },
    /// The host has settled this dead worker: let the kernel forget it.
    Reap {
        /// Which worker.
        worker: WorkerId,
    },
    /// From now on begin spawns while fewer than this many workers live (`None`: always).
    SetMaxRunning {
        /// How many.
        max_running: Option<u32>,
    },
    /// The request stands in the memfd that travels with it.
    Large {
        /// How many bytes it has there.
        bytes: u64,
        /// Whose spawn it is, if it is one: to name it if the memfd cannot be received.
        worker: Option<WorkerId>,
    },
}

/// What all workers have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup<'a> {
    /// The environment, each `NAME=value`, every one ended by NUL.
    #[serde(borrow, serialize_with = "as_bytes")]
    pub env: &'a [u8],
    /// The working directory, ended by NUL; empty: the keeper's own.
    #[serde(borrow, serialize_with = "as_bytes")]
    pub cwd: &'a [u8],
    /// The nice value; `None`: the keeper's own.
    pub nice: Option<i32>,
    /// As in [`Request::SetMaxRunning`].
    pub max_running: Option<u32>,
}

/// One process to start. As many descriptors travel with it as there are `targets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn<'a> {
    /// As whom it will be known.
    pub worker: WorkerId,
    /// How many of the strings are arguments.
    pub arguments: u32,
    /// The path of the program, its arguments, and what is added to the environment; every one ended by NUL.
    #[serde(borrow, serialize_with = "as_bytes")]
    pub strings: &'a [u8],
    /// The numbers that the descriptors shall have in it, in their order.
    #[serde(borrow, serialize_with = "as_bytes")]
    pub targets: &'a [u8],
}

/// From the keeper to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The worker runs. Its pidfd travels with this.
    Spawned {
        /// Which worker.
        worker: WorkerId,
        /// Its pid.
        pid: u32,
    },
    /// The worker could not be started; nothing of it is left.
    SpawnFailed {
        /// Which worker.
        worker: WorkerId,
        /// At what.
        stage: SpawnStage,
        /// What the kernel said.
        errno: i32,
    },
    /// A signal came before its spawn was begun: it never ran.
    Dropped {
        /// Which worker.
        worker: WorkerId,
    },
    /// The worker has ended and its group is killed; it is not reaped before [`Request::Reap`].
    Exited {
        /// Which worker.
        worker: WorkerId,
        /// How it ended.
        exit: Exit,
        /// How long it lived, in microseconds, from its start to when the keeper saw it dead.
        wall_micros: u64,
        /// Its time on a processor, in microseconds, with that of its waited-for children.
        cpu_micros: u64,
        /// The most memory it had resident.
        max_rss_kib: u64,
    },
}

/// What was being done when a worker could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpawnStage {
    /// Getting ready.
    Prepare,
    /// Making the process.
    Clone,
    /// Giving it a process group of its own.
    Group,
    /// Binding its life to the keeper's.
    ParentDeath,
    /// Handing it its descriptors.
    Descriptors,
    /// Changing to its working directory.
    Directory,
    /// Setting its nice value.
    Nice,
    /// Setting its limit of open files.
    OpenFiles,
    /// Executing the program.
    Exec,
}

impl Request<'_> {
    /// Appends the bytes of this request to `out`; leaves `out` as it was on an error.
    ///
    /// # Errors
    /// It is longer than [`MAX_MESSAGE_BYTES`].
    pub fn append_to(&self, out: &mut Vec<u8>) -> Result<(), MessageTooLong> {
        codec::append(self, out)
    }

    /// How many descriptors travel with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        match self {
            Request::Spawn(spawn) => spawn.targets.len(),
            Request::Large { .. } => 1,
            Request::Setup(_)
            | Request::Signal { .. }
            | Request::Reap { .. }
            | Request::SetMaxRunning { .. } => 0,
        }
    }
}

impl<'a> Request<'a> {
    /// Takes the first request off a packet.
    ///
    /// # Errors
    /// The packet does not begin with one.
    pub fn take_first(packet: &mut &'a [u8]) -> Result<Self, DecodeMessageError> {
        codec::take_first(packet)
    }

    /// The request that stood in a memfd.
    ///
    /// # Errors
    /// The bytes are not exactly one.
    pub fn decode_whole(bytes: &'a [u8]) -> Result<Self, DecodeMessageError> {
        codec::decode_whole(bytes)
    }
}

impl Report {
    /// Appends the bytes of this report to `out`.
    ///
    /// # Panics
    /// Never: a report has a few dozen bytes.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        codec::append(self, out).expect("a report has a few dozen bytes");
    }

    /// How many descriptors travel with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        usize::from(matches!(self, Report::Spawned { .. }))
    }

    /// Takes the first report off a packet.
    ///
    /// # Errors
    /// The packet does not begin with one.
    pub fn take_first(packet: &mut &[u8]) -> Result<Self, DecodeMessageError> {
        codec::take_first(packet)
    }
}

/// Writes bytes in one piece, and not one by one as serde would.
fn as_bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REAP: Request<'static> = Request::Reap {
        worker: WorkerId { slot: poolctl_types::Slot(1), generation: poolctl_types::Generation(2) },
    };

    fn spawn() -> Request<'static> {
        Request::Spawn(Spawn {
            worker: WorkerId::new(3, 4),
            arguments: 2,
            strings: b"/bin/echo\0echo\0hi\0A=b\0",
            targets: &[1, 2, 5],
        })
    }

    #[test]
    fn requests_come_off_a_packet_in_their_order() {
        let mut bytes = Vec::new();
        spawn().append_to(&mut bytes).unwrap();
        REAP.append_to(&mut bytes).unwrap();
        let mut packet = bytes.as_slice();

        assert_eq!(Request::take_first(&mut packet).unwrap(), spawn());
        assert_eq!(Request::take_first(&mut packet).unwrap(), REAP);
        assert_eq!(packet, b"");
        assert!(matches!(Request::take_first(&mut packet), Err(DecodeMessageError::Malformed { .. })));
    }

    #[test]
    fn the_bytes_of_a_request_are_these() {
        let mut bytes = Vec::new();

        REAP.append_to(&mut bytes).unwrap();

        assert_eq!(bytes, [3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn reports_survive_the_way() {
        let exited = Report::Exited {
            worker: WorkerId::new(1, u64::MAX),
            exit: Exit::Signal(9),
            wall_micros: 6,
            cpu_micros: 7,
            max_rss_kib: 8,
        };
        let mut bytes = Vec::new();
        exited.append_to(&mut bytes);
        let mut packet = bytes.as_slice();

        assert_eq!(Report::take_first(&mut packet).unwrap(), exited);
        assert_eq!(packet, b"");
    }

    #[test]
    fn bytes_after_a_whole_request_are_refused() {
        let mut bytes = Vec::new();
        spawn().append_to(&mut bytes).unwrap();
        bytes.push(0);

        assert!(matches!(Request::decode_whole(&bytes), Err(DecodeMessageError::Trailing { bytes: 1 })));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let mut bytes = Vec::new();
        spawn().append_to(&mut bytes).unwrap();
        // The length of `strings` stands behind the variant, the worker and the number of arguments.
        bytes[20..28].copy_from_slice(&u64::MAX.to_le_bytes());

        assert!(matches!(Request::decode_whole(&bytes), Err(DecodeMessageError::Malformed { .. })));
    }

    #[test]
    fn a_request_of_a_megabyte_survives_the_way() {
        let strings = vec![b'x'; 1 << 20];
        let Request::Spawn(spawn) = spawn() else { unreachable!() };
        let request = Request::Spawn(Spawn { strings: &strings, ..spawn });
        let mut bytes = Vec::new();

        request.append_to(&mut bytes).unwrap();

        assert_eq!(Request::decode_whole(&bytes).unwrap(), request);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut packet = bytes.as_slice();
            while Request::take_first(&mut packet).is_ok() && !packet.is_empty() {}
            let mut packet = bytes.as_slice();
            while Report::take_first(&mut packet).is_ok() && !packet.is_empty() {}
        }
    }
}
