//! Shared memory that a worker fills with lies: copied once, checked, and the worker replaced; never a crash, a hang or
//! another item's answer.

use poolctl_testkit::{Invocation, Sandbox, python};

use crate::peer::numbers;
use crate::zoo::{WORKERS, expect_all, expect_all_but_one};

/// `poolctl map` over the worker that lies at item 7 as `how` says.
fn map(sandbox: &Sandbox, workers: &str, how: &str) -> Invocation {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/bad_claim.py");
    let worker = format!("{} {script} {how}", python());
    let arguments = ["--framing=frame", "--grace=100ms", "-j", workers, "--worker", &worker];
    sandbox.map(arguments).input(numbers(1, 20))
}

/// Runs `test` with each number of workers.
fn each(test: impl Fn(&Sandbox, &str)) {
    for workers in WORKERS {
        test(&Sandbox::new(), workers);
    }
}

#[test]
fn an_honest_worker_with_claim_and_batch_is_served() {
    each(|sandbox, workers| drop(expect_all(map(sandbox, workers, "fine 7").run())));
}

#[test]
fn indexes_that_cannot_be_are_refused() {
    for how in ["huge", "back", "garbage", "other-id"] {
        each(|sandbox, workers| {
            let finished = map(sandbox, workers, &format!("{how} 7")).run();

            // What else a liar had published just before may be refused with the lie.
            let told = |n: u64| finished.errors().contains(&format!("({n})"));
            let expected: String = (1..=20).filter(|n| !told(*n)).map(|n| format!("{n}\n")).collect();
            assert!(expected.lines().count() >= 18, "{finished}");
            finished.expect_code(1).expect_stdout(expected).expect_words(&["protocol"]);
        });
    }
}

#[test]
fn a_liar_is_replaced_and_its_item_is_right_the_next_time() {
    for how in ["huge", "back", "garbage", "other-id", "cut", "silent-death"] {
        each(|sandbox, workers| {
            let finished = map(sandbox, workers, &format!("{how} 7 done")).arg("--retries=1").run();

            expect_all(finished);
        });
    }
}

#[test]
fn what_was_not_published_is_never_seen() {
    for how in ["cut", "silent-death"] {
        each(|sandbox, workers| {
            let finished = map(sandbox, workers, &format!("{how} 7")).run();

            // The half that "cut" publishes may be seen before its death is, and is a breach then.
            let words = if finished.errors().contains("protocol") { "middle of a frame" } else { "SIGKILL" };
            expect_all_but_one(finished).expect_words(&[words]);
        });
    }
}

#[test]
fn a_claim_on_an_item_it_does_not_hold_leaves_every_item_an_outcome() {
    each(|sandbox, workers| {
        let finished = map(sandbox, workers, "wild-id 7").arg("--json").run();

        assert_eq!(finished.lines().len(), 20, "{finished}");
        let well = finished.lines().iter().filter(|line| line.contains(r#""status":"ok""#)).count();
        assert!(well >= 19, "{finished}");
    });
}

#[test]
fn a_start_in_the_far_future_ends_nothing_early() {
    each(|sandbox, workers| {
        let finished = map(sandbox, workers, "wild-time 7").arg("--timeout=600s").run();

        expect_all(finished);
    });
}

#[test]
fn the_memory_can_neither_shrink_nor_grow() {
    for how in ["truncate", "grow"] {
        each(|sandbox, workers| {
            let finished = map(sandbox, workers, &format!("{how} 7")).run();

            finished.expect_code(0).expect_stdout(numbers(1, 6) + "\"refused\"\n" + &numbers(8, 20));
        });
    }
}

#[test]
fn words_that_change_while_they_are_read_break_nothing_but_their_worker() {
    each(|sandbox, workers| {
        let finished = map(sandbox, workers, "racer 7").args(["--json", "--retries=2"]).run();

        assert!([Some(0), Some(1)].contains(&finished.code()), "{finished}");
        assert_eq!(finished.lines().len(), 20, "every item exactly one outcome\n{finished}");
        finished.expect_no_words(&["panicked", "internal"]);
    });
}
