//! Showing how far a host is: now and then while something changes, and at its end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use poolctl_engine::Counts;

use super::seat::lock;

/// At least this long between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// What is shown how far a host is.
pub struct Hook(Box<dyn Fn(&Counts) + Send + Sync>);

impl Hook {
    /// Shows it to `show`, which may take its time, but not block for ever.
    #[must_use]
    pub fn new(show: impl Fn(&Counts) + Send + Sync + 'static) -> Self {
        Self(Box::new(show))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// A hook, and what it was shown.
#[derive(Debug)]
pub(super) struct Progress {
    hook: Hook,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What it was shown last, or is about to be, and since when.
    last: Option<(Counts, Instant)>,
    /// It is on its way to the thread of callbacks, or there.
    is_under_way: bool,
}

impl Progress {
    pub(super) fn new(hook: Hook) -> Self {
        Self { hook, state: Mutex::default() }
    }

    /// Until when the loop may sleep although `counts` are news; none: they are not.
    pub(super) fn next(&self, counts: &Counts) -> Option<Instant> {
        match &lock(&self.state).last {
            Some((known, _)) if known == counts => None,
            Some((_, at)) => Some(*at + INTERVAL),
            None => (counts.read > 0).then(Instant::now),
        }
    }

    /// Whether the hook is to be shown `counts` now by the thread of callbacks. One that is still looking is shown them when
    /// it has looked.
    pub(super) fn is_due(&self, counts: &Counts, is_the_end: bool) -> bool {
        let due = self.next(counts).is_some_and(|next| is_the_end || next <= Instant::now());
        if !due {
            return false;
        }
        let mut state = lock(&self.state);
        state.last = Some((*counts, Instant::now()));
        !std::mem::replace(&mut state.is_under_way, true)
    }

    /// Shows what is to be shown.
    pub(super) fn show(&self) {
        let mut shown = None;
        loop {
            let mut state = lock(&self.state);
            let counts = state.last.as_ref().map(|(counts, _)| *counts);
            let Some(counts) = counts.filter(|counts| shown.as_ref() != Some(counts)) else {
                state.is_under_way = false;
                return;
            };
            drop(state);
            if catch_unwind(AssertUnwindSafe(|| (self.hook.0)(&counts))).is_err() {
                tracing::error!("a hook that is shown the progress of a pool has panicked");
            }
            shown = Some(counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn counts(ok: u64) -> Counts {
        Counts { read: 10, ok, ..Counts::default() }
    }

    #[test]
    fn news_are_shown_once_an_interval_and_the_end_at_once() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let showing = Arc::clone(&shown);
        let progress = Progress::new(Hook::new(move |counts| lock(&showing).push(counts.ok)));
        assert!(progress.next(&Counts::default()).is_none(), "nothing was read");

        assert!(progress.is_due(&counts(1), false));
        assert!(!progress.is_due(&counts(2), false), "an interval has not passed");
        assert!(progress.next(&counts(2)).is_some_and(|next| next > Instant::now()));
        progress.show();
        assert!(progress.is_due(&counts(3), true));
        assert!(!progress.is_due(&counts(4), true), "it is under way and will be shown this");
        progress.show();

        assert_eq!(*lock(&shown), [1, 4]);
        assert!(progress.next(&counts(4)).is_none());
    }
}
