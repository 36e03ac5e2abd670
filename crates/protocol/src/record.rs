//! What a native worker publishes in its result ring: records of a header of 8 little-endian bytes and a payload,
//! padded with zeroes to a multiple of 8 bytes.
//!
//! ```text
//! u32 payload   bytes behind the header, without the padding
//! u8  kind
//! u8  flags
//! u16 reserved
//! ```
//!
//! Items are answered in the order in which they were posted, one `Ok`, `OkParcel` or `Err` each, so an answer needs no
//! number. The host copies records out of shared memory before it looks at them, and believes nothing in them.

/// The size of a record's header.
pub const RECORD_HEADER_BYTES: usize = 8;

/// The payload begins with how long the item ran, in nanoseconds (u64).
pub const FLAG_TIMED: u8 = 1;

/// What a record says. Discriminants are the bytes in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// The oldest unanswered item is ok; the payload is its result.
    Ok = 0,
    /// It failed; the payload is a [`crate::RemoteError`] in JSON.
    Err = 1,
    /// It is ok, and its result lies in the segment that was granted last: (u64 main, u64 whole) bytes of it.
    OkParcel = 2,
    /// A log line: a byte for its level (0 debug … 3 error), then text.
    Log = 3,
    /// How far the item is: an f64 from 0 to 1, then a note.
    Progress = 4,
    /// The initializer is done.
    Initialized = 5,
    /// The initializer failed; the payload is a [`crate::RemoteError`] in JSON.
    InitializerFailed = 6,
    /// The exit function's result.
    Exit = 7,
    /// The exit function failed; the payload is a [`crate::RemoteError`] in JSON.
    ExitFailed = 8,
    /// No more items for this worker: it wants to be replaced.
    Bye = 9,
    /// The item in hand submits another: its number among those (u64), the length of its function's name (u16), the
    /// name, then the item.
    Nested = 10,
    /// The item in hand waits for the one that it submitted under this number (u64). The worker gives back so many items
    /// (u32) that it has not begun; told again for those that reach it while it waits.
    Waits = 11,
    /// It goes on.
    GoesOn = 12,
    /// The outcome of the item that it submitted under this number (u64) is not wanted.
    Forgets = 13,
}

/// A record, borrowed from private memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub kind: RecordKind,
    /// How long the item ran, where that was measured.
    pub nanos: Option<u64>,
    /// What belongs to it.
    pub payload: &'a [u8],
    /// How many bytes it takes, header and padding included.
    pub bytes: usize,
}

/// Bytes that are no record; whoever published them is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A kind that there is not, or flags.
    #[error("a record of unknown kind {kind} with flags {flags}")]
    Unknown {
        /// The kind's byte.
        kind: u8,
        /// The flags' byte.
        flags: u8,
    },
    /// It goes on behind what was published.
    #[error("a record of {payload} bytes where {left} were published")]
    Torn {
        /// What its header says.
        payload: u32,
        /// How much there is.
        left: usize,
    },
}

impl<'a> Record<'a> {
    /// The record that `bytes` begin with.
    ///
    /// # Errors
    /// [`RecordError`]; never panics, whatever the bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>() else {
            return Err(RecordError::Torn { payload: 0, left: bytes.len() });
        };
        let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let unknown = RecordError::Unknown { kind: header[4], flags: header[5] };
        let kind = RecordKind::from_byte(header[4]).ok_or(unknown)?;
        let torn = RecordError::Torn { payload: len, left: rest.len() };
        let mut payload = rest.get(..len as usize).ok_or(torn)?;
        let nanos = match header[5] {
            0 => None,
            FLAG_TIMED => {
                let (nanos, behind) = payload.split_first_chunk::<8>().ok_or(torn)?;
                payload = behind;
                Some(u64::from_le_bytes(*nanos))
            }
            _ => return Err(unknown),
        };
        let whole = record_bytes(len as usize);
        if whole > bytes.len() {
            return Err(torn);
        }
        Ok(Self { kind, nanos, payload, bytes: whole })
    }
}

impl RecordKind {
    /// The kind with this byte, if there is one.
    #[must_use]
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => RecordKind::Ok,
            1 => RecordKind::Err,
            2 => RecordKind::OkParcel,
            3 => RecordKind::Log,
            4 => RecordKind::Progress,
            5 => RecordKind::Initialized,
            6 => RecordKind::InitializerFailed,
            7 => RecordKind::Exit,
            8 => RecordKind::ExitFailed,
            9 => RecordKind::Bye,
            10 => RecordKind::Nested,
            11 => RecordKind::Waits,
            12 => RecordKind::GoesOn,
            13 => RecordKind::Forgets,
            _ => return None,
        })
    }
}

/// How many bytes a record with such a payload takes.
#[must_use]
#[inline]
pub fn record_bytes(payload: usize) -> usize {
    (RECORD_HEADER_BYTES + payload).next_multiple_of(8)
}

/// The header of a record with a payload of `payload` bytes (the time of a timed one included).
#[must_use]
#[inline]
pub fn record_header(kind: RecordKind, flags: u8, payload: u32) -> [u8; RECORD_HEADER_BYTES] {
    let [a, b, c, d] = payload.to_le_bytes();
    [a, b, c, d, kind as u8, flags, 0, 0]
}

/// Appends a record.
///
/// # Panics
/// If the payload has 4 GiB or more.
pub fn push_record(kind: RecordKind, nanos: Option<u64>, payload: &[u8], into: &mut Vec<u8>) {
    let before = into.len();
    let timed = if nanos.is_some() { 8 } else { 0 };
    let len = u32::try_from(payload.len() + timed).expect("a record is shorter than 4 GiB");
    let flags = if nanos.is_some() { FLAG_TIMED } else { 0 };
    into.extend_from_slice(&record_header(kind, flags, len));
    into.extend(nanos.into_iter().flat_map(u64::to_le_bytes));
    into.extend_from_slice(payload);
    into.resize(before + record_bytes(len as usize), 0);
}

/// Where the record begins that has `before` records before it; the end, if there are fewer.
#[must_use]
pub fn record_start(records: &[u8], before: u64) -> usize {
    let mut at = 0;
    for _ in 0..before {
        match Record::parse(&records[at..]) {
            Ok(record) => at += record.bytes,
            Err(_) => return records.len(),
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stand_one_behind_another_each_padded() {
        let mut bytes = Vec::new();
        push_record(RecordKind::Ok, None, b"abc", &mut bytes);
        push_record(RecordKind::Err, Some(7), b"", &mut bytes);

        let first = Record::parse(&bytes).unwrap();
        let second = Record::parse(&bytes[first.bytes..]).unwrap();

        assert_eq!(first, Record { kind: RecordKind::Ok, nanos: None, payload: b"abc", bytes: 16 });
        assert_eq!(second, Record { kind: RecordKind::Err, nanos: Some(7), payload: b"", bytes: 16 });
        assert_eq!([0, 1, 2, 9].map(|before| record_start(&bytes, before)), [0, 16, 32, 32]);
    }

    #[test]
    fn a_record_that_goes_on_behind_the_end_is_refused() {
        let mut bytes = Vec::new();
        push_record(RecordKind::Ok, None, b"abc", &mut bytes);

        for cut in 0..bytes.len() {
            assert!(matches!(Record::parse(&bytes[..cut]), Err(RecordError::Torn { .. })), "{cut}");
        }
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Record::parse(&bytes), Err(RecordError::Torn { payload: u32::MAX, .. })));
        bytes[4] = 200;
        assert!(matches!(Record::parse(&bytes), Err(RecordError::Unknown { kind: 200, .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes: Vec<u8>) {
            if let Ok(record) = Record::parse(&bytes) {
                proptest::prop_assert!(record.bytes <= bytes.len());
                proptest::prop_assert_eq!(record.bytes % 8, 0);
            }
        }
    }
}
