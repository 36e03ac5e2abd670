//! One at a time, whoever dies.

use poolctl::{Array, BoundedSemaphore, Event, Lock, LockError, LockedArray, RLock, Value};
use poolctl_testkit::{DEADLINE, Sandbox};

use crate::fixture::{comes, kill, pool, started, stay, wait};

#[poolctl::task]
fn count(counter: Value<i64>, times: i64) {
    for _ in 0..times {
        *counter.lock().expect("nobody waits for long") += 1;
    }
}

#[poolctl::task]
fn count_at_once(counter: Value<i64>, times: i64) {
    for _ in 0..times {
        counter.update(|before| before + 1);
    }
}

pub(crate) fn a_counter_under_a_lock_is_exact() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 3);
    let counter = Value::new(0_i64).expect("there is room");

    let items = (0..30).map(|_| (counter.clone(), 1000));
    pool.map(count, items).expect("nothing goes wrong");

    assert_eq!(*counter.lock().expect("it is free"), 30_000);
}

pub(crate) fn a_counter_without_the_lock_is_exact_too() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 3);
    let counter = Value::new(0_i64).expect("there is room");

    pool.map(count_at_once, (0..30).map(|_| (counter.clone(), 1000))).expect("nothing goes wrong");

    assert_eq!(counter.load(), 30_000);
}

#[poolctl::task]
fn pass_on(numbers: LockedArray<i64>, votes: Array<u32>, from: usize) -> i64 {
    votes.update(from, |votes| votes + 1);
    let numbers = numbers.lock().expect("nobody waits for long");
    numbers.update(from, |number| number - 1);
    numbers.update((from + 1) % numbers.len(), |number| number + 1);
    numbers.iter().sum()
}

pub(crate) fn an_array_under_a_lock_is_seen_whole() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 3);
    let numbers = LockedArray::from_slice(&[10_i64, 20, 30]).expect("there is room");
    let votes = Array::<u32>::new(3).expect("there is memory");

    let items = (0..3000).map(|at| (numbers.clone(), votes.clone(), at % 3));
    let sums = pool.map(pass_on, items).expect("nothing goes wrong");

    assert!(sums.iter().all(|sum| *sum == 60));
    assert_eq!(votes.to_vec(), [1000; 3], "a change in one step is never lost");
    assert_eq!(numbers.lock().expect("it is free").to_vec(), [10, 20, 30]);
}

#[poolctl::task]
fn die_inside(counter: Value<i64>) {
    let mut guard = counter.lock().expect("it is free");
    *guard = 7;
    std::mem::forget(guard);
    std::process::abort();
}

#[poolctl::task]
fn look(counter: Value<i64>) -> (bool, i64) {
    let guard = counter.lock().expect("its owner is dead");
    (guard.recovered(), *guard)
}

pub(crate) fn the_next_owner_is_told_of_a_worker_killed_inside() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 2);
    let counter = Value::new(5_i64).expect("there is room");

    pool.apply(die_inside, counter.clone()).expect_err("its worker dies");

    // Who is told of the end of the task finds the lock free.
    let mut guard = counter.lock().expect("its owner is dead");
    assert!(guard.recovered());
    assert_eq!(*guard, 5, "what was not put back was never there");
    drop(guard);
    assert_eq!(pool.apply(look, counter.clone()).expect("it looks"), (true, 5), "nobody has mended it");
    guard = counter.lock().expect("it is free");
    guard.make_consistent();
    drop(guard);
    assert_eq!(pool.apply(look, counter.clone()).expect("it looks"), (false, 5));
}

#[poolctl::task]
fn stay_inside(lock: Lock, there: Event) {
    let _guard = lock.acquire().expect("it is free");
    stay(&there);
}

pub(crate) fn the_next_owner_is_told_of_a_process_killed_inside() {
    let sandbox = Sandbox::new();
    let (lock, there) = (Lock::new().expect("there is room"), Event::new().expect("there is room"));
    let process = started(&sandbox, stay_inside, (lock.clone(), there.clone()));
    comes(&there, "it is inside");
    assert!(lock.try_acquire().expect("this thread has an entry").is_none());

    let waiting = std::thread::spawn({
        let lock = lock.clone();
        move || lock.acquire().expect("its owner dies").recovered()
    });
    wait(1, || lock.waiters().len());
    kill(&process);

    assert!(waiting.join().expect("it does not panic"));
    assert!(lock.acquire().expect("it is free").recovered(), "nobody has mended it");
    lock.acquire().expect("it is free").make_consistent();
    assert!(!lock.acquire().expect("it is free").recovered());
}

#[poolctl::task]
fn fill(value: Value<[u64; 40]>, with: u64) {
    for _ in 0..200 {
        let mut guard = value.lock().expect("nobody waits for long");
        assert!(guard.iter().all(|word| *word == guard[0]), "it is torn: {guard:?}");
        *guard = [with; 40];
    }
}

pub(crate) fn a_long_value_is_there_whole() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 3);
    let value = Value::new([0; 40]).expect("there is room");

    pool.map(fill, (0..12).map(|with| (value.clone(), with))).expect("it is never torn");
}

pub(crate) fn a_lock_knows_its_owner_and_its_waiters() {
    let sandbox = Sandbox::new();
    let (lock, there) = (Lock::new().expect("there is room"), Event::new().expect("there is room"));
    assert_eq!(lock.owner(), None);
    let process = started(&sandbox, stay_inside, (lock.clone(), there.clone()));
    comes(&there, "it is inside");

    let limit = std::time::Duration::from_millis(20);
    assert!(matches!(lock.acquire_timeout(limit), Err(LockError::TimedOut)));

    let owner = lock.owner().expect("it is held");
    assert_eq!(owner.participant.map(|owner| owner.pid), process.pid());
    assert!(owner.held_for() >= Some(limit), "who waits says since when");
    assert_eq!(lock.waiters(), []);
    kill(&process);
}

#[poolctl::task]
fn take_both(one: RLock, other: RLock) -> (u32, bool) {
    let first = one.acquire().expect("it is free");
    let second = other.acquire().expect("it is this thread's");
    let depth = one.depth();
    drop(second);
    let is_held = other.is_locked();
    drop(first);
    (depth, is_held && !one.is_locked())
}

pub(crate) fn a_recursive_lock_is_taken_again_by_any_handle() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 1);
    let lock = RLock::new().expect("there is room");

    assert_eq!(pool.apply(take_both, (lock.clone(), lock.clone())).expect("nothing goes wrong"), (2, true));
    let guard = lock.acquire().expect("it is free");
    assert_eq!(lock.depth(), 1);
    drop(guard);
    assert!(!lock.is_locked());
}

#[poolctl::task]
fn cross(first: Lock, second: Lock, inside: Event, other_inside: Event) -> Result<(), LockError> {
    let _first = first.acquire().expect("it is free");
    inside.set();
    assert!(other_inside.wait_timeout(DEADLINE).expect("this thread has an entry"));
    second.acquire().map(drop)
}

pub(crate) fn a_deadlock_of_two_processes_is_found_and_names_both() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 2);
    let new = || Lock::new().expect("there is room");
    let event = || Event::new().expect("there is room");
    let (one, two, in_one, in_two) = (new(), new(), event(), event());

    let here = (one.clone(), two.clone(), in_one.clone(), in_two.clone());
    let here = pool.apply_async(cross, here).expect("there is room");
    let there = pool.apply(cross, (two.clone(), one.clone(), in_two, in_one));
    let here = here.get();

    // One is told, and the other goes on.
    let told = match (here, there) {
        (Err(error), Ok(())) | (Ok(()), Err(error)) => error.to_string(),
        others => panic!("exactly one must be told: {others:?}"),
    };
    for lock in [&one, &two] {
        assert!(told.contains(&format!("holds lock {}", lock.number())), "{told}");
    }
    assert_eq!(told.matches("locks.rs:").count(), 4, "each place is named: {told}");
}

#[poolctl::task]
fn release(lock: Lock) {
    lock.release_from_anywhere().expect("it is held");
}

pub(crate) fn a_lock_may_be_given_back_from_elsewhere() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 1);
    let lock = Lock::new().expect("there is room").without_detection();

    lock.acquire().expect("it is free").keep();
    pool.apply(release, lock.clone()).expect("it is held");

    assert!(!lock.is_locked());
}

#[poolctl::task]
fn enter(room: BoundedSemaphore, inside: Value<i64>, most: Value<i64>) {
    for _ in 0..200 {
        let _permit = room.acquire().expect("one comes free");
        let now = inside.update(|inside| inside + 1) + 1;
        most.update(|most| most.max(now));
        std::thread::yield_now();
        inside.update(|inside| inside - 1);
    }
}

pub(crate) fn permits_bound_how_many_are_inside() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 5);
    let room = BoundedSemaphore::new(2).expect("there is room");
    let [inside, most] = [0, 0].map(|zero| Value::new(zero).expect("there is room"));

    pool.map(enter, (0..5).map(|_| (room.clone(), inside.clone(), most.clone()))).expect("all are let in");

    assert!((1..=2).contains(&most.load()), "{} were inside", most.load());
    assert_eq!(room.value(), 2);
    assert!(room.release().is_err(), "there are never more");
}

#[poolctl::task]
fn stay_with_permit(room: BoundedSemaphore, there: Event) {
    let _permit = room.acquire().expect("one is free");
    stay(&there);
}

pub(crate) fn a_dead_holder_s_permit_comes_back() {
    let sandbox = Sandbox::new();
    let (room, there) =
        (BoundedSemaphore::new(1).expect("there is room"), Event::new().expect("there is room"));
    let process = started(&sandbox, stay_with_permit, (room.clone(), there.clone()));
    comes(&there, "it has the permit");
    assert_eq!(room.holders().iter().map(|holder| Some(holder.pid)).collect::<Vec<_>>(), [process.pid()]);

    kill(&process);

    drop(room.acquire_timeout(DEADLINE).expect("it has come back"));
    assert_eq!(room.value(), 1);
}

pub(crate) fn a_recursive_lock_is_held_whatever_handles_come_and_go() {
    let lock = RLock::new().expect("there is room");
    let (there, here) = poolctl::channel().expect("there are descriptors");
    (0..2).for_each(|_| there.send(lock.clone()).expect("there is room"));
    drop(lock);
    let [one, two]: [RLock; 2] = [0, 1].map(|_| here.recv().expect("it was sent"));

    let guard = one.acquire().expect("it is free");
    drop(two.acquire().expect("it is this thread's"));
    assert_eq!((one.depth(), two.depth()), (1, 1));
    guard.keep();
    drop((one, two));

    there.send(RLock::new().expect("there is room")).expect("there is room");
    let other = here.recv().expect("it was sent");
    other.acquire().expect("it is free").keep();
    assert!(other.is_locked());
    other.release().expect("this thread has it");
    assert!(!other.is_locked() && other.release().is_err());
}
