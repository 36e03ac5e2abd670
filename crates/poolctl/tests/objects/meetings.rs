//! Waiting for others, whoever dies.

use poolctl::{Barrier, BarrierError, Condition, Event, Lock, Value};
use poolctl_testkit::{DEADLINE, Sandbox};

use crate::fixture::{comes, kill, pool, started, stay, wait};

#[poolctl::task]
fn await_event(event: Event) -> bool {
    event.wait_timeout(DEADLINE).expect("this thread has an entry")
}

pub(crate) fn an_event_wakes_all() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 3);
    let event = Event::new().expect("there is room");

    let all = pool.map_async(await_event, (0..3).map(|_| event.clone())).expect("there is room");
    wait(3, || event.waiters().len());
    event.set();

    assert_eq!(all.get().expect("all are woken"), [true; 3]);
    event.clear();
    assert!(!event.is_set());
}

#[poolctl::task]
fn produce(lock: Lock, changed: Condition, slot: Value<i64>, count: i64) {
    for number in 1..=count {
        let mut guard = lock.acquire().expect("nobody dies");
        changed.wait_for(&mut guard, || slot.load() == 0).expect("nobody dies");
        slot.store(number);
        changed.notify_all().expect("this is the process");
    }
}

#[poolctl::task]
fn consume(lock: Lock, changed: Condition, slot: Value<i64>, count: i64) -> i64 {
    let mut sum = 0;
    for _ in 0..count {
        let mut guard = lock.acquire().expect("nobody dies");
        changed.wait_for(&mut guard, || slot.load() != 0).expect("nobody dies");
        sum += slot.load();
        slot.store(0);
        changed.notify_all().expect("this is the process");
    }
    sum
}

pub(crate) fn a_condition_hands_over() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 2);
    let lock = Lock::new().expect("there is room");
    let changed = Condition::new().expect("there is room");
    let slot = Value::new(0_i64).expect("there is room");

    let given = (lock.clone(), changed.clone(), slot.clone(), 500);
    let produced = pool.apply_async(produce, given.clone()).expect("there is room");
    let consumed = pool.apply(consume, given).expect("nothing goes wrong");

    produced.get().expect("nothing goes wrong");
    assert_eq!(consumed, 500 * 501 / 2);
}

#[poolctl::task]
fn meet(barrier: Barrier, arrived: Value<u64>, times: u64) -> bool {
    (1..=times).all(|time| {
        arrived.update(|arrived| arrived + 1);
        barrier.wait().expect("nobody dies");
        let all = arrived.load() >= u64::from(barrier.parties()) * time;
        barrier.wait().expect("nobody dies");
        all
    })
}

pub(crate) fn a_barrier_lets_all_go_on_together() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 3);
    let barrier = Barrier::new(3).expect("there is room");
    let arrived = Value::new(0).expect("there is room");

    let all = pool.map(meet, (0..3).map(|_| (barrier.clone(), arrived.clone(), 50)));

    assert_eq!(all.expect("nothing goes wrong"), [true; 3]);
}

#[poolctl::task]
fn join_and_stay(barrier: Barrier, there: Event) {
    assert!(barrier.join().expect("this thread has an entry"));
    stay(&there);
}

pub(crate) fn a_dead_party_breaks_the_barrier() {
    let sandbox = Sandbox::new();
    let (barrier, there) = (Barrier::new(2).expect("there is room"), Event::new().expect("there is room"));
    let process = started(&sandbox, join_and_stay, (barrier.clone(), there.clone()));
    comes(&there, "it is a party");

    let waiting = std::thread::spawn({
        let barrier = barrier.clone();
        move || barrier.wait()
    });
    wait(1, || barrier.waiting());
    kill(&process);

    assert!(matches!(waiting.join().expect("it does not panic"), Err(BarrierError::Broken)));
    assert!(barrier.is_broken());
    barrier.reset();
    assert!(!barrier.is_broken());
}

#[poolctl::task]
fn wait_for_ever(lock: Lock, changed: Condition) {
    let mut guard = lock.acquire().expect("it is free");
    changed.wait_for(&mut guard, || false).expect("nobody dies");
}

pub(crate) fn a_dead_waiter_blocks_no_notification() {
    let sandbox = Sandbox::new();
    let (lock, changed) = (Lock::new().expect("there is room"), Condition::new().expect("there is room"));
    let process = started(&sandbox, wait_for_ever, (lock.clone(), changed.clone()));
    wait(1, || changed.waiters().len());
    let waiting = std::thread::spawn({
        let (lock, changed) = (lock.clone(), changed.clone());
        move || changed.wait(&mut lock.acquire().expect("it is free")).expect("it is notified")
    });
    wait(2, || changed.waiters().len());

    kill(&process);
    let guard = lock.acquire().expect("it is free");
    changed.notify_all().expect("this is the process");
    drop(guard);

    waiting.join().expect("it does not panic");
}
