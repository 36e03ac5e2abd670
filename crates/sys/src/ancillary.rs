//! Bytes with descriptors over a stream socket (`AF_UNIX`, SCM_RIGHTS).
//!
//! Descriptors travel with the first byte of a [`send`]; a [`receive`] never reads over that byte into what was sent
//! with other descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::packet::MAX_DESCRIPTORS;

/// Bytes of ancillary data that hold that many.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));

/// Sends as much of `bytes` as fits, with copies of `descriptors` (at most [`MAX_DESCRIPTORS`]), and says how much that
/// was. If it was anything, all of the descriptors are on their way. Never blocks, never raises SIGPIPE.
///
/// # Errors
/// `WouldBlock` if nothing fits now; `BrokenPipe` or `ConnectionReset` if the other end is gone; `EINVAL` for too many
/// descriptors, or for descriptors and no bytes; `ETOOMANYREFS` if too many of this user are on their way already.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        if !fits || bytes.is_empty() || descriptors.len() > MAX_DESCRIPTORS {
            return Err(Errno::INVAL.into());
        }
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(retry_on_intr(|| sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags))?)
}

/// Waits for bytes, at most as many as `bytes` holds, appends the descriptors that came with them (close-on-exec), and
/// says how many bytes there were; 0 is the end.
///
/// # Errors
/// `InvalidData` if this process could not take all of the descriptors: those are lost, and so is the order of what
/// follows. `WouldBlock` for a non-blocking socket with nothing to read. `ConnectionReset` if the other end is gone.
pub fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let before = descriptors.len();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        descriptors.truncate(before);
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::{memfd, pipe, transfer};

    #[test]
    fn descriptors_arrive_with_the_first_byte_they_were_sent_with() {
        let (near, far) = pipe::stream_pair().unwrap();
        let files = ["one", "two"].map(|text| memfd::with_contents("test", text.as_bytes()).unwrap());
        send(near.as_fd(), b"plain", &[]).unwrap();
        send(near.as_fd(), b"with", &[files[0].as_fd(), files[1].as_fd()]).unwrap();
        let (mut bytes, mut descriptors) = ([0; 64], Vec::new());

        let mut plain = receive(far.as_fd(), &mut bytes[..5], &mut descriptors).unwrap();

        assert_eq!((&bytes[..plain], descriptors.len()), (b"plain".as_slice(), 0));
        plain = receive(far.as_fd(), &mut bytes, &mut descriptors).unwrap();
        assert_eq!((&bytes[..plain], descriptors.len()), (b"with".as_slice(), 2));
        let mut text = [0; 3];
        transfer::read_exactly_at(descriptors[1].as_fd(), &mut text, 0).unwrap();
        assert_eq!(&text, b"two");
    }

    #[test]
    fn a_full_socket_would_block_and_a_gone_one_is_told() {
        let (near, far) = pipe::stream_pair().unwrap();
        let page = [7; 4096];

        let full = loop {
            if let Err(error) = send(near.as_fd(), &page, &[]) {
                break error;
            }
        };
        drop(far);
        let gone = send(near.as_fd(), &page, &[]).unwrap_err();

        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_end_is_zero_bytes() {
        let (near, far) = pipe::stream_pair().unwrap();
        drop(near);

        assert_eq!(receive(far.as_fd(), &mut [0; 8], &mut Vec::new()).unwrap(), 0);
    }

    #[test]
    fn descriptors_need_a_byte_to_travel_with() {
        let (near, _far) = pipe::stream_pair().unwrap();

        let error = send(near.as_fd(), b"", &[near.as_fd()]).unwrap_err();

        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
