//! Semaphores, events, conditions, barriers and queues between threads of one process.
#![expect(clippy::unwrap_used, reason = "what a test cannot get, it fails without")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use poolctl_sync::{
    Acquired, BarrierError, Capacity, Host, Member, PermitError, QueueError, RawBarrier, RawCondition,
    RawEvent, RawLock, RawQueue, RawRLock, RawSemaphore, ReturnError,
};
use poolctl_testkit::{DEADLINE, wait_until};
use poolctl_types::WorkerId;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn host() -> Host {
    Host::new(WorkerId::new(0, 0), Capacity { processes: 3, threads: 8, host_threads: 8, lines: 32 }).unwrap()
}

/// Another process, as far as the host knows.
fn other(host: &mut Host) -> (Member, poolctl_sync::Ticket) {
    let ticket = host.admit(WorkerId::new(1, 0)).unwrap();
    (Member::attach(host.file().try_clone().unwrap(), ticket).unwrap(), ticket)
}

#[test]
fn permits_are_as_many_as_there_are_and_a_dead_holders_come_back() {
    let mut host = host();
    let place = host.create_semaphore(2, 2).unwrap();
    let (theirs, ticket) = other(&mut host);
    let mine = RawSemaphore::at(host.member(), place).unwrap();
    let theirs = RawSemaphore::at(&theirs, place).unwrap();

    assert!(theirs.try_acquire().unwrap() && theirs.try_acquire().unwrap());
    assert_eq!(mine.acquire(NOW), Err(PermitError::TimedOut));
    assert_eq!(mine.release(), Err(ReturnError::NotHolder));
    assert_eq!(mine.holders().len(), 2);

    assert_eq!(host.recover(ticket).permits, 2);
    assert_eq!((mine.value(), mine.holders().len()), (2, 0));
}

#[test]
fn anonymous_permits_are_given_by_others_up_to_the_most_and_stay_away() {
    let mut host = host();
    let place = host.create_semaphore(0, 2).unwrap();
    let (theirs, ticket) = other(&mut host);
    let mine = RawSemaphore::at(host.member(), place).unwrap();
    let theirs = RawSemaphore::at(&theirs, place).unwrap();
    assert!(!theirs.try_acquire_anonymous().unwrap());

    mine.release_anonymous().unwrap();
    mine.release_anonymous().unwrap();

    assert_eq!(mine.release_anonymous(), Err(ReturnError::Full { permits: 2 }));
    theirs.acquire_anonymous(None).unwrap();
    assert_eq!(host.recover(ticket).permits, 0);
    assert_eq!(mine.value(), 1);
}

#[test]
fn a_waiter_of_an_event_sees_a_set_that_was_cleared_at_once() {
    let mut host = host();
    let place = host.create_event().unwrap();
    let event = RawEvent::at(host.member(), place).unwrap();
    assert!(!event.wait(NOW).unwrap());

    thread::scope(|scope| {
        let waiter = scope.spawn(|| event.wait(Some(DEADLINE)).unwrap());
        wait_until(DEADLINE, "a waiter", || !event.waiters().is_empty());
        event.set();
        event.clear();
        assert!(waiter.join().unwrap());
    });

    assert!(!event.is_set());
}

#[test]
fn a_condition_gives_the_lock_back_as_deep_as_it_was_taken() {
    let mut host = host();
    let [lock, condition] = [host.create_lock().unwrap(), host.create_condition().unwrap()];
    let lock = RawRLock::at(host.member(), lock).unwrap();
    let condition = RawCondition::at(host.member(), condition).unwrap();

    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            assert_eq!(lock.acquire(None).unwrap(), Acquired::Clean);
            assert_eq!(lock.acquire(None).unwrap(), Acquired::Clean);
            let waited = condition.wait_recursive(&lock, Some(DEADLINE)).unwrap();
            let depth = lock.depth();
            lock.release().unwrap();
            lock.release().unwrap();
            (waited.is_woken, depth)
        });
        wait_until(DEADLINE, "a waiter", || !condition.waiters().is_empty());
        assert_eq!(lock.acquire(Some(DEADLINE)).unwrap(), Acquired::Clean);
        condition.notify(1).unwrap();
        lock.release().unwrap();
        assert_eq!(waiter.join().unwrap(), (true, 2));
    });

    assert!(!lock.is_locked());
}

#[test]
fn a_wait_for_a_condition_needs_the_lock_and_may_time_out_with_it() {
    let mut host = host();
    let [lock, condition] = [host.create_lock().unwrap(), host.create_condition().unwrap()];
    let lock = RawLock::at(host.member(), lock).unwrap();
    let condition = RawCondition::at(host.member(), condition).unwrap();

    assert!(condition.wait(&lock, NOW).is_err());
    assert_eq!(lock.acquire(None).unwrap(), Acquired::Clean);
    assert!(!condition.wait(&lock, NOW).unwrap().is_woken);

    assert!(lock.is_mine());
    lock.release().unwrap();
}

#[test]
fn a_barrier_is_met_again_and_again_and_each_party_has_a_number() {
    let mut host = host();
    let place = host.create_barrier(3).unwrap();
    let barrier = RawBarrier::at(host.member(), place).unwrap();
    let numbers = Mutex::new(BTreeSet::new());

    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for meeting in 0..1000 {
                    let number = barrier.wait(Some(DEADLINE)).unwrap();
                    numbers.lock().unwrap().insert((meeting, number));
                }
            });
        }
    });

    assert_eq!(numbers.into_inner().unwrap().len(), 3000);
}

#[test]
fn a_party_that_gives_up_or_dies_breaks_the_barrier_until_it_is_reset() {
    let mut host = host();
    let place = host.create_barrier(2).unwrap();
    let barrier = RawBarrier::at(host.member(), place).unwrap();

    assert_eq!(barrier.wait(NOW), Err(BarrierError::TimedOut));
    assert_eq!(barrier.wait(None), Err(BarrierError::Broken));
    barrier.reset();
    let (theirs, ticket) = other(&mut host);
    assert!(RawBarrier::at(&theirs, place).unwrap().join().unwrap());
    assert_eq!(host.recover(ticket).barriers, [place]);

    assert_eq!(barrier.wait(None), Err(BarrierError::Broken));
}

#[test]
fn a_queue_delivers_each_record_once_and_a_producers_records_in_order() {
    const EACH: u32 = 5000;
    let mut host = host();
    let place = host.create_queue().unwrap();
    let queue = RawQueue::new(host.member(), place, 1024).unwrap().unwrap();
    let got = Mutex::new(Vec::new());

    thread::scope(|scope| {
        for producer in 0..2_u32 {
            let queue = &queue;
            scope.spawn(move || {
                for number in 0..EACH {
                    let text = format!("{producer} {number}");
                    queue.put(text.as_bytes(), Some(DEADLINE)).unwrap();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut bytes = Vec::new();
                for _ in 0..EACH {
                    bytes.clear();
                    queue.get(&mut bytes, Some(DEADLINE)).unwrap();
                    got.lock().unwrap().push(String::from_utf8(bytes.clone()).unwrap());
                }
            });
        }
    });

    let all: BTreeSet<String> = got.into_inner().unwrap().into_iter().collect();
    assert_eq!(all.len(), 2 * EACH as usize);
    assert!(queue.is_empty());
}

#[test]
fn a_full_queue_an_empty_one_and_a_record_that_never_fits_are_told_apart() {
    let mut host = host();
    let place = host.create_queue().unwrap();
    let queue = RawQueue::new(host.member(), place, 128).unwrap().unwrap();

    assert!(matches!(queue.get(&mut Vec::new(), NOW), Err(QueueError::TimedOut)));
    assert!(matches!(queue.put(&[0; 121], NOW), Err(QueueError::TooLong { bytes: 121, most: 120 })));
    queue.put(&[7; 120], NOW).unwrap();
    assert!(matches!(queue.put(&[], NOW), Err(QueueError::TimedOut)));

    let mut bytes = Vec::new();
    queue.get(&mut bytes, NOW).unwrap();
    assert_eq!(bytes, [7; 120]);
}
