//! Messages on their way: gathered into packets, sent as the socket takes them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use poolctl_protocol::keeper::{MAX_PACKET_BYTES, MAX_PACKET_DESCRIPTORS};
use poolctl_sys::packet::{Sent, Socket};

/// Messages that are not sent yet, oldest first. `D` owns a descriptor until it has been sent.
#[derive(Debug)]
pub(super) struct Outbox<D> {
    packets: VecDeque<Packet<D>>,
    /// An emptied packet, so that the next needs no memory.
    spare: Packet<D>,
}

/// How an [`Outbox`] stands after a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is sent.
    All,
    /// The rest can be sent when the socket becomes writable.
    Full,
    /// The rest can be sent when the other side has taken descriptors; nothing tells when.
    TooManyDescriptors,
}

#[derive(Debug)]
struct Packet<D> {
    bytes: Vec<u8>,
    descriptors: Vec<D>,
}

impl<D: AsFd> Outbox<D> {
    pub(super) fn new() -> Self {
        Self { packets: VecDeque::new(), spare: Packet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Queues one encoded message and its descriptors, which together fit into a packet.
    pub(super) fn push(
        &mut self,
        message: &[u8],
        descriptors: impl IntoIterator<Item = D, IntoIter: ExactSizeIterator>,
    ) {
        let descriptors = descriptors.into_iter();
        debug_assert!(message.len() <= MAX_PACKET_BYTES && descriptors.len() <= MAX_PACKET_DESCRIPTORS);
        let fits = |packet: &&mut Packet<D>| {
            packet.bytes.len() + message.len() <= MAX_PACKET_BYTES
                && packet.descriptors.len() + descriptors.len() <= MAX_PACKET_DESCRIPTORS
        };
        if let Some(packet) = self.packets.back_mut().filter(fits) {
            packet.add(message, descriptors);
        } else {
            let mut packet = std::mem::replace(&mut self.spare, Packet::new());
            packet.add(message, descriptors);
            self.packets.push_back(packet);
        }
    }

    /// Sends as many packets as the socket takes.
    pub(super) fn flush(&mut self, socket: &Socket) -> io::Result<Flushed> {
        while let Some(packet) = self.packets.front() {
            let mut borrowed = [socket.as_fd(); MAX_PACKET_DESCRIPTORS];
            for (place, descriptor) in borrowed.iter_mut().zip(&packet.descriptors) {
                *place = descriptor.as_fd();
            }
            match socket.send(&[IoSlice::new(&packet.bytes)], &borrowed[..packet.descriptors.len()])? {
                Sent::Whole => self.retire(),
                Sent::Full => return Ok(Flushed::Full),
                Sent::TooManyDescriptors => return Ok(Flushed::TooManyDescriptors),
            }
        }
        Ok(Flushed::All)
    }

    fn retire(&mut self) {
        if let Some(mut packet) = self.packets.pop_front() {
            packet.bytes.clear();
            packet.descriptors.clear();
            self.spare = packet;
        }
    }
}

impl<D> Packet<D> {
    fn new() -> Self {
        Self { bytes: Vec::new(), descriptors: Vec::new() }
    }

    fn add(&mut self, message: &[u8], descriptors: impl Iterator<Item = D>) {
        self.bytes.extend_from_slice(message);
        self.descriptors.extend(descriptors);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use poolctl_sys::packet::Received;
    use poolctl_sys::pipe;

    use super::*;

    fn receive(socket: &Socket) -> Option<(usize, usize)> {
        let (mut bytes, mut descriptors) = (vec![0; MAX_PACKET_BYTES], Vec::<OwnedFd>::new());
        match socket.receive(&mut bytes, &mut descriptors).unwrap() {
            Received::Packet(length) => Some((length, descriptors.len())),
            Received::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_share_a_packet_while_they_fit() {
        let (near, far) = Socket::pair().unwrap();
        let mut outbox = Outbox::<OwnedFd>::new();
        for length in [10, MAX_PACKET_BYTES - 10, 1] {
            outbox.push(&vec![7; length], []);
        }

        let flushed = outbox.flush(&near).unwrap();

        assert_eq!(flushed, Flushed::All);
        assert_eq!(receive(&far), Some((MAX_PACKET_BYTES, 0)));
        assert_eq!(receive(&far), Some((1, 0)));
        assert_eq!(receive(&far), None);
    }

    #[test]
    fn descriptors_stay_with_their_message() {
        let (near, far) = Socket::pair().unwrap();
        let (end, _other) = pipe::pair().unwrap();
        let mut outbox = Outbox::new();
        outbox.push(b"a", [&end; 249]);
        outbox.push(b"b", [&end; 2]);
        outbox.push(b"c", []);

        outbox.flush(&near).unwrap();

        assert_eq!(receive(&far), Some((1, 249)));
        assert_eq!(receive(&far), Some((2, 2)));
    }

    #[test]
    fn what_a_full_socket_does_not_take_waits_in_order() {
        let (near, far) = Socket::pair().unwrap();
        let mut outbox = Outbox::<OwnedFd>::new();
        for number in 0..20_u8 {
            outbox.push(&[number; 50_000], []);
        }

        assert_eq!(outbox.flush(&near).unwrap(), Flushed::Full);

        for number in 0..20 {
            let mut bytes = vec![0; MAX_PACKET_BYTES];
            assert_eq!(
                far.receive(&mut bytes, &mut Vec::<OwnedFd>::new()).unwrap(),
                Received::Packet(50_000)
            );
            assert_eq!(bytes[0], number);
            outbox.flush(&near).unwrap();
        }
        assert!(outbox.is_empty());
    }
}
