//! Waiting for others, whoever dies.

use poolctl::{Barrier, BarrierError, Condition, Event, Lock, RLock, Value};
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
        changed.wait_for(&mut guard, |_| slot.load() == 0).expect("nobody dies");
        slot.store(number);
        changed.notify_all().expect("this is the process");
    }
}

#[poolctl::task]
fn consume(lock: Lock, changed: Condition, slot: Value<i64>, count: i64) -> i64 {
    let mut sum = 0;
    for _ in 0..count {
        let mut guard = lock.acquire().expect("nobody dies");
        changed.wait_for(&mut guard, |_| slot.load() != 0).expect("nobody dies");
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
    changed.wait_for(&mut guard, |_| false).expect("nobody dies");
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

#[poolctl::task]
fn count_down(rest: Value<u32>, changed: Condition) {
    for _ in 0..100 {
        let mut rest = rest.lock().expect("nobody keeps it");
        changed.wait_for(&mut rest, |rest| **rest % 2 == 0).expect("nobody dies");
        *rest -= 1;
        changed.notify_all().expect("this thread has an entry");
    }
}

pub(crate) fn a_condition_waits_with_a_locked_value() {
    let sandbox = Sandbox::new();
    let (rest, changed) = (Value::new(200).expect("there is room"), Condition::new().expect("there is room"));
    let process = started(&sandbox, count_down, (rest.clone(), changed.clone()));

    for _ in 0..100 {
        let mut rest = rest.lock().expect("nobody keeps it");
        let came = changed.wait_for_timeout(&mut rest, DEADLINE, |rest| **rest % 2 == 1);
        assert!(came.expect("nobody dies"), "the other one took its turn");
        *rest -= 1;
        changed.notify_all().expect("this thread has an entry");
    }
    process.join().expect("it ends");
    assert_eq!(rest.load(), 0);
    let short = std::time::Duration::from_millis(10);
    let mut rest = rest.lock().expect("nobody keeps it");
    assert!(!changed.wait_for_timeout(&mut rest, short, |rest| **rest > 0).expect("nobody dies"));
}

#[poolctl::task]
fn say_so(lock: RLock, said: Event, changed: Condition) {
    let _guard = lock.acquire().expect("it is given back while the other one waits");
    said.set();
    changed.notify_all().expect("this thread has an entry");
}

pub(crate) fn a_condition_gives_a_recursive_lock_back_however_often_it_was_taken() {
    let sandbox = Sandbox::new();
    let (lock, said) = (RLock::new().expect("there is room"), Event::new().expect("there is room"));
    let changed = Condition::new().expect("there is room");
    let _once = lock.acquire().expect("it is free");
    let mut again = lock.acquire().expect("it is this thread's");

    let process = started(&sandbox, say_so, (lock.clone(), said.clone(), changed.clone()));
    let came = changed.wait_for_timeout(&mut again, DEADLINE, |_| said.is_set());

    assert!(came.expect("nobody dies"), "it was given back");
    assert_eq!(lock.depth(), 2);
    process.join().expect("it ends");
}
