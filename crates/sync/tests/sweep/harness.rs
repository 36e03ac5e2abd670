//! The sweeps by name, run one after another as a test runner would: this thread must be the parent of every victim.

use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use poolctl_testkit::stepper::{Refused, Swept};

use crate::{barrier, condition, event, lock, queue, semaphore, stage};

/// A sweep, by name.
type Test = (&'static str, Builds, fn() -> Result<Swept, Refused>);

/// Where a sweep is run: some take minutes where the compiler has not optimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builds {
    All,
    Release,
}

const TESTS: [Test; 20] = [
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

/// Runs the sweeps that the arguments name, or is a victim.
pub(crate) fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, part, numbers @ ..] = arguments.as_slice()
        && first == stage::VICTIM
    {
        victim(part, numbers);
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let tests = TESTS.iter().filter(|test| filter.is_none_or(|filter| test.0.contains(filter.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        tests.for_each(|(name, ..)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, builds, test) in tests {
        if *builds == Builds::Release && cfg!(debug_assertions) {
            println!("test {name} ... skipped: for release builds");
            skipped += 1;
            continue;
        }
        let begun = Instant::now();
        match panic::catch_unwind(test) {
            // Where contenders run beside the victim, some come another way than the first did.
            Ok(Ok(Swept { points, instructions, missed })) if missed <= points / 10 => {
                let took = begun.elapsed();
                println!("test {name} ... ok ({points} of {instructions} instructions in {took:.1?})");
                passed += 1;
            }
            Ok(Ok(Swept { missed, .. })) => {
                println!("test {name} ... FAILED: {missed} victims went another way than the first");
                failed += 1;
            }
            Ok(Err(refused)) => {
                println!("test {name} ... skipped: {refused}");
                skipped += 1;
            }
            Err(_) => {
                println!("test {name} ... FAILED");
                failed += 1;
            }
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
