//! Native workers that die in every way: the item in hand is hurt and no other, and it is told by what.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poolctl_testkit::{DEADLINE, Killer, Random, Running, Sandbox, children, pass, seed, wait_until};

use crate::fault::{self, Installation, crossed, faulty};
use crate::peer::numbers;
use crate::zoo::{expect_all, expect_all_but_one};

#[test]
fn death_in_mid_item_hurts_that_item_only_and_is_told_by_its_name() {
    let deaths = [
        ("kill", "SIGKILL"),
        ("segv", "SIGSEGV"),
        ("term", "SIGTERM"),
        ("abort", "SIGABRT"),
        ("overflow", "SIG"),
        ("exit:0", "exit code 0"),
        ("exit:3", "exit code 3"),
        ("grandchild", "SIGKILL"),
        ("double-fork", "SIGKILL"),
    ];
    for (how, words) in deaths {
        crossed(|sandbox, workers| {
            let ours = faulty(sandbox, workers, &format!("{how} 7")).run();

            expect_all_but_one(ours).expect_words(&["item 6", words]);
            sandbox.expect_nothing_left();
        });
    }
}

#[test]
fn no_item_is_begun_twice_whatever_happens_to_its_neighbours() {
    for how in ["kill", "exit:0", "abort", "panic"] {
        crossed(|sandbox, workers| {
            let ours =
                fault::map(sandbox, "counted").args(["-j", workers]).env("FAULT", format!("{how} 1500"));

            let ours = ours.input(numbers(1, 2_000)).run();

            ours.expect_code(1).expect_stdout(numbers(1, 1_499) + &numbers(1_501, 2_000));
            assert_eq!(sandbox.read("ran").len(), 2_000, "{how}");
        });
    }
}

#[test]
fn the_same_holds_where_the_worker_is_the_stock_worker() {
    for (how, words) in [("kill", "SIGKILL"), ("exit:3", "exit code 3"), ("panic", "told to panic")] {
        let sandbox = Sandbox::new();
        let installation = Installation::of_faults(&sandbox);

        let ours = installation
            .map(&sandbox, &["-j2", "fault"])
            .env("FAULT", format!("{how} 7"))
            .input(numbers(1, 20));

        expect_all_but_one(ours.run()).expect_words(&["item 6", words]);
    }
}

#[test]
fn a_panic_is_told_with_its_place_and_its_worker_lives_on() {
    crossed(|sandbox, workers| {
        let ours = faulty(sandbox, workers, "panic 7").run();

        let ours = expect_all_but_one(ours);
        ours.expect_words(&["panic", "the function was told to panic", "happen.rs"])
            .expect_no_words(&["died", "SIG"]);
    });
    let sandbox = Sandbox::new();
    let pids = fault::map(&sandbox, "fault")
        .args(["-j1", "--json"])
        .env("FAULT", "panic 7")
        .input(numbers(1, 20))
        .run();
    assert!(pids.lines().iter().all(|line| line.contains(r#""worker":"0.0""#)), "{pids}");
}

#[test]
fn a_retried_item_is_right_after_its_first_worker_died() {
    for how in ["kill", "abort", "exit:0", "panic", "fail"] {
        crossed(|sandbox, workers| {
            let ours = faulty(sandbox, workers, &format!("{how} 7 once")).arg("--retries=1").run();

            expect_all(ours);
        });
    }
}

#[test]
fn an_item_that_kills_every_worker_is_quarantined_and_hurts_no_other() {
    crossed(|sandbox, workers| {
        let ours = faulty(sandbox, workers, "kill 7").arg("--retries=10").run();

        expect_all_but_one(ours).expect_words(&["--max-crashes"]);
    });
}

#[test]
fn a_worker_that_hangs_is_ended_by_the_timeout_of_its_item() {
    for how in ["hang", "spin", "deaf", "stop"] {
        crossed(|sandbox, workers| {
            let limits = ["--timeout=500ms", "--grace=100ms"];

            let ours = faulty(sandbox, workers, &format!("{how} 7")).args(limits).run();

            expect_all_but_one(ours).expect_words(&["timed out"]);
        });
    }
}

#[test]
fn a_flood_of_prints_blocks_nothing_and_its_tail_is_kept() {
    crossed(|sandbox, workers| {
        let ours = faulty(sandbox, workers, "flood:64 7").run();

        let ours = ours.expect_code(0).expect_stdout(numbers(1, 20)).expect_words(&["the tail of the flood"]);
        assert!(ours.stderr.len() < 16 << 20, "{} bytes on stderr", ours.stderr.len());
    });
}

#[test]
fn a_worker_killed_while_it_has_nothing_to_do_is_replaced_in_silence() {
    let sandbox = Sandbox::new();
    let mut running = fault::map(&sandbox, "fault").arg("-j1").open_input().start();
    running.write("1\n");
    running.wait_stdout("the first result", |bytes| bytes == b"1\n");
    let worker = sandbox.processes().into_iter().find(|process| process.command == fault::FAULT_WORKER);
    let worker = worker.expect("it lives");

    kill(pid(worker.pid), Signal::SIGKILL).expect("it lives");
    wait_until(DEADLINE, "the worker is dead", || !poolctl_testkit::is_alive(worker.pid));
    running.write(numbers(2, 5));

    running.wait().expect_quiet().expect_stdout(numbers(1, 5));
}

/// Runs `count` numbers through `marked` under a killer that shoots every five milliseconds.
fn shot_at(sandbox: &Sandbox, arguments: &[&str], count: u64) -> (poolctl_testkit::Finished, u32) {
    let finished = sandbox.path("finished");
    std::fs::create_dir(&finished).expect("a directory in our own");
    let running = fault::map(sandbox, "marked").args(arguments).arg("-j2").input(numbers(1, count)).start();
    let killer = Killer::start(finished, sandbox.mark(), Duration::from_millis(5), Random::new(seed()));
    let finished = running.wait();
    (finished, killer.stop())
}

#[test]
fn a_million_items_under_a_killer_every_five_milliseconds_have_one_outcome_each() {
    let sandbox = Sandbox::new();
    let count = 1_000_000;

    let (ours, shots) = shot_at(&sandbox, &["--json"], count);

    let (mut ok, mut died) = (0_u64, 0_u64);
    for (index, line) in ours.text().lines().enumerate() {
        let starts = format!("{{\"v\":1,\"index\":{index},\"status\":\"");
        let rest = line.strip_prefix(&starts).unwrap_or_else(|| panic!("item {index} is not next: {line}"));
        if rest.starts_with("ok\"") {
            assert!(line.ends_with(&format!("\"value\":{}}}", index + 1)), "{line}");
            ok += 1;
        } else {
            assert!(rest.starts_with("worker_died\"") && line.contains("SIGKILL"), "{line}");
            died += 1;
        }
    }
    assert_eq!(ok + died, count, "every item has exactly one outcome");
    assert!(shots >= 20, "only {shots} workers were shot: this has shown nothing");
    assert!(died >= 1, "a worker that is shot is hardly ever between two items");
    assert!(died <= u64::from(shots), "{died} items died of {shots} shots");
    sandbox.expect_nothing_left();
}

#[test]
fn a_million_items_under_a_killer_with_retries_are_all_there() {
    let sandbox = Sandbox::new();
    let count = 1_000_000;

    let (ours, shots) = shot_at(&sandbox, &["--retries=20", "--max-crashes=20"], count);

    ours.expect_code(0).expect_stdout(numbers(1, count));
    assert!(shots >= 5, "only {shots} workers were shot: this has shown nothing");
}

/// The keeper of a run.
fn keeper(running: &Running) -> Option<u32> {
    let keeper = children(running.pid()).into_iter().find(|child| child.command.contains("--keeper"));
    keeper.map(|keeper| keeper.pid)
}

fn pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid fits"))
}

#[test]
fn the_keeper_is_shot_under_load_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    let mut random = Random::new(seed());
    let count = 3_000_000;
    let running = fault::map(&sandbox, "fault").args(["-j2", "--retries=5"]).input(numbers(1, count)).start();

    for round in 1..=3_usize {
        let most = 500_000 * round;
        running.wait_stdout("some results", |bytes| bytes.len() > most);
        pass(Duration::from_millis(random.below(20)));
        let old = keeper(&running).expect("a run has a keeper");
        kill(pid(old), Signal::SIGKILL).expect("it lives");
        wait_until(DEADLINE, "there is another keeper", || {
            !running.is_running() || keeper(&running).is_some_and(|new| new != old)
        });
    }

    running.wait().expect_code(0).expect_stdout(numbers(1, count));
    sandbox.expect_nothing_left();
}

#[test]
fn when_poolctl_is_killed_its_workers_and_what_they_started_are_gone() {
    let mut random = Random::new(seed());
    for round in 0..20 {
        let sandbox = Sandbox::new();
        let script = if round % 2 == 0 { "none" } else { "double-fork 7" };
        let running = fault::map(&sandbox, "fault")
            .arg("-j2")
            .env("FAULT", script)
            .input(numbers(1, 1_000_000))
            .start();

        pass(Duration::from_micros(random.below(60_000)));
        running.kill();

        sandbox.expect_nothing_left();
    }
}

#[test]
fn poolctl_and_its_keeper_killed_together_leave_no_worker() {
    for how in ["idle", "spin 3", "deaf 3"] {
        let sandbox = Sandbox::new();
        let mut running = fault::map(&sandbox, "fault").arg("-j2").env("FAULT", how).open_input().start();
        running.write("1\n2\n");
        running.wait_stdout("two results", |bytes| bytes == b"1\n2\n");
        running.write("3\n");
        let old = keeper(&running).expect("a run has a keeper");
        pass(Duration::from_millis(20));

        kill(pid(old), Signal::SIGKILL).expect("it lives");
        running.kill();

        sandbox.expect_nothing_left();
    }
}
