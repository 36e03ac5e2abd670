//! A victim that sets an event others wait for, and one that waits for it with them.

use poolctl_sync::RawEvent;
use poolctl_testkit::stepper::{self, Refused, Swept, Then};

use crate::play::{self, Cue, Play};
use crate::stage::{Side, Stage};

pub(crate) const SETTER: &str = "setter";
pub(crate) const WAITER: &str = "waiter for an event";

fn play(part: &'static str, contenders: usize) -> Play<bool> {
    let stage = Stage::new(|host| vec![host.create_event().unwrap()]);
    let contend = |stage: &mut Stage<bool>| {
        let place = stage.places[0];
        stage.contend(move |member, _| RawEvent::at(&member, place).unwrap().wait(None).unwrap());
    };
    Play { contenders, ..Play::new(stage, part, contend) }
}

fn of(stage: &Stage<bool>) -> RawEvent {
    RawEvent::at(stage.host.member(), stage.places[0]).unwrap()
}

/// As a program would: it sets the event if the dead one had not.
fn finish(stage: &Stage<bool>, _: usize) {
    let event = of(stage);
    if !event.is_set() {
        event.set();
    }
}

fn event_of(side: &Side) -> RawEvent {
    let event = RawEvent::at(&side.member, side.places[0]).unwrap();
    assert!(!event.wait(Some(std::time::Duration::ZERO)).unwrap());
    event
}

pub(crate) fn setter(side: &Side) {
    let event = event_of(side);
    stepper::mark_start();
    side.wait_at_gate();
    event.set();
    stepper::mark_end();
}

pub(crate) fn waiter(side: &Side) {
    let event = event_of(side);
    stepper::mark_start();
    assert!(event.wait(None).unwrap());
    stepper::mark_end();
}

fn sweep(then: Then, play: impl Fn() -> Play<bool>) -> Result<Swept, Refused> {
    play::sweep(then, play, finish, |stage, answers, point| {
        assert!(answers.iter().all(|is_set| *is_set), "{point}");
        assert_eq!(of(stage).waiters(), [], "{point}");
    })
}

pub(crate) fn killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(Then::Kill, || play(SETTER, contenders))
}

/// The host sets the event when all sleep, and that wakes all, before anybody is recovered.
pub(crate) fn woken_killed(contenders: usize) -> Result<Swept, Refused> {
    let set = |stage: &Stage<bool>| of(stage).set();
    let note = |stage: &Stage<bool>| {
        if of(stage).is_set() {
            stage.wait_until_done();
        }
    };
    sweep(Then::KillWoken, || Play {
        cue: Cue::Asleep,
        host_acts: [set as fn(&Stage<bool>)].into(),
        note,
        ..play(WAITER, contenders)
    })
}

pub(crate) fn hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || play(SETTER, 1), finish)
}
