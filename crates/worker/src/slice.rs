//! A task on a piece of a slice of plain data: from one segment into another, no value encoded on the way.

use std::os::fd::BorrowedFd;

use bytemuck::{Pod, Zeroable};
use poolctl_protocol::RemoteError;
use poolctl_sys::transfer;

use crate::failure;
use crate::panics::Element;
use crate::task::Task;

/// How many bytes are read at once: they stay in the nearest caches until they are written back.
const BLOCK_BYTES: usize = 64 << 10;

/// Which elements, and where they are and go.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The segment of the arguments.
    pub input: BorrowedFd<'a>,
    /// The segment of the results.
    pub output: BorrowedFd<'a>,
    /// The first element, in both.
    pub start: u64,
    /// How many.
    pub len: u64,
}

/// Runs a task on each element of a piece.
pub type SliceFn = fn(&Piece<'_>) -> Result<(), RemoteError>;

/// [`SliceFn`] of a task on plain data.
///
/// # Errors
/// That of the first element that fails, which it names; or a segment cannot be read or written.
pub(crate) fn run<K: Task<Args: Pod, Output: Pod>>(piece: &Piece<'_>) -> Result<(), RemoteError> {
    let (from_bytes, into_bytes) = (size_of::<K::Args>() as u64, size_of::<K::Output>() as u64);
    let most = (BLOCK_BYTES / size_of::<K::Args>().max(size_of::<K::Output>()).max(1)).max(1);
    let end = piece.start.saturating_add(piece.len);
    let block = usize::try_from(piece.len).map_or(most, |len| len.min(most));
    let mut arguments = vec![K::Args::zeroed(); block];
    let mut results = vec![K::Output::zeroed(); block];
    let mut at = piece.start;
    while at < end {
        let count = usize::try_from(end - at).map_or(block, |left| left.min(block));
        let (arguments, results) = (&mut arguments[..count], &mut results[..count]);
        transfer::read_exactly_at(piece.input, bytemuck::cast_slice_mut(arguments), at * from_bytes)
            .map_err(|error| failure::passing("SliceError", failure::chain(&error)))?;
        map::<K>(arguments, results, at)?;
        transfer::write_all_at(piece.output, bytemuck::cast_slice(results), at * into_bytes)
            .map_err(|error| failure::passing("SliceError", failure::chain(&error)))?;
        at += count as u64;
    }
    Ok(())
}

fn map<K: Task<Args: Pod, Output: Pod>>(
    arguments: &[K::Args],
    results: &mut [K::Output],
    first: u64,
) -> Result<(), RemoteError> {
    let mut element = Element(first);
    for (index, (argument, result)) in arguments.iter().zip(results).enumerate() {
        element.0 = first + index as u64;
        match K::call(*argument) {
            Ok(value) => *result = value,
            Err(error) => return Err(of_element(error, element.0)),
        }
    }
    Ok(())
}

#[cold]
fn of_element(error: RemoteError, element: u64) -> RemoteError {
    RemoteError { msg: format!("element {element}: {}", error.msg), ..error }
}
