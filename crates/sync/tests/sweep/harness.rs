//! The sweeps by name.

use std::process::ExitCode;

use poolctl_testkit::stepper::{Builds, Sweep, run_sweeps};

use crate::{barrier, condition, event, lock, queue, semaphore, stage};

const SWEEPS: [Sweep; 20] = [
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_nobody_behind_it", Builds::Release, || {
        lock::killed(0)
    }),
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_one_asleep_behind_it", Builds::All, || {
        lock::killed(1)
    }),
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_two_asleep_behind_it", Builds::Release, || {
        lock::killed(2)
    }),
    ("a_lock_comes_back_wherever_its_woken_waiter_is_killed_with_one_asleep_behind_it", Builds::All, || {
        lock::woken_killed(1)
    }),
    (
        "a_lock_comes_back_wherever_its_woken_waiter_is_killed_with_two_asleep_behind_it",
        Builds::Release,
        || lock::woken_killed(2),
    ),
    (
        "without_the_broadcast_those_behind_a_killed_owner_hang",
        Builds::Release,
        lock::hangs_without_broadcast,
    ),
    (
        "without_the_broadcast_those_behind_a_killed_woken_waiter_hang",
        Builds::Release,
        lock::woken_hangs_without_broadcast,
    ),
    ("a_permit_comes_back_wherever_its_holder_is_killed_with_one_asleep_behind_it", Builds::All, || {
        semaphore::killed(1)
    }),
    ("a_permit_comes_back_wherever_its_holder_is_killed_with_two_asleep_behind_it", Builds::Release, || {
        semaphore::killed(2)
    }),
    ("a_permit_comes_back_wherever_its_woken_waiter_is_killed", Builds::Release, semaphore::woken_killed),
    (
        "without_the_broadcast_those_behind_a_killed_holder_hang",
        Builds::Release,
        semaphore::hangs_without_broadcast,
    ),
    ("an_event_wakes_all_wherever_its_setter_is_killed", Builds::All, || event::killed(2)),
    (
        "without_the_broadcast_those_behind_a_killed_setter_hang",
        Builds::Release,
        event::hangs_without_broadcast,
    ),
    ("a_condition_loses_nobody_wherever_its_notifier_is_killed", Builds::All, || condition::killed(2)),
    (
        "a_condition_loses_nobody_wherever_its_woken_waiter_is_killed",
        Builds::Release,
        condition::woken_killed,
    ),
    (
        "without_the_broadcast_those_behind_a_killed_woken_waiter_of_a_condition_hang",
        Builds::Release,
        condition::hangs_without_broadcast,
    ),
    ("a_barrier_is_met_or_broken_for_all_wherever_a_party_is_killed", Builds::All, || barrier::killed(2)),
    (
        "a_barrier_is_met_or_broken_for_all_wherever_its_first_party_is_killed",
        Builds::Release,
        barrier::woken_killed,
    ),
    (
        "a_queue_has_whole_records_and_all_acknowledged_ones_wherever_its_producer_is_killed",
        Builds::All,
        queue::producer_killed,
    ),
    ("a_queue_delivers_nothing_twice_wherever_its_consumer_is_killed", Builds::All, queue::consumer_killed),
];

/// Runs the sweeps, or is a victim.
pub(crate) fn run() -> ExitCode {
    run_sweeps(&SWEEPS, victim)
}

/// This program as a process that is killed.
fn victim(part: &str, numbers: &[String]) {
    let side = stage::Side::attach(numbers);
    match part {
        lock::PART => lock::victim(&side),
        semaphore::PART => semaphore::victim(&side),
        event::PART => event::victim(&side),
        condition::NOTIFIER => condition::notifier(&side),
        condition::WAITER => condition::waiter(&side),
        barrier::PART => barrier::victim(&side),
        queue::PRODUCER => queue::producer(side),
        queue::CONSUMER => queue::consumer(side),
        other => panic!("no such part: {other}"),
    }
}
