//! Whole messages, with descriptors, between two processes (`AF_UNIX`, `SOCK_SEQPACKET`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};

/// The most descriptors one packet may carry (`SCM_MAX_FD`).
pub const MAX_DESCRIPTORS: usize = 253;

/// Bytes of ancillary data that hold that many.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));

/// One end of a packet socket. Never blocks, never raises SIGPIPE.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

/// What [`Socket::send`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The packet is on its way.
    Whole,
    /// There is no room now; nothing was sent. The socket becomes writable when there is.
    Full,
    /// Too many descriptors of this user are on their way already; nothing was sent. Nothing tells when fewer are.
    TooManyDescriptors,
}

/// What [`Socket::receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A packet of this length; it stands in the buffers.
    Packet(usize),
    /// A packet of this length, but this process could not take its last descriptors, and they are lost.
    Short(usize),
    /// Nothing at the moment.
    Nothing,
    /// The other end is gone, and everything it sent has been received.
    Closed,
}

impl Socket {
    /// Two ends of one connection.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub fn pair() -> io::Result<(Socket, Socket)> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Socket { fd: one }, Socket { fd: other }))
    }

    /// Asks for room for `bytes` on their way from this end; the kernel caps it silently (`wmem_max`).
    ///
    /// # Errors
    /// None is known for an open socket.
    pub fn set_send_room(&self, bytes: usize) -> io::Result<()> {
        Ok(sockopt::set_socket_send_buffer_size(&self.fd, bytes)?)
    }

    /// Sends one packet: `pieces` one after another, and copies of `descriptors` (at most [`MAX_DESCRIPTORS`]).
    ///
    /// # Errors
    /// The other end is gone (`BrokenPipe`, `ConnectionReset`); the packet is longer than the socket's buffer
    /// (`EMSGSIZE`); more descriptors than a packet may carry (`EINVAL`).
    pub fn send(&self, pieces: &[IoSlice<'_>], descriptors: &[BorrowedFd<'_>]) -> io::Result<Sent> {
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::INVAL.into());
        }
        loop {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.fd, pieces, &mut ancillary, flags) {
                Ok(_) => return Ok(Sent::Whole),
                Err(Errno::AGAIN) => return Ok(Sent::Full),
                Err(Errno::TOOMANYREFS) => return Ok(Sent::TooManyDescriptors),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives one packet into `bytes`, and appends its descriptors to `descriptors`.
    ///
    /// # Errors
    /// `InvalidData` if the packet is longer than `bytes`: a cut packet is never given out.
    pub fn receive(&self, bytes: &mut [u8], descriptors: &mut impl Extend<OwnedFd>) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let packet = loop {
            match recvmsg(&self.fd, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags) {
                Ok(packet) => break packet,
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::CONNRESET) => return Ok(Received::Closed),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if packet.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if packet.flags.contains(ReturnFlags::CTRUNC) {
            return Ok(Received::Short(packet.bytes));
        }
        if packet.bytes == 0 {
            return Ok(Received::Closed);
        }
        Ok(Received::Packet(packet.bytes))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Socket {
    /// The end that was inherited as `fd`.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pipe, transfer};

    #[test]
    fn a_packet_arrives_whole_with_its_descriptors() {
        let (near, far) = Socket::pair().unwrap();
        let (read, write) = pipe::pair().unwrap();
        let (mut bytes, mut descriptors) = ([0; 16], Vec::new());

        let sent = near.send(&[IoSlice::new(b"he"), IoSlice::new(b"llo")], &[write.as_fd()]).unwrap();
        drop(write);
        let received = far.receive(&mut bytes, &mut descriptors).unwrap();

        assert_eq!((sent, received), (Sent::Whole, Received::Packet(5)));
        assert_eq!(&bytes[..5], b"hello");
        transfer::write(descriptors[0].as_fd(), b"x").unwrap();
        assert_eq!(transfer::read(read.as_fd(), &mut bytes).unwrap(), 1);
    }

    #[test]
    fn nothing_full_and_closed_are_told_apart() {
        let (near, far) = Socket::pair().unwrap();
        let (mut bytes, mut descriptors) = (vec![0; 8192], Vec::new());

        let before = far.receive(&mut bytes, &mut descriptors).unwrap();
        let mut packets = 0;
        while near.send(&[IoSlice::new(&[7; 8192])], &[]).unwrap() == Sent::Whole {
            packets += 1;
        }
        drop(near);

        assert_eq!(before, Received::Nothing);
        for _ in 0..packets {
            assert_eq!(far.receive(&mut bytes, &mut descriptors).unwrap(), Received::Packet(8192));
        }
        assert_eq!(far.receive(&mut bytes, &mut descriptors).unwrap(), Received::Closed);
        assert_eq!(far.send(&[IoSlice::new(b"x")], &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_packet_that_would_be_cut_is_refused() {
        let (near, far) = Socket::pair().unwrap();
        near.send(&[IoSlice::new(&[7; 100])], &[]).unwrap();

        let error = far.receive(&mut [0; 10], &mut Vec::<OwnedFd>::new()).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn as_many_descriptors_as_allowed_travel_at_once() {
        let (near, far) = Socket::pair().unwrap();
        let mut descriptors = Vec::new();

        near.send(&[IoSlice::new(b"x")], &[near.as_fd(); MAX_DESCRIPTORS]).unwrap();
        far.receive(&mut [0; 10], &mut descriptors).unwrap();

        assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
        assert!(near.send(&[IoSlice::new(b"x")], &[near.as_fd(); MAX_DESCRIPTORS + 1]).is_err());
    }
}
