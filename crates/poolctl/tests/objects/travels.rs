//! How objects get to processes.

use poolctl::{
    Array, BoundedSemaphore, Connection, Event, Lock, ObjectError, Pool, Process, Queue, ShareableItem,
    ShareableList, SharedMemory, Value, pipe, set_state, with_state,
};
use poolctl_testkit::{MARK, Sandbox};

use crate::fixture::{pool, started};

#[poolctl::task]
fn add(counter: Value<i64>, number: i64) {
    *counter.lock().expect("nobody waits for long") += number;
}

pub(crate) fn objects_come_before_and_behind_the_pool() {
    let sandbox = Sandbox::new();
    let before = Value::new(0_i64).expect("there is room");
    let pool = pool(&sandbox, 2);
    pool.apply(add, (before.clone(), 1)).expect("nothing goes wrong");
    let behind = Value::new(0_i64).expect("there is room");

    pool.map(add, (0..10).map(|number| (behind.clone(), number))).expect("nothing goes wrong");
    started(&sandbox, add, (behind.clone(), 100)).join().expect("it was started");

    assert_eq!((before.load(), behind.load()), (1, 145));
}

#[poolctl::task]
fn remember(counter: Value<i64>) {
    set_state(counter);
}

#[poolctl::task]
fn add_to_remembered(number: i64) {
    let change = |counter: &mut Value<i64>| *counter.lock().expect("nobody waits for long") += number;
    with_state(change).expect("the initializer has set it");
}

pub(crate) fn an_initializer_has_objects() {
    let sandbox = Sandbox::new();
    let counter = Value::new(0_i64).expect("there is room");
    let pool = Pool::builder().workers(3).env(MARK, sandbox.mark()).initializer(remember, counter.clone());
    let pool = pool.build().expect("a pool can be had here");

    pool.map(add_to_remembered, 1..=100).expect("nothing goes wrong");

    assert_eq!(counter.load(), 5050);
}

#[poolctl::task]
fn send_own(line: Connection<Lock, ()>) {
    line.send(Lock::new().expect("there is room")).expect("somebody receives");
    // While the other looks at it.
    line.recv().unwrap_or_default();
}

pub(crate) fn an_object_of_a_child_is_foreign_here() {
    let sandbox = Sandbox::new();
    let (here, there) = pipe::<(), Lock>().expect("there are descriptors");
    let process = started(&sandbox, send_own, there);

    let error = here.recv().expect_err("it is of another host");

    let text = format!("{:?}", anyhow(&error));
    assert!(text.contains(&ObjectError::Foreign.to_string()), "{text}");
    here.send(()).expect("it waits");
    process.join().expect("it was started");
}

/// An error and its causes.
fn anyhow(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

pub(crate) fn an_object_is_written_nowhere_else() {
    let lock = Lock::new().expect("there is room");

    assert!(serde_json::to_string(&lock).is_err());
    drop(Process::new(add, (Value::new(0).expect("there is room"), 1)));
}

pub(crate) fn places_are_used_again() {
    // More than there are places.
    for _ in 0..(1 << 20) + 1000 {
        drop(Lock::new().expect("those before are gone"));
    }
    let queue = Queue::new().expect("there is room");

    queue.put(&7).expect("there is room");
    assert_eq!(queue.get().expect("it is there"), 7);
}

const PERMITS: u32 = 800_000;

/// Takes so many places that few of them have room.
fn large() -> Result<BoundedSemaphore, ObjectError> {
    BoundedSemaphore::new(PERMITS)
}

/// As many of them as there is room for.
fn all() -> Vec<BoundedSemaphore> {
    std::iter::from_fn(|| large().ok()).collect()
}

#[poolctl::task]
fn take_one(permits: BoundedSemaphore) -> bool {
    permits.try_acquire().expect("this thread has an entry").is_some()
}

#[poolctl::task]
fn keep(permits: BoundedSemaphore) {
    set_state(Some(permits));
}

#[poolctl::task]
fn keep_no_more() {
    set_state(None::<BoundedSemaphore>);
}

pub(crate) fn places_of_what_others_had_are_used_again() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 1);

    for _ in 0..20 {
        let permits = large().expect("those before are gone");
        assert!(pool.apply(take_one, permits).expect("it works"));
    }
    for _ in 0..10 {
        let process = started(&sandbox, keep, large().expect("those before are gone"));
        process.join().expect("it was started");
    }
}

pub(crate) fn the_place_of_what_a_worker_has_is_not_used_again() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 1);
    pool.apply(keep, large().expect("there is room")).expect("it works");

    let others = all();
    let full = large().expect_err("the worker has one");
    pool.apply(keep_no_more, ()).expect("it works");
    let one = large();

    assert!(matches!(full, ObjectError::Create(_)), "{full}");
    assert!(!others.is_empty());
    drop(one.expect("the worker has it no more"));
}

#[poolctl::task]
fn wait_and_take(go: Event, permits: BoundedSemaphore) -> bool {
    go.wait().expect("this thread has an entry");
    permits.value() == PERMITS as usize
}

pub(crate) fn what_is_on_its_way_keeps_its_place() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 1);
    let go = Event::new().expect("there is room");
    let room = all().len();

    // The second waits in this process, or in the worker's ring, while its handle here is gone.
    let calls = (0..2).map(|_| (go.clone(), large().expect("there is room")));
    let results = pool.map_async(wait_and_take, calls).expect("they are encoded");
    let others = all();
    go.set();

    assert_eq!(others.len(), room - 2);
    assert_eq!(results.get().expect("they work"), [true, true]);
}

#[poolctl::task]
fn fill_in(list: ShareableList) -> bool {
    let name = list.get(0).expect("it is there");
    list.set(1, name.as_str().map_or(0, |name| i32::try_from(name.len()).expect("it is short"))).is_ok()
        && list.update(2, |count| (count.as_int().unwrap_or(0) + 1).into()).is_ok()
        && list.set(0, "far too long for it").is_err()
}

#[poolctl::task]
fn take_all(locks: Vec<Lock>) -> usize {
    locks.iter().filter(|lock| lock.acquire().is_ok()).count()
}

pub(crate) fn any_number_of_handles_travels_with_an_item() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 2);
    let locks: Vec<Lock> = (0..1000).map(|_| Lock::new().expect("there is room")).collect();
    let few = |count: usize| locks[..count].to_vec();

    let taken = pool.map(take_all, [1, 252, 253, 254, 506, 507, 1000].map(few)).expect("they travel");

    assert_eq!(taken, [1, 252, 253, 254, 506, 507, 1000]);
}

pub(crate) fn a_list_is_the_same_for_all() {
    let sandbox = Sandbox::new();
    let pool = pool(&sandbox, 2);
    let list = ShareableList::new(["name".into(), ShareableItem::None, 0.into()]).expect("there is room");

    let filled = pool.map(fill_in, vec![list.clone(); 50]).expect("they work");

    assert!(filled.iter().all(|filled| *filled));
    assert_eq!(list.to_vec().expect("nobody damaged it"), ["name".into(), 4.into(), 50.into()]);
}

pub(crate) fn memory_over_the_limit_is_an_error_where_it_is_made() {
    let before = poolctl::shm_used();
    poolctl::set_shm_limit(before + (4 << 20));

    let array = Array::<f64>::new(1 << 18).expect("2 MiB are not too much");
    let too_much = [
        Array::<f64>::new(1 << 19).map(|_| ()).expect_err("4 MiB more are").to_string(),
        Queue::<u8>::with_capacity(4 << 20).map(|_| ()).expect_err("and so is a queue").to_string(),
    ];
    let clone = array.clone();
    drop(array);
    assert_eq!(poolctl::shm_used(), before + (2 << 20), "a clone keeps it");
    drop(clone);
    let all = Array::<f64>::new(1 << 19);
    poolctl::set_shm_limit(u64::MAX);

    assert!(too_much[0].contains("are over the limit of"), "{}", too_much[0]);
    assert_eq!(too_much[1], "no memory for a shared object");
    drop(all.expect("what was dropped is free again"));
    assert_eq!(poolctl::shm_used(), before);
    let endless = SharedMemory::new(1 << 50).expect_err("no machine has that");
    assert_eq!(endless.to_string(), "no shared memory of 1125899906842624 bytes");
}
