//! Descriptors that travel inside values: what `Serialize` and `Deserialize` of a handle use.
//!
//! A value's own code sees only serde's traits, so the encoder or decoder that is at work in this thread is found
//! through the thread. Outside of one, both functions refuse: a handle that is written as JSON or into a file is none.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Why a descriptor cannot travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// Nothing is being encoded for a worker.
    #[error("a handle can only be an argument of a native task")]
    NotEncoding,
    /// There are more than a message can have.
    #[error("an argument has too many handles")]
    TooMany,
}

/// Why there is no descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// Nothing with descriptors is being decoded.
    #[error("a handle can only be received by a native task, as an argument")]
    NotDecoding,
    /// It was taken already, or never came.
    #[error("there is no descriptor {index}")]
    NotThere {
        /// Which one.
        index: u32,
    },
}

/// Whose a descriptor is that travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Anybody's: whoever has it can use it.
    Anybodys,
    /// It is of an object that this process made.
    Own,
    /// It is of another process's object.
    Anothers,
}

/// A descriptor on its way with a value, and what must stay until it has arrived.
pub trait Luggage: AsFd + fmt::Debug + Send + Sync {
    /// Whose it is.
    fn whose(&self) -> Whose {
        Whose::Anybodys
    }

    /// What whoever sends it keeps until the value was received, or is lost: nothing, for most.
    fn kept(&self) -> Option<Kept> {
        None
    }

    /// It goes to where nobody learns when it is received.
    fn leaves(&self) {}
}

impl Luggage for OwnedFd {}

/// Something that is only kept.
pub type Kept = Arc<dyn Any + Send + Sync>;

/// As many as one message can have, with one each left for the item and its buffers.
const MAX_ATTACHMENTS: u32 = 65_000;

/// What the encoder at work in this thread has.
#[derive(Debug, Clone, Copy)]
struct Encoding {
    is_at_work: bool,
    /// The index of the next attachment.
    next: u32,
}

thread_local! {
    static ENCODING: Cell<Encoding> = const { Cell::new(Encoding { is_at_work: false, next: 0 }) };
    /// What was attached by values and not yet collected by their encoder.
    static ATTACHED: RefCell<Vec<Arc<dyn Luggage>>> = const { RefCell::new(Vec::new()) };
    /// What came with the item that is being decoded.
    static RECEIVED: RefCell<Option<Vec<Option<OwnedFd>>>> = const { RefCell::new(None) };
}

/// Lets `descriptor` travel with the value that is being encoded in this thread, and says by which index the other end
/// takes it.
///
/// # Errors
/// [`AttachError`].
pub fn attach(descriptor: Arc<dyn Luggage>) -> Result<u32, AttachError> {
    let Encoding { is_at_work, next } = ENCODING.get();
    if !is_at_work {
        return Err(AttachError::NotEncoding);
    }
    if next >= MAX_ATTACHMENTS {
        return Err(AttachError::TooMany);
    }
    ATTACHED.with_borrow_mut(|attached| attached.push(descriptor));
    ENCODING.set(Encoding { is_at_work, next: next + 1 });
    Ok(next)
}

/// Takes the descriptor with this index out of the item that is being decoded in this thread.
///
/// # Errors
/// [`TakeError`].
pub fn take(index: u32) -> Result<OwnedFd, TakeError> {
    RECEIVED.with_borrow_mut(|received| {
        let received = received.as_mut().ok_or(TakeError::NotDecoding)?;
        received.get_mut(index as usize).and_then(Option::take).ok_or(TakeError::NotThere { index })
    })
}

/// Runs `encode`, during which values may attach descriptors behind the `count` that there are, and says which.
#[inline]
pub(super) fn encoding<R>(count: usize, encode: impl FnOnce() -> R) -> (R, Vec<Arc<dyn Luggage>>) {
    // Restores what was before, also when a value's own code panics.
    struct Outer {
        before: Encoding,
        first: u32,
    }
    impl Outer {
        #[inline]
        fn collect(&self) -> Vec<Arc<dyn Luggage>> {
            let next = ENCODING.get().next;
            if next == self.first {
                return Vec::new();
            }
            ENCODING.set(Encoding { is_at_work: true, next: self.first });
            collect((next - self.first) as usize)
        }
    }
    impl Drop for Outer {
        #[inline]
        fn drop(&mut self) {
            drop(self.collect());
            ENCODING.set(self.before);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "never more than `MAX_ATTACHMENTS`")]
    let first = count as u32;
    let outer = Outer { before: ENCODING.replace(Encoding { is_at_work: true, next: first }), first };
    let result = encode();
    (result, outer.collect())
}

#[cold]
fn collect(count: usize) -> Vec<Arc<dyn Luggage>> {
    ATTACHED.with_borrow_mut(|attached| {
        let start = attached.len() - count;
        attached.split_off(start)
    })
}

/// Runs `decode`, during which values may take from `received`.
#[inline]
pub(super) fn decoding<R>(received: &mut Vec<Option<OwnedFd>>, decode: impl FnOnce() -> R) -> R {
    // Restores what was before, also when a value's own code panics.
    struct Outer(Option<Option<Vec<Option<OwnedFd>>>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            if let Some(before) = self.0.take() {
                RECEIVED.set(before);
            }
        }
    }

    if received.is_empty() {
        return decode();
    }
    let mut outer = Outer(Some(RECEIVED.replace(Some(std::mem::take(received)))));
    let result = decode();
    let before = outer.0.take().flatten();
    *received = RECEIVED.replace(before).unwrap_or_default();
    result
}
