//! A worker with two messages of work, of three items and of one.

use std::collections::BTreeSet;
use std::thread;

use poolctl_testkit::is_alive;
use poolctl_testkit::stepper::{self, Refused, Scene, Swept, Then};

use crate::link::{Link, RECORD, RING, Side};

pub(crate) const PART: &str = "work";

/// Items of each message.
const MESSAGES: [u64; 2] = [3, 1];
const ITEMS: u64 = 4;
/// Records before the start, so that those of the items go round the end of the ring.
const BEFORE: u64 = (RING / RECORD - 1) as u64;

struct Work {
    link: Link,
}

impl Scene for Work {
    fn start(&mut self) -> u32 {
        for items in MESSAGES {
            assert!(self.link.host.post(&[&items.to_le_bytes()]));
        }
        self.link.host.publish();
        let pid = self.link.start(PART);
        let mut drained = 0;
        // One that may not be traced is gone at once.
        while drained < BEFORE && is_alive(pid) {
            drained += self.link.drain_records(drained);
            thread::yield_now();
        }
        pid
    }

    fn act(&mut self) {
        panic!("a worker with work does not sleep");
    }
}

pub(crate) fn victim() {
    let mut side = Side::attach();
    for number in 0..BEFORE {
        side.record(number);
    }
    side.worker.wait_for_spare(RING);
    let mut begun = 0;
    stepper::mark_start();
    while begun < ITEMS {
        side.worker.wait();
        let items = u64::from_le_bytes(side.worker.posted()[..8].try_into().unwrap());
        for _ in 0..items {
            begun += 1;
            side.worker.begin(begun, None);
            side.effect(begun);
            side.record(BEFORE + begun - 1);
            side.worker.publish();
        }
        side.worker.consume(8);
        side.worker.publish();
    }
    stepper::mark_end();
}

/// Items answered, begun, and with an effect.
type State = (u64, u64, u64);

pub(crate) fn killed() -> Result<Swept, Refused> {
    let mut seen = BTreeSet::<State>::new();

    let swept = stepper::sweep(
        Then::Kill,
        || Work { link: Link::new() },
        |Work { mut link }, point| {
            let answered = link.drain_records(BEFORE);
            let begun = link.host.claim().begun;
            let effects = link.effects();
            let done = effects.iter().map(|byte| u64::from(*byte)).sum();
            assert!(
                effects[1..].starts_with(&vec![1; usize::try_from(done).unwrap()]),
                "{point}: out of order"
            );
            seen.insert((answered, begun, done));
            let room = link.host.room().unwrap();
            let consumed = room - (RING - MESSAGES.len() * 8);
            let must_be_answered = [0, MESSAGES[0], ITEMS][consumed / 8];
            assert!(answered >= must_be_answered, "{point}: consumed before it was answered");
            link.go_on();
        },
    )?;

    // Each item is untouched, then begun, then done, then answered; the one before it is answered first.
    let finished = (0..=ITEMS).map(|n| (n, n, n));
    let possible = finished.chain((0..ITEMS).flat_map(|n| [(n, n + 1, n), (n, n + 1, n + 1)])).collect();
    assert!(seen.is_subset(&possible), "{seen:?}");
    // Debug builds are stopped where each instruction is reached first, which for some is in the first item alone.
    assert!(cfg!(debug_assertions) || seen == possible, "{seen:?}");
    Ok(swept)
}
