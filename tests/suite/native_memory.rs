//! Native workers whose numbers in shared memory are overwritten while they work: such a worker is replaced, and nothing
//! else happens.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poolctl_testkit::{DEADLINE, Process, Random, Running, Sandbox, children, pass, seed, wait_until};

use crate::fault;
use crate::peer::numbers;

/// The words that a worker writes: where they lie in the first page of its segment, and how long they are (`page.rs`).
const WORDS: [(u64, usize); 5] = [(0, 8), (128, 8), (256, 8), (264, 8), SLEEPS];
/// The one that says whether the worker sleeps.
const SLEEPS: (u64, usize) = (384, 4);

/// The pids of the workers of a run: the children of its keeper.
fn workers(run: &Running) -> Vec<u32> {
    let keepers = children(run.pid());
    keepers.iter().flat_map(|keeper| children(keeper.pid)).map(|worker| worker.pid).collect()
}

/// Where a worker has the segment that it writes, in its memory.
fn results_segment(worker: u32) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{worker}/maps")).ok()?;
    let line = maps.lines().find(|line| line.contains("poolctl-results"))?;
    u64::from_str_radix(line.split('-').next()?, 16).ok()
}

/// Overwrites one of the worker's words with anything. Says whether there was such a worker.
fn scribble(worker: u32, word: (u64, usize), random: &mut Random) -> bool {
    let Some(segment) = results_segment(worker) else { return false };
    let Ok(memory) = File::options().write(true).open(format!("/proc/{worker}/mem")) else { return false };
    let bytes = random.next_u64().to_ne_bytes();
    memory.write_all_at(&bytes[..word.1], segment + word.0).is_ok()
}

#[test]
fn a_worker_whose_words_are_overwritten_is_replaced_and_every_result_is_right() {
    let mut random = Random::new(seed());
    let sandbox = Sandbox::new();
    let count = 400_000;
    let run = fault::map(&sandbox, "fault")
        .args(["-j3", "--retries=100000", "--max-crashes=100000"])
        .input(numbers(1, count))
        .start();
    let mut scribbles = 0;

    while run.is_running() && scribbles < 60 {
        pass(Duration::from_millis(random.below(15)));
        let workers = workers(&run);
        let (Some(worker), Some(word)) = (random.choose(&workers), random.choose(&WORDS)) else { continue };
        scribbles += u32::from(scribble(*worker, *word, &mut random));
    }

    run.wait().expect_code(0).expect_stdout(numbers(1, count));
    assert!(scribbles > 10, "only {scribbles} words were overwritten");
    sandbox.expect_nothing_left();
}

#[test]
fn an_idle_worker_that_claims_to_have_published_is_replaced() {
    let mut random = Random::new(seed());
    let sandbox = Sandbox::new();
    let mut run = fault::map(&sandbox, "fault").args(["-j1"]).open_input().start();
    run.write("1\n");
    run.wait_stdout("the first result", |bytes| bytes == b"1\n");
    let first = workers(&run)[0];

    // While it stands still it cannot write over the lie before the host looks.
    kill(Pid::from_raw(i32::try_from(first).expect("pids are small")), Signal::SIGSTOP)
        .expect("the worker lives");
    wait_until(DEADLINE, "the worker stands still", || {
        Process::look(first).is_some_and(|it| it.state == 'T')
    });
    assert!(scribble(first, WORDS[0], &mut random), "the worker's segment can be written");
    run.write("2\n");

    run.wait_stdout("the next result", |bytes| bytes == b"1\n2\n");
    assert_ne!(workers(&run), [first]);
    run.close_input();
    run.wait().expect_code(0);
    sandbox.expect_nothing_left();
}

#[test]
fn a_worker_asleep_is_woken_whatever_its_memory_says_of_that() {
    let mut random = Random::new(seed());
    let sandbox = Sandbox::new();
    let mut run = fault::map(&sandbox, "fault").args(["-j1"]).open_input().start();
    let mut expected = String::new();

    for number in 1..=10 {
        run.write(format!("{number}\n"));
        expected += &format!("{number}\n");
        run.wait_stdout("the next result", |bytes| bytes == expected.as_bytes());
        let worker = workers(&run)[0];
        wait_until(DEADLINE, "the worker sleeps", || Process::look(worker).is_some_and(|it| it.state == 'S'));
        assert!(scribble(worker, SLEEPS, &mut random), "the worker's segment can be written");
    }

    run.close_input();
    run.wait().expect_code(0);
    sandbox.expect_nothing_left();
}
