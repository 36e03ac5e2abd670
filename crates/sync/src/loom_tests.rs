//! Every order of events, and every value that a load may see, in the lock's word, the condition's and the bell (loom).
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p poolctl-sync --release --lib`. What a lock guards is two relaxed words that are
//! always equal outside the lock: whoever holds it and finds them different has taken it too early. A sleep that nobody
//! ends fails by itself. Sets of outcomes are compared whole, so that a model which stopped looking would fail, too.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use loom::sync::Arc as Shared;
use loom::thread;

use crate::atomics::{Ordering, Word, wait, wake};
use crate::bell;
use crate::token::Token;
use crate::word::{self, Acquired, WAITERS};

/// All outcomes of `model`, in which threads give way at most three times before they must.
fn outcomes<T: Ord + Send + 'static>(model: impl Fn() -> T + Send + Sync + 'static) -> BTreeSet<T> {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&seen);
    builder.check(move || {
        let outcome = model();
        all.lock().expect("no model panics").insert(outcome);
    });
    Arc::try_unwrap(seen).ok().expect("the model is over").into_inner().expect("no model panics")
}

/// A lock, two words that it guards, and the word of a condition.
struct Guarded {
    lock: Word,
    words: [Word; 2],
    condition: Word,
}

impl Guarded {
    fn new() -> Shared<Self> {
        let [lock, first, second, condition] = [(); 4].map(|()| Word::new(0));
        Shared::new(Self { lock, words: [first, second], condition })
    }

    fn acquire(&self, me: Token) -> Acquired {
        if word::take_free(&self.lock, me) {
            return Acquired::Clean;
        }
        let taken = word::take(&self.lock, me, |seen| {
            wait(&self.lock, seen);
            Ok::<(), ()>(())
        });
        taken.expect("it never gives up")
    }

    fn release(&self, me: Token) {
        word::release(&self.lock, me).expect("it is this thread's");
    }

    /// Counts both words up; what they were.
    fn count(&self) -> (u32, u32) {
        let [first, second] = [0, 1].map(|word| self.words[word].load(Ordering::Relaxed));
        self.words[0].store(first + 1, Ordering::Relaxed);
        self.words[1].store(second + 1, Ordering::Relaxed);
        (first, second)
    }
}

fn token(index: u16) -> Token {
    Token::new(index, 1)
}

#[test]
fn a_lock_is_held_by_one_who_sees_what_the_last_one_did_and_everybody_gets_it() {
    let seen = outcomes(|| {
        let guarded = Guarded::new();
        let threads = [1, 2].map(|index| {
            let guarded = Shared::clone(&guarded);
            thread::spawn(move || {
                let acquired = guarded.acquire(token(index));
                let found = guarded.count();
                guarded.release(token(index));
                (acquired, found)
            })
        });
        let mut found = threads.map(|thread| thread.join().expect("no model thread panics"));
        found.sort_unstable();
        found
    });

    assert_eq!(seen, [[(Acquired::Clean, (0, 0)), (Acquired::Clean, (1, 1))]].into());
}

#[test]
fn a_lock_whose_owner_died_is_told_to_the_next_and_nobody_sleeps_for_good() {
    let seen = outcomes(|| {
        let guarded = Guarded::new();
        assert_eq!(guarded.acquire(token(0)), Acquired::Clean);
        let next = {
            let guarded = Shared::clone(&guarded);
            thread::spawn(move || {
                let acquired = guarded.acquire(token(1));
                let found = guarded.count();
                guarded.release(token(1));
                (acquired, found)
            })
        };
        // It dies with half of it done; the host marks and wakes.
        guarded.words[0].store(1, Ordering::Relaxed);
        assert!(word::mark_dead(&guarded.lock, |owner| owner == token(0)));
        wake(&guarded.lock, u32::MAX);
        next.join().expect("no model thread panics")
    });

    assert_eq!(seen, [(Acquired::OwnerDied, (1, 0))].into());
}

#[test]
fn who_waits_for_a_condition_is_never_missed() {
    let seen = outcomes(|| {
        let guarded = Guarded::new();
        let waiter = {
            let guarded = Shared::clone(&guarded);
            thread::spawn(move || {
                let _held = guarded.acquire(token(1));
                while guarded.words[0].load(Ordering::Relaxed) == 0 {
                    let said = guarded.condition.fetch_or(WAITERS, Ordering::Relaxed) | WAITERS;
                    guarded.release(token(1));
                    wait(&guarded.condition, said);
                    let _held = guarded.acquire(token(1));
                }
                let found = guarded.count();
                guarded.release(token(1));
                found
            })
        };
        let _held = guarded.acquire(token(2));
        let _found = guarded.count();
        let said = guarded.condition.load(Ordering::Relaxed);
        if said & WAITERS != 0 {
            guarded.condition.store((said + 1) & !WAITERS, Ordering::Relaxed);
            wake(&guarded.condition, u32::MAX);
        }
        guarded.release(token(2));
        waiter.join().expect("no model thread panics")
    });

    assert_eq!(seen, [(1, 1)].into());
}

#[test]
fn who_listens_to_a_bell_sees_the_change_or_is_woken() {
    let seen = outcomes(|| {
        let guarded = Guarded::new();
        let listener = {
            let guarded = Shared::clone(&guarded);
            thread::spawn(move || {
                let mut sleeps = 0;
                loop {
                    let said = bell::listen(&guarded.condition);
                    if guarded.words[0].load(Ordering::Relaxed) == 1 {
                        return sleeps;
                    }
                    wait(&guarded.condition, said);
                    sleeps += 1;
                }
            })
        };
        guarded.words[0].store(1, Ordering::Relaxed);
        bell::ring(&guarded.condition);
        listener.join().expect("no model thread panics")
    });

    assert_eq!(seen, [0, 1].into());
}
