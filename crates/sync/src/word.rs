//! The lock word: who holds it, whether somebody may sleep on it, and whether a holder died.
//!
//! Bit 31 is *waiters*, bit 30 *owner died*, the rest the owner's token, 0 if nobody owns it. To own it and to be known
//! as its owner is one compare-and-swap, so there is no instant at which it is held by nobody known.
//!
//! # Protocol
//! 1. Free: one compare-and-swap from 0 to the token.
//! 2. Held: set *waiters*, sleep while the word is what was seen, try again. Whoever has slept takes it *with* waiters,
//!    since others may sleep still.
//! 3. To release: one compare-and-swap to 0 (*owner died* stays until it is called consistent), then wake one if
//!    *waiters* was there.
//!
//! # If a process dies
//! What it held the host marks (owner 0, *owner died*). Between the two steps of 3, or woken and before 2 is done, it
//! leaves a word that looks right and sleepers whom nobody wakes: so the host wakes all, on every word.

use crate::atomics::{Ordering, Word, wake};
use crate::token::{TOKEN, Token};

/// Somebody may sleep on the word.
pub(crate) const WAITERS: u32 = 1 << 31;
/// A holder died, and nobody has called what the lock guards consistent since.
pub(crate) const OWNER_DIED: u32 = 1 << 30;
/// How often a held word is looked at again before sleeping: about as long as a short section takes.
#[cfg(not(loom))]
const SPINS: u32 = 100;
#[cfg(loom)]
const SPINS: u32 = 0;

/// How a lock came into its owner's hands.
#[must_use = "if the owner died, what the lock guards may be half changed"]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acquired {
    /// As its last owner left it.
    Clean,
    /// A holder died, and what the lock guards may be half changed.
    OwnerDied,
}

/// The word belongs to somebody else, or to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotOwner;

impl Acquired {
    fn from(word: u32) -> Self {
        if word & OWNER_DIED == 0 { Self::Clean } else { Self::OwnerDied }
    }
}

/// Takes the word if it is free and nothing else is to be said about it: the fast path.
#[inline]
pub(crate) fn take_free(word: &Word, me: Token) -> bool {
    // Acquire: what the last owner did is seen. As everywhere here.
    word.compare_exchange(0, me.bits(), Ordering::Acquire, Ordering::Relaxed).is_ok()
}

/// Takes the word if nobody owns it.
pub(crate) fn try_take(word: &Word, me: Token) -> Option<Acquired> {
    let mut seen = word.load(Ordering::Relaxed);
    while seen & TOKEN == 0 {
        match word.compare_exchange(seen, seen | me.bits(), Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Some(Acquired::from(seen)),
            Err(now) => seen = now,
        }
    }
    None
}

/// Takes the word, however long that takes. `sleep` sleeps while the word is what it is told, and may give up, but
/// only when nobody woke it: else the wake is lost for the others.
pub(crate) fn take<E>(
    word: &Word,
    me: Token,
    mut sleep: impl FnMut(u32) -> Result<(), E>,
) -> Result<Acquired, E> {
    let (mut spins, mut waiters) = (SPINS, 0);
    loop {
        let seen = word.load(Ordering::Relaxed);
        if seen & TOKEN == 0 {
            let mine = seen | me.bits() | waiters;
            if word.compare_exchange(seen, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Ok(Acquired::from(seen));
            }
            continue;
        }
        if spins > 0 && seen & WAITERS == 0 {
            spins -= 1;
            std::hint::spin_loop();
            continue;
        }
        let marked = seen | WAITERS;
        if seen != marked
            && word.compare_exchange(seen, marked, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            continue;
        }
        sleep(marked)?;
        waiters = WAITERS;
    }
}

/// Gives the word back, if it is `me`'s.
#[inline]
pub(crate) fn release(word: &Word, me: Token) -> Result<(), NotOwner> {
    // Release: the next owner sees what was done here. As everywhere below.
    match word.compare_exchange(me.bits(), 0, Ordering::Release, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(seen) => release_marked(word, seen, |owner| owner == me.bits()),
    }
}

/// Gives the word back, whoever owns it; refused if nobody does.
pub(crate) fn release_from_anywhere(word: &Word) -> Result<(), NotOwner> {
    release_marked(word, word.load(Ordering::Relaxed), |owner| owner != 0)
}

#[cold]
fn release_marked(word: &Word, mut seen: u32, may: impl Fn(u32) -> bool) -> Result<(), NotOwner> {
    while may(seen & TOKEN) {
        match word.compare_exchange(seen, seen & OWNER_DIED, Ordering::Release, Ordering::Relaxed) {
            Ok(_) if seen & WAITERS != 0 => {
                wake(word, 1);
                return Ok(());
            }
            Ok(_) => return Ok(()),
            Err(now) => seen = now,
        }
    }
    Err(NotOwner)
}

/// Says that what the lock guards is right again, if the word is `me`'s.
pub(crate) fn make_consistent(word: &Word, me: Token) -> Result<(), NotOwner> {
    let seen = word.load(Ordering::Relaxed);
    if seen & TOKEN != me.bits() {
        return Err(NotOwner);
    }
    word.fetch_and(!OWNER_DIED, Ordering::Relaxed);
    Ok(())
}

/// Whether the owner is one of these.
pub(crate) fn is_owned(word: &Word, is_one: impl Fn(Token) -> bool) -> bool {
    Token::of(word.load(Ordering::Acquire)).is_some_and(is_one)
}

/// Marks the word if `is_dead` says so of its owner; whether it did. Never waits: a word that changes under it all the
/// time, as no honest one does, is marked without a look at what it says then.
pub(crate) fn mark_dead(word: &Word, is_dead: impl Fn(Token) -> bool) -> bool {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        let seen = word.load(Ordering::Relaxed);
        if !Token::of(seen).is_some_and(&is_dead) {
            return false;
        }
        let marked = seen & WAITERS | OWNER_DIED;
        // Acquire and release: who takes it next sees what the dead owner did.
        if word.compare_exchange(seen, marked, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return true;
        }
    }
    word.store(WAITERS | OWNER_DIED, Ordering::Release);
    true
}
