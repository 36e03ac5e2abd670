//! A victim that is a party of a barrier: it comes last, or first, and the last is a contender then or the host.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use poolctl_sync::{BarrierError, RawBarrier};
use poolctl_testkit::DEADLINE;
use poolctl_testkit::stepper::{self, Refused, Swept, Then};

use crate::play::{self, Cue, Play};
use crate::stage::{Side, Stage};

pub(crate) const PART: &str = "barrier";

/// The word of the data that says that the victim comes first, and has no gate.
const IS_FIRST: usize = 0;
/// Those that say that the host met the others, or found the barrier broken.
const HOST_MET: usize = 1;
const HOST_BROKEN: usize = 2;

fn has_met(barrier: &RawBarrier, limit: Option<Duration>) -> bool {
    match barrier.wait(limit) {
        Ok(_) => true,
        Err(BarrierError::Broken) => false,
        Err(other) => panic!("{other}"),
    }
}

fn of(stage: &Stage<bool>) -> RawBarrier {
    RawBarrier::at(stage.host.member(), stage.places[0]).unwrap()
}

fn play(contenders: usize, parties: usize) -> Play<bool> {
    let parties = u32::try_from(parties).unwrap();
    let stage = Stage::new(|host| vec![host.create_barrier(parties).unwrap()]);
    let contend = |stage: &mut Stage<bool>| {
        let place = stage.places[0];
        stage.contend(move |member, _| has_met(&RawBarrier::at(&member, place).unwrap(), None));
    };
    Play { contenders, ..Play::new(stage, PART, contend) }
}

/// The victim comes last.
fn last(contenders: usize) -> Play<bool> {
    play(contenders, contenders + 1)
}

/// It comes first, and a contender last.
fn first(contenders: usize) -> Play<bool> {
    let play = play(contenders, contenders + 1);
    play.stage.data.cells()[IS_FIRST].store(1, SeqCst);
    Play { cue: Cue::Wakers, ..play }
}

/// It comes first, and the host last, which wakes all, before anybody is recovered.
fn woken(contenders: usize) -> Play<bool> {
    let play = play(contenders, contenders + 2);
    play.stage.data.cells()[IS_FIRST].store(1, SeqCst);
    let come = |stage: &Stage<bool>| {
        let word = if has_met(&of(stage), Some(DEADLINE)) { HOST_MET } else { HOST_BROKEN };
        stage.data.cells()[word].store(1, SeqCst);
    };
    let note = |stage: &Stage<bool>| {
        if stage.data.cells()[HOST_MET].load(SeqCst) == 1 {
            stage.wait_until_done();
        }
    };
    Play { cue: Cue::Asleep, host_acts: [come as fn(&Stage<bool>)].into(), note, ..play }
}

pub(crate) fn victim(side: &Side) {
    let barrier = RawBarrier::at(&side.member, side.places[0]).unwrap();
    assert!(barrier.join().unwrap());
    let is_first = side.data.cells()[IS_FIRST].load(SeqCst) == 1;
    stepper::mark_start();
    if !is_first {
        side.wait_at_gate();
    }
    let met = barrier.wait(None);
    stepper::mark_end();
    assert!(met.is_ok());
}

fn sweep(then: Then, play: impl Fn() -> Play<bool>) -> Result<Swept, Refused> {
    let mut seen = BTreeSet::new();
    let swept = play::sweep(
        then,
        play,
        |_, _| (),
        |stage, mut answers, point| {
            let said = [(HOST_MET, true), (HOST_BROKEN, false)].into_iter();
            answers.extend(
                said.filter(|(word, _)| stage.data.cells()[*word].load(SeqCst) == 1).map(|(_, met)| met),
            );
            let met = answers[0];
            assert!(answers.iter().all(|answer| *answer == met), "{point}: met for some: {answers:?}");
            let barrier = of(stage);
            assert!(barrier.is_broken(), "{point}");
            barrier.reset();
            assert!(!barrier.is_broken() && barrier.arrived() == 0, "{point}");
            seen.insert(met);
        },
    )?;
    assert_eq!(seen, [false, true].into());
    Ok(swept)
}

pub(crate) fn killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(Then::Kill, || last(contenders))
}

pub(crate) fn first_killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(Then::Kill, || first(contenders))
}

pub(crate) fn woken_killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(Then::KillWoken, || woken(contenders))
}

pub(crate) fn hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || last(1), |_, _| ())
}
