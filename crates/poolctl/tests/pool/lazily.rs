//! Iterations that take items as their results are wanted.

use std::cell::Cell;

use poolctl::TaskError;
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::fixture::{built, calling, echoing, held_item, pid_of_holder};

pub(crate) fn an_endless_input_is_taken_as_it_is_wanted() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 2).window(50));
    let taken = Cell::new(0_usize);
    let items = (0..).map(|number: u32| {
        taken.set(taken.get() + 1);
        number.to_string()
    });

    let mut results = pool.imap(items);
    assert_eq!(taken.get(), 0, "nothing is wanted yet");

    for yielded in 1..=500_usize {
        let result = results.next().expect("the input is endless").expect("cat answers");
        assert_eq!(result, (yielded - 1).to_string().into_bytes());
        assert!(taken.get() <= yielded + 50, "{} taken for {yielded}", taken.get());
    }
}

pub(crate) fn the_rest_of_a_dropped_iteration_is_cancelled() {
    let sandbox = Sandbox::new();
    let pool = built(calling(&sandbox, "hold_some", 1));
    let held = held_item(&sandbox, "held");
    let items = [serde_json::json!(1), held.into()].into_iter().chain((0..).map(|n: u32| n.into()));

    let mut results = pool.imap::<_, serde_json::Value, _>(items);
    assert_eq!(results.next().expect("there are items").expect("1 is given back"), 1);
    let holder = pid_of_holder(&sandbox, "held").parse().expect("a number");
    drop(results);

    wait_until(DEADLINE, "the worker with the held item is stopped", || !poolctl_testkit::is_alive(holder));
    assert_eq!(pool.apply::<_, u32>(5).expect("there is a new worker"), 5);
}

pub(crate) fn an_item_that_cannot_travel_keeps_its_place() {
    let sandbox = Sandbox::new();
    let pool = built(echoing(&sandbox, 2));

    let mut results = pool.imap(["a", "b\n", "c", "d"]);

    assert_eq!(results.next().expect("of a").expect("cat answers"), b"a");
    assert!(matches!(results.next(), Some(Err(TaskError::NotOneLine))));
    assert_eq!(results.next().expect("of c").expect("cat answers"), b"c");
    assert_eq!(results.next().expect("of d").expect("cat answers"), b"d");
    assert!(results.next().is_none());
}
