//! Results as futures, polled by an executor of a few lines.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use poolctl::{AsyncResult, Pool, Values};
use poolctl_testkit::{DEADLINE, Sandbox};

use crate::fixture::{built, calling, echoing, held_item, pid_of_holder};

/// Tells the executor which future to look at.
struct Nudge(Mutex<Sender<usize>>, usize);

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        // An executor that is gone wants no nudges.
        self.0.lock().expect("nobody panics with it").send(self.1).unwrap_or_default();
    }
}

/// What a waker does, once.
struct Once<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send + 'static> Wake for Once<F> {
    fn wake(self: Arc<Self>) {
        let action = self.0.lock().expect("it panics without").take();
        action.into_iter().for_each(|action| action());
    }
}

fn waker(action: impl FnOnce() + Send + 'static) -> Waker {
    Waker::from(Arc::new(Once(Mutex::new(Some(action)))))
}

/// Runs all futures on this thread, which never drives a pool itself.
pub(crate) fn run_all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let (nudge, nudged) = channel();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    for place in 0..futures.len() {
        nudge.send(place).expect("we hold the other end");
    }
    while outputs.iter().any(Option::is_none) {
        let place = nudged.recv_timeout(DEADLINE).expect("some future goes on");
        let waker = Waker::from(Arc::new(Nudge(Mutex::new(nudge.clone()), place)));
        if outputs[place].is_none()
            && let Poll::Ready(output) = pin!(&mut futures[place]).poll(&mut Context::from_waker(&waker))
        {
            outputs[place] = Some(output);
        }
    }
    outputs.into_iter().flatten().collect()
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

/// An item that is held, as a future that has this waker.
fn held(sandbox: &Sandbox, pool: &Pool<Values>, waker: &Waker) -> AsyncResult<String> {
    let mut result = pool.apply_async(held_item(sandbox, "held")).expect("there is room");
    pid_of_holder(sandbox, "held");
    assert!(poll(&mut result, waker).is_pending());
    result
}

pub(crate) fn futures_are_woken_without_anybody_waiting() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 2));
    let submit = |number: u32| pool.apply_async(number.to_string()).expect("there is room");

    let futures: Vec<AsyncResult<Vec<u8>>> = (0..1000).map(submit).collect();
    let results = run_all(futures);

    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result.expect("cat answers"), number.to_string().into_bytes());
    }
}

pub(crate) fn a_waker_that_panics_harms_nobody() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold_some", 2));
    let result = held(&sandbox, &pool, &waker(|| panic!("a waker that panics, as it should here")));
    let other = pool.apply_async::<_, u8>(1).expect("there is room");

    sandbox.release("held");

    assert!(result.get().is_ok());
    assert_eq!(other.get().expect("it is given back"), 1);
    assert_eq!(pool.apply::<_, u8>(2).expect("it is given back"), 2);
}

pub(crate) fn a_waker_may_use_the_pool_itself() {
    let sandbox = Sandbox::new();
    let pool = Arc::new(built(calling(&sandbox, "hold_some", 2)));
    let (tell, told) = channel();
    let used = Arc::clone(&pool);
    let result = held(
        &sandbox,
        &pool,
        &waker(move || {
            tell.send(used.apply::<_, u8>(7)).expect("the test waits for it");
        }),
    );

    sandbox.release("held");

    let inside = told.recv_timeout(DEADLINE).expect("the waker was called");
    assert_eq!(inside.expect("it is given back"), 7);
    assert!(result.get().is_ok());
}

pub(crate) fn a_waker_may_drop_the_pool() {
    let sandbox = Sandbox::new();
    let pool = Arc::new(built(calling(&sandbox, "hold_some", 2)));
    let (tell, told) = channel();
    let owned = Arc::clone(&pool);
    let result = held(
        &sandbox,
        &pool,
        &waker(move || {
            drop(owned);
            tell.send(()).expect("the test waits for it");
        }),
    );
    drop(pool);

    sandbox.release("held");

    told.recv_timeout(DEADLINE).expect("the waker was called, and came back");
    assert!(result.get().is_ok(), "it had its result before");
    sandbox.expect_nothing_left();
}
