//! A worker that publishes a record and kicks its host if that sleeps.

use std::collections::BTreeSet;

use poolctl_testkit::stepper::{self, Refused, Scene, Swept, Then};

use crate::link::{Link, Side};

pub(crate) const PART: &str = "kick";

/// What the victim does as its kick.
const KICK: u64 = 7;

struct Kick {
    link: Link,
    /// Whether the host, when it had said that it sleeps, still saw nothing.
    is_asleep: bool,
}

impl Scene for Kick {
    fn start(&mut self) -> u32 {
        self.link.start(PART)
    }

    fn act(&mut self) {
        self.link.host.sleep();
        self.is_asleep = !self.link.host.has_news();
    }
}

pub(crate) fn victim() {
    let mut side = Side::attach();
    stepper::mark_start();
    side.record(0);
    side.worker.publish();
    if side.worker.host_sleeps() {
        side.effect(KICK);
    }
    stepper::mark_end();
}

pub(crate) fn asleep_meanwhile() -> Result<Swept, Refused> {
    let mut seen = BTreeSet::new();
    let scene = || Kick { link: Link::new(), is_asleep: false };

    let swept = stepper::sweep(Then::GoOn, scene, |Kick { mut link, is_asleep }, point| {
        let is_kicked = link.effects()[usize::try_from(KICK).unwrap()] == 1;
        assert!(is_kicked || !is_asleep, "{point}: the host sleeps for good");
        seen.insert((is_asleep, is_kicked));
        assert_eq!(link.drain_records(0), 1);
        link.go_on();
    })?;

    assert_eq!(seen, [(true, true), (false, true), (false, false)].into());
    Ok(swept)
}
