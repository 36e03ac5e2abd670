//! Which way a type travels: as its own bytes where it is plain data or a vector of such, else as serde writes it.
//!
//! An expansion of `#[task]` knows the types of a function only by how they are spelt, so the choice is left to the
//! compiler's method look-up, which takes the receiver as it is before it takes references off it:
//!
//! ```ignore
//! (&&&&Probe::<i64>::NEW).way()        // ByBits: `ViaBits` fits at once
//! (&&&&Probe::<Vec<f64>>::NEW).way()   // ByBytes: `ViaBytes` fits, with one reference less
//! (&&&&Probe::<String>::NEW).way()     // ByValue: only `ViaValue` fits, with no reference left
//! ```
//!
//! `ViaValue` asks nothing of the type, so that one which cannot travel is an error at the use of [`ByValue`], which
//! names the trait that is missing.

use std::marker::PhantomData;

use bytemuck::Pod;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DecodeError, Decoder, EncodeError, Encoder};

/// How values of type `T` travel.
pub trait Way<T>: Copy {
    /// Appends `value` to the main bytes if that is all there is to it; says whether it did. Quicker than
    /// [`Way::encode`], and reads as the same.
    #[inline]
    fn append(self, _value: &T, _main: &mut Vec<u8>) -> bool {
        false
    }

    /// Writes `value`.
    ///
    /// # Errors
    /// It refuses.
    fn encode<'a>(self, value: &'a T, into: &mut Encoder<'a>) -> Result<(), EncodeError>;

    /// Reads a value.
    ///
    /// # Errors
    /// There is none.
    fn decode(self, from: &mut Decoder<'_>) -> Result<T, DecodeError>;

    /// Reads a value from JSON.
    ///
    /// # Errors
    /// It is none.
    fn read_json(self, text: &[u8]) -> Result<T, JsonError>;

    /// Appends a value as JSON.
    ///
    /// # Errors
    /// It refuses.
    fn write_json(self, value: &T, into: &mut Vec<u8>) -> Result<(), JsonError>;
}

/// Why a value and a JSON text do not go together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is no such value, or the value no such text.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Plain data of a type that serde does not know.
    #[error("{type_name} has no form in JSON: it derives neither `Serialize` nor `Deserialize`")]
    NoForm {
        /// The Rust type.
        type_name: &'static str,
    },
    /// An array of the wrong length where there are several parameters.
    #[error("an array of {found}, but there are {wanted} parameters")]
    Count {
        /// How many values.
        found: usize,
        /// How many parameters.
        wanted: usize,
    },
    /// A value where there are no parameters.
    #[error("there are no parameters, so the item is `null`")]
    NoParameters,
    /// An object without one of the parameters.
    #[error("no value for parameter `{name}`")]
    MissingArgument {
        /// Which one.
        name: &'static str,
    },
    /// An object with a name that is no parameter's.
    #[error("there is no parameter `{name}`")]
    UnknownArgument {
        /// Which one.
        name: String,
    },
}

/// As serde writes it.
#[derive(Debug, Clone, Copy)]
pub struct ByValue;

/// As its own bytes.
#[derive(Debug, Clone, Copy)]
pub struct ByBits;

/// As raw bytes.
#[derive(Debug, Clone, Copy)]
pub struct ByBytes;

/// As raw bytes, since serde does not know it.
#[derive(Debug, Clone, Copy)]
pub struct ByBytesAlone;

impl<T: Serialize + DeserializeOwned> Way<T> for ByValue {
    #[inline]
    fn encode<'a>(self, value: &'a T, into: &mut Encoder<'a>) -> Result<(), EncodeError> {
        into.value(value)
    }

    #[inline]
    fn decode(self, from: &mut Decoder<'_>) -> Result<T, DecodeError> {
        from.value()
    }

    #[inline]
    fn read_json(self, text: &[u8]) -> Result<T, JsonError> {
        Ok(serde_json::from_slice(text)?)
    }

    #[inline]
    fn write_json(self, value: &T, into: &mut Vec<u8>) -> Result<(), JsonError> {
        Ok(serde_json::to_writer(into, value)?)
    }
}

impl<T: Pod + Serialize + DeserializeOwned> Way<T> for ByBits {
    #[inline]
    fn append(self, value: &T, main: &mut Vec<u8>) -> bool {
        main.extend_from_slice(bytemuck::bytes_of(value));
        true
    }

    #[inline]
    fn encode<'a>(self, value: &'a T, into: &mut Encoder<'a>) -> Result<(), EncodeError> {
        into.bits(value);
        Ok(())
    }

    #[inline]
    fn decode(self, from: &mut Decoder<'_>) -> Result<T, DecodeError> {
        from.bits()
    }

    #[inline]
    fn read_json(self, text: &[u8]) -> Result<T, JsonError> {
        Ok(serde_json::from_slice(text)?)
    }

    #[inline]
    fn write_json(self, value: &T, into: &mut Vec<u8>) -> Result<(), JsonError> {
        Ok(serde_json::to_writer(into, value)?)
    }
}

impl<T: Pod + Serialize + DeserializeOwned> Way<Vec<T>> for ByBytes {
    fn encode<'a>(self, value: &'a Vec<T>, into: &mut Encoder<'a>) -> Result<(), EncodeError> {
        into.slice(value);
        Ok(())
    }

    fn decode(self, from: &mut Decoder<'_>) -> Result<Vec<T>, DecodeError> {
        from.vec()
    }

    fn read_json(self, text: &[u8]) -> Result<Vec<T>, JsonError> {
        Ok(serde_json::from_slice(text)?)
    }

    fn write_json(self, value: &Vec<T>, into: &mut Vec<u8>) -> Result<(), JsonError> {
        Ok(serde_json::to_writer(into, value)?)
    }
}

impl<T: Pod> Way<Vec<T>> for ByBytesAlone {
    fn encode<'a>(self, value: &'a Vec<T>, into: &mut Encoder<'a>) -> Result<(), EncodeError> {
        into.slice(value);
        Ok(())
    }

    fn decode(self, from: &mut Decoder<'_>) -> Result<Vec<T>, DecodeError> {
        from.vec()
    }

    fn read_json(self, _: &[u8]) -> Result<Vec<T>, JsonError> {
        Err(JsonError::NoForm { type_name: std::any::type_name::<T>() })
    }

    fn write_json(self, _: &Vec<T>, _: &mut Vec<u8>) -> Result<(), JsonError> {
        Err(JsonError::NoForm { type_name: std::any::type_name::<T>() })
    }
}

/// Asks for the way of `T`; see the head of this file.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn(T)>);

impl<T> Probe<T> {
    /// The only one.
    pub const NEW: Self = Self(PhantomData);
}

/// The first choice.
pub trait ViaBits {
    /// The way.
    #[inline]
    fn way(&self) -> ByBits {
        ByBits
    }
}

impl<T: Pod + Serialize + DeserializeOwned> ViaBits for &&&Probe<T> {}

/// The second choice.
pub trait ViaBytes {
    /// The way.
    #[inline]
    fn way(&self) -> ByBytes {
        ByBytes
    }
}

impl<T: Pod + Serialize + DeserializeOwned> ViaBytes for &&Probe<Vec<T>> {}

/// The third choice.
pub trait ViaBytesAlone {
    /// The way.
    #[inline]
    fn way(&self) -> ByBytesAlone {
        ByBytesAlone
    }
}

impl<T: Pod> ViaBytesAlone for &Probe<Vec<T>> {}

/// What is left.
pub trait ViaValue {
    /// The way.
    #[inline]
    fn way(&self) -> ByValue {
        ByValue
    }
}

impl<T> ViaValue for Probe<T> {}
