//! The atomics of this crate: the real ones, or loom's, under which every order of events is tried.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

pub(crate) use std::sync::atomic::compiler_fence;

/// A word to sleep on until somebody changes it and wakes.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(transparent))]
pub(crate) struct FutexWord {
    pub(crate) word: AtomicU32,
    #[cfg(loom)]
    queue: (loom::sync::Mutex<()>, loom::sync::Condvar),
}

#[cfg(not(loom))]
impl FutexWord {
    pub(crate) fn wait(&self, expected: u32) {
        poolctl_sys::futex::wait(&self.word, expected, None);
    }

    pub(crate) fn wake(&self) {
        poolctl_sys::futex::wake(&self.word, 1);
    }
}

/// As in the kernel, the comparison and the wake happen under one lock.
#[cfg(loom)]
impl FutexWord {
    pub(crate) fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value), queue: Default::default() }
    }

    pub(crate) fn wait(&self, expected: u32) {
        let queue = self.queue.0.lock().expect("no model thread panics");
        if self.word.load(Ordering::Relaxed) == expected {
            drop(self.queue.1.wait(queue).expect("no model thread panics"));
        }
    }

    pub(crate) fn wake(&self) {
        let _queue = self.queue.0.lock().expect("no model thread panics");
        self.queue.1.notify_one();
    }
}
