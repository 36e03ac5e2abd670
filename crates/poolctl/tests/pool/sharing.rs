//! Many threads, one pool: the lead goes from hand to hand and nobody is left waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use poolctl::{Lines, Pool};
use poolctl_testkit::{Sandbox, pass};

use crate::fixture::{built, calling, echoing, held_item};
use crate::futures::run_all;

/// Each of `threads` calls the pool `count` times, and gets its own answers.
fn call_from_all(pool: &Pool<Lines>, threads: u32, count: u32) {
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for call in 0..count {
                    let item = format!("{thread}.{call}");
                    assert_eq!(pool.apply(&item).expect("cat answers"), item.into_bytes());
                }
            });
        }
    });
}

pub(crate) fn many_threads_share_the_lead() {
    let sandbox = Sandbox::new();
    for workers in [1, 4] {
        let pool = built(echoing(&sandbox, workers));

        call_from_all(&pool, 8, 2000);
    }
}

pub(crate) fn callers_with_time_limits_come_and_go() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 1));
    let impatient = |thread: u32| {
        let mut answered = 0;
        for call in 0..1000_u32 {
            let item = format!("{thread}.{call}");
            let result = pool.apply_async(&item).expect("there is room");
            match result.get_timeout(Duration::from_micros(u64::from(call % 60))) {
                Ok(answer) => assert_eq!(answer.expect("cat answers"), item.into_bytes()),
                Err(result) => assert_eq!(result.get().expect("cat answers"), item.into_bytes()),
            }
            answered += 1;
        }
        answered
    };

    let answered: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|thread| scope.spawn(move || impatient(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no assertion fails")).sum()
    });

    assert_eq!(answered, 6000);
}

pub(crate) fn one_that_leads_for_long_serves_the_others() {
    let sandbox = Sandbox::new();
    // Beside the held item there is room for one.
    let pool = built(calling(&sandbox, "hold_some", 2).window(2));
    let held = pool.apply_async::<_, String>(held_item(&sandbox, "held")).expect("there is room");

    thread::scope(|scope| {
        let leader = scope.spawn(|| held.get());
        for number in 0..200_u32 {
            assert_eq!(pool.apply::<_, u32>(number).expect("it is given back"), number);
        }
        let hand_in = |number: u32| pool.apply_async::<_, u32>(number).expect("room comes");
        let results: Vec<_> = (0..200).map(hand_in).collect();
        for (number, result) in (0..).zip(results) {
            assert_eq!(result.get().expect("it is given back"), number);
        }
        sandbox.release("held");
        leader.join().expect("it does not panic").expect("it was let go");
    });
}

pub(crate) fn a_caller_that_leaves_when_it_is_given_the_lead_hands_it_on() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 1));
    let submit = |item| pool.apply_async(item).expect("there is room");

    for round in 0..2000_u64 {
        let (first, second) = (submit("a"), submit("b"));
        let left = thread::scope(|scope| {
            scope.spawn(|| first.get().expect("cat answers"));
            // A thread that leaves for good; nobody comes back in its name.
            let leaves = scope.spawn(|| second.get_timeout(Duration::from_micros(round % 200)));
            leaves.join().expect("no assertion fails")
        });
        let answer = left.unwrap_or_else(|second| second.get());
        assert_eq!(answer.expect("cat answers"), b"b");
    }
}

pub(crate) fn threads_and_futures_share_a_pool() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 2).window(64));
    let polled = |thread: u32| {
        for round in 0..20 {
            let submit = |number: u32| pool.apply_async(format!("{thread}.{round}.{number}"));
            let futures: Vec<_> = (0..50).map(|number| submit(number).expect("room comes")).collect();
            for (number, result) in run_all(futures).into_iter().enumerate() {
                assert_eq!(result.expect("cat answers"), format!("{thread}.{round}.{number}").into_bytes());
            }
            // The lead falls to the driver, whatever state it is in.
            pass(Duration::from_micros(700));
        }
    };

    thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || polled(thread));
        }
        scope.spawn(|| call_from_all(&pool, 3, 500));
        scope.spawn(|| {
            for length in [1, 100, 2000] {
                let results = pool.map((0..length).map(|number: usize| number.to_string()));
                assert_eq!(results.expect("cat answers").len(), length);
            }
        });
    });
}

pub(crate) fn a_thread_that_panics_while_it_maps_leaves_the_pool_in_order() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 1));
    let items = (0..10_000).map(|number| {
        assert!(number < 5000, "an input that panics, as it should here");
        number.to_string()
    });

    let panicked = catch_unwind(AssertUnwindSafe(|| pool.map(items)));

    assert!(panicked.is_err());
    assert_eq!(pool.apply("a").expect("cat answers"), b"a");
    assert_eq!(pool.map(["b", "c"]).expect("cat answers"), [b"b", b"c"]);
}
