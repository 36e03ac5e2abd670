//! Batches: many items in one frame, as JSON texts each ended by LF.

use std::io::Write;

use serde::Deserialize;

use crate::excerpt::Excerpt;
use crate::frame::{FLAG_JSON_LINES, HEADER_BYTES, Header, Kind};

/// Appends a batch of items `first_id … first_id + count − 1` to `out`.
///
/// - `lines`: `count` JSON texts without raw line ends, each ended by LF.
///
/// # Panics
/// If `lines` is 4 GiB long or more.
pub fn write_batch(out: &mut Vec<u8>, first_id: u64, count: u32, lines: &[u8]) {
    write_batch_head(out, first_id, count, lines.len());
    out.extend_from_slice(lines);
}

/// Appends all of a batch but its payload, for who writes that from where it lies.
///
/// # Panics
/// If `payload_len` is 4 GiB or more.
pub fn write_batch_head(out: &mut Vec<u8>, first_id: u64, count: u32, payload_len: usize) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    write!(out, "{{\"n\":{count}}}").expect("a Vec takes everything");
    let meta_len = out.len() - start - HEADER_BYTES;
    let header = Header::new(Kind::Batch, FLAG_JSON_LINES, first_id, meta_len, payload_len);
    out[start..start + HEADER_BYTES].copy_from_slice(&header.to_bytes());
}

/// Appends a batch of raw items to `out`, each preceded by its length, for tasks that need the constant `key`.
///
/// # Panics
/// If they are 4 GiB or more together.
pub fn write_raw_batch<'a>(
    out: &mut Vec<u8>,
    kind: Kind,
    first_id: u64,
    meta: &[u8],
    items: impl Iterator<Item = &'a [u8]>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    out.extend_from_slice(meta);
    let payload = out.len();
    for item in items {
        push_sized(out, item);
    }
    let header = Header::new(kind, 0, first_id, meta.len(), out.len() - payload);
    out[start..start + HEADER_BYTES].copy_from_slice(&header.to_bytes());
}

/// Appends `bytes` with their length before them.
///
/// # Panics
/// If they are 4 GiB or more.
pub fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("an item is shorter than 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Takes the first of many byte strings that have their lengths before them off `rest`; `None` if there is none, or less
/// than it says.
pub fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let (bytes, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = behind;
    Some(bytes)
}

/// Why the meta of a batch is none.
#[derive(Debug, thiserror::Error)]
#[error("meta of a batch is not an object like {{\"n\":3}}: {shown}")]
pub struct BatchMetaError {
    /// Its beginning.
    pub shown: Excerpt,
    /// What and where.
    pub source: serde_json::Error,
}

/// How many items a batch has, by its meta.
///
/// # Errors
/// [`BatchMetaError`] if the meta does not say.
pub fn parse_count(meta: &[u8]) -> Result<u32, BatchMetaError> {
    #[derive(Deserialize)]
    struct Wire {
        n: u32,
    }
    let wire: Wire =
        serde_json::from_slice(meta).map_err(|source| BatchMetaError { shown: Excerpt::of(meta), source })?;
    Ok(wire.n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    #[test]
    fn a_batch_reads_back_as_it_was_written() {
        let mut out = b"before".to_vec();

        write_batch(&mut out, 40, 3, b"1\n2\n3\n");

        let frame = Frame::parse(&out[6..], 1024).expect("a frame").expect("whole");
        assert_eq!(frame.header.kind, Kind::Batch);
        assert_eq!(frame.header.flags, FLAG_JSON_LINES);
        assert_eq!(frame.header.id, 40);
        assert_eq!(parse_count(frame.meta).expect("a count"), 3);
        assert_eq!(frame.payload, b"1\n2\n3\n");
        assert_eq!(frame.frame_len(), out.len() - 6);
    }
}
