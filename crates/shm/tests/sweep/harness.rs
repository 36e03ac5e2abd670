//! The sweeps by name, run one after another as a test runner would: this thread must be the parent of every victim.

use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use poolctl_testkit::stepper::{Refused, Swept};

use crate::{kick, link, message, room, work};

/// A sweep, by name.
type Test = (&'static str, fn() -> Result<Swept, Refused>);

const TESTS: [Test; 6] = [
    ("work_is_finished_begun_or_untouched_wherever_its_worker_is_killed", work::killed),
    ("a_worker_killed_while_it_waits_for_a_message_leaves_its_host_going", message::killed),
    ("a_worker_sleeps_through_no_message_whenever_it_is_posted", message::posted_meanwhile),
    ("a_worker_killed_while_it_waits_for_room_leaves_whole_records", room::killed),
    ("a_worker_sleeps_through_no_drain_whenever_it_is_done", room::drained_meanwhile),
    ("a_host_that_goes_to_sleep_is_kicked_or_sees_the_record", kick::asleep_meanwhile),
];

/// Runs the sweeps that the arguments name, or is a victim.
pub(crate) fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, part] = arguments.as_slice()
        && first == link::VICTIM
    {
        victim(part);
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let tests = TESTS.iter().filter(|test| filter.is_none_or(|filter| test.0.contains(filter.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        tests.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, test) in tests {
        let begun = Instant::now();
        match panic::catch_unwind(test) {
            // On a loaded machine a few victims meet a wait that the first did not have, and pass their point by.
            Ok(Ok(Swept { points, instructions, missed })) if missed <= points / 20 => {
                let took = begun.elapsed();
                println!(
                    "test {name} ... ok ({points} of {instructions} instructions in {took:.1?}, {missed} missed)"
                );
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

/// This program as a worker that is stopped or killed.
fn victim(part: &str) {
    match part {
        work::PART => work::victim(),
        message::PART => message::victim(),
        room::PART => room::victim(),
        kick::PART => kick::victim(),
        other => panic!("no such part: {other}"),
    }
}
