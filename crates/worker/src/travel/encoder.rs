//! Values to bytes.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytemuck::NoUninit;
use poolctl_protocol::{EncodeValueError, encode_value};
use poolctl_sys::transfer;
use serde::Serialize;

use super::attachments::Luggage;
use super::{IN_PLACE, OUT_OF_BAND, OUT_OF_BAND_BYTES, OWN_PARCEL, attachments};

/// Where a buffer in a parcel begins is a multiple of this, so that copies go by whole cache lines.
const BUFFER_ALIGNMENT: u64 = 64;

/// Why a value cannot travel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Its `Serialize` refused, or it is far too long.
    #[error("failed to encode a value of type {type_name}")]
    Value {
        /// The Rust type.
        type_name: &'static str,
        /// Why.
        source: EncodeValueError,
    },
}

/// Takes what travels to the other end, piece by piece. Reads as [`super::Decoder`] in the same order.
///
/// `'a` is the life of the buffers it borrows: big ones are not copied here, but written from where they are.
#[derive(Debug, Default)]
pub struct Encoder<'a> {
    main: Vec<u8>,
    /// Apart, since most items have none, and an encoder is made for each.
    beside: Option<Box<Beside<'a>>>,
}

/// What travels beside the main bytes.
#[derive(Debug, Default)]
struct Beside<'a> {
    buffers: Vec<(u64, &'a [u8])>,
    parcel_bytes: u64,
    attachments: Vec<Arc<dyn Luggage>>,
}

impl<'a> Encoder<'a> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that writes its main bytes behind those in `main`, to save an allocation.
    #[must_use]
    #[inline]
    pub fn onto(main: Vec<u8>) -> Self {
        Self { main, ..Self::default() }
    }

    /// Takes a value that serde knows.
    ///
    /// # Errors
    /// Its `Serialize` refused. The encoder is of no further use then.
    #[inline]
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let count = self.attachments().len();
        let main = &mut self.main;
        let (encoded, attached) = attachments::encoding(count, || encode_value(value, main));
        if !attached.is_empty() {
            self.beside().attachments.extend(attached);
        }
        encoded.map_err(|source| EncodeError::Value { type_name: std::any::type_name::<T>(), source })
    }

    /// Takes a piece of plain data, as it is.
    #[inline]
    pub fn bits<T: NoUninit>(&mut self, value: &T) {
        self.main.extend_from_slice(bytemuck::bytes_of(value));
    }

    /// Takes plain data. From [`super::OUT_OF_BAND_BYTES`] on it is borrowed, not copied.
    pub fn slice<T: NoUninit>(&mut self, data: &'a [T]) {
        if size_of::<T>() == 0 {
            // Nothing to copy, only how many there are.
            self.in_place(data.len(), &[]);
        } else {
            self.buffer(bytemuck::cast_slice(data));
        }
    }

    /// Takes bytes. From [`super::OUT_OF_BAND_BYTES`] on they are borrowed, not copied.
    pub fn buffer(&mut self, bytes: &'a [u8]) {
        if bytes.len() < OUT_OF_BAND_BYTES {
            self.in_place(bytes.len(), bytes);
            return;
        }
        let offset = self.parcel_bytes().next_multiple_of(BUFFER_ALIGNMENT);
        self.main.push(OUT_OF_BAND);
        self.main.extend_from_slice(&OWN_PARCEL.to_le_bytes());
        self.main.extend_from_slice(&offset.to_le_bytes());
        self.main.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        let beside = self.beside();
        beside.buffers.push((offset, bytes));
        beside.parcel_bytes = offset + bytes.len() as u64;
    }

    #[cold]
    fn beside(&mut self) -> &mut Beside<'a> {
        self.beside.get_or_insert_default()
    }

    fn in_place(&mut self, len: usize, bytes: &[u8]) {
        self.main.push(IN_PLACE);
        self.main.extend_from_slice(&(len as u64).to_le_bytes());
        self.main.extend_from_slice(bytes);
    }

    /// Lets a descriptor travel along, and says by which index the other end takes it.
    pub fn attach(&mut self, descriptor: Arc<dyn Luggage>) -> u32 {
        let attachments = &mut self.beside().attachments;
        let index = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
        attachments.push(descriptor);
        index
    }

    /// The main bytes so far, those of [`Encoder::onto`] included.
    #[must_use]
    #[inline]
    pub fn main(&self) -> &[u8] {
        &self.main
    }

    /// How many bytes of a parcel the buffers out of band need; 0 if there are none.
    #[must_use]
    #[inline]
    pub fn parcel_bytes(&self) -> u64 {
        self.beside.as_ref().map_or(0, |beside| beside.parcel_bytes)
    }

    /// The descriptors that travel along, in the order of their indices.
    #[must_use]
    #[inline]
    pub fn attachments(&self) -> &[Arc<dyn Luggage>] {
        self.beside.as_ref().map_or(&[], |beside| &beside.attachments)
    }

    /// Whether there are main bytes alone.
    #[must_use]
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.beside.is_none()
    }

    /// Writes the buffers out of band into `parcel`, from `base` on ([`Encoder::parcel_bytes`] of it).
    ///
    /// # Errors
    /// What pwrite(2) answers.
    pub fn write_buffers(&self, parcel: BorrowedFd<'_>, base: u64) -> io::Result<()> {
        let buffers = self.beside.iter().flat_map(|beside| &beside.buffers);
        buffers
            .into_iter()
            .try_for_each(|(offset, bytes)| transfer::write_all_at(parcel, bytes, base + offset))
    }

    /// The main bytes and the descriptors, when the buffers have been seen to.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<Arc<dyn Luggage>>) {
        (self.main, self.beside.map(|beside| beside.attachments).unwrap_or_default())
    }

    /// The main bytes, when the rest has been seen to.
    #[must_use]
    #[inline]
    pub fn into_main(self) -> Vec<u8> {
        self.main
    }
}

/// Where the buffers begin in a parcel that has `main_bytes` main bytes first.
#[must_use]
pub const fn parcel_base(main_bytes: u64) -> u64 {
    main_bytes.next_multiple_of(BUFFER_ALIGNMENT)
}
