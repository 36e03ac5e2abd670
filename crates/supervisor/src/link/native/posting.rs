//! Posting items: as many as fit go into one message; one with descriptors, or too large for the ring, goes alone.

use std::sync::Arc;

use poolctl_protocol::{
    FLAG_PARCEL, FLAG_SLICE, Frame, Kind, MESSAGE_HEADER_BYTES, MessageHeader, MessageKind, NO_FUNCTION,
    NestedStatus, RemoteError, ends_bytes,
};
use poolctl_shm::Lie;
use poolctl_types::ItemRange;

use super::{Finish, NativeLink, Stage};
use crate::block::{Attachment, Block, Shape};
use crate::desk::Desk;
use crate::output::{Held, Output};
use crate::parcels::{Parcel, ParcelError};
use crate::report::{BadReply, NestedOutcome, chain};

/// An item longer than this travels in a parcel, in bytes.
const INLINE_BYTES: usize = 64 << 10;

/// The longest message, in bytes: so there is room for two.
const MAX_MESSAGE_BYTES: usize = super::RING_BYTES / 2;

/// How many messages with descriptors a worker may have unanswered: the kernel bounds descriptors in flight.
const MAX_WITH_DESCRIPTORS: usize = 16;

/// Items that wait for room in the ring.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) items: ItemRange,
    pub(super) attempt: u32,
}

/// Why nothing more is posted just now.
enum Halt {
    /// There is no room; the worker's next answer makes some.
    Full,
    /// The worker's numbers cannot be.
    Lie(Lie),
    /// There is no memory for a large item.
    Parcel(ParcelError),
}

impl NativeLink {
    /// Posts what waits, as far as there is room.
    pub(super) fn post_what_fits(&mut self, desk: &Desk) {
        let mut posted = self.post_outcomes(desk);
        while let Some(waiting) = self.queue.front() {
            let Waiting { items, attempt } = *waiting;
            match self.post_some(items, attempt, desk) {
                Ok(count) if count == items.count => {
                    self.queue.pop_front();
                    posted = true;
                }
                Ok(count) => {
                    let rest = ItemRange::new(items.first.plus(u64::from(count)), items.count - count);
                    self.queue[0].items = rest;
                    posted = true;
                }
                Err(Halt::Full) => break,
                Err(Halt::Lie(lie)) => {
                    self.broken = Some(lie.into());
                    break;
                }
                Err(Halt::Parcel(error)) => {
                    // The worker's next answer, or the next look, tries again; who waits for ever has a timeout.
                    tracing::warn!(%error, item = %items.first, "a large item has to wait");
                    break;
                }
            }
        }
        if posted && let Some(ring) = &mut self.ring {
            ring.publish();
        }
        if self.finish == Finish::Wanted {
            self.post_the_end();
        }
    }

    /// Posts the first of these items; says how many.
    fn post_some(&mut self, items: ItemRange, attempt: u32, desk: &Desk) -> Result<u32, Halt> {
        let Some(ring) = &mut self.ring else { return Err(Halt::Full) };
        let room = ring.room().map_err(Halt::Lie)?.min(MAX_MESSAGE_BYTES);
        let (block, from, most) = desk.store.part(items);
        let function = match &block.function {
            Some(name) => self.functions.find_again(name).unwrap_or(NO_FUNCTION),
            None => self
                .native
                .function
                .as_ref()
                .map_or(Ok(0), |name| self.functions.find(name))
                .unwrap_or(NO_FUNCTION),
        };
        let header = MessageHeader {
            payload: 0,
            kind: MessageKind::Chunk,
            encoding: self.native.encoding,
            attachments: 0,
            function,
            count: 0,
            first: items.first.0,
            attempt,
            flags: if block.shape == Shape::Slices { FLAG_SLICE } else { 0 },
            parcel: 0,
        };
        if !block.attachments(from).is_empty() || block.item(from).len() > INLINE_BYTES {
            return self.post_alone(header, block, from, room, desk);
        }
        let most = block.next_attachment(from).map_or(most, |next| most.min(next));
        let count = fitting(block, from, most, room);
        if count == 0 {
            return Err(Halt::Full);
        }
        self.post(header, block, from, count).then_some(count).ok_or(Halt::Full)
    }

    /// Posts items that stand in the message.
    fn post(&mut self, mut header: MessageHeader, block: &Block, from: usize, count: u32) -> bool {
        let Some(ring) = &mut self.ring else { return false };
        let bytes = block.slice(from, from + count as usize);
        let table = ends_bytes(count);
        header.count = count;
        header.payload = u32::try_from(table + bytes.len()).expect("shorter than a ring");
        self.scratch.clear();
        self.scratch.extend_from_slice(&header.to_bytes());
        self.scratch.resize(MESSAGE_HEADER_BYTES + table, 0);
        let base = block.start(from);
        let ends = &block.ends[from..from + count as usize];
        for (place, end) in self.scratch[MESSAGE_HEADER_BYTES..].chunks_exact_mut(4).zip(ends) {
            place.copy_from_slice(&(*end - base).to_le_bytes());
        }
        ring.post(&[&self.scratch, bytes])
    }

    /// Posts one item with what belongs to it.
    fn post_alone(
        &mut self,
        mut header: MessageHeader,
        block: &Block,
        index: usize,
        room: usize,
        desk: &Desk,
    ) -> Result<u32, Halt> {
        let item = block.item(index);
        let is_large = item.len() > INLINE_BYTES;
        let inline = if is_large { 0 } else { ends_bytes(1) + item.len() + 1 };
        if self.with_descriptors.len() == MAX_WITH_DESCRIPTORS || MESSAGE_HEADER_BYTES + inline > room {
            return Err(Halt::Full);
        }
        let mut descriptors = Vec::new();
        let mut parcel = None;
        if is_large {
            let taken = Arc::new(self.native.parcels.take(item.len() as u64).map_err(Halt::Parcel)?);
            let written = taken.write_at(item, 0);
            written
                .map_err(|source| ParcelError::NoMemory { wanted: item.len() as u64, source })
                .map_err(Halt::Parcel)?;
            descriptors.push(Attachment::Reader(Arc::clone(&taken)));
            parcel = Some(taken);
            header.flags |= FLAG_PARCEL;
            header.parcel = item.len() as u64;
        }
        descriptors.extend(block.attachments(index).iter().cloned());
        header.attachments =
            u16::try_from(descriptors.len()).expect("the encoder bounds the descriptors of an item");
        let posted = if is_large {
            header.count = 1;
            let bytes = header.to_bytes();
            self.ring.as_mut().is_some_and(|ring| ring.post(&[&bytes]))
        } else {
            self.post(header, block, index, 1)
        };
        if !posted {
            return Err(Halt::Full);
        }
        let mut frame = Vec::new();
        Frame::write(&mut frame, Kind::Attachments, 0, descriptors.len() as u64, b"", b"");
        self.send_with(frame, descriptors, desk.now);
        self.with_descriptors.push_back((poolctl_types::Item(header.first), parcel));
        Ok(1)
    }

    /// Posts what became of items that the item in hand submitted, as far as there is room; says whether any was.
    fn post_outcomes(&mut self, desk: &Desk) -> bool {
        let mut posted = false;
        while let Some((id, outcome)) = self.outcomes.pop_front() {
            match self.post_outcome(id, &outcome, desk) {
                Ok(true) => posted = true,
                Ok(false) => {
                    self.outcomes.push_front((id, outcome));
                    break;
                }
                Err(error) => {
                    let type_name = "NoSharedMemory".to_owned();
                    let error =
                        RemoteError { type_name, msg: chain(&error), trace: None, retry: None, more: None };
                    self.outcomes.push_front((id, NestedOutcome::Err(error)));
                }
            }
        }
        posted
    }

    fn post_outcome(&mut self, id: u64, outcome: &NestedOutcome, desk: &Desk) -> Result<bool, ParcelError> {
        let json;
        let sizes;
        let mut parcel = None;
        let (status, content): (NestedStatus, &[u8]) = match outcome {
            NestedOutcome::Yours => (NestedStatus::Yours, b""),
            NestedOutcome::Err(error) => {
                json = serde_json::to_vec(error).unwrap_or_default();
                (NestedStatus::Err, &json)
            }
            NestedOutcome::Ok(output) => match (output.parcel(), output.in_memory()) {
                (None, Some(bytes)) if bytes.len() <= INLINE_BYTES => (NestedStatus::Ok, bytes),
                (lodged, _) => {
                    let whole = output.len();
                    let main = lodged.map_or(whole, |lodged| lodged.main);
                    parcel = Some(match lodged.map(|lodged| &lodged.held) {
                        Some(Held::Parcel(parcel)) => Arc::clone(parcel),
                        Some(Held::Memory(_) | Held::Memfd(_)) | None => self.parcel_of(output)?,
                    });
                    sizes = [main.to_le_bytes(), whole.to_le_bytes()].concat();
                    (NestedStatus::OkParcel, &sizes)
                }
            },
        };
        let Some(ring) = &mut self.ring else { return Ok(false) };
        let header = MessageHeader {
            payload: u32::try_from(content.len() + 8).expect("bounded above, or one error's text"),
            kind: MessageKind::Outcome,
            encoding: self.native.encoding,
            attachments: u16::from(parcel.is_some()),
            function: NO_FUNCTION,
            count: 1,
            first: id,
            attempt: 1,
            flags: 0,
            parcel: 0,
        };
        if !ring.post(&[&header.to_bytes(), &[status as u8, 0, 0, 0, 0, 0, 0, 0], content]) {
            return Ok(false);
        }
        if let Some(parcel) = parcel {
            let mut frame = Vec::new();
            Frame::write(&mut frame, Kind::Attachments, 0, 1, b"", b"");
            self.send_with(frame, vec![Attachment::Reader(parcel)], desk.now);
        }
        Ok(true)
    }

    /// A new parcel with all of `output` in it.
    fn parcel_of(&self, output: &Output) -> Result<Arc<Parcel>, ParcelError> {
        let wanted = output.len();
        let no_memory = |source| ParcelError::NoMemory { wanted, source };
        let bytes = output.to_vec().map_err(no_memory)?;
        let parcel = self.native.parcels.take(wanted)?;
        parcel.write_at(&bytes, 0).map_err(no_memory)?;
        Ok(Arc::new(parcel))
    }

    /// Posts the initializer, the first message of all.
    pub(super) fn post_initializer(&mut self, function: u32, argument: &[u8]) {
        let attachments = self.native.initializer_attachments.clone();
        if !self.post_call(MessageKind::Initialize, function, argument, attachments) {
            self.broken = Some(too_long("initializer", argument));
        }
    }

    /// Says that nothing follows, once everything is posted and there is room to say so.
    pub(super) fn post_the_end(&mut self) {
        if self.finish != Finish::Wanted || !self.queue.is_empty() || self.stage == Stage::Greeting {
            return;
        }
        let posted = match self.native.exit_function.clone() {
            Some((function, argument)) => match self.functions.find(&function) {
                Ok(index) => self.post_call(MessageKind::Finish, index, &argument, Vec::new()),
                Err(error) => {
                    tracing::warn!(%error, "a worker cannot run the exit function");
                    self.post_call(MessageKind::Finish, NO_FUNCTION, b"", Vec::new())
                }
            },
            None => self.post_call(MessageKind::Finish, NO_FUNCTION, b"", Vec::new()),
        };
        if posted {
            self.finish = Finish::Told;
        }
    }

    fn post_call(
        &mut self,
        kind: MessageKind,
        function: u32,
        argument: &[u8],
        attachments: Vec<Attachment>,
    ) -> bool {
        let mut block = Block::new();
        block.push(argument);
        let header = MessageHeader {
            payload: 0,
            kind,
            encoding: self.native.encoding,
            attachments: u16::try_from(attachments.len())
                .expect("the encoder bounds the descriptors of a call"),
            function,
            count: 1,
            first: u64::MAX,
            attempt: 1,
            flags: 0,
            parcel: 0,
        };
        let posted = argument.len() <= INLINE_BYTES && self.post(header, &block, 0, 1);
        if posted && !attachments.is_empty() {
            let mut frame = Vec::new();
            Frame::write(&mut frame, Kind::Attachments, 0, attachments.len() as u64, b"", b"");
            self.send_with(frame, attachments, poolctl_sys::clock::now());
        }
        if posted && let Some(ring) = &mut self.ring {
            ring.publish();
        }
        posted
    }
}

/// How many of the items from `from` on, `most` at most, a message of `room` bytes holds.
fn fitting(block: &Block, from: usize, most: u32, room: usize) -> u32 {
    let base = block.start(from) as usize;
    let ends = &block.ends[from..from + most as usize];
    let needs =
        |count: usize, end: u32| MESSAGE_HEADER_BYTES + (count * 4).next_multiple_of(8) + end as usize - base;
    if ends.last().is_some_and(|last| needs(ends.len(), *last) <= room) {
        return most;
    }
    let (mut fits, mut too_many) = (0, ends.len());
    while too_many - fits > 1 {
        let middle = fits.midpoint(too_many);
        if needs(middle, ends[middle - 1]) <= room { fits = middle } else { too_many = middle }
    }
    u32::try_from(fits).expect("at most `most`")
}

fn too_long(what: &str, argument: &[u8]) -> BadReply {
    let text = format!("the argument of the {what} has {} bytes, more than {INLINE_BYTES}", argument.len());
    BadReply::Link(std::io::Error::other(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_items_as_fit_go_into_a_message() {
        let mut block = Block::new();
        for item in [&b"aaaaaaa"[..], b"bbbbbbb", b"ccccccc"] {
            block.push(item);
        }

        let room = |count: usize| MESSAGE_HEADER_BYTES + (count * 4).next_multiple_of(8) + count * 8;
        assert_eq!(fitting(&block, 0, 3, room(3)), 3);
        assert_eq!(fitting(&block, 0, 3, room(3) - 1), 2);
        assert_eq!(fitting(&block, 0, 3, room(2)), 2);
        assert_eq!(fitting(&block, 1, 2, room(2) - 1), 1);
        assert_eq!(fitting(&block, 0, 3, room(1) - 1), 0);
    }
}
