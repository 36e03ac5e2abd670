//! Pools of threads: many items.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use poolctl::{TaskError, ThreadPool};
use poolctl_testkit::{DEADLINE, pass};

use crate::tasks::{half, product, square};

fn pool(workers: u32) -> ThreadPool {
    ThreadPool::new(workers).expect("threads start")
}

pub(crate) fn results_come_in_the_order_of_items() {
    let pool = pool(3);
    let squares: Vec<i64> = (0..1000).map(|x| x * x).collect();
    let pairs = (0..1000).map(|x| (x, x));

    assert_eq!(pool.map(square, 0..1000).expect("no task fails"), squares);
    assert_eq!(pool.starmap(product, pairs.clone()).expect("no task fails"), squares);
    assert_eq!(pool.starmap_async(product, pairs).expect("open").get().expect("no task fails"), squares);
    assert_eq!(pool.map_fn(|x: i64| x * x, 0..1000).expect("nothing panics"), squares);
    assert_eq!(pool.imap(square, 0..1000).collect::<Result<Vec<_>, _>>().expect("no task fails"), squares);
    let imap = pool.imap_fn(|x: i64| x * x, 0..1000).collect::<Result<Vec<_>, _>>();
    assert_eq!(imap.expect("nothing panics"), squares);
}

pub(crate) fn a_map_runs_everything_and_tells_the_first_error() {
    let pool = pool(2);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);

    let failed = pool.map(half, [0, 2, 3, 4, 5]);
    let panicked = pool.map_fn(
        move |x: usize| {
            counted.fetch_add(1, Ordering::SeqCst);
            assert!(x % 30 != 17, "{x} is bad");
        },
        0..100,
    );

    let failed = failed.expect_err("3 is odd");
    assert_eq!(failed.item, 2);
    assert!(
        matches!(&failed.source, TaskError::Failed { message, .. } if message == "3 is odd"),
        "{failed:?}"
    );
    let panicked = panicked.expect_err("17 is bad");
    assert_eq!(panicked.item, 17);
    assert!(
        matches!(&panicked.source, TaskError::Panicked { message, .. } if message == "17 is bad"),
        "{panicked:?}"
    );
    assert_eq!(runs.load(Ordering::SeqCst), 100);
}

pub(crate) fn a_map_may_be_awaited_and_called_back() {
    let pool = pool(2);
    let (told, tells) = channel();
    let told_error = told.clone();
    let note = move |text: String| told.send(text).expect("the test waits");
    let note_error = move |text: String| told_error.send(text).expect("the test waits");

    let many = pool.map_async_with(
        half,
        [0, 2, 4],
        move |halves| note(format!("{halves:?}")),
        move |error| note_error(error.to_string()),
    );

    assert_eq!(many.expect("the pool is open").get().expect("all are even"), [0, 1, 2]);
    assert_eq!(tells.try_recv().as_deref(), Ok("[0, 1, 2]"), "it was called before");
}

pub(crate) fn no_items_give_no_results() {
    let pool = pool(2);

    assert!(pool.map(square, []).expect("nothing fails").is_empty());
    assert!(pool.imap(square, []).next().is_none());
    assert!(pool.map_async(square, []).expect("the pool is open").ready());
}

pub(crate) fn a_slice_is_mapped() {
    let pool = pool(2);
    let numbers: Vec<i64> = (0..10_000).collect();

    let mut squares = vec![0; numbers.len()];
    pool.map_slice(square, &numbers, &mut squares).expect("no task fails");

    assert_eq!(squares, numbers.iter().map(|x| x * x).collect::<Vec<_>>());
}

pub(crate) fn an_endless_input_is_taken_as_it_is_wanted() {
    let pool = ThreadPool::builder().workers(2).window(16).build().expect("threads start");
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let items = (0_i64..).inspect(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });

    let first: Vec<i64> =
        pool.imap(square, items).take(100).map(|outcome| outcome.expect("no task fails")).collect();

    assert_eq!(first, (0..100).map(|x| x * x).collect::<Vec<_>>());
    assert!(taken.load(Ordering::SeqCst) <= 100 + 16, "{taken:?}");
}

pub(crate) fn outcomes_come_as_they_end() {
    let pool = pool(2);
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let wait_for_first = move |x: i64| {
        if x == 0 {
            released.lock().expect("nobody panics").recv_timeout(DEADLINE).unwrap_or_default();
        }
        x
    };
    let mut outcomes = pool.imap_unordered_fn(wait_for_first, 0..10);

    let early: Vec<i64> = outcomes.by_ref().take(9).map(|outcome| outcome.expect("nothing panics")).collect();
    drop(release);
    let last = outcomes.next().expect("one is left").expect("nothing panics");

    assert_eq!((early, last), ((1..10).collect(), 0));
    assert!(outcomes.next().is_none());
    let mut all: Vec<i64> =
        pool.imap_unordered(square, 0..100).map(|one| one.expect("no task fails")).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).map(|x| x * x).collect::<Vec<_>>());
}

pub(crate) fn a_failed_item_keeps_its_place() {
    let pool = pool(2);

    let outcomes: Vec<Option<i64>> = pool.imap(half, 0..6).map(Result::ok).collect();

    assert_eq!(outcomes, [Some(0), None, Some(1), None, Some(2), None]);
}

pub(crate) fn the_rest_of_a_dropped_iteration_is_not_run() {
    let pool = pool(1);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let (begun, begins) = channel();
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let run = move |x: i64| {
        counted.fetch_add(1, Ordering::SeqCst);
        if x == 1 {
            begun.send(()).expect("the test waits");
            released.lock().expect("nobody panics").recv_timeout(DEADLINE).unwrap_or_default();
        }
    };

    let mut outcomes = pool.imap_fn(run, 0..1000);
    outcomes.next().expect("there are many").expect("nothing panics");
    begins.recv_timeout(DEADLINE).expect("the second is begun");
    drop(outcomes);
    drop(release);

    pool.join().expect("no fork");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

pub(crate) fn a_closed_pool_takes_no_further_item() {
    let pool = ThreadPool::builder().workers(1).window(4).build().expect("threads start");
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let wait_at_two = move |x: i64| {
        if x == 2 {
            released.lock().expect("nobody panics").recv_timeout(DEADLINE).unwrap_or_default();
        }
        x
    };
    let mut outcomes = pool.imap_fn(wait_at_two, 0..);
    for _ in 0..2 {
        outcomes.next().expect("there are many").expect("nothing panics");
    }

    pool.close().expect("no fork");
    let releasing = std::thread::spawn(move || {
        // Item 3 still waits behind item 2 when the next is to be handed in.
        pass(Duration::from_millis(50));
        drop(release);
    });
    let rest: Vec<String> = outcomes.map(|outcome| format!("{outcome:?}")).collect();

    assert_eq!(rest, ["Ok(2)", "Ok(3)", "Err(PoolClosed)"]);
    releasing.join().expect("it does not panic");
}

pub(crate) fn a_task_may_iterate_over_its_own_pool() {
    let pool = Arc::new(pool(1));
    let inner = Arc::clone(&pool);

    let sum = pool.run(move || {
        let squares = inner.imap(square, 0..100).map(|one| one.expect("no task fails"));
        squares.sum::<i64>() + inner.map(square, [10]).expect("no task fails")[0]
    });

    assert_eq!(sum.expect("it does not panic"), 328_350 + 100);
}
