//! How arguments and results of native tasks travel: values as bytes, big buffers and descriptors beside them.
//!
//! An item is its *main* bytes, which go through a ring if they are few, and its *attachments*: descriptors that the
//! task takes along. A big buffer of plain data does not pass through the main bytes but lies *out of band* in a
//! segment, the item's parcel, from which the other end reads it straight to its place. What is encoded and decoded
//! with the same calls in the same order is the same; nothing here describes itself, and the host looks at none of it.
//!
//! A buffer stands in the main bytes as a tag and what belongs to it:
//!
//! ```text
//! 0  u64 bytes, then the bytes           in place
//! 1  u32 attachment (u32::MAX: the item's own parcel), u64 offset, u64 bytes
//! ```

pub mod attachments;
mod decoder;
mod encoder;
mod way;

pub use decoder::{DecodeError, Decoder, Landed, NoBuffer, Parcel};
pub use encoder::{EncodeError, Encoder, parcel_base};
pub use way::{
    ByBits, ByBytes, ByBytesAlone, ByValue, JsonError, Probe, ViaBits, ViaBytes, ViaBytesAlone, ViaValue, Way,
};

/// A buffer with fewer bytes than these stands among the main bytes.
pub const OUT_OF_BAND_BYTES: usize = 64 << 10;

/// What stands for an item's own parcel where an attachment is named.
const OWN_PARCEL: u32 = u32::MAX;

const IN_PLACE: u8 = 0;
const OUT_OF_BAND: u8 = 1;

#[cfg(test)]
mod tests;
