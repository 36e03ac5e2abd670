//! Bytes to values.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytemuck::Pod;
use poolctl_protocol::{DecodeValueError, decode_value};
use poolctl_sys::transfer;
use serde::de::DeserializeOwned;

use super::{IN_PLACE, OUT_OF_BAND, OWN_PARCEL, attachments, parcel_base};

/// Why bytes are not what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No value of that type.
    #[error("failed to decode a value of type {type_name}")]
    Value {
        /// The Rust type.
        type_name: &'static str,
        /// Why.
        source: DecodeValueError,
    },
    /// No plain data of that type.
    #[error("failed to decode a value of type {type_name}: {left} bytes are left")]
    Short {
        /// The Rust type.
        type_name: &'static str,
        /// How many bytes there are.
        left: usize,
    },
    /// No buffer of that type.
    #[error("there is no buffer of {type_name}, but {found}")]
    Buffer {
        /// The Rust type of its elements.
        type_name: &'static str,
        /// What is there.
        found: NoBuffer,
    },
    /// A buffer lies in a segment that cannot be read.
    #[error("failed to read a buffer of {bytes} bytes")]
    Read {
        /// How long it is.
        bytes: u64,
        /// What pread(2) answered.
        source: io::Error,
    },
    /// There are more bytes than values.
    #[error("{bytes} bytes after the last value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// What is there where a buffer should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoBuffer {
    /// The bytes end.
    End,
    /// Bytes that begin like no buffer.
    Tag(u8),
    /// A length that is no multiple of the element's size.
    Length(u64),
    /// A buffer in a segment that did not come along.
    Elsewhere(u32),
}

impl fmt::Display for NoBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the end"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Length(bytes) => write!(f, "{bytes} bytes"),
            Self::Elsewhere(u32::MAX) => f.write_str("one in a parcel that did not come along"),
            Self::Elsewhere(index) => write!(f, "one in attachment {index}, which did not come along"),
        }
    }
}

/// Where an item's buffers lie.
#[derive(Debug, Clone, Copy)]
pub enum Parcel<'a> {
    /// In a segment of memory.
    Segment {
        /// It.
        fd: BorrowedFd<'a>,
        /// Where the buffers begin in it.
        base: u64,
    },
    /// In these bytes.
    Memory(&'a [u8]),
}

impl Parcel<'_> {
    /// The `count` elements from byte `offset` on.
    fn read<T: Pod>(self, count: usize, offset: u64) -> io::Result<Vec<T>> {
        match self {
            Self::Segment { fd, base } => transfer::read_vec_at(fd, count, base.saturating_add(offset)),
            Self::Memory(bytes) => {
                let behind = usize::try_from(offset).ok().and_then(|start| bytes.get(start..));
                let lies = behind.and_then(|bytes| bytes.get(..count.checked_mul(size_of::<T>())?));
                let lies = lies.ok_or(io::ErrorKind::UnexpectedEof)?;
                let mut elements = vec![T::zeroed(); count];
                bytemuck::cast_slice_mut(&mut elements).copy_from_slice(lies);
                Ok(elements)
            }
        }
    }
}

/// A result that lies in a parcel as a whole: main bytes first, then buffers.
#[derive(Debug)]
pub struct Landed<'a> {
    main: Vec<u8>,
    segment: BorrowedFd<'a>,
}

impl<'a> Landed<'a> {
    /// Copies the main bytes out of the parcel, whose sender may still write to it.
    ///
    /// # Errors
    /// What pread(2) answers.
    pub fn new(segment: BorrowedFd<'a>, main_bytes: u64) -> io::Result<Self> {
        let count = usize::try_from(main_bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self { main: transfer::read_vec_at(segment, count, 0)?, segment })
    }

    /// Gives what is in it.
    #[must_use]
    pub fn decoder(&self) -> Decoder<'_> {
        let base = parcel_base(self.main.len() as u64);
        Decoder::with_parcel(&self.main, Parcel::Segment { fd: self.segment, base })
    }
}

/// Gives what an [`super::Encoder`] took, in the same order.
#[derive(Debug)]
pub struct Decoder<'a> {
    main: &'a [u8],
    attachments: Vec<Option<OwnedFd>>,
    parcel: Option<Parcel<'a>>,
}

impl<'a> Decoder<'a> {
    /// One of main bytes alone.
    #[must_use]
    #[inline]
    pub fn new(main: &'a [u8]) -> Self {
        Self { main, attachments: Vec::new(), parcel: None }
    }

    /// One whose buffers lie in `parcel`.
    #[must_use]
    pub fn with_parcel(main: &'a [u8], parcel: Parcel<'a>) -> Self {
        Self { main, attachments: Vec::new(), parcel: Some(parcel) }
    }

    /// One with descriptors; if there are buffers out of band, they lie in the last of them.
    #[must_use]
    pub fn with_attachments(main: &'a [u8], attachments: Vec<OwnedFd>) -> Self {
        Self { main, attachments: attachments.into_iter().map(Some).collect(), parcel: None }
    }

    /// The next value.
    ///
    /// # Errors
    /// What comes next is none of this type.
    #[inline]
    pub fn value<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let Self { main, attachments, .. } = self;
        attachments::decoding(attachments, || decode_value(main))
            .map_err(|source| DecodeError::Value { type_name: std::any::type_name::<T>(), source })
    }

    /// The next piece of plain data, which [`super::Encoder::bits`] took.
    ///
    /// # Errors
    /// There are not as many bytes.
    #[inline]
    pub fn bits<T: Pod>(&mut self) -> Result<T, DecodeError> {
        let left = self.main.len();
        let short = || DecodeError::Short { type_name: std::any::type_name::<T>(), left };
        let (bits, rest) = self.main.split_at_checked(size_of::<T>()).ok_or_else(short)?;
        self.main = rest;
        Ok(bytemuck::pod_read_unaligned(bits))
    }

    /// The next buffer, which [`super::Encoder::slice`] took. One out of band is read straight into the vector.
    ///
    /// # Errors
    /// What comes next is no buffer of such elements, or cannot be read.
    pub fn vec<T: Pod>(&mut self) -> Result<Vec<T>, DecodeError> {
        let none = |found| DecodeError::Buffer { type_name: std::any::type_name::<T>(), found };
        let [tag] = self.take().map_err(none)?;
        match tag {
            IN_PLACE => {
                let bytes = u64::from_le_bytes(self.take().map_err(none)?);
                self.vec_in_place(bytes).map_err(none)
            }
            OUT_OF_BAND => {
                let index = u32::from_le_bytes(self.take().map_err(none)?);
                let offset = u64::from_le_bytes(self.take().map_err(none)?);
                let bytes = u64::from_le_bytes(self.take().map_err(none)?);
                let count = elements::<T>(bytes).map_err(none)?;
                let parcel = self.parcel(index).map_err(none)?;
                parcel.read(count, offset).map_err(|source| DecodeError::Read { bytes, source })
            }
            _ => Err(none(NoBuffer::Tag(tag))),
        }
    }

    /// Whether everything has been taken.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`]: it has not.
    #[inline]
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.main.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { bytes: self.main.len() }) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], NoBuffer> {
        let (taken, rest) = self.main.split_first_chunk::<N>().ok_or(NoBuffer::End)?;
        self.main = rest;
        Ok(*taken)
    }

    fn vec_in_place<T: Pod>(&mut self, bytes: u64) -> Result<Vec<T>, NoBuffer> {
        let too_long = NoBuffer::Length(bytes);
        if size_of::<T>() == 0 {
            return Ok(vec![T::zeroed(); usize::try_from(bytes).map_err(|_| too_long)?]);
        }
        let count = elements::<T>(bytes)?;
        let (taken, rest) = self.main.split_at_checked(count * size_of::<T>()).ok_or(NoBuffer::End)?;
        self.main = rest;
        let mut elements = vec![T::zeroed(); count];
        bytemuck::cast_slice_mut(&mut elements).copy_from_slice(taken);
        Ok(elements)
    }

    fn parcel(&self, index: u32) -> Result<Parcel<'_>, NoBuffer> {
        let elsewhere = NoBuffer::Elsewhere(index);
        if let (OWN_PARCEL, Some(parcel)) = (index, self.parcel) {
            return Ok(parcel);
        }
        let attachment = match index {
            OWN_PARCEL => self.attachments.last(),
            _ => self.attachments.get(index as usize),
        };
        let fd = attachment.and_then(Option::as_ref).ok_or(elsewhere)?.as_fd();
        Ok(Parcel::Segment { fd, base: 0 })
    }
}

/// How many elements so many bytes are.
fn elements<T>(bytes: u64) -> Result<usize, NoBuffer> {
    let count = usize::try_from(bytes).ok().filter(|bytes| bytes.is_multiple_of(size_of::<T>().max(1)));
    count.map(|bytes| bytes / size_of::<T>().max(1)).ok_or(NoBuffer::Length(bytes))
}
