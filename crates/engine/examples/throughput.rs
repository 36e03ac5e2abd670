//! Prints what one item costs the engine on its fast path: two workers that answer chunk by chunk.
//!
//! `cargo run --release -p poolctl-engine --example throughput`
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it is what this example is for")]

use std::num::NonZeroU32;
use std::time::Instant;

use poolctl_engine::{Accounting, Capacity, Config, Effect, Engine, Event};
use poolctl_types::{Moment, WorkerId};

const ITEMS: u64 = 20_000_000;
const BLOCK: u64 = 8_192;

fn main() {
    for (name, ahead, accounting) in [
        ("claiming workers, chunks by pace", None, Accounting::Claim),
        ("filters, 64 ahead", NonZeroU32::new(64), Accounting::Unknown),
        ("one by one", NonZeroU32::new(1), Accounting::InOrder),
    ] {
        let (nanos, steps) = run(Capacity { ahead, accounting, cancel: false });
        println!("{name}: {nanos:.2} ns/item, {:.1} items/step", ITEMS as f64 / steps as f64);
    }
}

fn run(capacity: Capacity) -> (f64, u64) {
    let config = Config { slots: 2, ..Config::default() };
    let mut engine = Engine::new(config, Moment(0));
    let mut effects = Vec::new();
    let (mut held, mut read, mut settled, mut steps) = ([0_u32; 2], 0, 0, 0_u64);
    let mut news = Vec::new();
    let begin = Instant::now();
    let mut now = 0;
    while settled < ITEMS {
        if read < ITEMS && engine.counts().queued < BLOCK {
            read += BLOCK;
            news.push(Event::Items(BLOCK));
        }
        for (slot, count) in held.iter().enumerate().filter(|(_, count)| **count > 0) {
            let worker = WorkerId::new(u32::try_from(slot).expect("small"), 0);
            news.push(Event::Finished { worker, count: (*count).div_ceil(2) });
        }
        for event in news.drain(..) {
            if let Event::Finished { worker, count } = event {
                now += u64::from(count) * 125;
                held[worker.slot.index()] -= count;
            }
            steps += 1;
            engine.step(Moment(now), event, &mut effects);
        }
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Spawn(worker) => {
                    engine.step(Moment(now), Event::Ready(worker, capacity), &mut effects)
                }
                Effect::Dispatch { worker, items, .. } => held[worker.slot.index()] += items.count,
                Effect::Settle { items, .. } => settled += u64::from(items.count),
                other => panic!("unexpected: {other:?}"),
            }
        }
        for effect in effects.drain(..) {
            if let Effect::Dispatch { worker, items, .. } = effect {
                held[worker.slot.index()] += items.count;
            }
        }
    }
    let nanos = begin.elapsed().as_secs_f64() * 1e9;
    (nanos / ITEMS as f64, steps)
}
