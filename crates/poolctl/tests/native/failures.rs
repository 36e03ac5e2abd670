//! What goes wrong with an item stays with it.

use std::thread;
use std::time::Duration;

use poolctl::{BuildError, DeathPolicy, Exit, GaveUp, MapError, StartError, TaskError};
use poolctl_testkit::Sandbox;

use crate::fixture::{built, held_item, kill, of, pid_of_holder};
use crate::tasks::{die_at, half, hold, panic_at_seven, second_time, square, work};

pub(crate) fn an_error_of_the_task_is_told() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));

    let error = pool.apply(half, 3).expect_err("3 is odd");

    let TaskError::Failed { message, worker, .. } = &error else { panic!("another error: {error:?}") };
    assert_eq!(message, "3 is odd");
    assert!(worker.is_some_and(|worker| worker.slot.0 == 0));
    assert_eq!(pool.apply(half, 4).expect("4 is even"), 2);
}

pub(crate) fn a_panic_is_told_with_its_place() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));

    let error = pool.apply(panic_at_seven, 7).expect_err("it panics");

    let TaskError::Panicked { message, trace: Some(trace), worker: Some(_) } = &error else {
        panic!("another error: {error:?}");
    };
    assert!(message.contains("seven is right out"), "{message}");
    assert!(trace.contains("tasks.rs"), "{trace}");
    let before = pool.worker_pids().expect("this is the pool's process");
    assert_eq!(pool.apply(panic_at_seven, 8).expect("it does not panic"), 8);
    assert_eq!(pool.worker_pids().expect("this is the pool's process"), before, "the worker goes on");
}

pub(crate) fn the_first_error_in_order_is_told_when_all_have_ended() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let seen = sandbox.path("seen").into_os_string().into_string().expect("our own paths are text");

    let MapError { item, source } =
        pool.map(half, (0..20_000).map(|x| x * 2 + x / 12_345)).expect_err("some are odd");
    let MapError { item: first, .. } =
        pool.map(second_time, [seen.clone(), seen]).expect_err("there is a first time");

    assert_eq!((item, source.to_string().as_str()), (12_345, "Error: 24691 is odd"));
    assert!(first < 2);
    assert!(sandbox.path("seen").exists());
    assert_eq!(pool.counts().expect("this is the pool's process").settled(), 20_002, "all have ended");
}

pub(crate) fn a_killed_worker_takes_only_the_item_it_ran() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let held = held_item(&sandbox, "held");
    let items = || (0..400).map(|n| if n == 150 { held.clone() } else { String::new() });

    let outcomes: Vec<Result<String, TaskError>> = thread::scope(|scope| {
        scope.spawn(|| kill(pid_of_holder(&sandbox, "held")));
        pool.imap(hold, items()).collect()
    });

    assert_eq!(outcomes.len(), 400);
    for (place, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Err(TaskError::WorkerDied { exit, worker, .. }) if place == 150 => {
                assert!(worker.is_some());
                assert_eq!(exit, Some(Exit::Signal(9)));
            }
            outcome => assert_eq!(outcome.expect("only item 150 fails"), ""),
        }
    }
    let MapError { item, source } =
        pool.starmap(die_at, (0..5000).map(|x| (x, 1234))).expect_err("one kills its worker");
    assert!(item == 1234 && matches!(source, TaskError::WorkerDied { .. }), "item {item}: {source}");
    assert!(source.to_string().contains("ABRT"), "{source}");
}

pub(crate) fn an_item_over_its_time_is_stopped() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1).timeout(Duration::from_millis(300)));

    let error = pool.apply(work, 1_000_000).expect_err("it takes too long");

    assert!(matches!(error, TaskError::TimedOut { .. }), "{error:?}");
    pool.apply(work, 0).expect("there is a new worker");
}

pub(crate) fn a_cancelled_item_ends_whether_it_runs_or_waits() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let held = held_item(&sandbox, "held");

    let running = pool.apply_async(hold, held).expect("there is room");
    let waiting = pool.apply_async(square, 1).expect("there is room");
    let last = pool.apply_async(square, 2).expect("there is room");
    pid_of_holder(&sandbox, "held");
    waiting.cancel().expect("this is the pool's process");
    assert!(matches!(waiting.get(), Err(TaskError::Cancelled)));
    running.cancel().expect("this is the pool's process");

    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
    assert_eq!(last.get().expect("nobody cancelled it"), 4);
}

pub(crate) fn a_failed_item_is_tried_again() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1).retries(1));
    let item = sandbox.path("seen").into_os_string().into_string().expect("our own paths are text");

    assert_eq!(pool.apply(second_time, item).expect("it does better the second time"), "done");
}

pub(crate) fn a_task_that_the_worker_does_not_know_is_told() {
    let sandbox = Sandbox::new();
    let stock = poolctl_testkit::poolctl_binary().with_file_name("pool-worker");
    let pool = built(of(&sandbox, 1).worker_executable(stock));

    let error = pool.apply(square, 3).map_or_else(|error| error.to_string(), |x| x.to_string());
    let unknown = pool.apply(half, 3).expect_err("nobody knows it there");

    assert!(error == "9" || error.contains("square"), "{error}");
    assert!(unknown.to_string().contains("half"), "{unknown}");
}

pub(crate) fn a_worker_that_is_no_worker_is_told() {
    let sandbox = Sandbox::new();
    let missing = of(&sandbox, 1).worker_executable("/no/such/program/of/ours").build();
    let silent = built(of(&sandbox, 1).worker_executable("/bin/true"));

    assert!(matches!(missing, Err(BuildError::Start(StartError::Program(_)))), "{missing:?}");
    let error = silent.apply(square, 1).expect_err("true answers nothing");
    let TaskError::PoolGaveUp(reason) = &error else { panic!("another error: {error:?}") };
    assert!(matches!(&**reason, GaveUp::TooManyStarts { .. }), "{reason}");
}

pub(crate) fn a_pool_may_break_with_its_first_death() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2).on_worker_death(DeathPolicy::Break));
    let held = pool.apply_async(hold, held_item(&sandbox, "held")).expect("there is room");
    let holder = pid_of_holder(&sandbox, "held");
    let waiting = pool.map_async(work, [10_000_000, 10_000_000]).expect("there is room");

    kill(holder);

    assert!(held.get().is_err());
    let error = waiting.get().expect_err("the pool is broken").source;
    assert!(matches!(error, TaskError::BrokenByDeath { exit: Exit::Signal(9), .. }), "{error:?}");
    assert!(pool.apply(square, 1).is_err());
}
