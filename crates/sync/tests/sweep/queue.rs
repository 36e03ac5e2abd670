//! A victim that puts a record into a queue others wait at, or gets one from a full queue; or that is woken itself, when
//! there is room, or a record; or one of either kind at once.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use poolctl_sync::{Acquired, Detection, Member, Place, QueueError, RawLock, RawQueue};
use poolctl_testkit::DEADLINE;
use poolctl_testkit::stepper::{self, Point, Refused, Swept, Then};

use crate::play::{self, Cue, Order, Play, Second};
use crate::stage::{Side, Stage};

pub(crate) const PRODUCER: &str = "producer";
pub(crate) const CONSUMER: &str = "consumer";

/// How many bytes there are for records.
const BYTES: usize = 128;
/// How many records fit: 24 bytes and their length.
const FULL: u8 = 4;
/// Enough for a victim and two contenders.
const SOME: u8 = 3;
/// Whose a record is; those that the host puts for them to be got are counted from 0.
const VICTIMS: u8 = 100;
const HOSTS: u8 = 101;
const CONTENDERS: u8 = 102;

/// The words of the data that say how far a victim has come that puts, or one that gets: [`BEGUN`], [`RETURNED`].
const PUTS: usize = 0;
const GETS: usize = 1;
const BEGUN: u32 = 1;
const RETURNED: u32 = 2;
/// How many records the host has put, and a bit for each of them that it has taken.
const GIVEN: usize = 2;
const TAKEN: usize = 3;

/// The locks of a queue, by their lines.
const PUT: u32 = 0;
const GET: u32 = 1;

/// What a contender got; nothing if it put something.
type Got = Option<u8>;

/// A record that shows if a part of it is of another.
fn record(of: u8) -> [u8; 24] {
    [of; 24]
}

fn whose(record: &[u8]) -> u8 {
    assert!(record.len() == 24 && record.iter().all(|byte| *byte == record[0]), "torn: {record:?}");
    record[0]
}

fn get(queue: &RawQueue, limit: Option<Duration>) -> Got {
    let mut bytes = Vec::new();
    match queue.get(&mut bytes, limit) {
        Ok(()) => Some(whose(&bytes)),
        Err(QueueError::TimedOut) => None,
        Err(other) => panic!("{other}"),
    }
}

fn of(stage: &Stage<Got>) -> RawQueue {
    let file = stage.file.as_ref().unwrap().try_clone().unwrap();
    RawQueue::attach(stage.host.member(), stage.places[0], file, BYTES).unwrap().unwrap()
}

/// A lock of the queue's own.
fn lock_of(member: &Member, queue: Place, line: u32) -> RawLock {
    let place = Place { line: queue.line + line, extra: 0 };
    RawLock::at(member, place).unwrap().with_detection(Detection::Off)
}

/// The host puts records, to be known again.
fn give(stage: &Stage<Got>, records: u8) {
    let queue = of(stage);
    for _ in 0..records {
        let given = stage.data.cells()[GIVEN].fetch_add(1, SeqCst);
        queue.put(&record(u8::try_from(given).unwrap()), Some(DEADLINE)).unwrap();
    }
}

/// The host takes records that it has put.
fn take(stage: &Stage<Got>, records: usize) {
    let queue = of(stage);
    for _ in 0..records {
        let taken = 1 << get(&queue, Some(DEADLINE)).unwrap();
        let before = stage.data.cells()[TAKEN].fetch_or(taken, SeqCst);
        assert!(before & taken == 0, "the host took a record twice");
    }
}

fn play(part: &'static str, contenders: usize, records: u8, contend: fn(&mut Stage<Got>)) -> Play<Got> {
    let mut stage = Stage::new(|host| vec![host.create_queue().unwrap()]);
    let queue = RawQueue::new(stage.host.member(), stage.places[0], BYTES).unwrap().unwrap();
    stage.file = Some(Arc::clone(queue.file()));
    give(&stage, records);
    Play { contenders, ..Play::new(stage, part, contend) }
}

fn wait_for_record(stage: &mut Stage<Got>) {
    let queue = of(stage);
    stage.contend(move |_, _| get(&queue, None));
}

fn wait_for_room(stage: &mut Stage<Got>) {
    let queue = of(stage);
    stage.contend(move |_, _| {
        queue.put(&record(CONTENDERS), None).unwrap();
        None
    });
}

/// Puts into an empty queue; others get.
fn putting(contenders: usize) -> Play<Got> {
    play(PRODUCER, contenders, 0, wait_for_record)
}

/// Gets from a full queue; others put.
fn getting(contenders: usize) -> Play<Got> {
    play(CONSUMER, contenders, FULL, wait_for_room)
}

/// The victim sleeps since there is no room, or no record. The host makes some, with the lock in its hands that the
/// victim needs then; behind that the victim sleeps, and the contenders, too, until the host lets go.
fn sleeping(play: Play<Got>, line: fn(&Stage<Got>), release: fn(&Stage<Got>)) -> Play<Got> {
    Play { cue: Cue::Asleep, host_acts: [line, release].into(), ..play }
}

fn hold(stage: &Stage<Got>, line: u32) {
    let lock = lock_of(stage.host.member(), stage.places[0], line);
    assert_eq!(lock.try_acquire().unwrap(), Some(Acquired::Clean));
}

fn let_go(stage: &Stage<Got>, line: u32) {
    lock_of(stage.host.member(), stage.places[0], line).release().unwrap();
}

fn sleeping_producer(contenders: usize) -> Play<Got> {
    let make_room = |stage: &Stage<Got>| {
        hold(stage, PUT);
        take(stage, SOME.into());
    };
    sleeping(play(PRODUCER, contenders, FULL, wait_for_room), make_room, |stage| let_go(stage, PUT))
}

fn sleeping_consumer(contenders: usize) -> Play<Got> {
    let make_records = |stage: &Stage<Got>| {
        hold(stage, GET);
        give(stage, SOME);
    };
    sleeping(play(CONSUMER, contenders, 0, wait_for_record), make_records, |stage| let_go(stage, GET))
}

fn queue_of(side: &Side, line: u32) -> RawQueue {
    let file = side.file.try_clone().unwrap();
    // The thread has its entry when the sweep begins.
    assert!(!lock_of(&side.member, side.places[0], line).is_mine());
    RawQueue::attach(&side.member, side.places[0], file, BYTES).unwrap().unwrap()
}

/// Into an empty queue it puts when the gate is open.
pub(crate) fn producer(side: &Side) {
    let queue = queue_of(side, PUT);
    side.data.cells()[PUTS].store(BEGUN, SeqCst);
    stepper::mark_start();
    if queue.is_empty() {
        side.wait_at_gate();
    }
    queue.put(&record(VICTIMS), None).unwrap();
    side.data.cells()[PUTS].store(RETURNED, SeqCst);
    stepper::mark_end();
}

/// From a full queue it gets when the gate is open.
pub(crate) fn consumer(side: &Side) {
    let queue = queue_of(side, GET);
    side.data.cells()[GETS].store(BEGUN, SeqCst);
    stepper::mark_start();
    if queue.bytes() == BYTES {
        side.wait_at_gate();
    }
    let got = get(&queue, None);
    side.data.cells()[GETS].store(RETURNED, SeqCst);
    stepper::mark_end();
    assert_eq!(got, Some(0));
}

/// As a program would: records only where there are none, and room only where there is none, for those who still wait.
fn finish(stage: &Stage<Got>, _: usize) {
    stage.wait_until_at_rest();
    let queue = of(stage);
    if queue.is_empty() {
        (0..stage.waiting()).for_each(|_| queue.put(&record(HOSTS), Some(DEADLINE)).unwrap());
    } else if queue.bytes() == BYTES {
        take(stage, stage.waiting());
    }
}

/// Every record that was put is there once, in its order, whole. Only the oldest one may be missing, and that of the
/// victim, where a call for it has begun and not returned; and it must where a call to get it has returned.
fn check(stage: &mut Stage<Got>, answers: Vec<Got>, point: &Point) {
    let queue = of(stage);
    let left: Vec<u8> = std::iter::from_fn(|| get(&queue, Some(Duration::ZERO))).collect();
    let puts = answers.iter().filter(|answer| answer.is_none()).count();
    let [given, taken, has_put, has_got] =
        [GIVEN, TAKEN, PUTS, GETS].map(|word| stage.data.cells()[word].load(SeqCst));
    let taken = (0..FULL).filter(|number| taken >> number & 1 == 1);
    let there: Vec<u8> = taken.chain(answers.into_iter().flatten()).chain(left.iter().copied()).collect();
    let count = |whose: u8| there.iter().filter(|other| **other == whose).count();
    let may_be = |state: u32| match state {
        BEGUN => 0..=1,
        state => usize::from(state == RETURNED)..=usize::from(state == RETURNED),
    };

    assert!(may_be(has_put).contains(&count(VICTIMS)), "{point}: a victim's record: {there:?}");
    assert_eq!(count(CONTENDERS), puts, "{point}: {there:?}");
    for number in 0..u8::try_from(given).unwrap() {
        let missing = 1usize.checked_sub(count(number)).expect("no record is got twice");
        let is_right = if number == 0 { may_be(has_got).contains(&missing) } else { missing == 0 };
        assert!(is_right, "{point}: record {number} is missing {missing} times: {there:?}");
    }
    assert!(left.iter().filter(|whose| **whose < FULL).is_sorted(), "{point}: {left:?}");
}

pub(crate) fn producer_killed(contenders: usize) -> Result<Swept, Refused> {
    play::sweep(Then::Kill, || putting(contenders), finish, check)
}

pub(crate) fn consumer_killed(contenders: usize) -> Result<Swept, Refused> {
    play::sweep(Then::Kill, || getting(contenders), finish, check)
}

pub(crate) fn woken_producer_killed(contenders: usize) -> Result<Swept, Refused> {
    play::sweep(Then::KillWoken, || sleeping_producer(contenders), finish, check)
}

pub(crate) fn woken_consumer_killed(contenders: usize) -> Result<Swept, Refused> {
    play::sweep(Then::KillWoken, || sleeping_consumer(contenders), finish, check)
}

/// A producer, and a consumer asleep behind it, or woken by it.
pub(crate) fn producer_and_sleeper_killed(order: Order) -> Result<Swept, Refused> {
    let play = || Play { second: Second::Behind(CONSUMER), order, ..putting(1) };
    play::sweep(Then::Kill, play, finish, check)
}

/// A consumer, and a producer asleep behind it, or woken by it.
pub(crate) fn consumer_and_sleeper_killed(order: Order) -> Result<Swept, Refused> {
    let play = || Play { second: Second::Behind(PRODUCER), order, ..getting(1) };
    play::sweep(Then::Kill, play, finish, check)
}

/// A consumer and a producer in the middle of it, each with its lock perhaps; behind each comes a contender. The
/// consumer has more instructions, so that the producer is killed at each of its own, too.
pub(crate) fn both_killed() -> Result<Swept, Refused> {
    let contend = |stage: &mut Stage<Got>| match stage.contenders() {
        0 => wait_for_record(stage),
        _ => wait_for_room(stage),
    };
    let play = || Play { cue: Cue::Late, second: Second::Beside(PRODUCER), ..play(CONSUMER, 2, 2, contend) };
    play::sweep(Then::Kill, play, finish, check)
}

pub(crate) fn putting_hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || putting(1), finish)
}

pub(crate) fn getting_hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || getting(1), finish)
}

pub(crate) fn woken_producer_hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::KillWoken, || sleeping_producer(1), finish)
}

pub(crate) fn woken_consumer_hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::KillWoken, || sleeping_consumer(1), finish)
}
