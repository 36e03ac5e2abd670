//! A program that does not call `poolctl::init` is told so, instead of starting itself again and again.

#![forbid(unsafe_code)]

use poolctl::{BuildError, Pool, Process, ProcessError, StartError};

#[test]
fn a_program_that_is_no_keeper_is_told_so() {
    let built = Pool::builder().lines(["cat"]).build();

    assert!(matches!(built, Err(BuildError::NotInitialised)));
}

#[test]
fn a_worker_that_is_not_there_is_told_at_once() {
    let built = Pool::builder().lines(["no-such-program-of-ours"]).keeper("/bin/true").build();

    assert!(matches!(built, Err(BuildError::Start(StartError::Program(_)))));
}

#[test]
fn a_pool_without_workers_is_refused() {
    let built = Pool::builder().lines(["cat"]).workers(0).keeper("/bin/true").build();

    assert!(matches!(built, Err(BuildError::NoWorkers)));
}

#[poolctl::task]
fn nothing() {}

#[test]
fn a_program_that_cannot_be_a_process_is_told_so() {
    let started = Process::new(nothing, ()).start();

    assert!(matches!(started, Err(ProcessError::NotInitialised)));
}
