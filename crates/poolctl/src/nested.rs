//! Calls from inside a task to the pool that it runs in.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use poolctl_worker::nested::{self, Outcome};
use poolctl_worker::travel::Landed;
use poolctl_worker::{Encoder, Task};

use crate::arguments::read_output;
use crate::raw::Raw;
use crate::task_error::{MapError, TaskError};

/// How deep a worker may run items inside items.
const MAX_DEPTH: u32 = 64;

thread_local! {
    /// How many items inside items this thread runs.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// The pool that the calling thread's task runs in; `None` in a thread that runs no task of a [`Pool`](crate::Pool).
///
/// A task that hands itself in calls itself by path (`self::walk`): in its body its bare name is the function.
#[must_use]
pub fn current_pool() -> Option<CurrentPool> {
    nested::is_possible().then_some(CurrentPool { thread: PhantomData })
}

/// The pool that a task runs in, for calls from inside the task.
///
/// They are run by any of its workers, by the one that calls too: a call that is waited for and that nobody has begun is
/// run in its place. So a task may wait for as many others as it likes in a pool of any size, also of one worker; and so
/// may those, 64 deep. What a nested call does to its worker, it does to who runs it: a death there is
/// [`TaskError::Failed`] of the call, and in its own worker that of the task itself.
#[derive(Debug, Clone, Copy)]
pub struct CurrentPool {
    /// It is this thread's alone.
    thread: PhantomData<Rc<()>>,
}

/// The result of a nested call, now or later. Dropped, it is run all the same, unless the task ends before. One that is to
/// be run here, such as one with handles, runs when its result is asked for, and not if it is dropped: two of them cannot
/// wait for each other.
pub struct NestedResult<T: Task> {
    /// Its number; none: it is run here.
    id: Option<u64>,
    /// To be run with here, if nobody else does.
    args: Option<T::Args>,
    task: PhantomData<(T, Rc<()>)>,
}

impl CurrentPool {
    /// Runs a task and waits for its result.
    ///
    /// # Errors
    /// [`TaskError`] says how it ended instead.
    pub fn apply<T: Task>(self, task: T, args: T::Args) -> Result<T::Output, TaskError> {
        self.apply_async(task, args)?.get()
    }

    /// Hands a call in and does not wait for its result. One with large or shared arguments is run when it is waited
    /// for, as is one beyond the 1024th that has no result.
    ///
    /// # Errors
    /// The arguments cannot travel.
    pub fn apply_async<T: Task>(self, _task: T, args: T::Args) -> Result<NestedResult<T>, TaskError> {
        let mut encoder = Encoder::new();
        T::encode_args(&args, &mut encoder).map_err(|source| TaskError::BadArguments { source })?;
        let id = if encoder.is_plain() { nested::submit(T::key(), encoder.main()) } else { None };
        drop(encoder);
        Ok(NestedResult { id, args: Some(args), task: PhantomData })
    }

    /// Runs a task on every item and returns the results in the order of the items, when all have ended.
    ///
    /// # Errors
    /// The first item, in the order of the items, that has no result.
    pub fn map<T: Task>(
        self,
        task: T,
        items: impl IntoIterator<Item = T::Args>,
    ) -> Result<Vec<T::Output>, MapError> {
        let handed_in: Vec<_> = items.into_iter().map(|args| self.apply_async(task, args)).collect();
        let results: Vec<_> = handed_in.into_iter().map(|call| call.and_then(NestedResult::get)).collect();
        let numbered = (0..).zip(results);
        numbered.map(|(item, result)| result.map_err(|source| MapError { item, source })).collect()
    }
}

impl<T: Task> NestedResult<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// [`TaskError`] says how it ended instead; [`TaskError::NestedTooDeep`].
    ///
    /// # Panics
    /// Never.
    pub fn get(mut self) -> Result<T::Output, TaskError> {
        let outcome = self.id.take().map_or(Outcome::Yours, nested::wait);
        match outcome {
            Outcome::Ok(bytes) => read_output::<T>(Raw::Bytes(&bytes)),
            Outcome::Parcel { segment, main } => {
                let landed = Landed::new(segment.as_fd(), main);
                let landed = landed.map_err(|source| TaskError::LostResult { source })?;
                T::decode_output(&mut landed.decoder()).map_err(|source| TaskError::BadOutput { source })
            }
            Outcome::Err(error) => Err(TaskError::remote(error, None)),
            Outcome::Yours => {
                run_here::<T>(self.args.take().expect("taken here alone, and `get` is called once"))
            }
        }
    }
}

/// Runs a call in this thread.
fn run_here<T: Task>(args: T::Args) -> Result<T::Output, TaskError> {
    struct Deeper;
    impl Drop for Deeper {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }

    if DEPTH.get() == MAX_DEPTH {
        return Err(TaskError::NestedTooDeep { most: MAX_DEPTH });
    }
    DEPTH.set(DEPTH.get() + 1);
    let _deeper = Deeper;
    match catch_unwind(AssertUnwindSafe(|| T::call(args))) {
        Ok(result) => result.map_err(|error| TaskError::remote(error, None)),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message =
                message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            Err(TaskError::Panicked { message: message.to_owned(), trace: None, worker: None })
        }
    }
}

impl<T: Task> Drop for NestedResult<T> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            nested::forget(id);
        }
    }
}

impl<T: Task> fmt::Debug for NestedResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedResult").field("id", &self.id).finish_non_exhaustive()
    }
}
