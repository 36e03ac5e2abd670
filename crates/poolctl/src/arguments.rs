//! How the arguments of tasks get into a block, and their results out of what comes back.

use std::os::fd::AsFd;
use std::sync::Arc;

use poolctl_supervisor::{Attachment, Held, Lodged, Parcels};
use poolctl_worker::travel::{Parcel, parcel_base};
use poolctl_worker::{Decoder, Encoder, Task};

use crate::block::Batch;
use crate::raw::Raw;
use crate::task_error::TaskError;

/// What goes along with an item: descriptors, and how many bytes of them are in parcels.
type Luggage = (Vec<Attachment>, u64);

/// Adds the arguments of a call to those to be handed in.
///
/// # Errors
/// They cannot travel; nothing was added.
#[inline]
pub(crate) fn write_arguments<T: Task>(args: &T::Args, into: &mut Batch<'_>) -> Result<(), TaskError> {
    let parcels = into.parcels();
    let mut luggage = None;
    into.push(|bytes| {
        let start = bytes.len();
        if T::append_args(args, bytes) {
            return Ok(());
        }
        bytes.truncate(start);
        let mut encoder = Encoder::onto(std::mem::take(bytes));
        let encoded = T::encode_args(args, &mut encoder).map_err(|source| TaskError::BadArguments { source });
        let packed = encoded.and_then(|()| {
            if !encoder.is_plain() {
                luggage = Some(pack(&encoder, parcels)?);
            }
            Ok(())
        });
        *bytes = encoder.into_main();
        packed
    })?;
    if let Some((attachments, parcel_bytes)) = luggage {
        into.attach(attachments, parcel_bytes);
    }
    Ok(())
}

/// The descriptors of an item, the parcel with its large buffers last.
#[cold]
pub(crate) fn pack(encoder: &Encoder<'_>, parcels: &Parcels) -> Result<Luggage, TaskError> {
    let files = encoder.attachments().iter().map(Arc::clone);
    let mut attachments: Vec<_> = files.map(|file| Attachment::File(Arc::new(file))).collect();
    let bytes = encoder.parcel_bytes();
    if bytes > 0 {
        let parcel = parcels.take(bytes).map_err(|source| TaskError::NoRoom { source })?;
        let written = encoder.write_buffers(parcel.writer(), 0);
        written.map_err(|source| TaskError::NotWritten { source })?;
        attachments.push(Attachment::Reader(parcel.into()));
    }
    Ok((attachments, bytes))
}

/// Reads the result of a call.
///
/// # Errors
/// It is not what the task gives, or it cannot be read back.
#[inline]
pub(crate) fn read_output<T: Task>(raw: Raw<'_>) -> Result<T::Output, TaskError> {
    match raw {
        Raw::Bytes(bytes) => decode::<T>(Decoder::new(bytes)),
        Raw::Output(output) => match output.parcel() {
            Some(lodged) => read_lodged::<T>(lodged),
            None => decode::<T>(Decoder::new(&raw.bytes()?)),
        },
    }
}

#[cold]
fn read_lodged<T: Task>(lodged: &Lodged) -> Result<T::Output, TaskError> {
    let mut bytes = vec![0; usize::try_from(lodged.main).unwrap_or(usize::MAX)];
    lodged.read_at(&mut bytes, 0).map_err(|source| TaskError::LostResult { source })?;
    let base = parcel_base(lodged.main);
    let buffers = match &lodged.held {
        Held::Parcel(parcel) => Parcel::Segment { fd: parcel.writer(), base },
        Held::Memory(memory) => {
            let behind = usize::try_from(base).ok().and_then(|base| memory.get(base..));
            Parcel::Memory(behind.unwrap_or_default())
        }
        Held::Memfd(memfd) => Parcel::Segment { fd: memfd.as_fd(), base },
    };
    decode::<T>(Decoder::with_parcel(&bytes, buffers))
}

#[inline]
fn decode<T: Task>(mut from: Decoder<'_>) -> Result<T::Output, TaskError> {
    let bad = |source| TaskError::BadOutput { source };
    let output = T::decode_output(&mut from).map_err(bad)?;
    from.finish().map_err(bad)?;
    Ok(output)
}
