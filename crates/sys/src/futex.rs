//! Sleeping on a word of memory until another thread or process changes it (futex(2)).
//!
//! All words are *shared* ones: they may lie in a segment that several processes have mapped, each at its own address,
//! and a waiter may have mapped it read-only.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{Flags, Timespec};

/// Why [`wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody woke this thread, or a signal did. The word may be as it was: look again.
    Woken,
    /// The word was not `expected`, so there was no sleep.
    Changed,
    /// The time was up.
    TimedOut,
}

/// Sleeps while `word` is `expected`, until a [`wake`] or for `timeout` (monotonic) at most.
///
/// # Panics
/// If the kernel answers what it never does for a word that is mapped and aligned, as a reference is.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Woken {
    // A time too long to say is one that nobody will see the end of.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match rustix::thread::futex::wait(word, Flags::empty(), expected, timeout.as_ref()) {
        Ok(()) | Err(Errno::INTR) => Woken::Woken,
        Err(Errno::AGAIN) => Woken::Changed,
        Err(Errno::TIMEDOUT) => Woken::TimedOut,
        Err(error) => unreachable!("a mapped and aligned word can be waited for: {error}"),
    }
}

/// Wakes at most `count` threads, of any process, that sleep on `word`.
///
/// The word need not be writable here. Whether anybody slept is not said: nothing should depend on it.
pub fn wake(word: &AtomicU32, count: u32) {
    // The kernel takes more than this for a negative number, and wakes one.
    let count = count.min(i32::MAX.cast_unsigned());
    let woken = rustix::thread::futex::wake(word, Flags::empty(), count);
    debug_assert!(woken.is_ok(), "a mapped and aligned word, as a reference is, can be woken: {woken:?}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[test]
    fn a_changed_word_is_not_slept_on_and_time_ends_a_sleep() {
        let word = AtomicU32::new(7);

        assert_eq!(wait(&word, 6, None), Woken::Changed);
        assert_eq!(wait(&word, 7, Some(Duration::from_millis(1))), Woken::TimedOut);
    }

    #[test]
    fn all_sleepers_are_woken_at_once() {
        let word = Arc::new(AtomicU32::new(0));
        let sleepers = [(); 3].map(|()| {
            let word = Arc::clone(&word);
            std::thread::spawn(move || wait(&word, 0, Some(Duration::from_secs(60))))
        });
        let all_sleep = || {
            let threads = std::fs::read_dir("/proc/self/task").unwrap();
            let calls = threads.map(|thread| thread.unwrap().path().join("syscall"));
            let address = format!("{} {:#x} ", libc::SYS_futex, word.as_ptr() as usize);
            let waits = |call: &String| call.starts_with(&address);
            calls.filter_map(|call| std::fs::read_to_string(call).ok()).filter(waits).count() == 3
        };
        while !all_sleep() {
            std::thread::yield_now();
        }

        wake(&word, u32::MAX);

        assert_eq!(sleepers.map(|sleeper| sleeper.join().unwrap()), [Woken::Woken; 3]);
    }

    #[test]
    fn a_sleeper_is_woken_by_another_thread() {
        let word = Arc::new(AtomicU32::new(0));

        let sleeper = std::thread::spawn({
            let word = Arc::clone(&word);
            move || {
                while word.load(SeqCst) == 0 {
                    wait(&word, 0, None);
                }
            }
        });
        word.store(1, SeqCst);
        wake(&word, u32::MAX);

        sleeper.join().unwrap();
    }
}
