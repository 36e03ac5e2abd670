//! One end of a pipe, whatever it is for.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use poolctl_supervisor::now;
use poolctl_sys::packet::{MAX_DESCRIPTORS, Received, Sent, Socket};
use poolctl_sys::ready::{self, Wanted};
use poolctl_sys::{ancillary, memfd, transfer};
use poolctl_worker::attachments::{self, Luggage};
use poolctl_worker::{Decoder, EncodeError, Encoder};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PipeError;

/// A longer value goes beside its packet.
pub(super) const MAX_INLINE_BYTES: usize = 64 << 10;

/// What begins a packet that holds the value.
pub(super) const TAG_HERE: u8 = 0;

/// What begins a packet that holds the length of the value, which is in its first descriptor.
pub(super) const TAG_IN_MEMFD: u8 = 1;

/// What pads a packet to a large one.
static PADDING: [u8; MAX_INLINE_BYTES - LENGTH_BYTES] = [0; MAX_INLINE_BYTES - LENGTH_BYTES];

const LENGTH_BYTES: usize = size_of::<u64>();

/// A value as it travels: its bytes, and the descriptors of its handles.
pub(crate) type Encoded = (Vec<u8>, Vec<Arc<dyn Luggage>>);

/// One end of a socketpair of packets.
#[derive(Debug)]
pub(crate) struct End {
    socket: Socket,
    /// Kept for the next packet; whoever receives meanwhile has one of his own.
    buffer: Mutex<Vec<u8>>,
}

impl End {
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::pair()?;
        Ok((Self::of(one), Self::of(other)))
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::of(Socket::from(self.as_fd().try_clone_to_owned()?)))
    }

    pub(crate) fn of(socket: Socket) -> Self {
        Self { socket, buffer: Mutex::new(Vec::new()) }
    }

    /// Sends a value; false if there was no room within `limit`.
    pub(crate) fn send(&self, value: &impl Serialize, limit: Option<Duration>) -> Result<bool, PipeError> {
        let (main, handles) = Self::encode(value).map_err(PipeError::Encode)?;
        self.send_encoded(&main, handles, limit)
    }

    pub(crate) fn encode(value: &impl Serialize) -> Result<Encoded, EncodeError> {
        let mut encoder = Encoder::new();
        encoder.value(value)?;
        Ok(encoder.into_parts())
    }

    /// Sends a value that was encoded before.
    pub(crate) fn send_encoded(
        &self,
        main: &[u8],
        mut handles: Vec<Arc<dyn Luggage>>,
        limit: Option<Duration>,
    ) -> Result<bool, PipeError> {
        let length = (main.len() as u64).to_le_bytes();
        let pieces: &[IoSlice<'_>] = if main.len() > MAX_INLINE_BYTES {
            let memfd = memfd::with_contents("poolctl-message", main).map_err(PipeError::Refused)?;
            handles.insert(0, Arc::new(memfd));
            &[IoSlice::new(&[TAG_IN_MEMFD]), IoSlice::new(&length), IoSlice::new(&PADDING)]
        } else {
            &[IoSlice::new(&[TAG_HERE]), IoSlice::new(main)]
        };
        if handles.len() > MAX_DESCRIPTORS {
            return Err(PipeError::TooManyHandles { count: handles.len(), most: MAX_DESCRIPTORS - 1 });
        }
        handles.iter().for_each(|handle| handle.leaves());
        let handles: Vec<BorrowedFd<'_>> = handles.iter().map(AsFd::as_fd).collect();
        let until = limit.map(|limit| now() + limit);
        loop {
            match self.socket.send(pieces, &handles) {
                Ok(Sent::Whole) => return Ok(true),
                Ok(Sent::Full) => {}
                Ok(Sent::TooManyDescriptors) => {
                    return Err(PipeError::Refused(io::Error::from_raw_os_error(TOO_MANY_REFERENCES)));
                }
                Err(error) if is_closed(&error) => return Err(PipeError::Closed),
                Err(error) => return Err(PipeError::Refused(error)),
            }
            let left = until.map(|until| until - now());
            if !ready::wait(self.as_fd(), Wanted::Room, left).map_err(PipeError::Refused)? {
                return Ok(false);
            }
        }
    }

    /// The next value; none if there was none within `limit`.
    pub(crate) fn receive<T: DeserializeOwned>(
        &self,
        limit: Option<Duration>,
    ) -> Result<Option<T>, PipeError> {
        let mut bytes = std::mem::take(&mut *self.buffer.lock().unwrap_or_else(PoisonError::into_inner));
        bytes.resize(1 + MAX_INLINE_BYTES, 0);
        let received = self.receive_into(&mut bytes, limit);
        *self.buffer.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        received
    }

    fn receive_into<T: DeserializeOwned>(
        &self,
        bytes: &mut [u8],
        limit: Option<Duration>,
    ) -> Result<Option<T>, PipeError> {
        let mut handles = Vec::new();
        let Some(limit) = limit else {
            let length = self.wait_for_packet(bytes, &mut handles)?;
            return decoded(&bytes[..length], handles).map(Some);
        };
        let until = now() + limit;
        loop {
            if let Some(length) = self.receive_packet(bytes, &mut handles)? {
                return decoded(&bytes[..length], handles).map(Some);
            }
            if !ready::wait(self.as_fd(), Wanted::Data, Some(until - now())).map_err(PipeError::Refused)? {
                return Ok(None);
            }
        }
    }

    /// The length of the next packet, however long it takes to come: one system call, where looking first takes three.
    fn wait_for_packet(&self, bytes: &mut [u8], handles: &mut Vec<OwnedFd>) -> Result<usize, PipeError> {
        loop {
            match ancillary::receive(self.as_fd(), bytes, handles) {
                Ok(0) => return Err(PipeError::Closed),
                Ok(length) => return Ok(length),
                // An end that closes with something unread resets the connection, which is told once, and before what it
                // had sent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(PipeError::HandlesLost);
                }
                Err(error) => return Err(PipeError::Refused(error)),
            }
        }
    }

    /// The length of the next packet, if it is there.
    fn receive_packet(
        &self,
        bytes: &mut [u8],
        handles: &mut Vec<OwnedFd>,
    ) -> Result<Option<usize>, PipeError> {
        let mut is_closed = false;
        loop {
            match self.socket.receive(bytes, handles) {
                Ok(Received::Packet(length)) => return Ok(Some(length)),
                Ok(Received::Nothing) => return Ok(None),
                Ok(Received::Short(_)) => return Err(PipeError::HandlesLost),
                // This may be the reset, so it is the end only when it is told twice.
                Ok(Received::Closed) if !is_closed => is_closed = true,
                Ok(Received::Closed) => return Err(PipeError::Closed),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(PipeError::Foreign),
                Err(error) => return Err(PipeError::Refused(error)),
            }
        }
    }
}

/// The value in a packet.
fn decoded<T: DeserializeOwned>(packet: &[u8], mut handles: Vec<OwnedFd>) -> Result<T, PipeError> {
    match packet.split_first() {
        Some((&TAG_HERE, main)) => decoded_whole(main, handles),
        Some((&TAG_IN_MEMFD, rest)) if !handles.is_empty() => {
            let length = rest.first_chunk::<LENGTH_BYTES>().ok_or(PipeError::Foreign)?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| PipeError::Foreign)?;
            let memfd = handles.remove(0);
            let main = transfer::read_vec_at::<u8>(memfd.as_fd(), length, 0).map_err(PipeError::Refused)?;
            decoded_whole(&main, handles)
        }
        _ => Err(PipeError::Foreign),
    }
}

fn decoded_whole<T: DeserializeOwned>(main: &[u8], handles: Vec<OwnedFd>) -> Result<T, PipeError> {
    let mut decoder = Decoder::with_attachments(main, handles);
    let value = decoder.value().map_err(PipeError::Decode)?;
    decoder.finish().map_err(PipeError::Decode)?;
    Ok(value)
}

/// The other end is gone.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// `ETOOMANYREFS`.
const TOO_MANY_REFERENCES: i32 = 109;

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Serialize for End {
    /// Its descriptor travels beside the value.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let copy = self.as_fd().try_clone_to_owned().map_err(S::Error::custom)?;
        let index = attachments::attach(Arc::new(copy)).map_err(S::Error::custom)?;
        index.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let fd = attachments::take(index).map_err(D::Error::custom)?;
        Ok(Self::of(Socket::from(fd)))
    }
}
