//! Cycles of threads that wait for each other's locks.
#![expect(clippy::unwrap_used, reason = "what a test cannot get, it fails without")]

use std::sync::Barrier;
use std::thread;

use poolctl_sync::{Capacity, Deadlock, Host, LockError, Member, RawLock};
use poolctl_testkit::DEADLINE;
use poolctl_types::WorkerId;

fn host() -> Host {
    Host::new(WorkerId::new(0, 0), Capacity { processes: 4, threads: 4, host_threads: 4, lines: 8 }).unwrap()
}

fn deadlock(error: LockError) -> Deadlock {
    match error {
        LockError::Deadlock { cycle } => *cycle,
        other => panic!("{other}"),
    }
}

#[test]
fn a_thread_that_waits_for_itself_is_told() {
    let mut host = host();
    let place = host.create_lock().unwrap();
    let lock = RawLock::at(host.member(), place).unwrap();
    let (_held, line) = (lock.acquire(None).unwrap(), line!());

    let found = deadlock(lock.acquire(Some(DEADLINE)).unwrap_err());

    assert_eq!(found.cycle.len(), 1);
    assert_eq!(found.cycle[0].taken_at.as_ref().unwrap().line, line);
    assert_eq!(found.cycle[0].waits_at.line, line + 2);
    assert!(found.to_string().contains("tests/deadlocks.rs"), "{found}");
    lock.release().unwrap();
}

#[test]
fn one_of_a_cycle_is_told_who_is_in_it_and_the_others_go_on() {
    let mut host = host();
    let places: Vec<_> = (0..3).map(|_| host.create_lock().unwrap()).collect();
    let members: Vec<_> = (0..3)
        .map(|slot| {
            let ticket = host.admit(WorkerId::new(slot, 7)).unwrap();
            Member::attach(host.file().try_clone().unwrap(), ticket).unwrap()
        })
        .collect();
    let all_hold = Barrier::new(3);

    let mut told: Vec<Deadlock> = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (all_hold, places, members) = (&all_hold, &places, &members);
                scope.spawn(move || {
                    let mine = RawLock::at(&members[number], places[number]).unwrap();
                    let next = RawLock::at(&members[number], places[(number + 1) % 3]).unwrap();
                    let _mine = mine.acquire(None).unwrap();
                    all_hold.wait();
                    let got = next.acquire(Some(DEADLINE));
                    if got.is_ok() {
                        next.release().unwrap();
                    }
                    mine.release().unwrap();
                    got.err().map(deadlock)
                })
            })
            .collect();
        told.extend(threads.into_iter().filter_map(|thread| thread.join().unwrap()));
    });

    assert_eq!(told.len(), 1, "{told:?}");
    let cycle = &told[0].cycle;
    let mut slots: Vec<u32> = cycle.iter().map(|link| link.participant.worker.slot.0).collect();
    for (link, next) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
        assert_eq!(link.waits_for, next.holds);
        assert_eq!(link.holds, places[link.participant.worker.slot.index()].line);
        assert!(link.taken_at.is_some());
    }
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2]);
}

#[test]
fn a_long_wait_that_is_no_cycle_is_no_deadlock() {
    let mut host = host();
    let [first, second] = [(); 2].map(|()| host.create_lock().unwrap());
    let member = host.member().clone();
    let lock = |place| RawLock::at(&member, place).unwrap();
    let _held = lock(first).acquire(None).unwrap();

    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let _held = lock(second).acquire(None).unwrap();
            let _got = lock(first).acquire(None).unwrap();
            lock(first).release().unwrap();
            lock(second).release().unwrap();
        });
        let timed_out = lock(first).place();
        assert_eq!(timed_out, first);
        // Longer than the looks of the waiter: a wait of this thread for something else.
        let busy = host.create_lock().unwrap();
        let _mine = lock(busy).acquire(None).unwrap();
        let limit = Some(std::time::Duration::from_millis(250));
        let other = scope.spawn(move || lock(busy).acquire(limit).unwrap_err());
        assert!(matches!(other.join().unwrap(), LockError::TimedOut));
        lock(first).release().unwrap();
        waiter.join().unwrap();
    });
}
