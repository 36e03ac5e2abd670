//! What goes wrong with an item stays with it.

use std::process::Command;
use std::time::Duration;

use poolctl::{Exit, GaveUp, MapError, Pool, TaskError};
use poolctl_testkit::{DEADLINE, Sandbox, children, wait_until};

use crate::fixture::{built, calling, echoing, held_item, marked, pid_of_holder};

fn kill(pid: &str) {
    let killed = Command::new("kill").args(["-KILL", pid]).status().expect("kill is a program");
    assert!(killed.success(), "nobody has the pid {pid}");
}

pub(crate) fn an_error_crosses_with_type_message_and_trace() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "fail", 1));

    let error = pool.apply::<_, u8>(3).expect_err("it raises");

    assert_eq!(error.to_string(), "ValueError: not 3");
    let TaskError::Failed { type_name, message, trace: Some(trace), .. } = error else {
        panic!("another error: {error:?}");
    };
    assert_eq!((type_name.as_str(), message.as_str()), ("ValueError", "not 3"));
    assert!(trace.contains("functions.py") && trace.contains("in fail"), "{trace}");
    let MapError { item, source } = pool.map::<_, u8>([4, 5]).expect_err("it raises");
    assert_eq!((item, source.to_string().as_str()), (0, "ValueError: not 4"));
}

pub(crate) fn a_killed_worker_takes_only_the_item_it_ran() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold_some", 2));
    let held = held_item(&sandbox, "held");
    let items =
        || (0..400_u32).map(|n| if n == 150 { held.clone().into() } else { serde_json::Value::from(n) });

    let outcomes: Vec<Result<serde_json::Value, TaskError>> = std::thread::scope(|scope| {
        scope.spawn(|| kill(&pid_of_holder(&sandbox, "held")));
        pool.imap(items()).collect()
    });

    assert_eq!(outcomes.len(), 400);
    for (place, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Err(TaskError::WorkerDied { exit, .. }) if place == 150 => {
                assert_eq!(exit, Some(Exit::Signal(9)))
            }
            outcome => assert_eq!(outcome.expect("only item 150 fails"), place),
        }
    }
    let suicidal = built(calling(&sandbox, "die_at_seven", 2));
    let MapError { item, source } = suicidal.map::<_, u32>(0..100).expect_err("7 kills its worker");
    assert!(item == 7 && matches!(source, TaskError::WorkerDied { .. }), "item {item}: {source}");
}

pub(crate) fn a_failed_item_is_tried_again() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "second_time", 1).retries(1));
    let item = sandbox.path("seen").into_os_string().into_string().expect("our own paths are text");

    assert_eq!(pool.apply::<_, String>(item).expect("it does better the second time"), "done");
}

pub(crate) fn a_poisonous_item_is_quarantined() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "die_at_seven", 1).retries(10).max_crashes(2));

    let error = pool.apply::<_, u8>(7).expect_err("it kills its worker");

    assert!(matches!(error, TaskError::Quarantined { attempts: 2, .. }), "{error:?}");
    assert_eq!(pool.apply::<_, u8>(8).expect("others live"), 8);
}

pub(crate) fn an_item_over_its_time_is_stopped() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "sleep", 1).timeout(Duration::from_millis(300)));

    let error = pool.apply::<_, ()>(1000).expect_err("it sleeps for too long");

    assert!(matches!(error, TaskError::TimedOut { .. }), "{error:?}");
    pool.apply::<_, ()>(0).expect("there is a new worker");
}

pub(crate) fn a_cancelled_item_ends_whether_it_runs_or_waits() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold_some", 1));
    let held = held_item(&sandbox, "held");

    let running = pool.apply_async::<_, String>(held).expect("there is room");
    let waiting = pool.apply_async::<_, u8>(1).expect("there is room");
    let last = pool.apply_async::<_, u8>(2).expect("there is room");
    pid_of_holder(&sandbox, "held");
    waiting.cancel().expect("this is the pool's process");
    assert!(matches!(waiting.get(), Err(TaskError::Cancelled)));
    running.cancel().expect("this is the pool's process");

    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
    assert_eq!(last.get().expect("nobody cancelled it"), 2);
}

pub(crate) fn a_pool_whose_workers_cannot_start_says_why() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "duoble", 1));

    let error = pool.apply::<_, u8>(1).expect_err("there is no such function");

    let TaskError::PoolGaveUp(reason) = error else { panic!("another error: {error:?}") };
    assert!(matches!(&*reason, GaveUp::Refused { code: 127, .. }), "{reason:?}");
    assert!(reason.to_string().contains("duoble"), "{reason}");
    let again = pool.apply::<_, u8>(1).expect_err("it has given up");
    assert!(matches!(again, TaskError::PoolGaveUp(_)), "{again:?}");
}

pub(crate) fn a_failed_command_shows_its_stderr() {
    let sandbox = Sandbox::new();
    let pool = built(marked(&sandbox, Pool::builder().command(["sh", "-c", "echo no >&2; exit {}"])));

    let error = pool.apply("3").expect_err("it fails");

    let TaskError::CommandFailed { exit, stderr } = error else { panic!("another error: {error:?}") };
    assert_eq!((exit, stderr.as_str()), (Exit::Code(3), "no\n"));
}

pub(crate) fn a_killed_keeper_is_replaced() {
    let sandbox = Sandbox::new();
    let before: Vec<u32> = children(std::process::id()).iter().map(|child| child.pid).collect();
    let pool = built(echoing(&sandbox, 1));
    pool.apply("a").expect("cat answers");
    let keepers = children(std::process::id());
    let keeper = keepers.iter().find(|child| !before.contains(&child.pid)).expect("a pool has a keeper");

    kill(&keeper.pid.to_string());
    wait_until(DEADLINE, "the keeper is dead", || !poolctl_testkit::is_alive(keeper.pid));

    // The first may still be handed to the worker that dies with its keeper.
    let first = pool.apply("b");
    assert!(matches!(first, Ok(_) | Err(TaskError::WorkerDied { .. })), "{first:?}");
    assert_eq!(pool.apply("c").expect("there is a new keeper, and a new cat"), b"c");
}
