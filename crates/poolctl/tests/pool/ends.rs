//! How pools end, and what is left: nothing.

use std::thread;

use poolctl::TaskError;
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::fixture::{built, calling, echoing, held_item, pid_of_holder};

pub(crate) fn a_dropped_pool_leaves_no_process() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "leave_a_grandchild", 2));
    let done: Vec<u32> = pool.map(0..4_u32).expect("they are given back");
    wait_until(DEADLINE, "the grandchildren run", || sandbox.processes().len() >= 3 * done.len());

    drop(pool);

    let left = sandbox.processes();
    assert!(left.is_empty(), "{left:?}");
}

pub(crate) fn a_joined_pool_has_finished_everything() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 2));
    let results: Vec<_> = (0..500).map(|n| pool.apply_async(n.to_string()).expect("there is room")).collect();

    pool.join().expect("this is the pool's process");

    assert!(sandbox.processes().is_empty());
    assert!(results.iter().all(|result| result.successful() == Some(true)));
}

pub(crate) fn a_closed_pool_refuses_items() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold_some", 1));
    let earlier = pool.apply_async::<_, String>(held_item(&sandbox, "held")).expect("there is room");

    pool.close().expect("this is the pool's process");

    assert!(matches!(pool.apply::<_, u8>(1), Err(TaskError::PoolClosed)));
    assert!(matches!(pool.map::<_, u8>([1]), Err(error) if matches!(error.source, TaskError::PoolClosed)));
    assert!(matches!(pool.imap::<_, u8, _>([1]).next(), Some(Err(TaskError::PoolClosed))));
    sandbox.release("held");
    earlier.get().expect("it was handed in before");
}

pub(crate) fn a_terminated_pool_cancels_what_is_left() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold_some", 1));
    let running = pool.apply_async::<_, String>(held_item(&sandbox, "held")).expect("there is room");
    let waiting = pool.apply_async::<_, u8>(1).expect("there is room");
    pid_of_holder(&sandbox, "held");

    pool.terminate().expect("this is the pool's process");

    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
    assert!(matches!(waiting.get(), Err(TaskError::Cancelled)));
    pool.join().expect("this is the pool's process");
    assert!(sandbox.processes().is_empty());
}

pub(crate) fn a_result_outlives_its_pool() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold_some", 1));
    let done = pool.apply_async::<_, u8>(1).expect("there is room");
    done.wait().expect("this is the pool's process");
    let running = pool.apply_async::<_, String>(held_item(&sandbox, "held")).expect("there is room");
    pid_of_holder(&sandbox, "held");

    drop(pool);

    assert_eq!(done.get().expect("it was done"), 1);
    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
}

pub(crate) fn waiting_threads_see_the_pool_go() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold_some", 1));
    let held = pool.apply_async::<_, String>(held_item(&sandbox, "held")).expect("there is room");
    pid_of_holder(&sandbox, "held");
    let others: Vec<_> = (0..6).map(|n| pool.apply_async::<_, u8>(n).expect("there is room")).collect();

    thread::scope(|scope| {
        let waiting: Vec<_> = others.into_iter().map(|other| scope.spawn(|| other.get())).collect();
        let first = scope.spawn(|| held.get());
        drop(pool);
        assert!(matches!(first.join().expect("no panic"), Err(TaskError::Cancelled)));
        for other in waiting {
            assert!(matches!(other.join().expect("no panic"), Err(TaskError::Cancelled)));
        }
    });
}
