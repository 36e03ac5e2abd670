//! Every order of events, and every value that a load may see, in the protocols of this crate (loom).
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p poolctl-shm --release --lib`. Each model compares the whole set of outcomes with
//! the one that is written down, so that a model which stopped looking would fail, too. The bytes of a ring are loom's
//! cells: an access that is not ordered after the one before it fails by itself, and so does a sleep that nobody ends.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use loom::cell::UnsafeCell;
use loom::thread;

use crate::bell::{AWAKE, NO_ROOM, NOTHING_TO_DO, Ringer, must_kick, say_asleep, sleep_until};
use crate::claim::{self, Claim};
use crate::reading;
use crate::ring::{RingReader, RingWriter};
use crate::sync::{AtomicU32, AtomicU64, FutexWord, Ordering};

/// All outcomes of `model` over all executions.
fn outcomes<T: Ord + Send + 'static>(model: impl Fn() -> T + Send + Sync + 'static) -> BTreeSet<T> {
    outcomes_with(&loom::model::Builder::new(), model)
}

/// All outcomes of `model` over all executions in which threads give way at most three times before they must: the most
/// that is over in a few seconds.
fn outcomes_of_few_switches<T: Ord + Send + 'static>(
    model: impl Fn() -> T + Send + Sync + 'static,
) -> BTreeSet<T> {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    outcomes_with(&builder, model)
}

fn outcomes_with<T: Ord + Send + 'static>(
    builder: &loom::model::Builder,
    model: impl Fn() -> T + Send + Sync + 'static,
) -> BTreeSet<T> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    builder.check(move || {
        let outcome = model();
        all.lock().expect("no model panics").insert(outcome);
    });
    Arc::try_unwrap(seen).ok().expect("the model is over").into_inner().expect("no model panics")
}

#[track_caller]
fn assert_outcomes<T: Ord + Debug>(seen: &BTreeSet<T>, expected: impl IntoIterator<Item = T>) {
    assert_eq!(seen, &expected.into_iter().collect());
}

/// What both sides share.
struct Shared {
    cells: Vec<UnsafeCell<u64>>,
    written: AtomicU64,
    read: AtomicU64,
    bell: FutexWord,
    worker_sleeps: AtomicU32,
    host_sleeps: AtomicU32,
    kicked: (loom::sync::Mutex<bool>, loom::sync::Condvar),
}

impl Shared {
    fn new(words: u64) -> loom::sync::Arc<Self> {
        loom::sync::Arc::new(Self {
            cells: (0..words).map(|_| UnsafeCell::new(0)).collect(),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            bell: FutexWord::new(0),
            worker_sleeps: AtomicU32::new(0),
            host_sleeps: AtomicU32::new(0),
            kicked: Default::default(),
        })
    }

    fn ring(&self) -> u64 {
        self.cells.len() as u64 * 8
    }

    /// Fills one word, for which there is room.
    fn fill(&self, writer: &mut RingWriter, value: u64) {
        let cell = &self.cells[usize::try_from(writer.at() / 8).expect("short")];
        // SAFETY: loom checks that nobody else has it.
        cell.with_mut(|word| unsafe { *word = value });
        writer.stage(8);
    }

    /// Reads all words that are there, and gives them back.
    fn empty(&self, reader: &mut RingReader) -> Vec<u64> {
        let mut values = Vec::new();
        for _ in 0..reader.waiting(&self.written).expect("honest") / 8 {
            let cell = &self.cells[usize::try_from(reader.at() / 8).expect("short")];
            // SAFETY: loom checks that nobody writes it.
            values.push(cell.with(|word| unsafe { *word }));
            reader.take(8);
        }
        reader.release(&self.read);
        values
    }

    fn kick(&self) {
        *self.kicked.0.lock().expect("no model panics") = true;
        self.kicked.1.notify_one();
    }

    fn wait_for_kick(&self) {
        let mut kicked = self.kicked.0.lock().expect("no model panics");
        while !*kicked {
            kicked = self.kicked.1.wait(kicked).expect("no model panics");
        }
        *kicked = false;
    }
}

#[test]
fn a_word_is_read_after_it_was_written_and_overwritten_after_it_was_read() {
    let seen = outcomes(|| {
        let shared = Shared::new(1);
        let writing = loom::sync::Arc::clone(&shared);
        let writer = thread::spawn(move || {
            let mut writer = RingWriter::new(writing.ring());
            let mut filled = 0;
            for value in 1..=2 {
                writer.refresh(&writing.read).expect("honest");
                if writer.room() == 8 {
                    writing.fill(&mut writer, value);
                    writer.publish(&writing.written);
                    filled += 1;
                }
            }
            filled
        });

        let mut reader = RingReader::new(shared.ring());
        let looks = [(); 3].map(|()| shared.empty(&mut reader));
        (looks.concat(), writer.join().expect("no model panics"))
    });

    let reads: [(&[u64], u64); 4] = [(&[], 1), (&[1], 1), (&[1], 2), (&[1, 2], 2)];
    assert_outcomes(&seen, reads.map(|(values, filled)| (values.to_vec(), filled)));
}

#[test]
fn what_is_published_together_is_seen_together() {
    let seen = outcomes(|| {
        let shared = Shared::new(4);
        let writing = loom::sync::Arc::clone(&shared);
        let writer = thread::spawn(move || {
            let mut writer = RingWriter::new(writing.ring());
            writing.fill(&mut writer, 1);
            writing.fill(&mut writer, 2);
            writer.publish(&writing.written);
            writing.fill(&mut writer, 3);
            writer.publish(&writing.written);
        });

        let mut reader = RingReader::new(shared.ring());
        let looks = [(); 2].map(|()| shared.empty(&mut reader));
        writer.join().expect("no model panics");
        looks
    });

    let (nothing, two, three) = (vec![], vec![1, 2], vec![1, 2, 3]);
    let first = [
        [nothing.clone(), nothing.clone()],
        [nothing.clone(), two.clone()],
        [nothing.clone(), three.clone()],
    ];
    let second = [[two.clone(), nothing.clone()], [two, vec![3]], [three, nothing]];
    assert_outcomes(&seen, first.into_iter().chain(second));
}

/// The host drains something, which may concern a worker without room, and then posts the first of `messages`.
fn batches_of_a_sleeper(messages: u64) -> Vec<Vec<u64>> {
    let shared = Shared::new(2);
    let posting = loom::sync::Arc::clone(&shared);
    let host = thread::spawn(move || {
        let (mut writer, mut ringer) = (RingWriter::new(posting.ring()), Ringer::default());
        if messages == 1 {
            ringer.ring(&posting.bell, &posting.worker_sleeps, NO_ROOM);
        }
        for value in 1..=messages {
            posting.fill(&mut writer, value);
            writer.publish(&posting.written);
            ringer.ring(&posting.bell, &posting.worker_sleeps, NOTHING_TO_DO);
        }
    });

    let mut reader = RingReader::new(shared.ring());
    let mut batches = Vec::<Vec<u64>>::new();
    while batches.concat().len() as u64 != messages {
        let has_message = || reader.has_news(&shared.written);
        sleep_until(&shared.bell, &shared.worker_sleeps, NOTHING_TO_DO, has_message);
        batches.push(shared.empty(&mut reader));
    }
    host.join().expect("no model panics");
    batches
}

#[test]
fn a_worker_without_messages_is_woken_by_one() {
    let seen = outcomes(|| batches_of_a_sleeper(1));

    assert_outcomes(&seen, [vec![vec![1]]]);
}

#[test]
fn a_worker_that_goes_back_to_sleep_is_woken_again() {
    let seen = outcomes_of_few_switches(|| batches_of_a_sleeper(2));

    assert_outcomes(&seen, [vec![vec![1], vec![2]], vec![vec![1, 2]]]);
}

#[test]
fn a_worker_without_room_sleeps_through_no_drain() {
    let seen = outcomes(|| {
        let shared = Shared::new(1);
        let working = loom::sync::Arc::clone(&shared);
        let worker = thread::spawn(move || {
            let mut writer = RingWriter::new(working.ring());
            let mut waits = 0;
            for value in 1..=2 {
                writer.refresh(&working.read).expect("honest");
                if writer.room() == 0 {
                    waits += 1;
                    sleep_until(&working.bell, &working.worker_sleeps, NO_ROOM, || {
                        writer.refresh(&working.read).expect("honest");
                        writer.room() > 0
                    });
                }
                working.fill(&mut writer, value);
                writer.publish(&working.written);
            }
            waits
        });

        let (mut reader, mut ringer) = (RingReader::new(shared.ring()), Ringer::default());
        let mut values = Vec::<u64>::new();
        while values.len() < 2 {
            let drained = shared.empty(&mut reader);
            if drained.is_empty() {
                thread::yield_now();
            } else {
                ringer.ring(&shared.bell, &shared.worker_sleeps, NO_ROOM);
            }
            values.extend(drained);
        }
        (values, worker.join().expect("no model panics"))
    });

    assert_outcomes(&seen, [(vec![1, 2], 0), (vec![1, 2], 1)]);
}

#[test]
fn a_sleeping_host_is_kicked_for_every_record_it_has_not_seen() {
    let seen = outcomes(|| {
        let shared = Shared::new(2);
        let working = loom::sync::Arc::clone(&shared);
        let worker = thread::spawn(move || {
            let mut writer = RingWriter::new(working.ring());
            let mut kicks = 0;
            for value in 1..=2 {
                working.fill(&mut writer, value);
                writer.publish(&working.written);
                if must_kick(&working.host_sleeps) {
                    working.kick();
                    kicks += 1;
                }
            }
            kicks
        });

        let mut reader = RingReader::new(shared.ring());
        let mut values = Vec::<u64>::new();
        while values.len() < 2 {
            say_asleep(&shared.host_sleeps);
            if !reader.has_news(&shared.written) {
                shared.wait_for_kick();
            }
            shared.host_sleeps.store(AWAKE, Ordering::Relaxed);
            values.extend(shared.empty(&mut reader));
        }
        (values, worker.join().expect("no model panics"))
    });

    assert_outcomes(&seen, [0, 1, 2].map(|kicks| (vec![1, 2], kicks)));
}

#[test]
fn a_claim_never_has_too_early_a_time() {
    let seen = outcomes(|| {
        let words = loom::sync::Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let claiming = loom::sync::Arc::clone(&words);
        let worker = thread::spawn(move || {
            claim::begin(&claiming[0], &claiming[1], 1, Some(10));
            claim::begin(&claiming[0], &claiming[1], 2, Some(20));
        });

        let claim = claim::read(&words[0], &words[1]);
        worker.join().expect("no model panics");
        claim
    });

    let possible = [(0, 0), (0, 10), (0, 20), (1, 10), (1, 20), (2, 20)];
    assert_outcomes(&seen, possible.map(|(begun, started_ns)| Claim { begun, started_ns }));
}

#[test]
fn what_the_host_reads_is_of_the_item_it_found_begun() {
    let seen = outcomes(|| {
        let begun = loom::sync::Arc::new(AtomicU64::new(1));
        let reads = loom::sync::Arc::new(AtomicU32::new(0));
        // What the item that is begun has printed, its number, until somebody reads it.
        let pipe = loom::sync::Arc::new(loom::sync::Mutex::new(0_u64));
        let worker = thread::spawn({
            let (begun, reads, pipe) = (begun.clone(), reads.clone(), pipe.clone());
            move || {
                claim::begin(&begun, &AtomicU64::new(0), 2, None);
                if reading::must_wait(&reads) {
                    while !reading::is_over(&reads) {
                        thread::yield_now();
                    }
                }
                *pipe.lock().expect("no model panics") = 2;
            }
        });

        reading::begin(&reads);
        let item = begun.load(Ordering::Acquire);
        let printed = *pipe.lock().expect("no model panics");
        reading::end(&reads);

        worker.join().expect("no model panics");
        (item, printed)
    });

    assert_outcomes(&seen, [(1, 0), (2, 0), (2, 2)]);
}
