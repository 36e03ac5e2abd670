//! Waiting for a condition, with a deadline.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long a test waits for something that should be there at once. Generous: a loaded machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nothing announces (another process's state in /proc).
const LOOK: Duration = Duration::from_millis(5);

/// A channel on which nothing ever comes: the one place where a test lets time pass.
#[derive(Debug)]
pub struct Empty {
    receiver: Receiver<()>,
    _sender: Sender<()>,
}

impl Empty {
    /// A channel of one's own.
    #[must_use]
    pub fn new() -> Self {
        let (sender, receiver) = channel();
        Self { receiver, _sender: sender }
    }

    /// Lets `span` pass.
    ///
    /// # Panics
    /// Never: nobody can send.
    pub fn park(&self, span: Duration) {
        let end = self.receiver.recv_timeout(span);
        assert_eq!(end, Err(RecvTimeoutError::Timeout), "nobody sends on the empty channel");
    }
}

impl Default for Empty {
    fn default() -> Self {
        Self::new()
    }
}

/// Lets `span` pass, for the few tests whose subject is time itself (a clock that must stand still).
pub fn pass(span: Duration) {
    Empty::new().park(span);
}

/// Returns as soon as `condition` holds.
///
/// # Panics
/// If it does not within `deadline`; the message names `what` was waited for.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    assert!(holds_within(deadline, &mut condition), "gave up after {deadline:?} waiting until {what}");
}

/// Whether `condition` comes to hold within `deadline`.
pub(crate) fn holds_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    let empty = Empty::new();
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        empty.park(LOOK);
    }
    true
}
