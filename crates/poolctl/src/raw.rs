//! A result as it came, before it is read.

use std::borrow::Cow;

use poolctl_protocol::{Record, take_sized};
use poolctl_supervisor::{Form, Output};

use crate::task_error::TaskError;

/// A result as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw<'a> {
    /// In memory, one of many.
    Bytes(&'a [u8]),
    /// On its own: in memory, or wherever it had room.
    Output(&'a Output),
}

impl<'a> Raw<'a> {
    /// All of it in memory.
    ///
    /// # Errors
    /// It cannot be read back.
    pub(crate) fn bytes(self) -> Result<Cow<'a, [u8]>, TaskError> {
        match self {
            Raw::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Raw::Output(output) => match output.in_memory() {
                Some(bytes) => Ok(Cow::Borrowed(bytes)),
                None => output.to_vec().map(Cow::Owned).map_err(|source| TaskError::LostResult { source }),
            },
        }
    }
}

/// The first of the results that stand one after another in `results`, and those behind it.
#[inline]
pub(crate) fn split_first(form: Form, results: &[u8]) -> Result<(&[u8], &[u8]), TaskError> {
    match form {
        Form::Lines => {
            let end = results.iter().position(|byte| *byte == b'\n').unwrap_or(results.len());
            Ok((&results[..end], results.get(end + 1..).unwrap_or_default()))
        }
        Form::Sized => {
            let mut rest = results;
            take_sized(&mut rest).map(|first| (first, rest)).ok_or(TaskError::PoolBroken)
        }
        Form::Records => match Record::parse(results) {
            Ok(record) => Ok((record.payload, &results[record.bytes..])),
            // The loop has read every record before it told of it.
            Err(_) => Err(TaskError::PoolBroken),
        },
    }
}
