//! The words of this crate: real atomics and futexes, or loom's, under which every order of events is tried.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{Ordering, fence};

/// A word that several processes store to, and sleep on.
#[cfg(not(loom))]
pub(crate) type Word = std::sync::atomic::AtomicU32;

/// Wakes at most `count` threads, of any process, that sleep on the word.
#[cfg(not(loom))]
pub(crate) fn wake(word: &Word, count: u32) {
    poolctl_sys::futex::wake(word, count);
}

#[cfg(loom)]
pub(crate) use model::{Word, wait, wake};

/// As in the kernel, the comparison and the wake happen under one lock.
#[cfg(loom)]
mod model {
    use std::ops::Deref;

    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug)]
    pub(crate) struct Word {
        word: AtomicU32,
        queue: (Mutex<()>, Condvar),
    }

    impl Word {
        pub(crate) fn new(value: u32) -> Self {
            Self { word: AtomicU32::new(value), queue: Default::default() }
        }
    }

    impl Deref for Word {
        type Target = AtomicU32;
        fn deref(&self) -> &AtomicU32 {
            &self.word
        }
    }

    pub(crate) fn wait(word: &Word, expected: u32) {
        let queue = word.queue.0.lock().expect("no model thread panics");
        if word.load(Ordering::Relaxed) == expected {
            drop(word.queue.1.wait(queue).expect("no model thread panics"));
        }
    }

    pub(crate) fn wake(word: &Word, count: u32) {
        let _queue = word.queue.0.lock().expect("no model thread panics");
        if count == 1 {
            word.queue.1.notify_one();
        } else {
            word.queue.1.notify_all();
        }
    }
}
