//! Processes that are killed at any moment, for a long time: counters stay exact, and queues lose nothing and give nothing
//! twice.

use std::time::Duration;

use poolctl::{Array, Lock, LockGuard, Process, Queue, Value};
use poolctl_testkit::{DEADLINE, Random, Sandbox, are_long_tests_wanted, pass, seed};
use serde::{Deserialize, Serialize};

use crate::fixture::{kill, started};

/// How many are killed: in ten minutes, where the long tests are asked for.
fn kills(usual: u64) -> u64 {
    if are_long_tests_wanted() { usual * 200 } else { usual }
}

/// What the processes count together, under the lock.
#[derive(Clone, Serialize, Deserialize)]
struct Counts {
    lock: Lock,
    all: Value<u64>,
    own: Array<u64>,
    /// How often an owner had died.
    mended: Value<u64>,
}

impl Counts {
    /// Makes the count of all right again, if an owner died between the two.
    fn mend(&self, guard: &mut LockGuard<'_>) {
        if guard.recovered() {
            self.all.store(self.own.iter().sum());
            self.mended.update(|mended| mended + 1);
            guard.make_consistent();
        }
    }
}

/// Each process adds to its own count, and then to that of all.
#[poolctl::task]
fn add_for_ever(counts: Counts, place: usize) {
    loop {
        let mut guard = counts.lock.acquire().expect("it comes back");
        counts.mend(&mut guard);
        counts.own.set(place, counts.own.get(place).unwrap_or_default() + 1);
        counts.all.update(|all| all + 1);
    }
}

pub(crate) fn counters_stay_exact_under_a_killer() {
    let (sandbox, mut random) = (Sandbox::new(), Random::new(seed()));
    let counts = Counts {
        lock: Lock::new().expect("there is room"),
        all: Value::new(0).expect("there is room"),
        own: Array::new(3).expect("there is memory"),
        mended: Value::new(0).expect("there is room"),
    };
    let start = |place: usize| started(&sandbox, add_for_ever, (counts.clone(), place));
    let mut processes: Vec<Process> = (0..3).map(start).collect();
    let (wanted, mut killed) = (kills(60), 0);

    // So many, and on until one has died inside.
    while killed < wanted || counts.mended.load() == 0 {
        pass(Duration::from_micros(random.below(20_000)));
        let place = usize::try_from(random.below(3)).expect("small");
        kill(&processes[place]);
        killed += 1;
        processes[place] = start(place);
        let mut guard = counts.lock.acquire_timeout(DEADLINE).expect("it comes back, whoever died");
        counts.mend(&mut guard);
        assert_eq!(counts.all.load(), counts.own.iter().sum::<u64>(), "after {killed}");
    }

    processes.iter().for_each(kill);
    assert!(counts.all.load() > 0);
}

/// Puts the numbers from `from` on, and says how far it is when the put has returned.
#[poolctl::task]
fn put_from(queue: Queue<(u64, u64)>, whose: u64, said: Array<u64>, place: usize) {
    for number in 0.. {
        queue.put(&(whose, number)).expect("there comes room");
        said.set(place, number + 1);
    }
}

/// Counts what it gets, by number, when the get has returned.
#[poolctl::task]
fn get_for_ever(queue: Queue<(u64, u64)>, got: Vec<Array<u8>>, most: u64) {
    loop {
        let (whose, number) = queue.get().expect("there comes one");
        let (whose, number) =
            (usize::try_from(whose).expect("small"), usize::try_from(number).expect("small"));
        if (number as u64) < most {
            let cell = &got[whose];
            cell.set(number, cell.get(number).unwrap_or_default() + 1);
        }
    }
}

pub(crate) fn queues_lose_nothing_and_give_nothing_twice_under_a_killer() {
    const MOST: usize = 1 << 20;
    let (sandbox, mut random) = (Sandbox::new(), Random::new(seed()));
    let queue = Queue::with_capacity(8 << 10).expect("there is room");
    let said = Array::<u64>::new(1).expect("there is memory");

    for _ in 0..kills(15) {
        // One producer life and one consumer life, both killed at any moment; a second consumer takes what is left.
        said.set(0, 0);
        let got = Array::<u8>::new(MOST).expect("there is memory");
        let put = started(&sandbox, put_from, (queue.clone(), 0, said.clone(), 0));
        let consume = || started(&sandbox, get_for_ever, (queue.clone(), vec![got.clone()], MOST as u64));
        let first = consume();
        pass(Duration::from_micros(random.below(30_000)));
        kill(&first);
        let second = consume();
        pass(Duration::from_micros(random.below(30_000)));
        kill(&put);
        let empty = || queue.is_empty();
        poolctl_testkit::wait_until(DEADLINE, "the rest is taken", empty);
        // It may just have taken the last one, and not counted it.
        let acknowledged = usize::try_from(said.get(0).unwrap_or_default()).expect("small").min(MOST);
        let counts = || (0..acknowledged).map(|number| got.get(number).unwrap_or_default());
        poolctl_testkit::wait_until(DEADLINE, "all that was acknowledged is got", || {
            counts().filter(|count| *count == 0).count() <= 1
        });
        kill(&second);

        let missing = counts().filter(|count| *count == 0).count();
        assert!(missing <= 1, "{missing} are missing: one may go with the consumer that was killed with it");
        assert!(counts().all(|count| count <= 1), "one was given twice");
        while queue.try_get().expect("it works, whoever died").is_some() {}
    }
}
