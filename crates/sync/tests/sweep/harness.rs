//! The sweeps by name.

use std::process::ExitCode;

use poolctl_testkit::stepper::Builds::{All, Release};
use poolctl_testkit::stepper::{Sweep, run_sweeps};

use crate::play::Order::{InTurn, SweptFirst, SweptLast};
use crate::{barrier, condition, event, joined, lock, queue, semaphore, stage};

const LOCKS: &[Sweep] = &[
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_nobody_behind_it", Release, || {
        lock::killed(lock::PART, 0)
    }),
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_one_asleep_behind_it", All, || {
        lock::killed(lock::PART, 1)
    }),
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_two_asleep_behind_it", Release, || {
        lock::killed(lock::PART, 2)
    }),
    ("a_lock_comes_back_wherever_its_woken_waiter_is_killed_with_one_asleep_behind_it", All, || {
        lock::woken_killed(1)
    }),
    ("a_lock_comes_back_wherever_its_woken_waiter_is_killed_with_two_asleep_behind_it", Release, || {
        lock::woken_killed(2)
    }),
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_a_waiter_and_recovered_first", All, || {
        lock::both_killed(1, SweptFirst)
    }),
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_a_waiter_and_recovered_last", Release, || {
        lock::both_killed(1, SweptLast)
    }),
    ("a_lock_comes_back_wherever_its_owner_is_killed_with_a_waiter_and_two_behind_them", Release, || {
        lock::both_killed(2, InTurn)
    }),
    ("a_lock_comes_back_wherever_the_heir_of_a_killed_owner_is_killed", Release, || lock::heir_killed(1)),
    ("a_lock_comes_back_wherever_its_owner_is_killed_at_its_first_use_of_an_object", Release, || {
        lock::newcomer_killed()
    }),
    ("a_recursive_lock_comes_back_wherever_its_owner_is_killed_with_one_asleep_behind_it", All, || {
        lock::killed(lock::RECURSIVE, 1)
    }),
    ("a_recursive_lock_comes_back_wherever_its_owner_is_killed_with_two_asleep_behind_it", Release, || {
        lock::killed(lock::RECURSIVE, 2)
    }),
    ("without_the_broadcast_those_behind_a_killed_owner_hang", Release, || {
        lock::hangs_without_broadcast(lock::PART)
    }),
    ("without_the_broadcast_those_behind_a_killed_recursive_owner_hang", Release, || {
        lock::hangs_without_broadcast(lock::RECURSIVE)
    }),
    (
        "without_the_broadcast_those_behind_a_killed_woken_waiter_hang",
        Release,
        lock::woken_hangs_without_broadcast,
    ),
];

const OTHERS: &[Sweep] = &[
    ("a_permit_comes_back_wherever_its_holder_is_killed_with_one_asleep_behind_it", All, || {
        semaphore::killed(1)
    }),
    ("a_permit_comes_back_wherever_its_holder_is_killed_with_two_asleep_behind_it", Release, || {
        semaphore::killed(2)
    }),
    ("a_permit_comes_back_wherever_its_woken_waiter_is_killed", Release, || semaphore::woken_killed(1)),
    ("a_permit_comes_back_wherever_its_holder_is_killed_with_a_waiter_and_recovered_first", All, || {
        semaphore::both_killed(SweptFirst)
    }),
    ("a_permit_comes_back_wherever_its_holder_is_killed_with_a_waiter_and_recovered_last", Release, || {
        semaphore::both_killed(SweptLast)
    }),
    ("without_the_broadcast_those_behind_a_killed_holder_hang", Release, semaphore::hangs_without_broadcast),
    ("an_event_wakes_one_wherever_its_setter_is_killed", Release, || event::killed(1)),
    ("an_event_wakes_all_wherever_its_setter_is_killed", All, || event::killed(2)),
    ("an_event_wakes_all_wherever_a_woken_waiter_is_killed", All, || event::woken_killed(2)),
    ("without_the_broadcast_those_behind_a_killed_setter_hang", Release, event::hangs_without_broadcast),
    ("a_condition_loses_nobody_wherever_its_notifier_is_killed_before_one", Release, || condition::killed(1)),
    ("a_condition_loses_nobody_wherever_its_notifier_is_killed", All, || condition::killed(2)),
    ("a_condition_loses_nobody_wherever_its_woken_waiter_is_killed", Release, || condition::woken_killed(1)),
    (
        "without_the_broadcast_those_behind_a_killed_woken_waiter_of_a_condition_hang",
        Release,
        condition::hangs_without_broadcast,
    ),
    ("a_barrier_is_met_or_broken_for_one_wherever_a_party_is_killed", Release, || barrier::killed(1)),
    ("a_barrier_is_met_or_broken_for_all_wherever_a_party_is_killed", All, || barrier::killed(2)),
    ("a_barrier_is_met_or_broken_for_all_wherever_its_first_party_is_killed", Release, || {
        barrier::first_killed(1)
    }),
    ("a_barrier_is_met_or_broken_for_all_wherever_a_woken_party_is_killed", All, || barrier::woken_killed(2)),
    (
        "without_the_broadcast_those_behind_a_killed_party_of_a_barrier_hang",
        Release,
        barrier::hangs_without_broadcast,
    ),
];

const QUEUES: &[Sweep] = &[
    ("a_queue_has_whole_records_and_all_acknowledged_ones_wherever_its_producer_is_killed", All, || {
        queue::producer_killed(1)
    }),
    (
        "a_queue_has_whole_records_and_all_acknowledged_ones_wherever_its_producer_is_killed_before_two",
        Release,
        || queue::producer_killed(2),
    ),
    ("a_queue_delivers_nothing_twice_wherever_its_consumer_is_killed", All, || queue::consumer_killed(1)),
    ("a_queue_delivers_nothing_twice_wherever_its_consumer_is_killed_before_two", Release, || {
        queue::consumer_killed(2)
    }),
    ("a_queue_goes_on_wherever_its_woken_producer_is_killed", Release, || queue::woken_producer_killed(1)),
    ("a_queue_goes_on_wherever_its_woken_consumer_is_killed", Release, || queue::woken_consumer_killed(1)),
    ("a_queue_goes_on_wherever_its_producer_is_killed_with_a_sleeper_and_recovered_first", All, || {
        queue::producer_and_sleeper_killed(SweptFirst)
    }),
    ("a_queue_goes_on_wherever_its_producer_is_killed_with_a_sleeper_and_recovered_last", Release, || {
        queue::producer_and_sleeper_killed(SweptLast)
    }),
    ("a_queue_goes_on_wherever_its_consumer_is_killed_with_a_sleeper_and_recovered_first", Release, || {
        queue::consumer_and_sleeper_killed(SweptFirst)
    }),
    ("a_queue_goes_on_wherever_its_consumer_is_killed_with_a_sleeper_and_recovered_last", Release, || {
        queue::consumer_and_sleeper_killed(SweptLast)
    }),
    (
        "a_queue_goes_on_wherever_a_producer_and_a_consumer_are_killed_in_the_middle",
        Release,
        queue::both_killed,
    ),
    (
        "without_the_broadcast_those_behind_a_killed_producer_hang",
        Release,
        queue::putting_hangs_without_broadcast,
    ),
    (
        "without_the_broadcast_those_behind_a_killed_consumer_hang",
        Release,
        queue::getting_hangs_without_broadcast,
    ),
    (
        "without_the_broadcast_those_behind_a_killed_woken_producer_hang",
        Release,
        queue::woken_producer_hangs_without_broadcast,
    ),
    (
        "without_the_broadcast_those_behind_a_killed_woken_consumer_hang",
        Release,
        queue::woken_consumer_hangs_without_broadcast,
    ),
    ("who_joins_a_queue_is_told_the_truth_wherever_its_consumer_is_killed", Release, || joined::killed(1)),
    ("two_who_join_a_queue_are_told_the_truth_wherever_its_consumer_is_killed", Release, || {
        joined::killed(2)
    }),
    ("without_the_broadcast_those_who_join_a_queue_hang", Release, joined::hangs_without_broadcast),
];

/// Runs the sweeps, or is a victim.
pub(crate) fn run() -> ExitCode {
    run_sweeps(&[LOCKS, OTHERS, QUEUES].concat(), victim)
}

/// This program as a process that is killed.
fn victim(part: &str, numbers: &[String]) {
    let side = stage::Side::attach(numbers);
    match part {
        lock::PART | lock::RECURSIVE | lock::NEWCOMER => lock::victim(&side, part),
        semaphore::PART => semaphore::victim(&side),
        event::SETTER => event::setter(&side),
        event::WAITER => event::waiter(&side),
        condition::NOTIFIER => condition::notifier(&side),
        condition::WAITER => condition::waiter(&side),
        barrier::PART => barrier::victim(&side),
        queue::PRODUCER => queue::producer(&side),
        queue::CONSUMER => queue::consumer(&side),
        joined::PART => joined::victim(&side),
        other => panic!("no such part: {other}"),
    }
}
