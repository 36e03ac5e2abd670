//! Frames: a header of 16 little-endian bytes, then meta (JSON, may be empty), then payload (opaque bytes).
//!
//! ```text
//! u32 body_len   meta and payload together
//! u8  kind
//! u8  flags
//! u16 meta_len
//! u64 id
//! ```
//!
//! Parsing is incremental and copies nothing; a frame cut short is "not yet", never an error. Who reads half a frame
//! from a dead worker drops it.

use std::ops::Range;

use crate::excerpt::Excerpt;

/// The size of a frame's header.
pub const HEADER_BYTES: usize = 16;

/// How long a frame's body or a JSON line may be unless the user says otherwise.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// The payload is in a memfd that came with the frame.
pub const FLAG_IN_MEMFD: u8 = 1;

/// The payload of a batch is `n` JSON texts, each ended by LF.
pub const FLAG_JSON_LINES: u8 = 2;

const KNOWN_FLAGS: u8 = FLAG_IN_MEMFD | FLAG_JSON_LINES;

/// What a frame says. Discriminants are the bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Who the worker is and what it can do; its first frame.
    Hello = 0,
    /// One item.
    Task = 1,
    /// The result of an item.
    Ok = 2,
    /// The error of an item; the payload is a [`crate::RemoteError`] in JSON.
    Err = 3,
    /// The item is no longer wanted.
    Cancel = 4,
    /// How far an item has got.
    Progress = 5,
    /// A line for a person, or output that an item wrote.
    Log = 7,
    /// Are you there?
    Ping = 8,
    /// The worker wants no more work, or cannot start.
    Bye = 9,
    /// Items `id … id + n − 1`.
    Batch = 10,
    /// A callable or constant, once per worker.
    Define = 11,
    /// Something new lies in the shared buffer.
    Published = 12,
    /// What lies in a segment up to there may be overwritten.
    Release = 13,
    /// A native worker's two segments, tasks and results, come with this frame.
    Segments = 14,
    /// As many descriptors as `id` says come with this frame; they belong to the next message that has attachments.
    Attachments = 15,
    /// A native worker needs a segment of `id` bytes for a result.
    Need = 16,
    /// That segment comes with this frame; or, without a descriptor, the payload says why there is none.
    Grant = 17,
    /// The item in hand waits for one that it submitted; what the worker holds behind it goes elsewhere.
    Waits = 18,
    /// It goes on.
    GoesOn = 19,
    /// A client opens a pool.
    Open = 32,
    /// A client attaches to a named pool.
    Attach = 33,
    /// One task of a client.
    Submit = 34,
    /// A client begins a map.
    Map = 35,
    /// Items of a map.
    Items = 36,
    /// How much the server takes, in all.
    Credit = 37,
    /// No further items of a map.
    End = 38,
    /// A client does not want tasks any more.
    Withdraw = 39,
    /// From now on so many workers.
    Scale = 40,
    /// How pools stand.
    Stats = 41,
    /// A client wants a lock.
    Lock = 42,
    /// It gives it back.
    Unlock = 43,
    /// Who has it?
    Owner = 44,
    /// A client wants a segment that others know too.
    Object = 45,
    /// No more tasks: the pool ends with those it has.
    Close = 46,
    /// The pool ends now.
    Terminate = 47,
    /// The service reads its configuration anew.
    Reload = 48,
    /// The terminal reply to a request.
    Result = 64,
    /// Something happened in a pool.
    Event = 65,
    /// The terminal reply to a request that could not be understood or carried out.
    Error = 66,
}

impl Kind {
    /// Every kind, in the order of its byte.
    pub const ALL: [Kind; 39] = [
        Kind::Hello,
        Kind::Task,
        Kind::Ok,
        Kind::Err,
        Kind::Cancel,
        Kind::Progress,
        Kind::Log,
        Kind::Ping,
        Kind::Bye,
        Kind::Batch,
        Kind::Define,
        Kind::Published,
        Kind::Release,
        Kind::Segments,
        Kind::Attachments,
        Kind::Need,
        Kind::Grant,
        Kind::Waits,
        Kind::GoesOn,
        Kind::Open,
        Kind::Attach,
        Kind::Submit,
        Kind::Map,
        Kind::Items,
        Kind::Credit,
        Kind::End,
        Kind::Withdraw,
        Kind::Scale,
        Kind::Stats,
        Kind::Lock,
        Kind::Unlock,
        Kind::Owner,
        Kind::Object,
        Kind::Close,
        Kind::Terminate,
        Kind::Reload,
        Kind::Result,
        Kind::Event,
        Kind::Error,
    ];

    /// The kind with this byte, if there is one.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The first 16 bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of meta and payload together.
    pub body_len: u32,
    /// What the frame says.
    pub kind: Kind,
    /// [`FLAG_IN_MEMFD`], [`FLAG_JSON_LINES`].
    pub flags: u8,
    /// Bytes of meta; never more than `body_len` in a parsed header.
    pub meta_len: u16,
    /// The item, or the first of a batch, or a count, or 0.
    pub id: u64,
}

/// A whole frame, borrowed from the buffer it was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// JSON, or empty.
    pub meta: &'a [u8],
    /// Opaque bytes.
    pub payload: &'a [u8],
}

/// Why bytes are no frame. The stream they came from has no further meaning: there is no way to find the next frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The header announces more than is allowed. Nothing was allocated.
    #[error("frame of {len} bytes is over the limit of {limit}: {shown}")]
    TooLong {
        /// The announced length of the body.
        len: u32,
        /// The most that is allowed.
        limit: usize,
        /// The header.
        shown: Excerpt,
    },
    /// No such kind of frame.
    #[error("unknown kind of frame {kind}: {shown}")]
    UnknownKind {
        /// The byte.
        kind: u8,
        /// The header.
        shown: Excerpt,
    },
    /// A flag that this version does not know.
    #[error("unknown frame flags {flags:#04x}: {shown}")]
    UnknownFlags {
        /// All the flags.
        flags: u8,
        /// The header.
        shown: Excerpt,
    },
    /// The meta would be longer than the body it is part of.
    #[error("frame with {meta_len} bytes of meta in a body of {body_len}: {shown}")]
    MetaTooLong {
        /// The announced length of the meta.
        meta_len: u16,
        /// The announced length of the body.
        body_len: u32,
        /// The header.
        shown: Excerpt,
    },
}

impl Header {
    /// A header for a frame with this much meta and payload.
    ///
    /// # Panics
    /// If `meta_len` does not fit 16 bits or the body 32; the caller keeps to the limits.
    #[must_use]
    pub fn new(kind: Kind, flags: u8, id: u64, meta_len: usize, payload_len: usize) -> Self {
        let body_len = u32::try_from(meta_len + payload_len).expect("a body is shorter than 4 GiB");
        let meta_len = u16::try_from(meta_len).expect("meta is shorter than 64 KiB");
        Self { body_len, kind, flags, meta_len, id }
    }

    /// Reads the header at the start of `bytes`; `None` when there are fewer than 16.
    ///
    /// - `limit`: the most bytes that the body may have.
    ///
    /// # Errors
    /// [`FrameError`], whatever follows the header.
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Option<Self>, FrameError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, kind, flags, m0, m1, id @ ..] = *head;
        let body_len = u32::from_le_bytes([l0, l1, l2, l3]);
        let meta_len = u16::from_le_bytes([m0, m1]);
        let shown = || Excerpt::of(head);
        let Some(kind) = Kind::from_byte(kind) else {
            return Err(FrameError::UnknownKind { kind, shown: shown() });
        };
        if flags & !KNOWN_FLAGS != 0 {
            return Err(FrameError::UnknownFlags { flags, shown: shown() });
        }
        if usize::try_from(body_len).map_or(true, |len| len > limit) {
            return Err(FrameError::TooLong { len: body_len, limit, shown: shown() });
        }
        if u32::from(meta_len) > body_len {
            return Err(FrameError::MetaTooLong { meta_len, body_len, shown: shown() });
        }
        Ok(Some(Self { body_len, kind, flags, meta_len, id: u64::from_le_bytes(id) }))
    }

    /// The 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags;
        bytes[6..8].copy_from_slice(&self.meta_len.to_le_bytes());
        bytes[8..].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }

    /// Appends the 16 bytes to `out`.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    /// How long the whole frame is, header included.
    #[must_use]
    pub fn frame_len(self) -> usize {
        HEADER_BYTES + self.body_len as usize
    }

    /// Where the meta lies, counted from the start of the frame.
    #[must_use]
    pub fn meta_range(self) -> Range<usize> {
        HEADER_BYTES..HEADER_BYTES + usize::from(self.meta_len)
    }

    /// Where the payload lies, counted from the start of the frame.
    #[must_use]
    pub fn payload_range(self) -> Range<usize> {
        HEADER_BYTES + usize::from(self.meta_len)..self.frame_len()
    }
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`; `None` when it is not whole yet.
    ///
    /// - `limit`: the most bytes that the body may have; checked as soon as the header is there.
    ///
    /// # Errors
    /// [`FrameError`]; the stream cannot be read any further.
    pub fn parse(bytes: &'a [u8], limit: usize) -> Result<Option<Self>, FrameError> {
        let Some(header) = Header::parse(bytes, limit)? else {
            return Ok(None);
        };
        let parts = (bytes.get(header.meta_range()), bytes.get(header.payload_range()));
        let (Some(meta), Some(payload)) = parts else {
            return Ok(None);
        };
        Ok(Some(Self { header, meta, payload }))
    }

    /// How long it is, header included: where the next one begins.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.header.frame_len()
    }

    /// Appends a frame to `out`.
    ///
    /// # Panics
    /// As [`Header::new`].
    pub fn write(out: &mut Vec<u8>, kind: Kind, flags: u8, id: u64, meta: &[u8], payload: &[u8]) {
        out.reserve(HEADER_BYTES + meta.len() + payload.len());
        Header::new(kind, flags, id, meta.len(), payload.len()).write(out);
        out.extend_from_slice(meta);
        out.extend_from_slice(payload);
    }
}
