//! What is put is got, once.

use std::collections::BTreeMap;

use poolctl::{Event, JoinableQueue, Lock, Queue, QueueError};
use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::fixture::{comes, kill, pool, started, stay, wait};

/// The end of what there is.
const END: u64 = u64::MAX;

#[poolctl::task]
fn put_all(queue: Queue<(u64, String)>, first: u64, count: u64) {
    for number in first..first + count {
        queue.put(&(number, format!("number {number}"))).expect("there comes room");
    }
}

#[poolctl::task]
fn get_all(queue: Queue<(u64, String)>) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        let (number, text) = queue.get().expect("there comes one");
        if number == END {
            return got;
        }
        assert_eq!(text, format!("number {number}"));
        got.push(number);
    }
}

pub(crate) fn what_producers_put_consumers_get_once() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 4);
    // So small that it is often full.
    let queue = Queue::with_capacity(4096).expect("there is room");

    let got = pool.map_async(get_all, [queue.clone(), queue.clone()]).expect("there is room");
    pool.map(put_all, [(queue.clone(), 0, 3000), (queue.clone(), 3000, 3000)]).expect("there comes room");
    for _ in 0..2 {
        queue.put(&(END, String::new())).expect("there comes room");
    }

    let got = got.get().expect("all is got");
    for numbers in &got {
        let of = |range: std::ops::Range<u64>| numbers.iter().filter(move |number| range.contains(number));
        assert!(of(0..3000).is_sorted() && of(3000..6000).is_sorted(), "each producer's are in order");
    }
    let mut all = got.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..6000));
}

pub(crate) fn a_queue_gives_back_what_does_not_fit() {
    let queue = Queue::with_capacity(1024).expect("there is room");

    let text = "x".repeat(100);
    let count = (0..).take_while(|_| queue.try_put(&text).expect("it fits an empty one")).count();

    assert!((5..=9).contains(&count), "{count} texts of 100 bytes fit 1024");
    let limit = std::time::Duration::from_millis(10);
    assert!(matches!(queue.put_timeout(&text, limit), Err(QueueError::TimedOut)));
    assert!(matches!(queue.put(&"x".repeat(2000)), Err(QueueError::TooLong { most: 1016, .. })));
    for _ in 0..count {
        assert_eq!(queue.get().expect("it is there"), text);
    }
    assert!(queue.try_get().expect("it works").is_none() && queue.is_empty());
}

#[poolctl::task]
fn work_off(queue: JoinableQueue<u64>, done: poolctl::Value<u64>) {
    while let Ok(number) = queue.get_timeout(DEADLINE) {
        if number == END {
            queue.task_done().expect("it was got");
            return;
        }
        done.update(|sum| sum + number);
        queue.task_done().expect("it was got");
    }
}

pub(crate) fn a_joined_queue_is_done() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 2);
    let queue = JoinableQueue::new().expect("there is room");
    let done = poolctl::Value::new(0).expect("there is room");
    let workers =
        pool.map_async(work_off, (0..2).map(|_| (queue.clone(), done.clone()))).expect("there is room");

    (1..=1000).for_each(|number| queue.put(&number).expect("there is room"));
    assert!(queue.join_timeout(DEADLINE).expect("this thread has an entry"), "all is done in time");

    assert_eq!(done.load(), 1000 * 1001 / 2);
    assert_eq!(queue.unfinished(), 0);
    assert!(matches!(queue.task_done(), Err(poolctl::NothingUnfinished)));
    (0..2).for_each(|_| queue.put(&END).expect("there is room"));
    workers.get().expect("they end");
    queue.join().expect("nothing is left");
}

pub(crate) fn what_is_put_while_others_are_done_is_counted() {
    const COUNT: u64 = 100_000;
    let queue = JoinableQueue::new().expect("there is room");
    let got = poolctl::Value::new(0_u64).expect("there is room");

    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while got.load() < COUNT {
                    if queue.try_get().expect("it works").is_some() {
                        got.update(|got| got + 1);
                        queue.task_done().expect("it was counted before it could be got");
                    }
                }
            });
        }
        (0..COUNT).for_each(|number| queue.put(&number).expect("there comes room"));
        assert!(queue.join_timeout(DEADLINE).expect("this thread has an entry"), "all is done in time");
        assert_eq!(got.load(), COUNT, "nothing was left when all was done");
    });
}

pub(crate) fn who_finds_nothing_has_found_an_empty_queue() {
    for _ in 0..10 {
        let queue = Queue::new().expect("there is room");
        (0..20_000_u32).for_each(|number| queue.put(&number).expect("there is room"));

        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while queue.try_get().expect("it works").is_some() {}
                    assert!(queue.is_empty(), "there are still some");
                });
            }
        });
    }
}

#[poolctl::task]
fn put_for_ever(queue: Queue<(u32, Vec<u32>)>, whose: u32, there: Event) {
    for number in 0.. {
        queue.put(&(whose, vec![number; 50])).expect("there comes room");
        there.set();
    }
}

pub(crate) fn a_killed_producer_tears_nothing() {
    let sandbox = Sandbox::new();
    let queue = Queue::with_capacity(16 << 10).expect("there is room");
    let mut last = BTreeMap::<u32, u32>::new();
    let mut take = |(whose, numbers): (u32, Vec<u32>)| {
        assert!(numbers.len() == 50 && numbers.iter().all(|number| *number == numbers[0]), "it is torn");
        let before = last.insert(whose, numbers[0]);
        assert_eq!(before.map_or(0, |before| before + 1), numbers[0], "each comes once, and none is missing");
    };

    for whose in 0..20 {
        let there = Event::new().expect("there is room");
        let producer = started(&sandbox, put_for_ever, (queue.clone(), whose, there.clone()));
        comes(&there, "it puts");
        (0..100).for_each(|_| take(queue.get_timeout(DEADLINE).expect("there comes one")));
        kill(&producer);
        while let Some(left) = queue.try_get().expect("it works, whoever died") {
            take(left);
        }
    }
    assert_eq!(last.len(), 20);
}

pub(crate) fn handles_do_not_travel_through_a_queue() {
    let queue = Queue::new().expect("there is room");

    let put = queue.put(&Lock::new().expect("there is room"));

    assert!(matches!(put, Err(QueueError::Handle)), "{put:?}");
    assert!(queue.is_empty());
}

#[poolctl::task]
fn get_and_wait(queue: JoinableQueue<u32>, count: usize, there: Event) {
    let got = (0..count).map(|_| queue.get().expect("there comes one")).sum::<u32>();
    assert!(got > 0);
    stay(&there);
}

pub(crate) fn who_joins_is_told_what_was_in_the_hands_of_the_dead() {
    let sandbox = Sandbox::new();
    let queue = JoinableQueue::new().expect("there is room");
    (1..=5).for_each(|number| queue.put(&number).expect("there is room"));

    let theirs: Vec<_> = [2, 1]
        .into_iter()
        .map(|count| {
            let there = Event::new().expect("there is room");
            let consumer = started(&sandbox, get_and_wait, (queue.clone(), count, there.clone()));
            comes(&there, "it has them");
            consumer
        })
        .collect();
    assert_eq!((queue.len(), queue.unfinished(), queue.abandoned()), (2, 5, 0));
    kill(&theirs[0]);
    wait_until(DEADLINE, "what it had is abandoned", || queue.abandoned() == 2);

    // What this process gets it does; what is left is in the hand of one who lives.
    while queue.try_get().expect("it works").is_some() {
        queue.task_done().expect("it was got");
    }
    let short = std::time::Duration::from_millis(20);
    assert!(!queue.join_timeout(short).expect("one of them lives"), "that one has not done it");
    std::thread::scope(|scope| {
        let joined = scope.spawn(|| queue.join());
        wait(1, || queue.waiters().len());
        kill(&theirs[1]);
        let error = joined.join().expect("it does not panic").expect_err("nobody can finish it");
        assert!(matches!(error, poolctl::JoinError::Abandoned { count: 3 }), "{error}");
    });

    assert_eq!(queue.forget_abandoned(), 3);
    queue.join().expect("nothing is left");
    assert_eq!((queue.unfinished(), queue.abandoned()), (0, 0));
}

#[poolctl::task]
fn do_one(queue: JoinableQueue<u32>) {
    queue.task_done().expect("somebody got one");
}

pub(crate) fn what_one_process_got_another_may_do() {
    let sandbox = Sandbox::new();
    let queue = JoinableQueue::new().expect("there is room");
    queue.put(&1).expect("there is room");
    assert_eq!(queue.get().expect("it is there"), 1);

    let child = started(&sandbox, do_one, queue.clone());
    child.join().expect("it ends");

    assert_eq!(queue.unfinished(), 0);
    assert!(queue.join_timeout(DEADLINE).expect("nobody died with one"));
}
