//! How pools end, and what is left: nothing.

use poolctl::TaskError;
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::fixture::{built, held_item, of, pid_of_holder};
use crate::tasks::{hold, leave_a_grandchild, square};

pub(crate) fn a_dropped_pool_leaves_no_process() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let done = pool.map(leave_a_grandchild, (0..4).map(|_| ())).expect("they leave them");
    wait_until(DEADLINE, "the grandchildren run", || sandbox.processes().len() >= 2 * done.len());

    drop(pool);

    sandbox.expect_nothing_left();
}

pub(crate) fn a_joined_pool_has_finished_everything() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let results: Vec<_> = (0..500).map(|x| pool.apply_async(square, x).expect("there is room")).collect();
    let many = pool.map_async(square, 0..100_000).expect("there is room");

    pool.join().expect("this is the pool's process");

    assert!(sandbox.processes().is_empty());
    assert!(results.iter().all(|result| result.successful() == Some(true)));
    assert_eq!(many.get().expect("all were squared").len(), 100_000);
    assert!(pool.worker_pids().expect("this is the pool's process").is_empty());
}

pub(crate) fn a_closed_pool_refuses_items() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let earlier = pool.apply_async(hold, held_item(&sandbox, "held")).expect("there is room");

    pool.close().expect("this is the pool's process");

    assert!(matches!(pool.apply(square, 1), Err(TaskError::PoolClosed)));
    assert!(matches!(pool.map(square, [1]), Err(error) if matches!(error.source, TaskError::PoolClosed)));
    assert!(pool.map_async(square, [1]).is_err());
    assert!(matches!(pool.imap(square, [1]).next(), Some(Err(TaskError::PoolClosed))));
    assert!(pool.imap_unordered(square, [1]).next().is_some_and(|outcome| outcome.is_err()));
    assert!(pool.map_slice(square, &[1], &mut [0]).is_err());
    sandbox.release("held");
    earlier.get().expect("it was handed in before");
}

pub(crate) fn a_terminated_pool_cancels_what_is_left() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let running = pool.apply_async(hold, held_item(&sandbox, "held")).expect("there is room");
    let waiting = pool.map_async(square, 0..10).expect("there is room");
    pid_of_holder(&sandbox, "held");

    pool.terminate().expect("this is the pool's process");

    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
    assert!(matches!(waiting.get(), Err(error) if matches!(error.source, TaskError::Cancelled)));
    pool.join().expect("this is the pool's process");
    assert!(sandbox.processes().is_empty());
}
