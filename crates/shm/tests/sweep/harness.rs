//! The sweeps by name.

use std::process::ExitCode;

use poolctl_testkit::stepper::{Builds::All, Sweep, run_sweeps};

use crate::{kick, message, room, work};

const SWEEPS: [Sweep; 6] = [
    ("work_is_finished_begun_or_untouched_wherever_its_worker_is_killed", All, work::killed),
    ("a_worker_killed_while_it_waits_for_a_message_leaves_its_host_going", All, message::killed),
    ("a_worker_sleeps_through_no_message_whenever_it_is_posted", All, message::posted_meanwhile),
    ("a_worker_killed_while_it_waits_for_room_leaves_whole_records", All, room::killed),
    ("a_worker_sleeps_through_no_drain_whenever_it_is_done", All, room::drained_meanwhile),
    ("a_host_that_goes_to_sleep_is_kicked_or_sees_the_record", All, kick::asleep_meanwhile),
];

/// Runs the sweeps, or is a victim.
pub(crate) fn run() -> ExitCode {
    run_sweeps(&SWEEPS, |part, _| victim(part))
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
