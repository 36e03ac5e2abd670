//! Locks between threads of one process, and what a host tells of them.
#![expect(clippy::unwrap_used, reason = "what a test cannot get, it fails without")]

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use poolctl_sync::{
    Acquired, Capacity, CreateError, Host, LockError, Member, NoEntry, RawLock, RawRLock, ReleaseError,
};
use poolctl_testkit::{DEADLINE, wait_until};
use poolctl_types::WorkerId;

const SMALL: Capacity = Capacity { processes: 3, threads: 4, host_threads: 4, lines: 8 };

fn host() -> Host {
    Host::new(WorkerId::new(0, 0), SMALL).unwrap()
}

fn lock(host: &mut Host) -> RawLock {
    let place = host.create_lock().unwrap();
    RawLock::at(host.member(), place).unwrap()
}

/// A thread that does `act` and is over when this returns.
fn elsewhere<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(act).join().unwrap())
}

#[test]
fn a_lock_is_held_by_one_thread_at_a_time() {
    let mut host = host();
    let lock = lock(&mut host);

    assert_eq!(lock.acquire(None).unwrap(), Acquired::Clean);

    assert_eq!(elsewhere(|| lock.try_acquire().unwrap()), None);
    let timed_out = elsewhere(|| lock.acquire(Some(Duration::from_millis(1))));
    assert!(matches!(timed_out, Err(LockError::TimedOut)));
    lock.release().unwrap();
    assert_eq!(elsewhere(|| lock.try_acquire().unwrap()), Some(Acquired::Clean));
}

#[test]
fn only_its_owner_releases_a_lock_unless_the_release_is_from_anywhere() {
    let mut host = host();
    let lock = lock(&mut host);
    let _held = lock.acquire(None).unwrap();
    let me = lock.owner().unwrap().participant;

    let refused = elsewhere(|| lock.release());
    elsewhere(|| lock.release_from_anywhere()).unwrap();

    assert!(me.is_some());
    assert_eq!(refused, Err(ReleaseError::NotOwner { owner: me }));
    assert!(!lock.is_locked());
    assert_eq!(lock.release_from_anywhere(), Err(ReleaseError::Free));
}

#[test]
fn a_waiter_is_seen_and_stamps_since_when_the_owner_holds_the_lock() {
    let mut host = host();
    let lock = lock(&mut host);
    let _held = lock.acquire(None).unwrap();
    assert_eq!(lock.owner().unwrap().since, None);

    thread::scope(|scope| {
        let waiter = scope.spawn(|| lock.acquire(None).unwrap());
        wait_until(DEADLINE, "a waiter", || !lock.waiters().is_empty());
        wait_until(DEADLINE, "a stamp", || lock.owner().unwrap().since.is_some());
        let waiters = lock.waiters();
        assert_eq!((waiters.len(), waiters[0].pid), (1, std::process::id()));
        lock.release().unwrap();
        assert_eq!(waiter.join().unwrap(), Acquired::Clean);
    });

    assert_eq!(lock.waiters(), []);
}

#[test]
fn what_a_dead_process_held_is_taken_by_the_next_who_is_told_until_it_is_called_consistent() {
    let mut host = host();
    let lock = lock(&mut host);
    let ticket = host.admit(WorkerId::new(1, 0)).unwrap();
    let other = Member::attach(host.file().try_clone().unwrap(), ticket).unwrap();
    let theirs = RawLock::at(&other, lock.place()).unwrap();
    let _held = theirs.acquire(None).unwrap();
    assert_eq!(lock.owner().unwrap().participant.unwrap().worker, WorkerId::new(1, 0));

    let recovered = host.recover(ticket);

    assert_eq!(recovered.locks, [lock.place()]);
    assert!(lock.is_locked() && lock.owner().is_none());
    assert_eq!(lock.acquire(None).unwrap(), Acquired::OwnerDied);
    lock.release().unwrap();
    assert_eq!(lock.acquire(None).unwrap(), Acquired::OwnerDied);
    lock.consistent().unwrap();
    lock.release().unwrap();
    assert_eq!(lock.acquire(None).unwrap(), Acquired::Clean);
    assert_eq!(host.recover(ticket).locks, []);
}

#[test]
fn what_a_thread_holds_when_it_ends_is_told_to_the_next_owner() {
    let mut host = host();
    let lock = lock(&mut host);

    let _held = thread::spawn({
        let lock = lock.clone();
        move || lock.acquire(None).unwrap()
    })
    .join()
    .unwrap();

    assert_eq!(lock.acquire(Some(DEADLINE)).unwrap(), Acquired::OwnerDied);
}

#[test]
fn however_many_locks_a_thread_holds_when_it_ends_the_next_owners_are_told() {
    let mut host = Host::new(WorkerId::new(0, 0), Capacity { lines: 200, ..SMALL }).unwrap();
    let locks: Vec<RawLock> = (0..100).map(|_| lock(&mut host)).collect();
    let last = lock(&mut host);

    elsewhere(|| locks.iter().for_each(|lock| assert_eq!(lock.acquire(None).unwrap(), Acquired::Clean)));
    // And where others have released what it took before.
    let (taken, released) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            for lock in &locks {
                let _died = lock.acquire(None).unwrap();
            }
            taken.wait();
            released.wait();
            assert_eq!(last.acquire(None).unwrap(), Acquired::Clean);
        });
        taken.wait();
        locks.iter().for_each(|lock| lock.release_from_anywhere().unwrap());
        released.wait();
    });

    assert_eq!(last.acquire(Some(DEADLINE)).unwrap(), Acquired::OwnerDied);
    for lock in &locks {
        assert_eq!(lock.acquire(Some(DEADLINE)).unwrap(), Acquired::OwnerDied);
        lock.release().unwrap();
    }
}

#[test]
fn a_recursive_lock_is_free_after_as_many_releases() {
    let mut host = host();
    let place = host.create_lock().unwrap();
    let lock = RawRLock::at(host.member(), place).unwrap();
    let _first = lock.acquire(None).unwrap();
    assert_eq!(lock.acquire(Some(Duration::ZERO)).unwrap(), Acquired::Clean);
    assert_eq!(lock.try_acquire().unwrap(), Some(Acquired::Clean));
    assert_eq!(lock.depth(), 3);

    lock.release().unwrap();
    lock.release().unwrap();

    assert_eq!(elsewhere(|| lock.try_acquire().unwrap()), None);
    lock.release().unwrap();
    assert_eq!(elsewhere(|| lock.try_acquire().unwrap()), Some(Acquired::Clean));
    assert!(matches!(lock.release(), Err(ReleaseError::NotOwner { .. })));
}

#[test]
fn a_process_has_as_many_threads_as_its_block_has_entries_and_they_are_used_again() {
    let mut host = host();
    let lock = lock(&mut host);
    let (taken, done) = (Barrier::new(5), Barrier::new(5));

    thread::scope(|scope| {
        let take = || {
            let _held = lock.acquire(None).unwrap();
            lock.release().unwrap();
            taken.wait();
            done.wait();
        };
        let threads = [(); 4].map(|()| scope.spawn(take));
        taken.wait();
        let refused = elsewhere(|| lock.try_acquire());
        done.wait();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(refused, Err(NoEntry::Full { threads: 4 }));
    });

    assert_eq!(lock.acquire(Some(DEADLINE)).unwrap(), Acquired::Clean);
}

#[test]
fn blocks_and_lines_are_used_again_and_their_lack_is_an_error() {
    let mut host = host();
    let first = host.admit(WorkerId::new(1, 0)).unwrap();
    let second = host.admit(WorkerId::new(2, 0)).unwrap();
    assert_eq!(host.admit(WorkerId::new(3, 0)).unwrap_err().processes, 3);
    let places: Vec<_> = (0..8).map(|_| host.create_lock().unwrap()).collect();
    assert!(matches!(host.create_lock(), Err(CreateError::Full { lines: 1, free: 0, all: 8 })));

    host.recover(second);
    host.recover(first);
    host.remove(places[5]);

    assert_eq!(host.admit(WorkerId::new(3, 0)).unwrap().first, second.first);
    assert_eq!(host.create_lock().unwrap(), places[5]);
}

#[test]
fn contended_counts_are_exact() {
    let mut host = host();
    let lock = lock(&mut host);
    let count = std::sync::atomic::AtomicU32::new(0);
    let relaxed = std::sync::atomic::Ordering::Relaxed;

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let _taken = lock.acquire(None).unwrap();
                    count.store(count.load(relaxed) + 1, relaxed);
                    lock.release().unwrap();
                }
            });
        }
    });

    assert_eq!(count.into_inner(), 80_000);
    assert!(!lock.is_locked());
}
