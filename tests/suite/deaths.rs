//! Workers that die, at every stage and in every way: one item at most is hurt, never a neighbour.

use poolctl_testkit::{DEADLINE, Sandbox, wait_until};

use crate::peer::numbers;
use crate::zoo::{self, BAD_WORKER, ITEM, crossed, expect_all, expect_all_but_one};

#[test]
fn death_in_mid_item_hurts_that_item_only_and_is_told_by_its_name() {
    let deaths = [
        ("kill", "SIGKILL"),
        ("segv", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("overflow", "SIG"),
        ("panic", "exit code 101"),
        ("exit:0", "exit code 0"),
        ("exit:3", "exit code 3"),
        ("term", "SIGTERM"),
    ];
    for (how, words) in deaths {
        crossed(|sandbox, framing, workers| {
            let finished = zoo::map(sandbox, framing, workers, &format!("at=taken how={how}")).run();

            expect_all_but_one(finished).expect_words(&[words]);
        });
    }
}

#[test]
fn a_retried_item_is_right_after_its_first_worker_died() {
    crossed(|sandbox, framing, workers| {
        let finished =
            zoo::map(sandbox, framing, workers, "at=taken how=kill once=done").arg("--retries=1").run();

        expect_all(finished);
    });
}

#[test]
fn death_while_idle_moves_the_items_on_in_silence() {
    crossed(|sandbox, framing, workers| {
        let finished = zoo::map(sandbox, framing, workers, "at=idle how=kill once=done").run();

        // A worker without claim that dies after an item was sent to it may have begun it: only then is it told.
        match finished.code() {
            Some(0) => drop(expect_all(finished)),
            _ => assert_eq!(finished.clone().expect_code(1).lines().len(), 19, "{finished}"),
        }
    });
}

#[test]
fn half_a_reply_is_never_delivered_whatever_byte_it_ends_at() {
    for (framing, length) in [("jsonl", r#"{"id":6,"ok":7}"#.len()), ("frame", 16)] {
        for bytes in 0..=length {
            let sandbox = Sandbox::new();

            let finished = zoo::map(&sandbox, framing, "1", &format!("at=taken how=partial:{bytes}")).run();

            expect_all_but_one(finished).expect_words(&["SIGKILL"]);
        }
    }
}

#[test]
fn a_reply_that_was_complete_counts_though_its_worker_died_right_after() {
    for how in ["kill", "segv", "exit:0", "exit:3", "abort"] {
        crossed(|sandbox, framing, workers| {
            // The last item: without a claim, one that was sent meanwhile counts as begun.
            let finished = zoo::map(sandbox, framing, workers, &format!("at=replied how={how} on=20")).run();

            expect_all(finished);
        });
    }
}

#[test]
fn death_while_draining_or_recycling_is_as_if_idle() {
    for how in ["kill", "exit:3", "segv"] {
        crossed(|sandbox, framing, workers| {
            let drained = zoo::map(sandbox, framing, workers, &format!("at=drain how={how}")).run();
            let recycled = zoo::map(sandbox, framing, workers, &format!("at=drain how={how}"))
                .arg("--max-tasks=2")
                .run();

            expect_all(drained);
            expect_all(recycled);
        });
    }
}

#[test]
fn a_worker_that_does_not_end_when_asked_is_killed_after_the_grace() {
    for how in ["hang", "deaf", "stop"] {
        crossed(|sandbox, framing, workers| {
            let script = format!("at=drain how={how}");
            let finished = zoo::map(sandbox, framing, workers, &script).arg("--grace=100ms").run();

            expect_all(finished);
        });
    }
}

#[test]
fn a_worker_that_hangs_is_ended_by_the_timeout_of_its_item() {
    for how in ["hang", "deaf", "stop"] {
        crossed(|sandbox, framing, workers| {
            let limits = ["--timeout=500ms", "--grace=100ms"];
            let finished =
                zoo::map(sandbox, framing, workers, &format!("at=taken how={how}")).args(limits).run();

            expect_all_but_one(finished).expect_words(&["timed out"]);
        });
    }
}

#[test]
fn an_item_that_kills_every_worker_is_quarantined_and_hurts_no_other() {
    crossed(|sandbox, framing, workers| {
        let finished = zoo::map(sandbox, framing, workers, "at=taken how=kill").arg("--retries=10").run();

        expect_all_but_one(finished).expect_words(&["--max-crashes", "3"]);
    });
}

#[test]
fn max_crashes_says_how_many_workers_an_item_may_take() {
    let sandbox = Sandbox::new();
    let script = r#"echo x >> lives; kill -9 $$"#;

    let finished = sandbox.map(["--retries=10", "--max-crashes=5", "--shell", script, ":::", "one"]).run();

    finished.expect_code(1);
    assert_eq!(sandbox.read("lives"), b"x\n".repeat(5));
}

#[test]
fn a_reply_too_many_is_given_to_nobody() {
    crossed(|sandbox, framing, workers| {
        let last = zoo::map(sandbox, framing, workers, "at=taken how=twice on=20").run();
        let amid = zoo::map(sandbox, framing, workers, "at=taken how=twice").run();

        expect_all(last);
        // The liar is replaced; what it had begun by then is told.
        let told = |n: u64| n != ITEM && amid.errors().contains(&format!("({n})"));
        let expected: String = (1..=20).filter(|n| !told(*n)).map(|n| format!("{n}\n")).collect();
        assert!(expected.lines().count() >= 19, "{amid}");
        amid.expect_stdout(expected);
    });
    for offset in [1, 1_000_000] {
        crossed(|sandbox, framing, workers| {
            let stolen =
                zoo::map(sandbox, framing, workers, &format!("at=taken how=other-id:{offset}")).run();

            let stolen = stolen.expect_code(1);
            assert!(!stolen.text().contains("stolen"), "{stolen}");
            expect_all_but_one(stolen);
        });
    }
}

#[test]
fn a_reply_after_its_timeout_is_given_to_nobody() {
    for workers in zoo::WORKERS {
        let sandbox = Sandbox::new();
        let limits = ["--timeout=300ms", "--grace=600s"];

        // It announces that it hears cancels, so nothing but the message is sent at first; it answers all the same.
        let script = "at=taken how=wait:1500 caps=cancel";
        let finished = zoo::map(&sandbox, "jsonl", workers, script).args(limits).run();

        expect_all_but_one(finished).expect_words(&["timed out"]);
    }
}

#[test]
fn a_worker_that_closes_its_reply_channel_is_replaced() {
    crossed(|sandbox, framing, workers| {
        let finished =
            zoo::map(sandbox, framing, workers, "at=taken how=close-reply").arg("--grace=100ms").run();

        expect_all_but_one(finished);
    });
}

#[test]
fn death_is_seen_though_a_grandchild_holds_every_descriptor() {
    for how in ["grandchild", "double-fork"] {
        crossed(|sandbox, framing, workers| {
            let finished = zoo::map(sandbox, framing, workers, &format!("at=taken how={how}")).run();

            expect_all_but_one(finished).expect_words(&["SIGKILL"]);
            sandbox.expect_nothing_left();
        });
    }
}

#[test]
fn workers_that_kill_each_other_leave_every_item_an_outcome() {
    for workers in ["2", "5", "13"] {
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.path("pids")).expect("a directory in our own");
        let worker = format!("{BAD_WORKER} at=taken how=sibling:pids on=7");
        let input = "7\n".repeat(40);

        let finished = sandbox.map(["-j", workers, "--json", "--worker", &worker]).input(input).run();

        let lines = finished.lines();
        assert_eq!(lines.len(), 40, "{finished}");
        let well = lines.iter().filter(|line| line.contains(r#""status":"ok""#)).count();
        assert!(well >= 1 && [Some(0), Some(1)].contains(&finished.code()), "{finished}");
    }
}

#[test]
fn a_worker_killed_from_outside_while_it_waits_for_items_is_replaced() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.map(["-j", "1", "--worker", BAD_WORKER]).open_input().start();
    running.write("1\n");
    running.wait_stdout("the first result", |bytes| bytes == b"1\n");
    let worker =
        sandbox.processes().into_iter().find(|process| process.command == BAD_WORKER).expect("it lives");

    let pid = nix::unistd::Pid::from_raw(i32::try_from(worker.pid).expect("a pid fits"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it lives");
    wait_until(DEADLINE, "the worker is dead", || !poolctl_testkit::is_alive(worker.pid));
    running.write(numbers(2, 5));
    running.close_input();

    running.wait().expect_code(0).expect_stdout(numbers(1, 5));
}
