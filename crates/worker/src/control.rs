//! The socket between a native worker and its host: the hello, kicks, and everything that needs descriptors.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use poolctl_protocol::{Frame, FrameError, Header, Kind, MAX_BODY_BYTES, RemoteError};
use poolctl_shm::LAYOUT;
use poolctl_sys::{ancillary, transfer};

use crate::failure;
use crate::task::Entry;

/// Why the worker cannot go on: it has nobody to work for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Gone {
    /// The host has closed the socket.
    #[error("the host is gone")]
    Closed,
    /// The socket fails.
    #[error("the socket to the host fails")]
    Socket {
        /// How.
        #[from]
        source: io::Error,
    },
    /// What comes is no frame.
    #[error("the host speaks another protocol")]
    NoFrame {
        /// Why.
        #[from]
        source: FrameError,
    },
    /// A frame that has no place here.
    #[error("the host sent an unexpected frame: {kind:?}")]
    Unexpected {
        /// What it was.
        kind: Kind,
    },
    /// A message that has no place here.
    #[error("the host posted what is no message")]
    NoMessage,
    /// Its segments cannot be attached to.
    #[error("the segments of the host cannot be used")]
    Segments {
        /// Why.
        #[from]
        source: poolctl_shm::AttachError,
    },
}

/// The socket, and what came over it and was not yet asked for.
#[derive(Debug)]
pub(crate) struct Control {
    socket: UnixStream,
    bytes: Vec<u8>,
    /// Descriptors whose frame has not been looked at.
    arrived: Vec<OwnedFd>,
    /// Descriptors for messages to come, in their order.
    attachments: VecDeque<OwnedFd>,
}

/// A frame that was taken.
#[derive(Debug)]
struct Taken {
    kind: Kind,
    payload: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Control {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(false)?;
        Ok(Self { socket, bytes: Vec::new(), arrived: Vec::new(), attachments: VecDeque::new() })
    }

    /// Says what this worker is and offers.
    pub(crate) fn say_hello(&mut self, entries: &[&Entry]) -> Result<(), Gone> {
        let functions: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        let signatures: Vec<&str> = entries.iter().map(|entry| entry.signature).collect();
        let docs: Vec<&str> = entries.iter().map(|entry| entry.doc).collect();
        let hello = serde_json::json!({
            "poolctl": poolctl_protocol::PROTOCOL_VERSION,
            "caps": ["claim"],
            "native": LAYOUT,
            "functions": functions,
            "signatures": signatures,
            "docs": docs,
        });
        self.send(Kind::Hello, 0, hello.to_string().as_bytes())
    }

    /// Says that this worker cannot start.
    pub(crate) fn say_cannot_start(&mut self, error: &RemoteError) -> Result<(), Gone> {
        let bye = serde_json::json!({
            "bye": poolctl_protocol::Bye::CANNOT_START,
            "code": poolctl_types::ExitCode::CannotStart as u8,
            "err": error,
        });
        self.send(Kind::Bye, 0, bye.to_string().as_bytes())
    }

    /// The two segments, tasks and results, and what is said of this process's seat. Blocks.
    pub(crate) fn segments(&mut self) -> Result<(OwnedFd, OwnedFd, Vec<u8>), Gone> {
        loop {
            let Taken { kind, descriptors, payload } = self.next()?;
            match (kind, <[OwnedFd; 2]>::try_from(descriptors)) {
                (Kind::Segments, Ok([tasks, results])) => return Ok((tasks, results, payload)),
                (Kind::Attachments, Err(descriptors)) => self.attachments.extend(descriptors),
                (Kind::Attachments, Ok(descriptors)) => self.attachments.extend(descriptors),
                (kind, _) => return Err(Gone::Unexpected { kind }),
            }
        }
    }

    /// The descriptors of the next message that has any. Blocks until so many are there.
    pub(crate) fn attachments(&mut self, count: usize) -> Result<Vec<OwnedFd>, Gone> {
        while self.attachments.len() < count {
            match self.next()? {
                Taken { kind: Kind::Attachments, descriptors, .. } => self.attachments.extend(descriptors),
                Taken { kind, .. } => return Err(Gone::Unexpected { kind }),
            }
        }
        Ok(self.attachments.drain(..count).collect())
    }

    /// A segment of so many bytes for a result. Blocks until the host has granted it, or has said why not.
    pub(crate) fn grant(&mut self, bytes: u64) -> Result<OwnedFd, RemoteError> {
        self.ask_for(bytes).unwrap_or_else(|gone| Err(failure::passing("ParcelError", failure::chain(&gone))))
    }

    fn ask_for(&mut self, bytes: u64) -> Result<Result<OwnedFd, RemoteError>, Gone> {
        self.send(Kind::Need, bytes, b"")?;
        loop {
            let Taken { kind, payload, mut descriptors } = self.next()?;
            match (kind, descriptors.pop()) {
                (Kind::Grant, Some(segment)) => return Ok(Ok(segment)),
                (Kind::Grant, None) => {
                    let msg = String::from_utf8_lossy(&payload).into_owned();
                    return Ok(Err(failure::passing("ParcelError", msg)));
                }
                // For a message that is still in the ring.
                (Kind::Attachments, last) => self.attachments.extend(descriptors.into_iter().chain(last)),
                (kind, _) => return Err(Gone::Unexpected { kind }),
            }
        }
    }

    /// Tells a sleeping host that something is published. A full socket has kicks enough; one that is gone is seen where
    /// something is awaited from it.
    #[cold]
    pub(crate) fn kick(&self) {
        let frame = Header::new(Kind::Published, 0, 0, 0, 0).to_bytes();
        if let Err(error) = transfer::send(self.socket.as_fd(), &frame) {
            tracing::trace!(%error, "the host was not kicked");
        }
    }

    fn send(&mut self, kind: Kind, id: u64, payload: &[u8]) -> Result<(), Gone> {
        let mut frame = Vec::new();
        Frame::write(&mut frame, kind, 0, id, b"", payload);
        Ok(self.socket.write_all(&frame)?)
    }

    fn next(&mut self) -> Result<Taken, Gone> {
        loop {
            if let Some(frame) = Frame::parse(&self.bytes, MAX_BODY_BYTES)? {
                let (kind, payload) = (frame.header.kind, frame.payload.to_vec());
                let count = descriptors_of(&frame).min(self.arrived.len());
                let length = frame.frame_len();
                self.bytes.drain(..length);
                let descriptors = self.arrived.drain(..count).collect();
                return Ok(Taken { kind, payload, descriptors });
            }
            let mut chunk = [0; 4096];
            let got = ancillary::receive(self.socket.as_fd(), &mut chunk, &mut self.arrived)?;
            if got == 0 {
                return Err(Gone::Closed);
            }
            self.bytes.extend_from_slice(&chunk[..got]);
        }
    }
}

/// How many descriptors a frame came with: they arrive no later than its first byte.
fn descriptors_of(frame: &Frame<'_>) -> usize {
    match frame.header.kind {
        Kind::Segments => 2,
        Kind::Attachments => usize::try_from(frame.header.id).unwrap_or(usize::MAX),
        Kind::Grant if frame.payload.is_empty() => 1,
        _ => 0,
    }
}
