//! A victim that takes the only permit of a semaphore and gives it back.

use poolctl_sync::RawSemaphore;
use poolctl_testkit::stepper::{self, Refused, Swept, Then};

use crate::play::{self, Cue, Order, Play, Second};
use crate::stage::{Side, Stage};

pub(crate) const PART: &str = "semaphore";

fn play(contenders: usize) -> Play<()> {
    let stage = Stage::new(|host| vec![host.create_semaphore(1, 1).unwrap()]);
    let contend = |stage: &mut Stage<()>| {
        let place = stage.places[0];
        stage.contend(move |member, _| {
            let semaphore = RawSemaphore::at(&member, place).unwrap();
            semaphore.acquire(None).unwrap();
            semaphore.release().unwrap();
        });
    };
    Play { contenders, ..Play::new(stage, PART, contend) }
}

/// With the permit in the hands of the host, who gives it to the victim.
fn held(contenders: usize) -> Play<()> {
    let play = play(contenders);
    assert!(of(&play.stage).try_acquire().unwrap());
    let release = |stage: &Stage<()>| of(stage).release().unwrap();
    Play { cue: Cue::Asleep, host_acts: [release as fn(&Stage<()>)].into(), ..play }
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

fn sweep(play: impl Fn() -> Play<()>) -> Result<Swept, Refused> {
    let check = |stage: &mut Stage<()>, _, point: &_| assert_eq!(of(stage).value(), 1, "{point}");
    play::sweep(Then::Kill, play, |_, _| (), check)
}

pub(crate) fn killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(|| play(contenders))
}

pub(crate) fn woken_killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(|| held(contenders))
}

pub(crate) fn both_killed(order: Order) -> Result<Swept, Refused> {
    sweep(|| Play { second: Second::Behind(PART), order, ..play(1) })
}

pub(crate) fn hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || play(1), |_, _| ())
}
