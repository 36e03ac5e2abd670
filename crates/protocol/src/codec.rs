//! The one file that knows bincode: our own small messages to bytes and back.
//!
//! For messages between our own processes alone; workers never speak it. Always with a limit, and every message type
//! here is flat: no recursion, no collection of zero-sized elements. A user's payload never passes through.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::error::{DecodeError, EncodeError};
use serde::{Deserialize, Serialize};

/// The most bytes one encoded message may have, whichever way it travels.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_MESSAGE_BYTES>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<MAX_MESSAGE_BYTES>();

/// A message could not be encoded: it is over [`MAX_MESSAGE_BYTES`].
#[derive(Debug, thiserror::Error)]
#[error("message is too long to be encoded")]
pub struct MessageTooLong {
    #[source]
    source: EncodeError,
}

/// Bytes are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeMessageError {
    /// The bytes are over [`MAX_MESSAGE_BYTES`]; nothing was decoded.
    #[error("message of {bytes} bytes is too long")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes do not begin with a message.
    #[error("malformed message")]
    Malformed {
        /// What is wrong with them.
        source: DecodeError,
    },
    /// The bytes go on after the message.
    #[error("{bytes} bytes after the end of a message")]
    Trailing {
        /// How many follow.
        bytes: usize,
    },
}

/// Appends the bytes of `message` to `out`; leaves `out` as it was on an error.
///
/// # Errors
/// It is too long.
pub(crate) fn append(message: &impl Serialize, out: &mut Vec<u8>) -> Result<(), MessageTooLong> {
    let before = out.len();
    let encoded = bincode::serde::encode_into_std_write(message, out, CONFIG);
    if let Err(source) = encoded {
        out.truncate(before);
        return Err(MessageTooLong { source });
    }
    Ok(())
}

/// Decodes the message that `bytes` begin with, and moves `bytes` behind it.
///
/// # Errors
/// They begin with none.
pub(crate) fn take_first<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, DecodeMessageError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(DecodeMessageError::TooLong { bytes: bytes.len() });
    }
    let (message, consumed) = bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
        .map_err(|source| DecodeMessageError::Malformed { source })?;
    *bytes = bytes.get(consumed..).unwrap_or_default();
    Ok(message)
}

/// Decodes the one message that `bytes` are.
///
/// # Errors
/// They are not exactly one.
pub(crate) fn decode_whole<'a, T: Deserialize<'a>>(mut bytes: &'a [u8]) -> Result<T, DecodeMessageError> {
    let message = take_first(&mut bytes)?;
    if bytes.is_empty() { Ok(message) } else { Err(DecodeMessageError::Trailing { bytes: bytes.len() }) }
}
