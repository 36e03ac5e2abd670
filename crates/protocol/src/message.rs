//! What the host posts into a native worker's task ring: a header of 48 little-endian bytes, then the items.
//!
//! ```text
//! u32 payload    bytes behind the header
//! u8  kind
//! u8  encoding   of items and results: 0 binary, 1 JSON
//! u16 attachments  descriptors that were sent over the socket before this message
//! u32 function   its place in the hello's list; u32::MAX for none
//! u32 count      items
//! u64 first      the number of the first item; the others follow
//! u32 attempt    from 1 on
//! u32 flags
//! u64 parcel     with FLAG_PARCEL: bytes of the one item, which lie in the first attachment
//! u64 reserved
//! ```
//!
//! The payload of a chunk is, for each item, the place in the items' bytes behind its end and its LF (u32), padded to 8
//! bytes, then the items, each ended by LF. The worker trusts its host: nothing here is checked twice.

/// The size of a message's header.
pub const MESSAGE_HEADER_BYTES: usize = 48;

/// The item lies in the first attachment, not in the message.
pub const FLAG_PARCEL: u32 = 1;

/// The item is a piece of a slice: start and length in elements (u64 each); the attachments are input and output.
pub const FLAG_SLICE: u32 = 2;

/// `function` where there is none.
pub const NO_FUNCTION: u32 = u32::MAX;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// Run a function on items.
    Chunk = 0,
    /// Run the initializer on its one item; answered by `Initialized` or `InitializerFailed`.
    Initialize = 1,
    /// No more items come: run the exit function, if there is one, and end.
    Finish = 2,
    /// What became of an item that the item in hand submitted; `first` is its number among those. The payload begins with
    /// a [`NestedStatus`] and 7 zero bytes.
    Outcome = 3,
}

/// What became of an item that another one submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NestedStatus {
    /// It is ok; its result follows.
    Ok = 0,
    /// It is ok, and its result lies in the attachment: (u64 main, u64 whole) bytes of it.
    OkParcel = 1,
    /// It failed; a [`crate::RemoteError`] in JSON follows.
    Err = 2,
    /// It was not begun, and is the worker's own again: it runs it itself.
    Yours = 3,
}

impl NestedStatus {
    /// The status with this byte, if there is one.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ok, Self::OkParcel, Self::Err, Self::Yours].get(usize::from(byte)).copied()
    }
}

/// How items and results of a native worker are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Encoding {
    /// As `codec.rs` writes values.
    #[default]
    Binary = 0,
    /// JSON texts.
    Json = 1,
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHeader {
    /// Bytes behind the header.
    pub payload: u32,
    /// What is asked for.
    pub kind: MessageKind,
    /// How items and results are written.
    pub encoding: Encoding,
    /// How many descriptors were sent for it.
    pub attachments: u16,
    /// The function's place in the hello's list; [`NO_FUNCTION`] for none.
    pub function: u32,
    /// How many items there are.
    pub count: u32,
    /// The number of the first.
    pub first: u64,
    /// Which attempt this is, from 1 on.
    pub attempt: u32,
    /// [`FLAG_PARCEL`], [`FLAG_SLICE`].
    pub flags: u32,
    /// With [`FLAG_PARCEL`]: the length of the item.
    pub parcel: u64,
}

/// Bytes that begin with no header; between processes of one build that is a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no message header: kind {kind}, encoding {encoding}")]
pub struct MessageError {
    kind: u8,
    encoding: u8,
}

impl MessageHeader {
    /// The bytes of the header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; MESSAGE_HEADER_BYTES] {
        let mut bytes = [0; MESSAGE_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.payload.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = self.encoding as u8;
        bytes[6..8].copy_from_slice(&self.attachments.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.function.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.flags.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.parcel.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// Its kind or encoding is unknown.
    pub fn parse(bytes: &[u8; MESSAGE_HEADER_BYTES]) -> Result<Self, MessageError> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let unknown = MessageError { kind: bytes[4], encoding: bytes[5] };
        let kind = match bytes[4] {
            0 => MessageKind::Chunk,
            1 => MessageKind::Initialize,
            2 => MessageKind::Finish,
            3 => MessageKind::Outcome,
            _ => return Err(unknown),
        };
        let encoding = match bytes[5] {
            0 => Encoding::Binary,
            1 => Encoding::Json,
            _ => return Err(unknown),
        };
        Ok(Self {
            payload: word(0),
            kind,
            encoding,
            attachments: u16::from_le_bytes([bytes[6], bytes[7]]),
            function: word(8),
            count: word(12),
            first: long(16),
            attempt: word(24),
            flags: word(28),
            parcel: long(32),
        })
    }
}

/// How many bytes the table of `count` ends takes, with its padding.
#[must_use]
pub fn ends_bytes(count: u32) -> usize {
    (count as usize * 4).next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes() {
        let header = MessageHeader {
            payload: 77,
            kind: MessageKind::Initialize,
            encoding: Encoding::Json,
            attachments: 513,
            function: 3,
            count: 4096,
            first: u64::MAX - 5,
            attempt: 2,
            flags: FLAG_SLICE,
            parcel: 1 << 40,
        };

        assert_eq!(MessageHeader::parse(&header.to_bytes()), Ok(header));
        let mut unknown = header.to_bytes();
        unknown[4] = 9;
        assert!(MessageHeader::parse(&unknown).is_err());
    }

    #[test]
    fn the_table_of_ends_keeps_the_items_aligned() {
        assert_eq!([0, 1, 2, 3].map(ends_bytes), [0, 8, 8, 16]);
    }
}
