//! A victim that takes the only permit of a semaphore and gives it back.

use poolctl_sync::RawSemaphore;
use poolctl_testkit::stepper::{self, Refused, Swept};

use crate::play::{self, Cue, Play};
use crate::stage::{Side, Stage};

pub(crate) const PART: &str = "semaphore";

fn play(contenders: usize, cue: Cue) -> Play<()> {
    let stage = Stage::new(|host| vec![host.create_semaphore(1, 1).unwrap()]);
    if cue == Cue::Asleep {
        assert!(of(&stage).try_acquire().unwrap());
    }
    let contend = |stage: &mut Stage<()>| {
        let place = stage.places[0];
        stage.contend(move |member, _| {
            let semaphore = RawSemaphore::at(&member, place).unwrap();
            semaphore.acquire(None).unwrap();
            semaphore.release().unwrap();
        });
    };
    let host_acts = |stage: &Stage<()>| of(stage).release().unwrap();
    Play { stage, part: PART, contenders, cue, contend, host_acts, has_acted: false }
}

fn of(stage: &Stage<()>) -> RawSemaphore {
    RawSemaphore::at(stage.host.member(), stage.places[0]).unwrap()
}

pub(crate) fn victim(side: &Side) {
    let semaphore = RawSemaphore::at(&side.member, side.places[0]).unwrap();
    let is_free = semaphore.try_acquire().unwrap();
    if is_free {
        semaphore.release().unwrap();
    }
    stepper::mark_start();
    semaphore.acquire(None).unwrap();
    if is_free {
        side.wait_at_gate();
    }
    semaphore.release().unwrap();
    stepper::mark_end();
}

fn sweep(contenders: usize, cue: Cue) -> Result<Swept, Refused> {
    play::sweep(
        || play(contenders, cue),
        |_, _| (),
        |stage, _, point| assert_eq!(of(stage).value(), 1, "{point}"),
    )
}

pub(crate) fn killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(contenders, Cue::Gate)
}

pub(crate) fn woken_killed() -> Result<Swept, Refused> {
    sweep(1, Cue::Asleep)
}

pub(crate) fn hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(|| play(1, Cue::Gate), |_, _| ())
}
