//! What is handed in comes back.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use poolctl_testkit::{DEADLINE, Sandbox};

use crate::fixture::{built, held_item, of, pid_of_holder};
use crate::tasks::{Tree, count_leaves, hold, join, nothing, product, square};

pub(crate) fn a_call_gives_its_result() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));

    let later = pool.apply_async(square, 7).expect("there is room");

    assert_eq!(pool.apply(square, 21).expect("it is squared"), 441);
    assert_eq!(later.get().expect("it is squared"), 49);
    assert_eq!(square(3), 9, "it can still be called here");
    pool.apply(nothing, ()).expect("nothing goes wrong");
}

pub(crate) fn tuples_texts_and_nested_values_travel() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let leaves = vec![Tree::Leaf(1), Tree::Leaf(2)];
    let inner = Tree::Branch { name: "ä\n\0".to_owned(), children: leaves, note: None };
    let children = vec![inner, Tree::Leaf(3)];
    let tree = Tree::Branch { name: String::new(), children, note: Some(('ß', f32::MIN_POSITIVE)) };

    let counted = pool.apply(count_leaves, (10, tree.clone())).expect("leaves can be counted");
    let joined = pool.apply(join, ("a\nb".to_owned(), "c".to_owned())).expect("texts can be joined");

    assert_eq!(counted, (13, tree));
    assert_eq!(joined, "a\nb-c");
}

pub(crate) fn results_come_in_the_order_of_items() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 3));

    let squares = pool.map(square, 0..100_000).expect("all are squared");
    let none = pool.map(square, []).expect("there is nothing to fail");

    assert!(squares.into_iter().eq((0..100_000).map(|x| x * x)));
    assert!(none.is_empty());
}

pub(crate) fn a_map_may_be_taken_later() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2).window(10));

    let first = pool.map_async(square, 0..50_000).expect("there is room");
    let second = pool.map_async(square, 5..7).expect("room comes");
    let none = pool.map_async(square, []).expect("nothing needs no room");

    assert_eq!(second.get().expect("both are squared"), [25, 36]);
    first.wait().expect("this is the pool's process");
    assert_eq!((first.ready(), first.successful()), (true, Some(true)));
    assert!(first.get().expect("all are squared").into_iter().eq((0..50_000).map(|x| x * x)));
    assert_eq!(none.get().expect("there is nothing to fail"), [0; 0]);
}

pub(crate) fn several_arguments_are_a_tuple() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));

    let products = pool.starmap(product, (0..100).map(|x| (x, x + 1))).expect("all are multiplied");
    let later = pool.starmap_async(product, [(2, 3), (4, 5)]).expect("there is room");

    assert!(products.into_iter().eq((0..100).map(|x| x * (x + 1))));
    assert_eq!(later.get().expect("all are multiplied"), [6, 20]);
}

/// Tells the executor to look again.
struct Nudge(Sender<()>);

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        // An executor that is gone wants no nudges.
        self.0.send(()).unwrap_or_default();
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let (nudge, nudged) = channel();
    let waker = Waker::from(Arc::new(Nudge(nudge)));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        nudged.recv_timeout(DEADLINE).expect("it goes on");
    }
}

pub(crate) fn a_result_is_a_future() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));
    let results: Vec<_> = (0..200).map(|x| pool.apply_async(square, x).expect("there is room")).collect();
    let many = pool.map_async(square, 0..1000).expect("there is room");

    let squares = run(async {
        let mut squares = Vec::new();
        for result in results {
            squares.push(result.await.expect("it is squared"));
        }
        squares
    });

    assert!(squares.into_iter().eq((0..200).map(|x| x * x)));
    assert_eq!(run(many).expect("all are squared").len(), 1000);
}

pub(crate) fn a_wait_may_be_limited() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 1));
    let item = held_item(&sandbox, "held");

    let result = pool.apply_async(hold, item.clone()).expect("there is room");
    let result = result.get_timeout(Duration::from_millis(20)).expect_err("it is held");
    assert!(!result.wait_timeout(Duration::ZERO).expect("this is the pool's process"));
    assert_eq!((result.ready(), result.successful()), (false, None));
    pid_of_holder(&sandbox, "held");
    sandbox.release("held");
    result.wait().expect("this is the pool's process");

    assert_eq!((result.ready(), result.successful()), (true, Some(true)));
    assert_eq!(result.get().expect("it was let go"), item);
}

pub(crate) fn many_threads_share_a_pool() {
    let sandbox = Sandbox::new();
    let pool = built(of(&sandbox, 2));

    thread::scope(|scope| {
        for number in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for x in 0..300 {
                    assert_eq!(pool.apply(square, x + number).expect("it is squared"), (x + number).pow(2));
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(pool.map(square, 0..30_000).expect("all are squared").len(), 30_000));
        }
    });
}
