//! What a task is to who calls it, and what is registered of it for who runs it.

use std::sync::Arc;

use poolctl_protocol::RemoteError;

use crate::outlet::Outlet;
use crate::slice::SliceFn;
use crate::travel::{DecodeError, Decoder, EncodeError, Encoder};

/// A function that workers can run. Written by `#[poolctl::task]` above a plain `fn`, which then is a value of such a
/// type, to be given to a pool, and can still be called as before.
///
/// Closures are refused, with an error that says what to do instead:
///
/// ```compile_fail
/// fn run<T: poolctl_worker::Task>(_: T) {}
///
/// run(|x: i64| x + 1);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "not a task: workers are other processes and can run registered functions alone",
    note = "closures cannot travel to another process: write a `fn` with `#[poolctl::task]` above it and give its name; \
            what the closure would capture becomes an argument",
    note = "a plain `fn` becomes a task by `#[poolctl::task]` above it; in the body of a task itself, `self::name` is the task"
)]
pub trait Task: Copy + Send + Sync + 'static {
    /// What it takes: of one parameter its type, of several a tuple, of none `()`. Borrowed parameters are owned here.
    type Args: Send + 'static;
    /// What it gives; of a function that returns a `Result`, what is in its `Ok`.
    type Output: Send + 'static;
    /// The name by which workers know it.
    const NAME: &'static str;
    /// What it takes and gives, as `fn(i64) -> i64`.
    const SIGNATURE: &'static str;

    /// What a pool asks its workers for: the name, a NUL and the signature, so that a worker whose function takes or gives
    /// something else is found out.
    fn key() -> &'static Arc<str>;

    /// Writes arguments so that a worker can read them.
    ///
    /// # Errors
    /// The `Serialize` of one refuses.
    fn encode_args<'a>(args: &'a Self::Args, into: &mut Encoder<'a>) -> Result<(), EncodeError>;

    /// Appends arguments that are plain data, all of them, to an item's main bytes, and says whether it did: quicker than
    /// [`Task::encode_args`], and the same to who reads it. If not, some may stand there.
    #[inline]
    fn append_args(_args: &Self::Args, _main: &mut Vec<u8>) -> bool {
        false
    }

    /// Reads what a worker wrote as result.
    ///
    /// # Errors
    /// It is none.
    fn decode_output(from: &mut Decoder<'_>) -> Result<Self::Output, DecodeError>;

    /// Runs it here, in this process and thread. A panic goes on to the caller.
    ///
    /// # Errors
    /// The function's own.
    fn call(args: Self::Args) -> Result<Self::Output, RemoteError>;
}

/// Decodes arguments, runs the function, and leaves the result in the outlet.
pub type BinaryFn = fn(&mut Decoder<'_>, &mut Outlet<'_>) -> Result<(), RemoteError>;

/// The same with JSON texts.
pub type JsonFn = fn(&[u8], &mut Vec<u8>) -> Result<(), RemoteError>;

/// A registered task.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it takes and gives.
    pub signature: &'static str,
    /// The first line of its documentation; may be empty.
    pub doc: &'static str,
    /// Runs it on encoded arguments.
    pub binary: BinaryFn,
    /// Runs it on a JSON text.
    pub json: JsonFn,
    /// How it runs on a piece of a slice, if it maps plain data to plain data.
    pub slice: fn() -> Option<SliceFn>,
}

inventory::collect!(Entry);

/// Every task that is linked into this program, by name.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    let mut entries: Vec<&'static Entry> = inventory::iter::<Entry>().collect();
    entries.sort_by_key(|entry| entry.name);
    entries.into_iter()
}
