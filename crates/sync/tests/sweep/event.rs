//! A victim that sets an event others wait for.

use poolctl_sync::RawEvent;
use poolctl_testkit::stepper::{self, Refused, Swept};

use crate::play::{self, Cue, Play};
use crate::stage::{Side, Stage};

pub(crate) const PART: &str = "event";

fn play(contenders: usize) -> Play<bool> {
    let stage = Stage::new(|host| vec![host.create_event().unwrap()]);
    let contend = |stage: &mut Stage<bool>| {
        let place = stage.places[0];
        stage.contend(move |member, _| RawEvent::at(&member, place).unwrap().wait(None).unwrap());
    };
    Play { stage, part: PART, contenders, cue: Cue::Gate, contend, host_acts: |_| (), has_acted: false }
}

/// As a program would: it sets the event if the dead one had not.
fn finish(stage: &Stage<bool>, _: usize) {
    let event = RawEvent::at(stage.host.member(), stage.places[0]).unwrap();
    if !event.is_set() {
        event.set();
    }
}

pub(crate) fn victim(side: &Side) {
    let event = RawEvent::at(&side.member, side.places[0]).unwrap();
    assert!(!event.wait(Some(std::time::Duration::ZERO)).unwrap());
    stepper::mark_start();
    side.wait_at_gate();
    event.set();
    stepper::mark_end();
}

pub(crate) fn killed(contenders: usize) -> Result<Swept, Refused> {
    play::sweep(
        || play(contenders),
        finish,
        |_, answers, point| {
            assert!(answers.iter().all(|is_set| *is_set), "{point}");
        },
    )
}

pub(crate) fn hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(|| play(1), finish)
}
