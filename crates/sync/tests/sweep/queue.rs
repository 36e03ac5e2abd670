//! A victim that puts a record into a queue others wait at, or gets one from a full queue.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use poolctl_sync::{QueueError, RawQueue};
use poolctl_testkit::stepper::{self, Refused, Swept};

use crate::play::{self, Cue, Play};
use crate::stage::{Side, Stage};

pub(crate) const PRODUCER: &str = "producer";
pub(crate) const CONSUMER: &str = "consumer";

/// How many bytes there are for records.
const BYTES: usize = 128;
/// How many records fit: 24 bytes and their length.
const FULL: u8 = 4;
/// Whose a record is.
const VICTIMS: u8 = 100;
const HOSTS: u8 = 101;
const CONTENDERS: u8 = 102;
/// The word of the data that says that the victim's call has returned.
const RETURNED: usize = 0;

/// A record that shows if a part of it is of another.
fn record(of: u8) -> [u8; 24] {
    [of; 24]
}

fn whose(record: &[u8]) -> u8 {
    assert!(record.len() == 24 && record.iter().all(|byte| *byte == record[0]), "torn: {record:?}");
    record[0]
}

fn get(queue: &RawQueue, limit: Option<Duration>) -> Option<u8> {
    let mut bytes = Vec::new();
    match queue.get(&mut bytes, limit) {
        Ok(()) => Some(whose(&bytes)),
        Err(QueueError::TimedOut) => None,
        Err(other) => panic!("{other}"),
    }
}

fn drain(queue: &RawQueue) -> Vec<u8> {
    std::iter::from_fn(|| get(queue, Some(Duration::ZERO))).collect()
}

fn of(stage: &Stage<u8>) -> RawQueue {
    let file = stage.file.as_ref().unwrap().try_clone().unwrap();
    RawQueue::attach(stage.host.member(), stage.places[0], file, BYTES).unwrap().unwrap()
}

fn play(part: &'static str, contend: fn(&mut Stage<u8>)) -> Play<u8> {
    let mut stage = Stage::new(|host| vec![host.create_queue().unwrap()]);
    let queue = RawQueue::new(stage.host.member(), stage.places[0], BYTES).unwrap().unwrap();
    stage.file = Some(Arc::clone(queue.file()));
    Play { stage, part, contenders: 1, cue: Cue::Gate, contend, host_acts: |_| (), has_acted: false }
}

fn queue_of(side: Side) -> (Side, RawQueue) {
    let file = side.file.try_clone().unwrap();
    let queue = RawQueue::attach(&side.member, side.places[0], file, BYTES).unwrap().unwrap();
    (side, queue)
}

pub(crate) fn producer(side: Side) {
    let (side, queue) = queue_of(side);
    queue.put(&record(HOSTS), None).unwrap();
    assert_eq!(get(&queue, None), Some(HOSTS));
    stepper::mark_start();
    side.wait_at_gate();
    queue.put(&record(VICTIMS), None).unwrap();
    side.count(RETURNED);
    stepper::mark_end();
}

pub(crate) fn producer_killed() -> Result<Swept, Refused> {
    let contend = |stage: &mut Stage<u8>| {
        let queue = of(stage);
        stage.contend(move |_, _| get(&queue, None).unwrap());
    };
    // A program puts a record only where there is none.
    let finish = |stage: &Stage<u8>, _| {
        let queue = of(stage);
        if queue.is_empty() {
            queue.put(&record(HOSTS), None).unwrap();
        }
    };
    play::sweep(
        || play(PRODUCER, contend),
        finish,
        |stage, mut got, point| {
            got.extend(drain(&of(stage)));
            let victims = got.iter().filter(|whose| **whose == VICTIMS).count();
            let has_returned = stage.data.cells()[RETURNED].load(SeqCst) == 1;
            assert!(victims == 1 || (victims == 0 && !has_returned), "{point}: {got:?}");
        },
    )
}

pub(crate) fn consumer(side: Side) {
    let (side, queue) = queue_of(side);
    stepper::mark_start();
    side.wait_at_gate();
    let first = get(&queue, None);
    side.count(RETURNED);
    stepper::mark_end();
    assert_eq!(first, Some(0));
}

pub(crate) fn consumer_killed() -> Result<Swept, Refused> {
    let contend = |stage: &mut Stage<u8>| {
        let queue = of(stage);
        stage.contend(move |_, _| {
            queue.put(&record(CONTENDERS), None).unwrap();
            CONTENDERS
        });
    };
    let full = || {
        let play = play(CONSUMER, contend);
        let queue = of(&play.stage);
        (0..FULL).for_each(|number| queue.put(&record(number), None).unwrap());
        play
    };
    // A program takes a record only where the queue is full.
    let finish = |stage: &Stage<u8>, _| {
        let queue = of(stage);
        if queue.bytes() == BYTES {
            stage.data.cells()[1].store(1 + u32::from(get(&queue, None).unwrap()), SeqCst);
        }
    };
    play::sweep(full, finish, |stage, _, point| {
        let left = drain(&of(stage));
        let has_returned = stage.data.cells()[RETURNED].load(SeqCst) == 1;
        let taken = stage.data.cells()[1].load(SeqCst);
        // The host got the first one if nobody had, and never one that the victim was given.
        assert!(taken <= 2 && !(has_returned && taken == 1), "{point}: {taken}");
        let own = left.iter().filter(|whose| **whose < FULL).copied().collect::<Vec<_>>();
        assert!(own.is_sorted() && !own.contains(&0), "{point}: {left:?}");
        assert_eq!(left.iter().filter(|whose| **whose == CONTENDERS).count(), 1, "{point}: {left:?}");
    })
}
