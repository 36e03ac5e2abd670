//! The one file that knows bincode: our own small messages, and the values of native tasks, to bytes and back.
//!
//! Messages are for our own processes alone. Always with a limit, and every message type here is flat: no recursion, no
//! collection of zero-sized elements.
//!
//! Values are a user's, of any type that serde knows. They are decoded by the two ends of a call alone, which are
//! programs of one user and trust each other; the host between them sees opaque bytes.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The most bytes one encoded message may have, whichever way it travels.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_MESSAGE_BYTES>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<MAX_MESSAGE_BYTES>();

/// The most bytes that one value of a native task may have. Larger ones are likely to be a length gone wrong.
pub const MAX_VALUE_BYTES: usize = 64 << 30;

const VALUES: Configuration<LittleEndian, Fixint, Limit<MAX_VALUE_BYTES>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<MAX_VALUE_BYTES>();

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

/// A value could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeValueError {
    /// Its own `Serialize` refused, or it is a sequence that does not know its length.
    #[error("value cannot be encoded")]
    Refused {
        /// What it said.
        source: EncodeError,
    },
    /// It is over [`MAX_VALUE_BYTES`].
    #[error("value of {bytes} bytes is too long to be encoded")]
    TooLong {
        /// How many it takes.
        bytes: usize,
    },
}

/// Bytes are no value of the type that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("bytes are no such value")]
pub struct DecodeValueError {
    #[source]
    source: DecodeError,
}

/// A vector as bincode writes to it: at its end.
struct Tail<'a>(&'a mut Vec<u8>);

impl Writer for Tail<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends the bytes of `value` to `out`; leaves `out` as it was on an error.
///
/// # Errors
/// [`EncodeValueError`].
#[inline]
pub fn encode_value<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeValueError> {
    let before = out.len();
    if let Err(source) = bincode::serde::encode_into_writer(value, Tail(out), VALUES) {
        out.truncate(before);
        return Err(EncodeValueError::Refused { source });
    }
    let bytes = out.len() - before;
    if bytes > MAX_VALUE_BYTES {
        out.truncate(before);
        return Err(EncodeValueError::TooLong { bytes });
    }
    Ok(())
}

/// Decodes the value that `bytes` begin with, and moves `bytes` behind it.
///
/// # Errors
/// They begin with none. A type that asks its bytes what they are (`serde_json::Value`, `#[serde(untagged)]`,
/// `#[serde(flatten)]`) never finds one here: these bytes do not describe themselves.
#[inline]
pub fn decode_value<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, DecodeValueError> {
    let (value, consumed) =
        bincode::serde::decode_from_slice(bytes, VALUES).map_err(|source| DecodeValueError { source })?;
    *bytes = bytes.get(consumed..).unwrap_or_default();
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    enum Shape {
        Point,
        Circle(f32),
        Named { name: String, parts: Vec<Shape>, note: Option<char> },
    }

    fn shape() -> impl Strategy<Value = Shape> {
        let leaf = prop_oneof![Just(Shape::Point), (-1e9_f32..1e9).prop_map(Shape::Circle)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            (any::<String>(), prop::collection::vec(inner, 0..4), any::<Option<char>>())
                .prop_map(|(name, parts, note)| Shape::Named { name, parts, note })
        })
    }

    proptest! {
        #[test]
        fn values_of_every_kind_survive_their_bytes(
            numbers: (i8, u16, i32, u64, i128, bool),
            nested: (Vec<(String, Option<u8>)>, BTreeMap<String, Vec<i64>>, ((), [u8; 3])),
            shape in shape(),
        ) {
            let value = (numbers, nested, shape);
            let mut bytes = b"before".to_vec();

            encode_value(&value, &mut bytes).unwrap();

            bytes.extend_from_slice(b"behind");
            let mut rest = &bytes[6..];
            prop_assert_eq!(decode_value::<((i8, u16, i32, u64, i128, bool), _, Shape)>(&mut rest).unwrap(), value);
            prop_assert_eq!(rest, b"behind");
        }

        #[test]
        fn no_bytes_break_the_decoder(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();

            let decoded = decode_value::<Vec<(String, Shape)>>(&mut rest);

            prop_assert_eq!(decoded.is_err(), rest.len() == bytes.len());
        }
    }

    #[test]
    fn a_value_that_cannot_be_encoded_leaves_nothing_behind() {
        struct Half;
        impl Serialize for Half {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("not today"))
            }
        }
        let mut bytes = b"before".to_vec();

        let refused = encode_value(&(7_u64, Half), &mut bytes).unwrap_err();

        assert!(matches!(refused, EncodeValueError::Refused { .. }));
        assert_eq!(bytes, b"before");
    }

    #[test]
    fn a_type_that_asks_its_bytes_what_they_are_finds_nothing() {
        let mut bytes = Vec::new();
        encode_value(&serde_json::json!({"a": 1}), &mut bytes).unwrap();

        assert!(decode_value::<serde_json::Value>(&mut bytes.as_slice()).is_err());
    }
}
