//! What the items and results of a pool are, by its target: arguments of tasks, values as JSON, or plain bytes.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::block::Batch;
use crate::raw::Raw;
use crate::task_error::TaskError;

/// A pool of tasks: functions of a Rust program, called by their types, with arguments that travel over shared memory.
#[derive(Debug, Clone, Copy)]
pub enum Native {}

/// A pool of one function in another language: items and results are values, which travel as JSON.
#[derive(Debug, Clone, Copy)]
pub enum Values {}

/// A pool of line filters: items and results are lines of bytes, without their ends.
#[derive(Debug, Clone, Copy)]
pub enum Lines {}

/// A pool of commands: an item is put into the command line or on stdin; the result is what it wrote on stdout.
#[derive(Debug, Clone, Copy)]
pub enum Commands {}

/// What a pool's items and results are. One of [`Native`], [`Values`], [`Lines`] and [`Commands`].
pub trait Kind: sealed::Sealed {}

/// A pool of this kind has one target, named when it is built: its methods take items alone. All but [`Native`].
pub trait OneTarget: Kind {}

/// A pool of this kind takes items of type `I`.
pub trait Takes<I: ?Sized>: OneTarget {
    /// Appends the item as it travels.
    ///
    /// # Errors
    /// It cannot travel.
    fn write(item: &I, into: &mut Vec<u8>) -> Result<(), TaskError>;
}

/// A pool of this kind gives results of type `R`.
pub trait Gives<R>: OneTarget {
    /// The result as it came.
    ///
    /// # Errors
    /// It is no `R`.
    fn read(bytes: Cow<'_, [u8]>) -> Result<R, TaskError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Native {}
    impl Sealed for super::Values {}
    impl Sealed for super::Lines {}
    impl Sealed for super::Commands {}
}

impl Kind for Native {}
impl Kind for Values {}
impl Kind for Lines {}
impl Kind for Commands {}
impl OneTarget for Values {}
impl OneTarget for Lines {}
impl OneTarget for Commands {}

/// Adds an item to those to be handed in.
#[inline]
pub(crate) fn write_item<K: Takes<I>, I: ?Sized>(item: &I, into: &mut Batch<'_>) -> Result<(), TaskError> {
    into.push(|bytes| K::write(item, bytes))
}

/// Reads a result.
#[inline]
pub(crate) fn read_result<K: Gives<R>, R>(raw: Raw<'_>) -> Result<R, TaskError> {
    K::read(raw.bytes()?)
}

impl<I: Serialize + ?Sized> Takes<I> for Values {
    fn write(item: &I, into: &mut Vec<u8>) -> Result<(), TaskError> {
        serde_json::to_writer(into, item).map_err(|source| TaskError::BadItem { source })
    }
}

impl<R: DeserializeOwned> Gives<R> for Values {
    fn read(bytes: Cow<'_, [u8]>) -> Result<R, TaskError> {
        serde_json::from_slice(&bytes).map_err(|source| TaskError::BadResult { source })
    }
}

impl<I: AsRef<[u8]> + ?Sized> Takes<I> for Lines {
    fn write(item: &I, into: &mut Vec<u8>) -> Result<(), TaskError> {
        let line = item.as_ref();
        if line.contains(&b'\n') {
            return Err(TaskError::NotOneLine);
        }
        into.extend_from_slice(line);
        Ok(())
    }
}

impl Gives<Vec<u8>> for Lines {
    fn read(bytes: Cow<'_, [u8]>) -> Result<Vec<u8>, TaskError> {
        Ok(bytes.into_owned())
    }
}

impl<I: AsRef<[u8]> + ?Sized> Takes<I> for Commands {
    fn write(item: &I, into: &mut Vec<u8>) -> Result<(), TaskError> {
        into.extend_from_slice(item.as_ref());
        Ok(())
    }
}

impl Gives<Vec<u8>> for Commands {
    fn read(bytes: Cow<'_, [u8]>) -> Result<Vec<u8>, TaskError> {
        Ok(bytes.into_owned())
    }
}
