//! Pools of threads: one task at a time, and the pool's own life.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use poolctl::{TaskError, ThreadPool, ThreadResult, ThreadStartError};
use poolctl_testkit::{DEADLINE, wait_until};
use poolctl_worker::{set_state, with_state};

use crate::tasks::{begin_counting, call, calls, half, panics, product, square, whereabouts};

/// A task that says when it runs, and goes on when it is let.
fn held(pool: &ThreadPool) -> (ThreadResult<()>, Sender<()>) {
    let (begun, begins) = channel();
    let (release, released) = channel();
    let result = pool.run_async(move || {
        begun.send(()).expect("the test waits for it");
        wait_for(&released);
    });
    begins.recv_timeout(DEADLINE).expect("a thread is free");
    (result.expect("the pool is open"), release)
}

fn wait_for(released: &Receiver<()>) {
    // A dropped sender lets it go as well.
    released.recv_timeout(DEADLINE).unwrap_or_default();
}

fn pool(workers: u32) -> ThreadPool {
    ThreadPool::new(workers).expect("threads start")
}

pub(crate) fn a_closure_gives_its_result() {
    let pool = pool(2);
    let base = 40;

    let result = pool.run(move || (base + 2, thread::current().name().map(str::to_owned)));

    let (sum, name) = result.expect("it does not panic");
    assert_eq!(sum, 42);
    assert!(name.as_deref().is_some_and(|name| name.starts_with("poolctl-thread-")), "{name:?}");
}

pub(crate) fn a_task_gives_its_result() {
    let pool = pool(2);

    assert_eq!(pool.apply(square, 7).expect("it does not fail"), 49);
    assert_eq!(pool.apply(product, (6, 7)).expect("it does not fail"), 42);
    assert_eq!(pool.apply_async(half, 8).expect("the pool is open").get().expect("8 is even"), 4);
    let error = pool.apply(half, 3).expect_err("3 is odd");
    assert!(matches!(&error, TaskError::Failed { message, .. } if message == "3 is odd"), "{error:?}");
}

pub(crate) fn a_panic_is_an_error_and_the_thread_goes_on() {
    let pool = pool(1);

    let task = pool.apply(panics, "from a task".to_owned()).expect_err("it panics");
    let closure = pool.run(|| panic!("from a closure {}", 1)).expect_err("it panics");

    assert!(matches!(&task, TaskError::Panicked { message, .. } if message == "from a task"), "{task:?}");
    assert!(
        matches!(&closure, TaskError::Panicked { message, .. } if message == "from a closure 1"),
        "{closure:?}"
    );
    assert_eq!(pool.run(|| 1).expect("the thread goes on"), 1);
}

pub(crate) fn a_callback_runs_before_the_result_is_given() {
    let pool = pool(2);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let seen = Arc::clone(&seen);
        move |outcome: &dyn std::fmt::Display| {
            seen.lock().expect("nobody panics").push(format!("{what} {outcome}"))
        }
    };
    let noted = |x: i64| {
        let (ok, error) = (note("result"), note("error"));
        let result = pool.apply_async_with(half, x, move |it| ok(it), move |why| error(why));
        result.expect("the pool is open").get()
    };

    let (good, bad) = (noted(8), noted(3));
    let result = pool.apply_async_with(square, 2, |_| panic!("in the callback"), |_| ());

    assert!(good.is_ok() && bad.is_err());
    assert_eq!(*seen.lock().expect("nobody panics"), ["result 4", "error Error: 3 is odd"]);
    assert_eq!(result.expect("the pool is open").get().expect("a callback changes nothing"), 4);
}

pub(crate) fn a_wait_may_be_limited() {
    let pool = pool(1);
    let (result, release) = held(&pool);

    assert_eq!((result.ready(), result.successful()), (false, None));
    assert!(!result.wait_timeout(Duration::from_millis(1)).expect("no fork"));
    let result = result.get_timeout(Duration::ZERO).expect_err("it is held");
    release.send(()).expect("it waits for that");
    assert!(result.wait_timeout(DEADLINE).expect("no fork"));
    assert_eq!((result.ready(), result.successful()), (true, Some(true)));
    result.get_timeout(Duration::ZERO).expect("it has ended").expect("it does not panic");
}

pub(crate) fn a_waiting_task_is_cancelled_and_a_running_one_is_not() {
    let pool = pool(1);
    let (running, release) = held(&pool);
    let waiting = pool.apply_async(square, 3).expect("the pool is open");
    let kept = pool.apply_async(square, 4).expect("the pool is open");

    running.cancel().expect("no fork");
    waiting.cancel().expect("no fork");

    assert_eq!((running.ready(), waiting.successful()), (false, Some(false)));
    assert!(matches!(waiting.get(), Err(TaskError::Cancelled)));
    drop(release);
    running.get().expect("what runs goes on");
    assert_eq!(kept.get().expect("it was not cancelled"), 16);
}

pub(crate) fn a_task_may_wait_for_tasks_of_its_own_pool() {
    fn fibonacci(pool: &Arc<ThreadPool>, n: u64) -> u64 {
        if n < 2 {
            return n;
        }
        let inner = Arc::clone(pool);
        let one = pool.run_async(move || fibonacci(&inner, n - 1)).expect("the pool is open");
        let inner = Arc::clone(pool);
        let two = pool.run(move || fibonacci(&inner, n - 2)).expect("it does not panic");
        one.get().expect("it does not panic") + two
    }
    let pool = Arc::new(ThreadPool::builder().workers(2).window(1).build().expect("threads start"));
    let inner = Arc::clone(&pool);

    let result = pool.run(move || (fibonacci(&inner, 12), inner.map(square, 0..5).expect("no task fails")));

    assert_eq!(result.expect("it does not panic"), (144, vec![0, 1, 4, 9, 16]));
}

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn a_result_is_a_future() {
    let pool = pool(1);
    let (result, release) = held(&pool);
    let mut result = pin!(result);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);

    let early = result.as_mut().poll(&mut context);
    release.send(()).expect("it waits for that");
    wait_until(DEADLINE, "the future is woken", || count.0.load(Ordering::SeqCst) == 1);

    assert!(matches!(early, Poll::Pending));
    assert!(matches!(result.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
}

pub(crate) fn every_thread_runs_the_initializer() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);

    let pool = ThreadPool::builder()
        .workers(3)
        .thread_name("reader")
        .initializer_fn(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .expect("threads start");

    assert_eq!(runs.load(Ordering::SeqCst), 3);
    let name = pool.run(|| thread::current().name().map(str::to_owned)).expect("it does not panic");
    assert!(name.as_deref().is_some_and(|name| name.starts_with("reader-")), "{name:?}");
    drop(
        ThreadPool::builder().workers(1).initializer(square, 3).build().expect("a task initialises as well"),
    );
}

pub(crate) fn a_failed_initializer_is_told() {
    let panicked = ThreadPool::builder().workers(2).initializer_fn(|| panic!("not today")).build();
    let failed = ThreadPool::builder().workers(2).initializer(half, 3).build();

    let text = |failed: Result<ThreadPool, ThreadStartError>| match failed {
        Err(ThreadStartError::Initializer(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text(panicked).contains("not today"));
    assert!(text(failed).contains("3 is odd"));
    assert!(matches!(ThreadPool::new(0), Err(ThreadStartError::NoThreads)));
}

pub(crate) fn a_thread_has_its_state_and_ends_with_a_result() {
    let builder = ThreadPool::builder().workers(1).initializer(begin_counting, 10);
    let pool = builder.exit_function(calls, ()).build().expect("threads start");

    assert_eq!(pool.apply(call, ()).expect("it counts"), 11);
    assert_eq!(pool.apply(call, ()).expect("it counts"), 12);
    let early = pool.exit_results(calls).expect("no fork");
    pool.join().expect("no fork");
    let results = pool.exit_results(calls).expect("no fork");

    assert!(early.is_empty());
    let results: Vec<u32> = results.into_iter().map(|(_, result)| result.expect("it has a state")).collect();
    assert_eq!(results, [12]);
}

/// Tells, when it is dropped, that it can still look for other states.
struct Parting(Sender<bool>);

impl Drop for Parting {
    fn drop(&mut self) {
        let has_another = with_state(|_: &mut u8| ()).is_ok();
        self.0.send(has_another).expect("the test waits");
    }
}

pub(crate) fn a_state_is_dropped_in_good_order() {
    let (tell, told) = channel();
    let pool = pool(1);
    pool.run(move || set_state(Parting(tell))).expect("it does not panic");

    pool.join().expect("no fork");

    assert_eq!(told.try_recv(), Ok(false));
}

pub(crate) fn a_task_knows_where_it_runs() {
    let pool = pool(2);

    let places = pool.map(whereabouts, 0..100).expect("no task fails");

    let items: Vec<u64> = places.iter().flatten().map(|(item, _)| *item).collect();
    assert_eq!(items, (0..100).collect::<Vec<_>>());
    assert!(places.iter().flatten().all(|(_, slot)| *slot < 2), "{places:?}");
    assert_eq!(poolctl_worker::current(), None);
}

pub(crate) fn a_pool_grows_and_shrinks() {
    let pool = pool(1);
    let (first, release_first) = held(&pool);

    pool.resize(2).expect("a thread starts");
    let (second, release_second) = held(&pool);
    pool.resize(1).expect("there are enough");

    assert_eq!(pool.workers(), 1);
    drop(release_first);
    first.get().expect("it goes on");
    // One of the two threads has ended: what comes now waits for the other.
    let third = pool.apply_async(square, 5).expect("the pool is open");
    assert!(!third.wait_timeout(Duration::from_millis(50)).expect("no fork"), "there are two threads still");
    drop(release_second);
    second.get().expect("it goes on");
    assert_eq!(third.get().expect("it does not fail"), 25);
}

pub(crate) fn a_closed_pool_ends_what_it_has() {
    let pool = pool(1);
    let (running, release) = held(&pool);
    let waiting = pool.apply_async(square, 3).expect("the pool is open");

    pool.close().expect("no fork");

    assert!(matches!(pool.apply(square, 1), Err(TaskError::PoolClosed)));
    assert!(matches!(pool.map(square, [1]), Err(error) if matches!(error.source, TaskError::PoolClosed)));
    assert!(matches!(pool.imap(square, [1]).next(), Some(Err(TaskError::PoolClosed))));
    assert!(matches!(pool.resize(2), Err(ThreadStartError::Refused(TaskError::PoolClosed))));
    drop(release);
    pool.join().expect("no fork");
    assert_eq!((running.successful(), waiting.get().expect("it was handed in before")), (Some(true), 9));
}

pub(crate) fn a_terminated_pool_cancels_what_waits() {
    let pool = pool(1);
    let (running, release) = held(&pool);
    let waiting = pool.apply_async(square, 3).expect("the pool is open");
    let many = pool.map_async(square, 0..10).expect("the pool is open");

    pool.terminate().expect("no fork");

    assert!(matches!(waiting.get(), Err(TaskError::Cancelled)));
    let error = many.get().expect_err("nothing of it was begun");
    assert!(matches!(error.source, TaskError::Cancelled) && error.item == 0, "{error:?}");
    drop(release);
    pool.join().expect("no fork");
    running.get().expect("what runs goes on");
}

pub(crate) fn a_dropped_pool_has_no_thread_left() {
    let pool = Arc::new(pool(3));
    let (running, release) = held(&pool);
    let waiting = [(); 2].map(|()| held(&pool).1);
    drop((release, waiting));

    drop(Arc::into_inner(pool).expect("nobody else has it"));

    let named = |name: &String| name.trim_end().starts_with("poolctl-thread");
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is there").flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    assert_eq!(names.filter(named).count(), 0);
    running.get().expect("it went on");
}

pub(crate) fn a_full_window_blocks() {
    let pool = ThreadPool::builder().workers(1).window(2).build().expect("threads start");
    let (running, release) = held(&pool);
    let fill = [(); 2].map(|()| pool.apply_async(square, 3).expect("there is room"));
    let (handed, hands_in) = channel();

    thread::scope(|scope| {
        scope.spawn(|| {
            let third = pool.apply_async(square, 4).expect("the pool is open");
            handed.send(()).expect("the test waits for it");
            assert_eq!(third.get().expect("it does not fail"), 16);
        });
        let early = hands_in.recv_timeout(Duration::from_millis(50));
        assert!(early.is_err(), "the window is full");
        fill[0].cancel().expect("no fork");
        drop(release);
        hands_in.recv_timeout(DEADLINE).expect("there is room now");
    });
    running.get().expect("it goes on");
}
