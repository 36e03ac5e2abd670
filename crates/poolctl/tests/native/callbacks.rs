//! What is called with results.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use poolctl::TaskError;
use poolctl_testkit::{DEADLINE, Sandbox};

use crate::fixture::{built, of};
use crate::tasks::{half, square};

/// What the callbacks were called with.
type Told<T> = Arc<Mutex<Vec<T>>>;

fn tell<T>(told: &Told<T>, what: T) {
    told.lock().expect("nobody panics with it").push(what);
}

fn told<T: Clone>(told: &Told<T>) -> Vec<T> {
    told.lock().expect("nobody panics with it").clone()
}

pub(crate) fn a_callback_runs_once_and_before_the_result_is_given() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let here = thread::current().id();

    for x in 0..200 {
        let heard: Told<i64> = Told::default();
        let telling = Arc::clone(&heard);
        let on_ok = move |result: &i64| {
            assert_ne!(thread::current().id(), here);
            tell(&telling, *result);
        };
        let result = pool.apply_async_with(square, x, on_ok, |_| unreachable!("it is squared"));
        let result = result.expect("there is room").get().expect("it is squared");

        assert_eq!((told(&heard), result), (vec![x * x], x * x));
    }
}

pub(crate) fn an_error_goes_to_the_other_callback() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let heard: Told<String> = Told::default();
    let telling = Arc::clone(&heard);

    let result =
        pool.apply_async_with(half, 3, |_| unreachable!("3 is odd"), move |e| tell(&telling, e.to_string()));
    let result = result.expect("there is room");
    result.wait().expect("this is the pool's process");

    assert_eq!(told(&heard), ["Error: 3 is odd"]);
    assert_eq!(result.successful(), Some(false));
    assert!(matches!(result.get(), Err(TaskError::Failed { .. })));
}

pub(crate) fn a_map_calls_back_with_all_its_results() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let (heard, failed): (Told<Vec<i64>>, Told<u64>) = Default::default();
    let (telling, failing) = (Arc::clone(&heard), Arc::clone(&failed));
    let (telling_none, failing_none) = (Arc::clone(&heard), Arc::clone(&failed));

    let halves = pool.map_async_with(
        half,
        (0..1000).map(|x| x * 2),
        move |all| tell(&telling, all.clone()),
        move |error| tell(&failing, error.item),
    );
    let halves = halves.expect("there is room").get().expect("all are even");
    let odd = pool.map_async_with(
        half,
        [2, 4, 5, 7],
        move |all| tell(&telling_none, all.clone()),
        move |error| tell(&failing_none, error.item),
    );
    let odd = odd.expect("there is room").get().expect_err("5 is odd");

    assert!(halves.iter().copied().eq(0..1000));
    assert_eq!(told(&heard), [halves]);
    assert_eq!((odd.item, told(&failed)), (2, vec![2]));
    let (tell, heard) = channel();
    let none = pool.map_async_with(half, [], move |all| tell.send(all.len()).expect("it is heard"), |_| {});
    assert_eq!(none.expect("nothing needs no room").get().expect("nothing fails"), [0; 0]);
    assert_eq!(heard.recv_timeout(DEADLINE), Ok(0));
}

pub(crate) fn a_callback_that_panics_hurts_nothing() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));

    let result =
        pool.apply_async_with(square, 2, |_| panic!("a callback that panics, as it should here"), |_| {});
    let result = result.expect("there is room").get();

    assert_eq!(result.expect("it is squared"), 4);
    let (tell, heard) = channel();
    let after = pool.apply_async_with(square, 3, move |x| tell.send(*x).expect("it is heard"), |_| {});
    assert_eq!(after.expect("there is room").get().expect("it is squared"), 9);
    assert_eq!(heard.recv_timeout(DEADLINE), Ok(9));
}

pub(crate) fn a_callback_may_use_the_pool() {
    let sandbox = Sandbox::new();
    let pool = Arc::new(built(of(&sandbox, 1)));
    let (tell, heard) = channel();
    let used = Arc::clone(&pool);
    let on_ok = move |x: &i64| {
        tell.send(used.apply(square, *x)).expect("it is heard");
    };

    let result = pool.apply_async_with(square, 3, on_ok, |_| {}).expect("there is room");

    let inside = heard.recv_timeout(DEADLINE).expect("it was called");
    assert_eq!(inside.expect("it is squared"), 81);
    assert_eq!(result.get().expect("it is squared"), 9);
}
