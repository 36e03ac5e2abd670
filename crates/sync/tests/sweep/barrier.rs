//! A victim that is a party of a barrier: it comes last, or first.

use std::collections::BTreeSet;

use poolctl_sync::{BarrierError, RawBarrier};
use poolctl_testkit::stepper::{self, Refused, Swept};

use crate::play::{self, Cue, Play};
use crate::stage::{Side, Stage};

pub(crate) const PART: &str = "barrier";

fn play(contenders: usize, cue: Cue) -> Play<bool> {
    let parties = u32::try_from(contenders + 1).unwrap();
    let stage = Stage::new(|host| vec![host.create_barrier(parties).unwrap()]);
    if cue == Cue::Wakers {
        stage.data.cells()[0].store(1, std::sync::atomic::Ordering::SeqCst);
    }
    let contend = |stage: &mut Stage<bool>| {
        let place = stage.places[0];
        stage.contend(move |member, _| match RawBarrier::at(&member, place).unwrap().wait(None) {
            Ok(_) => true,
            Err(BarrierError::Broken) => false,
            Err(other) => panic!("{other}"),
        });
    };
    Play { stage, part: PART, contenders, cue, contend, host_acts: |_| (), has_acted: false }
}

pub(crate) fn victim(side: &Side) {
    let barrier = RawBarrier::at(&side.member, side.places[0]).unwrap();
    assert!(barrier.join().unwrap());
    let is_first = side.data.cells()[0].load(std::sync::atomic::Ordering::SeqCst) == 1;
    stepper::mark_start();
    if !is_first {
        side.wait_at_gate();
    }
    let met = barrier.wait(None);
    stepper::mark_end();
    assert!(met.is_ok());
}

fn sweep(contenders: usize, cue: Cue) -> Result<Swept, Refused> {
    let mut seen = BTreeSet::new();
    let swept = play::sweep(
        || play(contenders, cue),
        |_, _| (),
        |stage, answers, point| {
            let met = answers[0];
            assert!(answers.iter().all(|answer| *answer == met), "{point}: met for some: {answers:?}");
            let barrier = RawBarrier::at(stage.host.member(), stage.places[0]).unwrap();
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
    sweep(contenders, Cue::Gate)
}

pub(crate) fn woken_killed() -> Result<Swept, Refused> {
    sweep(1, Cue::Wakers)
}
