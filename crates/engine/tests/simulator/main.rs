//! A million events in simulated runs: workers that are slow, fail, hang, die, lie and come back; hosts that stop,
//! pause, resize and cancel. Every effect is held against a model, and every run must come to its end.

mod chance;
mod ledger;
mod life;
mod plot;
mod world;

use std::collections::BTreeMap;

use world::World;

const EVENTS: u64 = 1_000_000;

/// Says which run went wrong.
struct Seed(u64);

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "the seed is what one needs to see it again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the run of seed {}", self.0);
        }
    }
}

fn play(seed: u64, seen: &mut BTreeMap<&'static str, u64>) -> u64 {
    let seed = Seed(seed);
    let mut world = World::new(seed.0);
    world.play();
    for (name, count) in &world.ledger.seen {
        *seen.entry(name).or_default() += count;
    }
    world.steps
}

#[test]
fn every_item_has_one_outcome_whatever_workers_do() {
    let mut seen = BTreeMap::new();

    let (mut steps, mut seed) = (0, 0);
    while steps < EVENTS {
        steps += play(seed, &mut seen);
        seed += 1;
    }

    let every = [
        "spawn",
        "run",
        "dispatch",
        "probe",
        "cancel",
        "close input",
        "terminate",
        "kill",
        "settle",
        "retry",
        "reap",
        "halted",
        "gave up",
        "ok",
        "failed",
        "timed out",
        "cancelled",
        "worker died",
        "quarantined",
    ];

    for name in every {
        assert!(seen.contains_key(name), "{name} did not occur in {seed} runs: {seen:?}");
    }
}
