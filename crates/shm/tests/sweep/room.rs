//! A worker whose result ring is full, and which waits for room for one record more.

use std::collections::BTreeSet;

use poolctl_testkit::stepper::{self, Refused, Scene, Swept, Then};

use crate::link::{Link, RECORD, RING, Side};

pub(crate) const PART: &str = "room";

/// As many records as fit.
const FULL: u64 = (RING / RECORD) as u64;

struct Room {
    link: Link,
    drained: u64,
}

impl Room {
    fn new() -> Self {
        Self { link: Link::new(), drained: 0 }
    }
}

impl Scene for Room {
    fn start(&mut self) -> u32 {
        self.link.start(PART)
    }

    fn act(&mut self) {
        self.drained += self.link.drain_records(self.drained);
    }
}

pub(crate) fn victim() {
    let mut side = Side::attach();
    for number in 0..FULL {
        side.record(number);
    }
    side.worker.publish();
    stepper::mark_start();
    side.worker.wait_for_spare(RECORD);
    side.record(FULL);
    side.worker.publish();
    stepper::mark_end();
}

pub(crate) fn killed() -> Result<Swept, Refused> {
    let mut seen = BTreeSet::new();

    let swept = stepper::sweep(Then::Kill, Room::new, |Room { mut link, drained }, _| {
        seen.insert((drained, drained + link.drain_records(drained)));
        link.go_on();
    })?;

    // Killed before the host drained anything, afterwards, and after its last record.
    assert_eq!(seen, [(0, FULL), (FULL, FULL), (FULL, FULL + 1)].into());
    Ok(swept)
}

pub(crate) fn drained_meanwhile() -> Result<Swept, Refused> {
    stepper::sweep(Then::GoOn, Room::new, |Room { mut link, drained }, point| {
        assert_eq!(drained + link.drain_records(drained), FULL + 1, "{point}");
        link.go_on();
    })
}
