//! A worker's way to its host: rings for what is frequent, the socket for what is not.
//!
//! One thread uses it, the one that runs the tasks. Messages are copied out of the ring before their items run, so that
//! a task that logs finds the rings free, and the host has the room again.

use std::cell::RefCell;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use poolctl_protocol::{
    FLAG_TIMED, MESSAGE_HEADER_BYTES, MessageHeader, RECORD_HEADER_BYTES, RecordKind, RemoteError,
    record_bytes, record_header,
};
use poolctl_shm::WorkerEnd;
use poolctl_sys::pipe;

use crate::control::{Control, Gone};
use crate::nested::Nests;
use crate::outlet::Grants;

/// A result with more main bytes travels in a parcel.
pub(crate) const MAX_INLINE_BYTES: usize = 64 << 10;

/// The most bytes of an error in its record.
const MAX_ERROR_BYTES: usize = 120 << 10;

/// A payload up to here is copied word by word.
const SHORT_BYTES: usize = 64;

/// The rings and the socket.
#[derive(Debug)]
pub(crate) struct Link {
    end: RefCell<WorkerEnd>,
    control: RefCell<Control>,
    pub(crate) nests: Nests,
    prints: Prints,
}

/// Whether the host wants to know which item printed what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prints {
    /// It does not.
    Loose,
    /// It does.
    PerItem,
}

impl Link {
    pub(crate) fn new(end: WorkerEnd, control: Control, prints: Prints) -> Self {
        Self { end: RefCell::new(end), control: RefCell::new(control), nests: Nests::default(), prints }
    }

    /// Waits for a message, puts what is behind its header into `payload`, and gives the room back.
    pub(crate) fn next_message(&self, payload: &mut Vec<u8>) -> Result<MessageHeader, Gone> {
        let mut end = self.end.borrow_mut();
        end.wait();
        let posted = end.posted();
        let header = posted.first_chunk::<MESSAGE_HEADER_BYTES>().ok_or(Gone::NoMessage)?;
        let header = MessageHeader::parse(header).map_err(|_| Gone::NoMessage)?;
        let whole = MESSAGE_HEADER_BYTES + header.payload as usize;
        payload.clear();
        payload.extend_from_slice(posted.get(MESSAGE_HEADER_BYTES..whole).ok_or(Gone::NoMessage)?);
        end.consume(whole);
        end.publish();
        Ok(header)
    }

    /// The descriptors that belong to the message.
    pub(crate) fn attachments(&self, count: u16) -> Result<Vec<OwnedFd>, Gone> {
        if count == 0 { Ok(Vec::new()) } else { self.control.borrow_mut().attachments(count.into()) }
    }

    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.end.borrow().is_timed()
    }

    /// Claims the next item. From now on what is printed is its.
    #[inline]
    pub(crate) fn begin(&self, begun: u64, started_ns: Option<u64>) {
        let end = self.end.borrow();
        end.begin(begun, started_ns);
        if self.prints == Prints::PerItem {
            end.wait_while_read();
        }
    }

    /// Publishes a record. `payload` must fit; see [`MAX_INLINE_BYTES`].
    #[inline]
    pub(crate) fn publish(&self, kind: RecordKind, nanos: Option<u64>, payload: &[u8]) {
        if let (None, Ok(word)) = (nanos, <[u8; 8]>::try_from(payload)) {
            // The commonest results of all.
            let mut end = self.end.borrow_mut();
            if let Some(record) = end.spare().first_chunk_mut::<16>() {
                record[..8].copy_from_slice(&record_header(kind, 0, 8));
                record[8..].copy_from_slice(&word);
                end.advance(16);
                end.publish();
                return;
            }
        }
        self.publish_any(kind, nanos, payload);
    }

    fn publish_any(&self, kind: RecordKind, nanos: Option<u64>, payload: &[u8]) {
        let mut end = self.end.borrow_mut();
        let timed = if nanos.is_some() { size_of::<u64>() } else { 0 };
        let bytes = record_bytes(payload.len() + timed);
        let mut spare = end.spare();
        if spare.len() < bytes {
            self.make_room(&mut end, bytes);
            spare = end.spare();
        }
        let (header, rest) = spare[..bytes].split_at_mut(RECORD_HEADER_BYTES);
        let flags = if nanos.is_some() { FLAG_TIMED } else { 0 };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it fits into the ring, which `make_room` checks"
        )]
        header.copy_from_slice(&record_header(kind, flags, (payload.len() + timed) as u32));
        if let Some(nanos) = nanos {
            rest[..timed].copy_from_slice(&nanos.to_le_bytes());
        }
        copy_padded(payload, &mut rest[timed..]);
        end.advance(bytes);
        end.publish();
    }

    /// Publishes an error; a very long one without what helps least.
    #[cold]
    pub(crate) fn publish_error(&self, kind: RecordKind, nanos: Option<u64>, mut error: RemoteError) {
        shorten(&mut error.type_name, 1 << 10);
        shorten(&mut error.msg, 16 << 10);
        if let Some(trace) = &mut error.trace {
            shorten(trace, 48 << 10);
        }
        let mut text = serde_json::to_vec(&error).expect("texts are always JSON");
        if text.len() > MAX_ERROR_BYTES {
            // Escapes have blown it up.
            error.trace = None;
            text = serde_json::to_vec(&error).expect("texts are always JSON");
        }
        self.publish(kind, nanos, &text);
    }

    /// Kicks the host if it sleeps. To be called behind a publish.
    #[inline]
    pub(crate) fn kick_if_asleep(&self) {
        if self.end.borrow().host_sleeps() {
            self.control.borrow().kick();
        }
    }

    /// If the item just answered has printed something that the host has not read yet, waits until it has, so that it
    /// is not taken for the next one's. To be called behind a publish.
    #[inline]
    pub(crate) fn hand_over_prints(&self) {
        if self.prints == Prints::PerItem {
            self.wait_for_prints();
        }
    }

    fn wait_for_prints(&self) {
        let mut stdout = io::stdout();
        // A stream that cannot be written holds nothing to wait for, nor does one that is no pipe.
        let is_flushed = stdout.flush().is_ok();
        let unread = |count: io::Result<u64>| count.unwrap_or(0) > 0;
        if is_flushed && (unread(pipe::unread(&stdout)) || unread(pipe::unread(&io::stderr()))) {
            self.kick_if_asleep();
            self.end.borrow_mut().wait_until_drained();
        }
    }

    #[cold]
    fn make_room(&self, end: &mut WorkerEnd, bytes: usize) {
        // All is published; only a host that sleeps has to hear of it before it makes room.
        if end.host_sleeps() {
            self.control.borrow().kick();
        }
        end.wait_for_spare(bytes);
    }
}

impl Grants for &Link {
    fn grant(&mut self, bytes: u64) -> Result<OwnedFd, RemoteError> {
        self.control.borrow_mut().grant(bytes)
    }
}

/// Copies `payload` to the beginning of `room`, which it fills but for at most 7 bytes; those become zeroes.
#[inline]
fn copy_padded(payload: &[u8], room: &mut [u8]) {
    if payload.len() > SHORT_BYTES {
        let (copy, padding) = room.split_at_mut(payload.len());
        copy.copy_from_slice(payload);
        padding.fill(0);
        return;
    }
    // Word by word: a call of memcpy would cost more than the copy.
    let words = payload.chunks_exact(8);
    let rest = words.remainder();
    let last = match payload.last_chunk::<8>() {
        _ if rest.is_empty() => 0,
        Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - rest.len())),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    for (to, from) in room.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(from);
    }
    if !rest.is_empty()
        && let Some(to) = room.last_chunk_mut::<8>()
    {
        *to = last.to_le_bytes();
    }
}

/// Leaves the middle out of a text of more than `limit` bytes.
fn shorten(text: &mut String, limit: usize) {
    if text.len() > limit {
        let (head, tail) = (boundary(text, limit / 2), boundary(text, text.len() - limit / 2));
        *text = format!("{}\n… {} bytes left out …\n{}", &text[..head], tail - head, &text[tail..]);
    }
}

/// The last place between two characters that is not behind `place`.
pub(crate) fn boundary(text: &str, place: usize) -> usize {
    (0..=place.min(text.len())).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_of_every_length_are_padded_with_zeroes() {
        for length in 0..=SHORT_BYTES + 9 {
            let payload: Vec<u8> = (1..).take(length).collect();
            let mut room = vec![0xFF; length.next_multiple_of(8)];

            copy_padded(&payload, &mut room);

            assert_eq!(room[..length], payload);
            assert!(room[length..].iter().all(|byte| *byte == 0), "{room:?}");
        }
    }

    #[test]
    fn a_long_text_loses_its_middle_and_stays_text() {
        let mut text = "é".repeat(1000);

        shorten(&mut text, 100);

        assert!(text.starts_with("éé") && text.ends_with("éé"), "{text}");
        assert!(text.contains("1900 bytes left out"), "{text}");
    }
}
