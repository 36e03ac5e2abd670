//! What a process is started with: its frame, with the descriptors that the arguments need.
//!
//! The frame is a task (`protocol::frame`) with the meta [`Meta`]; the payload is the encoded arguments. Descriptors, in
//! their order: the payload itself, if it is long ([`FLAG_IN_MEMFD`]); those that the arguments carry; the parcel with
//! their big buffers, if there are any.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use poolctl_protocol::{FLAG_IN_MEMFD, Frame, Kind};
use poolctl_sys::packet::MAX_DESCRIPTORS;
use poolctl_sys::{ancillary, memfd, pipe};
use poolctl_worker::Task;
use poolctl_worker::attachments::{Kept, Luggage};
use poolctl_worker::travel::Encoder;
use serde::{Deserialize, Serialize};

use super::ProcessError;

/// A longer payload goes into a memfd, so that the frame fits into a socket that nobody reads yet.
const MAX_INLINE_BYTES: usize = 32 << 10;

/// What is needed to start a process.
pub(super) struct Launch {
    pub(super) function: &'static str,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) env: Vec<(String, String)>,
    pub(super) encode: Box<dyn FnOnce() -> Result<Arguments, ProcessError> + Send>,
}

/// Encoded arguments.
pub(super) struct Arguments {
    main: Vec<u8>,
    attachments: Vec<Arc<dyn Luggage>>,
}

/// What stands in the frame besides the arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The task.
    #[serde(rename = "fn")]
    pub(super) function: String,
    /// How the arguments are encoded.
    pub(super) enc: Encoding,
    /// What the process is called.
    pub(super) name: String,
    /// Its number among its parent's children, behind that of its parent: `1:3`.
    pub(super) id: String,
    /// Where the caller was; the keeper may have been started elsewhere.
    pub(super) cwd: Option<Vec<u8>>,
    /// What it is told of its seat among those who share objects.
    pub(super) seat: Vec<u8>,
}

/// How arguments are encoded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    Bincode,
}

/// Encodes the arguments, and drops them.
pub(super) fn encoded<T: Task>(args: T::Args) -> Result<Arguments, ProcessError> {
    let mut encoder = Encoder::new();
    T::encode_args(&args, &mut encoder).map_err(ProcessError::Arguments)?;
    if encoder.parcel_bytes() > 0 {
        let parcel = memfd::sealed("poolctl-arguments", encoder.parcel_bytes());
        let parcel = parcel.map_err(ProcessError::Prepare)?;
        encoder.write_buffers(parcel.as_fd(), 0).map_err(ProcessError::Prepare)?;
        encoder.attach(Arc::new(parcel));
    }
    let (main, attachments) = encoder.into_parts();
    drop(args);
    Ok(Arguments { main, attachments })
}

impl Launch {
    /// The two ends of the child's line: the host's, and the child's, in which the frame waits to be read. And what must
    /// stay as long as the child may not have read it.
    pub(super) fn into_line(self, seat: Vec<u8>) -> Result<(OwnedFd, OwnedFd, Vec<Kept>), ProcessError> {
        let Arguments { mut main, mut attachments } = (self.encode)()?;
        let kept = attachments.iter().filter_map(|one| one.kept()).collect();
        let mut flags = 0;
        if main.len() > MAX_INLINE_BYTES {
            let memfd = memfd::with_contents("poolctl-arguments", &main).map_err(ProcessError::Prepare)?;
            attachments.insert(0, Arc::new(memfd));
            main = Vec::new();
            flags = FLAG_IN_MEMFD;
        }
        let cwd = std::env::current_dir().ok();
        let meta = Meta {
            function: self.function.to_owned(),
            enc: Encoding::Bincode,
            name: self.name,
            id: self.id,
            cwd: cwd.map(|path| std::os::unix::ffi::OsStringExt::into_vec(path.into_os_string())),
            seat,
        };
        let meta = serde_json::to_vec(&meta).map_err(|error| ProcessError::Prepare(error.into()))?;
        if meta.len() > usize::from(u16::MAX) {
            return Err(ProcessError::Prepare(io::ErrorKind::ArgumentListTooLong.into()));
        }
        let mut frame = Vec::new();
        Frame::write(&mut frame, Kind::Task, flags, 0, &meta, &main);
        let (near, far) = pipe::stream_pair().map_err(ProcessError::Prepare)?;
        let descriptors: Vec<_> = attachments.iter().map(AsFd::as_fd).collect();
        send_all(near.as_fd(), &frame, &descriptors).map_err(ProcessError::Prepare)?;
        Ok((near, far, kept))
    }
}

/// Sends the frame into an empty socket. As many descriptors as one call takes go with the first byte, as many with the
/// second, and so on; the last of them with the rest.
fn send_all(socket: BorrowedFd<'_>, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut parts = descriptors.chunks(MAX_DESCRIPTORS).peekable();
    let mut rest = frame;
    while let Some(part) = parts.next() {
        let count = if parts.peek().is_some() { rest.len().min(1) } else { rest.len() };
        rest = &rest[ancillary::send(socket, &rest[..count], part)?..];
    }
    while !rest.is_empty() {
        rest = &rest[ancillary::send(socket, rest, &[])?..];
    }
    Ok(())
}
