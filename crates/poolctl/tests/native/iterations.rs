//! Iterations that take items as their results are wanted.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use poolctl::TaskError;
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::fixture::{built, held_item, of, pid_of_holder};
use crate::tasks::{half, hold, square};

pub(crate) fn an_endless_input_is_taken_as_it_is_wanted() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2).window(50));
    let taken = Cell::new(0);
    let items = (0..).inspect(|_| taken.set(taken.get() + 1));

    let mut results = pool.imap(square, items);
    assert_eq!(taken.get(), 0, "nothing is wanted yet");

    for yielded in 1..=500_i64 {
        let result = results.next().expect("the input is endless").expect("it is squared");
        assert_eq!(result, (yielded - 1).pow(2));
        assert!(taken.get() <= yielded + 50, "{} taken for {yielded}", taken.get());
    }
}

/// Eight megabytes.
#[poolctl::task]
fn zeroes(_number: u64) -> Vec<f64> {
    vec![0.0; 1 << 20]
}

pub(crate) fn large_results_are_not_asked_for_far_ahead() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let taken = Cell::new(0);
    let items = (0..).inspect(|_| taken.set(taken.get() + 1));

    let mut results = pool.imap(zeroes, items);

    for yielded in 1..=100_i64 {
        let result = results.next().expect("the input is endless").expect("there is memory");
        assert_eq!(result.len(), 1 << 20);
        assert!(taken.get() <= yielded + 64, "{} taken for {yielded}", taken.get());
        assert!(yielded < 70 || taken.get() <= yielded + 8, "{} taken for {yielded}", taken.get());
    }
}

pub(crate) fn outcomes_come_as_they_end() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let items = [held_item(&sandbox, "held")].into_iter().chain((0..20).map(|_| String::new()));

    let mut results = pool.imap_unordered(hold, items);

    for _ in 0..20 {
        assert_eq!(results.next().expect("20 are not held").expect("it is given back"), "");
    }
    pid_of_holder(&sandbox, "held");
    sandbox.release("held");
    assert_ne!(results.next().expect("the last one").expect("it was let go"), "");
    assert!(results.next().is_none());
    let mut squares: Vec<i64> =
        pool.imap_unordered(square, 0..20_000).map(|x| x.expect("it is squared")).collect();
    squares.sort_unstable();
    assert!(squares.into_iter().eq((0..20_000).map(|x| x * x)));
}

pub(crate) fn the_rest_of_a_dropped_iteration_is_cancelled() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let held = held_item(&sandbox, "held");
    let items = [String::new(), held].into_iter().chain(std::iter::repeat_with(String::new));

    let mut results = pool.imap(hold, items);
    assert_eq!(results.next().expect("there are items").expect("it is given back"), "");
    let holder = pid_of_holder(&sandbox, "held");
    drop(results);

    wait_until(DEADLINE, "the worker with the held item is stopped", || !poolctl_testkit::is_alive(holder));
    assert_eq!(pool.apply(square, 5).expect("there is a new worker"), 25);
}

pub(crate) fn an_item_that_fails_keeps_its_place() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));

    let outcomes: Vec<_> = pool.imap(half, 0..1000).collect();
    let mut failed: Vec<_> = pool.imap_unordered(half, 0..1000).filter_map(Result::err).collect();

    assert_eq!(outcomes.len(), 1000);
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(result) => assert_eq!(result * 2, x),
            Err(TaskError::Failed { message, .. }) => assert_eq!(message, format!("{x} is odd")),
            Err(other) => panic!("another error: {other}"),
        }
    }
    failed.sort_by_key(|error| error.item);
    assert!(failed.iter().map(|error| error.item).eq((0..1000).filter(|x| x % 2 == 1)));
    assert!(failed[0].source.to_string().contains("1 is odd"), "{}", failed[0].source);
}

pub(crate) fn an_input_that_panics_leaves_the_pool_in_order() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let items = || (0..100_000).inspect(|x| assert!(*x < 50_000, "an input that panics, as it should here"));

    let mapped = catch_unwind(AssertUnwindSafe(|| pool.map(square, items())));
    let mut results = pool.imap(square, items());
    let iterated = catch_unwind(AssertUnwindSafe(|| results.by_ref().count()));

    assert!(mapped.is_err() && iterated.is_err());
    assert!(results.next().is_none(), "half an item may be lost");
    drop(results);
    assert_eq!(pool.map(square, [2, 3]).expect("they are squared"), [4, 9]);
}
