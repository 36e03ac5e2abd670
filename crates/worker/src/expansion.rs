//! What an expansion of `#[task]` refers to. No part of the public interface: it changes with the macro.

use std::marker::PhantomData;
use std::sync::Arc;

use bytemuck::Pod;
use serde_json::value::RawValue;

pub use inventory;
pub use poolctl_protocol::RemoteError;

use crate::failure;
use crate::slice;

pub use crate::failure::returned;
pub use crate::outlet::Outlet;
pub use crate::slice::SliceFn;
pub use crate::task::{Entry, Task};
pub use crate::travel::{
    DecodeError, Decoder, EncodeError, Encoder, JsonError, Probe, ViaBits, ViaBytes, ViaBytesAlone, ViaValue,
    Way,
};

/// What a `Result` is made of, under whatever name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is called `Result` but is none",
    note = "a task that can fail returns `Result<T, E>` with an `E` that implements `Display`"
)]
pub trait Fallible {
    /// What is in its `Ok`.
    type Ok;
    /// What is in its `Err`.
    type Err;
    /// It as the standard library's.
    ///
    /// # Errors
    /// Its own.
    fn into_result(self) -> Result<Self::Ok, Self::Err>;
}

impl<T, E> Fallible for Result<T, E> {
    type Ok = T;
    type Err = E;

    #[inline]
    fn into_result(self) -> Result<T, E> {
        self
    }
}

/// What a pool asks its workers for.
#[must_use]
pub fn key<K: Task>() -> Arc<str> {
    format!("{}\0{}", K::NAME, K::SIGNATURE).into()
}

/// Runs a task on encoded arguments.
///
/// # Errors
/// The task's own, or that of the way there or back.
#[inline]
pub fn run_binary<K: Task, W: Way<K::Output>>(
    from: &mut Decoder<'_>,
    into: &mut Outlet<'_>,
    decode_args: impl FnOnce(&mut Decoder<'_>) -> Result<K::Args, DecodeError>,
    way: W,
) -> Result<(), RemoteError> {
    let args = decode_args(from)
        .and_then(|args| from.finish().map(|()| args))
        .map_err(|error| undecodable::<K>(&failure::chain(&error)))?;
    into.give(&K::call(args)?, way)
}

/// Runs a task on a JSON text.
///
/// # Errors
/// The task's own, or that of the way there or back.
#[inline]
pub fn run_json<K: Task, W: Way<K::Output>>(
    text: &[u8],
    into: &mut Vec<u8>,
    read_args: impl FnOnce(&[u8]) -> Result<K::Args, JsonError>,
    way: W,
) -> Result<(), RemoteError> {
    let args = read_args(text).map_err(|error| undecodable::<K>(&error.to_string()))?;
    let result = K::call(args)?;
    way.write_json(&result, into).map_err(|error| failure::lasting("EncodeError", error.to_string()))
}

#[cold]
fn undecodable<K: Task>(why: &str) -> RemoteError {
    failure::lasting("ArgumentError", format!("`{}`, {}, cannot take this: {why}", K::NAME, K::SIGNATURE))
}

/// The argument of a task without parameters: `null`, or nothing in brackets.
///
/// # Errors
/// It is something else.
pub fn no_argument(text: &[u8]) -> Result<(), JsonError> {
    match text.trim_ascii() {
        b"null" | b"[]" | b"{}" | b"" => Ok(()),
        _ => Err(JsonError::NoParameters),
    }
}

/// The arguments of a task with several parameters: an array in their order, or an object with their names.
///
/// # Errors
/// It is neither, or some are missing or too many.
pub fn json_arguments<'a, const N: usize>(
    text: &'a [u8],
    names: [&'static str; N],
) -> Result<[&'a RawValue; N], JsonError> {
    let mut found = [None; N];
    let is_object = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if is_object {
        let fields: std::collections::BTreeMap<String, &RawValue> = serde_json::from_slice(text)?;
        for (name, value) in fields {
            let place = names.iter().position(|known| *known == name);
            found[place.ok_or(JsonError::UnknownArgument { name })?] = Some(value);
        }
    } else {
        let values: Vec<&RawValue> = serde_json::from_slice(text)?;
        if values.len() != N {
            return Err(JsonError::Count { found: values.len(), wanted: N });
        }
        for (place, value) in found.iter_mut().zip(values) {
            *place = Some(value);
        }
    }
    for (value, name) in found.iter().zip(names) {
        value.ok_or(JsonError::MissingArgument { name })?;
    }
    Ok(found.map(|value| value.expect("looked at above")))
}

/// Asks for the [`SliceFn`] of a task, as [`crate::travel::Probe`] asks for the way of a type.
#[derive(Debug)]
pub struct SliceProbe<K>(PhantomData<fn(K)>);

impl<K> SliceProbe<K> {
    /// The only one.
    pub const NEW: Self = Self(PhantomData);
}

/// The choice of tasks on plain data.
pub trait ViaSlice {
    /// It.
    fn slice(&self) -> Option<SliceFn>;
}

impl<K: Task<Args: Pod, Output: Pod>> ViaSlice for &SliceProbe<K> {
    fn slice(&self) -> Option<SliceFn> {
        Some(slice::run::<K>)
    }
}

/// The choice of all others.
pub trait ViaItems {
    /// None.
    fn slice(&self) -> Option<SliceFn>;
}

impl<K> ViaItems for SliceProbe<K> {
    fn slice(&self) -> Option<SliceFn> {
        None
    }
}
