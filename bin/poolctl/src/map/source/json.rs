//! Checking and writing JSON items. Values pass as the text they are: numbers are never read.

use poolctl_supervisor::Block;
use serde::de::IgnoredAny;

use super::error::{InputError, JsonProblem, Place, shown};

/// Says which record it is, should that be needed.
type Where<'a> = &'a dyn Fn() -> Place;

/// Writes one value.
type Put = fn(&mut Vec<u8>, &[u8], Where<'_>) -> Result<(), InputError>;

/// Whether every item of a block is one line of JSON just as it is.
pub(super) fn is_clean(block: &Block) -> bool {
    std::str::from_utf8(&block.bytes).is_ok()
        && (0..block.len()).all(|index| {
            let item = block.item(index);
            is_plain_number(item)
                || (serde_json::from_slice::<IgnoredAny>(item).is_ok() && !item.contains(&b'\n'))
        })
}

/// The most frequent item, recognised without a parser.
fn is_plain_number(item: &[u8]) -> bool {
    matches!(item.first(), Some(b'1'..=b'9')) && item.iter().all(u8::is_ascii_digit)
}

/// Writes a record that must be JSON, on one line.
pub(super) fn put_value(to: &mut Vec<u8>, record: &[u8], place: Where<'_>) -> Result<(), InputError> {
    check_text(record, place)?;
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(record) {
        let column = column(record, &error);
        let source = JsonProblem(error);
        return Err(InputError::Json { place: place(), column, shown: shown(record), source });
    }
    // A line break in JSON is space between tokens: inside a string it would have been refused.
    to.extend(record.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    Ok(())
}

/// Writes a record as a JSON string.
pub(super) fn put_string(to: &mut Vec<u8>, record: &[u8], place: Where<'_>) -> Result<(), InputError> {
    check_text(record, place)?;
    to.push(b'"');
    for byte in record {
        match byte {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            b'\t' => to.extend_from_slice(b"\\t"),
            0..0x20 => to.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            plain => to.push(*plain),
        }
    }
    to.push(b'"');
    Ok(())
}

/// Writes the fields of a record as a JSON array, each by `put`.
pub(super) fn put_array(
    to: &mut Vec<u8>,
    record: &[u8],
    put: Put,
    place: Where<'_>,
) -> Result<(), InputError> {
    to.push(b'[');
    for (index, field) in record.split(|byte| *byte == 0).enumerate() {
        if index > 0 {
            to.push(b',');
        }
        put(to, field, place)?;
    }
    to.push(b']');
    Ok(())
}

/// Writes the fields of a record as strings of a JSON object. There are at most as many as names.
pub(super) fn put_object(
    to: &mut Vec<u8>,
    names: &[Vec<u8>],
    record: &[u8],
    place: Where<'_>,
) -> Result<(), InputError> {
    to.push(b'{');
    for (index, (name, field)) in names.iter().zip(record.split(|byte| *byte == 0)).enumerate() {
        if index > 0 {
            to.push(b',');
        }
        put_string(to, name, place)?;
        to.push(b':');
        put_string(to, field, place)?;
    }
    to.push(b'}');
    Ok(())
}

fn check_text(record: &[u8], place: Where<'_>) -> Result<(), InputError> {
    std::str::from_utf8(record).map(drop).map_err(|error| InputError::NotUtf8 {
        place: place(),
        column: error.valid_up_to() + 1,
        shown: shown(record),
    })
}

/// The column of an error, counted over the whole record, in bytes from 1.
fn column(record: &[u8], error: &serde_json::Error) -> usize {
    let before: usize = record
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + error.column()).max(1)
}
