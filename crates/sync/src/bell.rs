//! How those who wait for a change are told of it: a count to sleep on, and a bit that says that somebody does.
//!
//! A waiter *listens* (sets the bit), then looks whether the change is there, then sleeps on what the bell said. Whoever
//! makes a change *rings* afterwards: if the bit is set it counts up, takes the bit away and wakes all. With a full fence
//! between the two steps on either side, one of them sees the other. All are woken, so no wake is ever owed to one who
//! is dead.
//!
//! # If a process dies
//! Between its change and its ring it leaves sleepers: the host wakes all, and they look again. Dead listeners leave the
//! bit: a system call for nothing.

use crate::atomics::{Ordering, Word, fence, wake};

const LISTENERS: u32 = 1 << 31;

/// Says that somebody is about to sleep; what to sleep on. The change is to be looked for after this.
pub(crate) fn listen(bell: &Word) -> u32 {
    let said = bell.fetch_or(LISTENERS, Ordering::SeqCst) | LISTENERS;
    // Against the fence in `ring`.
    fence(Ordering::SeqCst);
    said
}

/// Wakes all who listen, after a change.
#[inline]
pub(crate) fn ring(bell: &Word) {
    // Against the fence in `listen`.
    fence(Ordering::SeqCst);
    let said = bell.load(Ordering::Relaxed);
    if said & LISTENERS != 0 {
        ring_out(bell, said);
    }
}

#[cold]
fn ring_out(bell: &Word, mut said: u32) {
    while said & LISTENERS != 0 {
        let next = said.wrapping_add(1) & !LISTENERS;
        match bell.compare_exchange(said, next, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return wake(bell, u32::MAX),
            Err(now) => said = now,
        }
    }
}
