//! A victim that gets the only record of a joinable queue and is done with it, while others wait for the end of all work.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use poolctl_sync::{JoinError, Member, Place, RawJoinableQueue, RawQueue};
use poolctl_testkit::stepper::{self, Point, Refused, Swept, Then};

use crate::play::{self, Play};
use crate::stage::{Side, Stage};

pub(crate) const PART: &str = "joined";

const BYTES: usize = 128;

/// The words of the data: the victim's get has returned, and its being done; how many records the host took instead; and
/// how many hands the queue has.
const GOT: usize = 0;
const DONE: usize = 1;
const TAKEN: usize = 2;
const HANDS: usize = 3;

/// How a wait for the end ended: how many records were abandoned.
type Abandoned = u64;

fn attached(member: &Member, place: Place, file: std::os::fd::OwnedFd, hands: u32) -> RawJoinableQueue {
    let queue = RawQueue::attach_with_hands(member, place, file, BYTES, hands).unwrap().unwrap();
    RawJoinableQueue::of(queue).unwrap()
}

fn of(stage: &Stage<Abandoned>) -> RawJoinableQueue {
    let file = stage.file.as_ref().unwrap().try_clone().unwrap();
    attached(stage.host.member(), stage.places[0], file, stage.host.hands())
}

fn join(queue: &RawJoinableQueue) -> Abandoned {
    match queue.join(None) {
        Ok(is_done) => u64::from(!is_done) * 1000,
        Err(JoinError::Abandoned { count }) => count,
        Err(other) => panic!("{other}"),
    }
}

fn play(contenders: usize) -> Play<Abandoned> {
    let mut stage = Stage::new(|host| vec![host.create_joinable_queue().unwrap()]);
    let hands = stage.host.hands();
    stage.data.cells()[HANDS].store(hands, SeqCst);
    let queue = RawQueue::with_hands(stage.host.member(), stage.places[0], BYTES, hands).unwrap().unwrap();
    stage.file = Some(Arc::clone(queue.file()));
    let queue = RawJoinableQueue::of(queue).unwrap();
    stage.host.watch(&queue);
    queue.queue().put(&[7; 24], None).unwrap();
    // The host knows of hands as long as somebody here has the queue: the contenders have.
    let contend = move |stage: &mut Stage<Abandoned>| {
        let queue = queue.clone();
        stage.contend(move |_, _| join(&queue));
    };
    Play { contenders, ..Play::new(stage, PART, contend) }
}

pub(crate) fn victim(side: &Side) {
    let hands = side.data.cells()[HANDS].load(SeqCst);
    let queue = attached(&side.member, side.places[0], side.file.try_clone().unwrap(), hands);
    // The thread has its entry when the sweep begins.
    assert!(!queue.join(Some(Duration::ZERO)).unwrap());
    stepper::mark_start();
    side.wait_at_gate();
    queue.queue().get(&mut Vec::new(), None).unwrap();
    side.count(GOT);
    let was_one = queue.task_done();
    side.count(DONE);
    stepper::mark_end();
    assert!(was_one);
}

/// The host does what was not taken.
fn finish(stage: &Stage<Abandoned>, _: usize) {
    let queue = of(stage);
    while queue.queue().get(&mut Vec::new(), Some(Duration::ZERO)).is_ok() {
        assert!(queue.task_done());
        stage.data.cells()[TAKEN].fetch_add(1, SeqCst);
    }
}

fn check(stage: &mut Stage<Abandoned>, answers: Vec<Abandoned>, point: &Point) {
    let [has_got, is_done, taken] = [GOT, DONE, TAKEN].map(|word| stage.data.cells()[word].load(SeqCst));
    let queue = of(stage);
    let abandoned = queue.abandoned();

    assert_eq!(queue.unfinished(), abandoned, "{point}: nothing else is left");
    assert!(answers.iter().all(|told| *told == abandoned), "{point}: {answers:?} of {abandoned}");
    assert!(taken + has_got <= 1, "{point}: it was given twice");
    match (taken, is_done) {
        (1, 0) | (0, 1) => assert_eq!(abandoned, 0, "{point}: somebody has done it"),
        (0, 0) => assert!(abandoned <= 1, "{point}"),
        other => panic!("{point}: {other:?}"),
    }
}

pub(crate) fn killed(contenders: usize) -> Result<Swept, Refused> {
    let mut all = [0, 0];
    let swept = play::sweep(
        Then::Kill,
        || play(contenders),
        finish,
        |stage, answers, point| {
            all[usize::from(answers[0] > 0)] += 1;
            check(stage, answers, point);
        },
    )?;
    assert!(all.iter().all(|ends| *ends > 0), "done {} times, abandoned {} times", all[0], all[1]);
    Ok(swept)
}

pub(crate) fn hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || play(1), finish)
}
