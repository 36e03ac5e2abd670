//! A second victim beside the one that is swept.

use super::victim::{News, Victim};

/// A second victim. It runs between system calls, so that it stands still as soon as it is woken; killed with this value.
#[derive(Debug)]
pub struct Companion(Victim);

impl Companion {
    /// Waits until the process, a child of this thread, comes to [`super::mark_start`].
    ///
    /// # Panics
    /// If this process may not trace it, as it may the one that is swept.
    #[must_use]
    pub fn start(pid: u32) -> Self {
        Self(Victim::start(pid).expect("who may trace one process may trace two"))
    }

    /// Lets it run until it sleeps. It will stand behind that when somebody wakes it.
    ///
    /// # Panics
    /// If it ends without having slept.
    pub fn fall_asleep(&mut self) {
        loop {
            match self.0.go_on_to_call() {
                News::Trapped => {}
                News::Sleeps => return,
                news => panic!("the second victim was to sleep, and did not: {news:?}"),
            }
        }
    }

    /// Executes so many instructions, if it stands; fewer if it comes to sleep or to its end before. Whether it has
    /// executed them all.
    pub fn step(&mut self, instructions: usize) -> bool {
        self.0.is_woken() && (0..instructions).all(|_| self.0.step() == News::Trapped)
    }

    /// Kills it. When this returns it does nothing any more.
    pub fn kill(mut self) {
        self.0.kill();
    }
}
