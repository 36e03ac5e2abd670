//! What a builder asks for is what the pool does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poolctl::{Array, BuildError, GaveUp, TaskError};
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::fixture::{built, held_item, of, pid_of_holder};
use crate::tasks::{
    begin_at, count_call, hold, keep_tables, look_up, nothing, pid, refuse, say_count, square, variable, work,
};

pub(crate) fn every_worker_runs_the_initializer_first() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2).initializer(begin_at, 1000));

    let counts = pool.map(count_call, (0..500).map(|_| ())).expect("all have the state");

    assert!(counts.iter().all(|count| (1001..=1500).contains(count)));
    let bare = built(of(&sandbox, 1));
    let error = bare.apply(count_call, ()).expect_err("nobody has set the state");
    assert!(error.to_string().contains("no state of type"), "{error}");
}

pub(crate) fn an_initializer_is_given_large_arguments_and_handles() {
    let sandbox = Sandbox::new();
    let own: Vec<f64> = (0..1 << 20).map(f64::from).collect();
    let shared = Array::from_slice(&[1, 2, 3]).expect("there is memory");
    let builder = of(&sandbox, 2).initializer(keep_tables, (own, shared.clone())).max_tasks(5);
    let pool = built(builder);

    let before = pool.map(look_up, (0..20).map(|_| 2)).expect("all have the tables");
    shared.set(2, 33);
    let after = pool.map(look_up, (0..20).map(|_| 2)).expect("those that follow have them too");

    assert_eq!((before, after), (vec![(2.0, 3); 20], vec![(2.0, 33); 20]));
    let text = "x".repeat(1 << 20);
    let refused = of(&sandbox, 1).initializer(refuse, text).build();
    assert!(matches!(refused, Err(BuildError::HeavyArguments { .. })), "{refused:?}");
}

pub(crate) fn a_failed_initializer_is_told() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1).initializer(refuse, "not today".to_owned()));

    let error = pool.apply(square, 1).expect_err("no worker can be had");

    let TaskError::PoolGaveUp(reason) = &error else { panic!("another error: {error:?}") };
    assert!(matches!(&**reason, GaveUp::Refused { .. }), "{reason:?}");
    assert!(reason.to_string().contains("not today"), "{reason}");
}

pub(crate) fn exit_functions_give_results() {
    let sandbox = Sandbox::new();
    let builder = of(&sandbox, 2).initializer(begin_at, 0).exit_function(say_count, "calls: ".to_owned());
    let pool = built(builder);
    pool.map(count_call, (0..300).map(|_| ())).expect("all have the state");

    pool.join().expect("this is the pool's process");

    let results = pool.exit_results(say_count).expect("this is the pool's process");
    let counts = results.iter().map(|(_, said)| {
        let said = said.as_ref().expect("it was said");
        said.strip_prefix("calls: ").and_then(|count| count.parse::<u32>().ok()).expect("a number")
    });
    assert_eq!(counts.sum::<u32>(), 300);
    let workers: BTreeSet<_> = results.iter().map(|(worker, _)| worker.slot).collect();
    assert_eq!(workers.len(), results.len());
}

pub(crate) fn a_worker_is_replaced_after_its_tasks() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1).max_tasks(10));

    let pids = pool.map(pid, (0..95).map(|_| ())).expect("all have a pid");

    let lives: BTreeSet<u32> = pids.iter().copied().collect();
    assert_eq!(lives.len(), 10);
    assert!(lives.iter().all(|life| pids.iter().filter(|known| *known == life).count() <= 10));
}

pub(crate) fn a_pool_grows_and_shrinks() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let names = ["a", "b", "c"];
    let held = |name: &str| pool.apply_async(hold, held_item(&sandbox, name)).expect("there is room");
    let results: Vec<_> = names.iter().map(|name| held(name)).collect();
    pid_of_holder(&sandbox, "a");
    assert!(sandbox.read("b.pid").is_empty());

    pool.resize(3).expect("this is the pool's process");
    let pids: BTreeSet<u32> = names.iter().map(|name| pid_of_holder(&sandbox, name)).collect();
    assert_eq!(pids.len(), 3);
    assert_eq!(pool.worker_pids().expect("this is the pool's process").len(), 3);

    pool.resize(1).expect("this is the pool's process");
    names.iter().for_each(|name| sandbox.release(name));
    results.into_iter().for_each(|result| assert!(result.get().is_ok()));
    wait_until(DEADLINE, "one worker is left", || {
        pool.worker_pids().expect("this is the pool's process").len() == 1
    });
    assert!(matches!(pool.resize(0), Err(TaskError::NoWorkers)));
    assert_eq!(pool.map(square, 0..100).expect("all are squared").len(), 100);
}

pub(crate) fn a_variable_reaches_the_workers() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1).env("COLOUR_OF_THE_TEST", "blue"));

    let colour = pool.apply(variable, "COLOUR_OF_THE_TEST".to_owned()).expect("it can be read");
    let ours = pool.apply(variable, "POOLCTL_PARENT".to_owned()).expect("it can be read");

    assert_eq!((colour.as_deref(), ours), (Some("blue"), None));
}

pub(crate) fn insight_knows_the_workers_and_the_slowest_items() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2).insight());
    pool.map(work, (0..40).map(|n| if n == 31 { 60 } else { 0 })).expect("all end");

    let insight = pool.insight().expect("this is the pool's process");

    assert_eq!(insight.workers.iter().map(|worker| worker.tasks).sum::<u64>(), 40);
    assert!(insight.workers.iter().all(|worker| worker.start_up.is_some()));
    assert!(insight.workers.iter().any(|worker| worker.working >= Duration::from_millis(60)));
    let slowest = insight.slowest.first().expect("they are timed");
    assert_eq!(slowest.item.0, 31);
    assert!(slowest.wall >= Duration::from_millis(60), "{:?}", slowest.wall);
}

pub(crate) fn progress_is_told_up_to_the_end() {
    let sandbox = Sandbox::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&seen);
    let builder = of(&sandbox, 2).on_progress(move |progress| {
        telling.lock().expect("nobody panics with it").push(*progress);
    });
    let pool = built(builder);

    pool.map(work, (0..20).map(|_| 20)).expect("all end");
    pool.apply(nothing, ()).expect("it ends");

    let last = || seen.lock().expect("nobody panics with it").last().map(poolctl::Counts::settled);
    wait_until(DEADLINE, "the end is told", || last() == Some(21));
    let seen = seen.lock().expect("nobody panics with it");
    assert!(seen.windows(2).all(|pair| pair[0].settled() <= pair[1].settled()), "it goes forward");
    assert!(seen.len() >= 2, "it is told on the way: {seen:?}");
}
