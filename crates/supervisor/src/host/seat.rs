//! Where a thread sleeps until it is woken by name, and how somebody waiting is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::Instant;

use super::call::Call;
use super::callbacks::{Callbacks, Due};

/// A sleeping place of one thread, for one wait. Not `thread::park`, whose one token belongs to the caller's executor.
#[derive(Debug)]
pub(super) struct Seat {
    thread: ThreadId,
    /// It was woken since it slept last.
    called: Mutex<bool>,
    bell: Condvar,
}

impl Seat {
    /// A seat for the calling thread.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current().id(), called: Mutex::new(false), bell: Condvar::new() })
    }

    /// Whose it is.
    pub(super) fn thread(&self) -> ThreadId {
        self.thread
    }

    /// Ends the present sleep, or the next one before it begins.
    pub(super) fn wake(&self) {
        *lock(&self.called) = true;
        self.bell.notify_one();
    }

    /// Sleeps until it is woken or it is `until`.
    pub(super) fn sleep(&self, until: Option<Instant>) {
        let mut called = lock(&self.called);
        while !*called {
            match until {
                None => called = self.bell.wait(called).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else { return };
                    let slept = self.bell.wait_timeout(called, left);
                    called = slept.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        *called = false;
    }
}

/// Somebody who is to be told, when no mutex is held any more.
#[derive(Debug)]
pub(super) enum Wake {
    /// A thread.
    Seat(Arc<Seat>),
    /// A future's task.
    Task(Waker),
    /// The thread of callbacks: that of this call is due.
    Callback(Arc<Call>),
}

impl Wake {
    /// Tells them. What a task's waker does is not ours: a panic in it is reported and goes no further.
    pub(super) fn fire(self, callbacks: &Callbacks) {
        match self {
            Wake::Callback(call) => callbacks.run(Due::Callback(call)),
            Wake::Seat(seat) => seat.wake(),
            Wake::Task(waker) => {
                if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
                    tracing::error!("the waker of a task that waits for a result has panicked");
                }
            }
        }
    }
}

/// Locks a mutex whose holders leave its content sound at every step, panics included.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wake_before_the_sleep_ends_it_once() {
        let seat = Seat::new();
        seat.wake();
        seat.wake();

        seat.sleep(None);
        let before = Instant::now();
        seat.sleep(Some(before + Duration::from_millis(20)));

        assert!(before.elapsed() >= Duration::from_millis(20), "the second sleep lasts until its time");
    }
}
