//! A worker that waits for a message, and answers it with a record.

use std::collections::BTreeSet;

use poolctl_testkit::stepper::{self, Refused, Scene, Swept, Then};

use crate::link::{Link, Side};

pub(crate) const PART: &str = "message";

struct Message {
    link: Link,
}

impl Message {
    fn new() -> Self {
        Self { link: Link::new() }
    }
}

impl Scene for Message {
    fn start(&mut self) -> u32 {
        self.link.start(PART)
    }

    fn act(&mut self) {
        assert!(self.link.host.post(&[b"message"]));
        self.link.host.publish();
    }
}

pub(crate) fn victim() {
    let mut side = Side::attach();
    stepper::mark_start();
    side.worker.wait();
    assert_eq!(&side.worker.posted()[..7], b"message");
    side.worker.consume(7);
    side.record(0);
    side.worker.publish();
    stepper::mark_end();
}

pub(crate) fn killed() -> Result<Swept, Refused> {
    let mut seen = BTreeSet::new();

    let swept = stepper::sweep(Then::Kill, Message::new, |Message { mut link }, _| {
        seen.insert(link.drain_records(0));
        link.go_on();
    })?;

    assert_eq!(seen, [0, 1].into());
    Ok(swept)
}

pub(crate) fn posted_meanwhile() -> Result<Swept, Refused> {
    stepper::sweep(Then::GoOn, Message::new, |Message { mut link }, point| {
        assert_eq!(link.drain_records(0), 1, "{point}");
        link.go_on();
    })
}
