//! Processes that are killed at any moment, for a long time: counters stay exact, and queues lose nothing and give nothing
//! twice.

use std::time::Duration;

use poolctl::{Array, JoinError, JoinableQueue, Lock, LockGuard, Process, Queue, ShareableList, Value};
use poolctl_testkit::{DEADLINE, Random, Sandbox, are_long_tests_wanted, pass, seed};
use serde::{Deserialize, Serialize};

use crate::fixture::{kill, started};

/// How many are killed: in ten minutes, where the long tests are asked for.
fn kills(usual: u64) -> u64 {
    if are_long_tests_wanted() { usual * 250 } else { usual }
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

/// Works off what there is, and says what it has in hand and how much it has done, each behind the fact.
#[poolctl::task]
fn work_for_ever(queue: JoinableQueue<u64>, hand: Value<u64>, done: Value<u64>) {
    loop {
        queue.get().expect("there comes one");
        hand.store(1);
        hand.store(0);
        queue.task_done().expect("it was got");
        done.update(|done| done + 1);
    }
}

pub(crate) fn joined_queues_account_for_all_under_a_killer() {
    let (sandbox, mut random) = (Sandbox::new(), Random::new(seed()));
    let queue = JoinableQueue::with_capacity(1 << 10).expect("there is room");
    let mut abandoned_in_all = 0;

    for round in 0..kills(60) {
        let (hand, done) = (Value::new(0).expect("there is room"), Value::new(0).expect("there is room"));
        let worker = started(&sandbox, work_for_ever, (queue.clone(), hand.clone(), done.clone()));
        let wanted = 1 + random.below(3000);
        (0..wanted).for_each(|number| queue.put(&number).expect("there comes room"));
        kill(&worker);

        let mut drained = 0;
        while queue.try_get().expect("it works, whoever died").is_some() {
            queue.task_done().expect("it was got");
            drained += 1;
        }
        let abandoned = match queue.join_timeout(DEADLINE) {
            Ok(in_time) => u64::from(!in_time) * 1000,
            Err(JoinError::Abandoned { count }) => count,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(queue.forget_abandoned(), abandoned, "round {round}");
        assert_eq!(queue.unfinished(), 0, "round {round}");
        // What was done and not said yet is the difference.
        let unsaid = wanted - done.load() - drained - abandoned;
        assert!(abandoned + unsaid <= 1, "round {round}: {abandoned} abandoned, {unsaid} unsaid");
        assert!(abandoned == 1 || hand.load() == 0, "round {round}: it had one in hand");
        abandoned_in_all += abandoned;
    }
    assert!(queue.is_empty() && abandoned_in_all < kills(60));
}

/// Replaces items by others of the same letter, as long as it lives.
#[poolctl::task]
fn write_for_ever(list: ShareableList, whose: usize) {
    for letter in ["a", "b", "c"].into_iter().cycle() {
        list.set(0, letter.repeat(40)).expect("it fits");
        list.update(1 + whose, |item| (item.as_int().expect("it is one") + 1).into()).expect("it works");
    }
}

pub(crate) fn lists_have_whole_items_under_a_killer() {
    let (sandbox, mut random) = (Sandbox::new(), Random::new(seed()));
    let list = ShareableList::new(["z".repeat(40).into(), 0.into(), 0.into()]).expect("there is room");
    let start = |whose: usize| started(&sandbox, write_for_ever, (list.clone(), whose));
    let mut processes: Vec<Process> = (0..2).map(start).collect();
    let mut last = [0, 0];

    for round in 0..kills(60) {
        let whose = usize::from(random.below(2) == 1);
        for _ in 0..random.below(2000) {
            let item = list.get(0).expect("it is there");
            let text = item.as_str().expect("it is one");
            assert!(
                text.len() == 40 && text.as_bytes().iter().all(|byte| *byte == text.as_bytes()[0]),
                "{text}"
            );
        }
        kill(&processes[whose]);
        processes[whose] = start(whose);
        for (whose, last) in last.iter_mut().enumerate() {
            let count = list.get(1 + whose).expect("it is there").as_int().expect("it is one");
            assert!(count >= *last, "round {round}: what was counted is counted");
            *last = count;
        }
    }
    processes.iter().for_each(kill);
    list.set(0, "free").expect("nobody holds the lock");
}
