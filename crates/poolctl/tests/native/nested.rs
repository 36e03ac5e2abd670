//! Tasks that call their own pool.

use poolctl::{TaskError, current_pool};
use poolctl_testkit::Sandbox;

use crate::fixture::{built, of};

/// The `n`th Fibonacci number, by as many calls as it takes.
#[poolctl::task]
fn fibonacci(n: u32) -> Result<u64, TaskError> {
    if n < 2 {
        return Ok(n.into());
    }
    let pool = current_pool().ok_or(TaskError::PoolClosed)?;
    let one = pool.apply_async(self::fibonacci, n - 1)?;
    let other = pool.apply_async(self::fibonacci, n - 2)?;
    Ok(one.get()? + other.get()?)
}

/// How deep it is, by going there.
#[poolctl::task]
fn depth(n: u32) -> Result<u32, TaskError> {
    match (n, current_pool()) {
        (0, _) | (_, None) => Ok(0),
        (n, Some(pool)) => Ok(pool.apply(self::depth, n - 1)? + 1),
    }
}

#[poolctl::task]
fn ones(count: usize) -> Vec<f64> {
    vec![1.0; count]
}

#[poolctl::task]
fn sum_of_ones(count: usize) -> Result<f64, TaskError> {
    let pool = current_pool().ok_or(TaskError::PoolClosed)?;
    Ok(pool.apply(self::ones, count)?.iter().sum())
}

#[poolctl::task]
fn survivor(x: i64) -> i64 {
    if x == 3 {
        std::process::abort();
    }
    x
}

#[poolctl::task]
fn sum_of_two(x: i64) -> Result<i64, TaskError> {
    let pool = current_pool().ok_or(TaskError::PoolClosed)?;
    Ok(pool.map(self::survivor, [x, x]).map_err(|error| error.source)?.iter().sum())
}

/// Leaves what it submits alone.
#[poolctl::task]
fn careless(count: u32) -> Result<u32, TaskError> {
    let pool = current_pool().ok_or(TaskError::PoolClosed)?;
    for n in 0..count {
        drop(pool.apply_async(self::depth, n % 3)?);
    }
    Ok(count)
}

#[poolctl::task]
fn panics(text: String) {
    panic!("{text}");
}

#[poolctl::task]
fn hears_of_panic(text: String) -> Result<String, TaskError> {
    let pool = current_pool().ok_or(TaskError::PoolClosed)?;
    match pool.apply(self::panics, text) {
        Err(TaskError::Panicked { message, .. }) => Ok(message),
        other => Ok(format!("{other:?}")),
    }
}

pub(crate) fn a_task_calls_its_own_pool_of_any_size() {
    for workers in [1, 2, 5] {
        let sandbox = Sandbox::new();
        let pool = built(of(&sandbox, workers));

        assert_eq!(pool.apply(fibonacci, 12).expect("it is a number"), 144);
        assert_eq!(pool.map(depth, 0..12).expect("they are numbers"), (0..12).collect::<Vec<_>>());
        assert_eq!(pool.apply(sum_of_ones, 1_000_000).expect("it is a number"), 1e6);
        pool.join().expect("this is the pool's process");
        sandbox.expect_nothing_left();
    }
}

pub(crate) fn calls_inside_calls_are_run_only_so_deep() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));

    let error = pool.apply(depth, 200).expect_err("it is too deep");

    assert!(error.to_string().contains("at most 64 deep"), "{error}");
    assert_eq!(pool.apply(depth, 3).expect("the pool goes on"), 3);
}

pub(crate) fn what_becomes_of_a_nested_call_is_told_to_its_caller() {
    for workers in [1, 3] {
        let sandbox = Sandbox::new();
        let pool = built(of(&sandbox, workers));

        let told = pool.apply(hears_of_panic, "oh".to_owned()).expect("a nested panic is an error there");
        let death = pool.apply(sum_of_two, 3).expect_err("one of its workers dies");

        assert_eq!(told, "oh");
        assert!(death.to_string().contains("SIGABRT"), "{death}");
        assert_eq!(pool.apply(sum_of_two, 4).expect("the pool goes on"), 8);
    }
}

pub(crate) fn results_that_nobody_waits_for_do_no_harm() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));

    assert_eq!(pool.map(careless, [5000, 10, 3]).expect("they are numbers"), [5000, 10, 3]);
    pool.join().expect("this is the pool's process");

    sandbox.expect_nothing_left();
}

pub(crate) fn there_is_no_pool_outside_of_a_task() {
    assert!(current_pool().is_none());
}
