//! How often starts may fail before the pool gives up, and how long it waits in between.
//!
//! Counted pool-wide and in a row: any hello (per item: any process that begins) sets the count to 0. It does not
//! matter how far apart the failures lie, since a program that takes three seconds to fail must not be started
//! for ever; one that fails at once has used up its starts within half a second.

use std::time::Duration;

use poolctl_types::Moment;

/// So many starts in a row may fail.
pub(crate) const MAX_STARTS: u32 = 5;

/// The wait after the first, second … failure in a row, in milliseconds; the last one for all further ones.
const BACK_OFF: [u64; 5] = [0, 50, 100, 200, 1_000];

/// The wait after the `failures`-th failure in a row.
pub(crate) fn back_off(failures: u32) -> Duration {
    let step = (failures as usize).clamp(1, BACK_OFF.len());
    Duration::from_millis(BACK_OFF[step - 1])
}

/// The starts that failed in a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intensity {
    failures: u32,
    not_before: Option<Moment>,
}

impl Intensity {
    pub(crate) fn failed(&mut self, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + back_off(self.failures));
    }

    /// No process could be made for want of something. Whatever fails until the next try belongs to this one.
    pub(crate) fn lacked(&mut self, now: Moment) {
        if self.wait(now).is_none() {
            self.failures = self.failures.saturating_add(1);
            self.not_before = Some(now + back_off(self.failures.max(2)));
        }
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the pool may not try for ever any more.
    pub(crate) fn is_spent(&self) -> bool {
        self.failures >= MAX_STARTS
    }

    /// When the next start may be tried, if that is still to come.
    pub(crate) fn wait(&self, now: Moment) -> Option<Moment> {
        self.not_before.filter(|moment| *moment > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_a_success_ends_it() {
        let mut intensity = Intensity::default();
        let waits: Vec<_> = (0..5)
            .map(|_| {
                intensity.failed(Moment(0));
                intensity.wait(Moment(0)).map_or(0, |moment| moment.0 / 1_000_000)
            })
            .collect();

        assert_eq!(waits, [0, 50, 100, 200, 1_000]);
        assert!(intensity.is_spent());

        intensity.succeeded();

        assert!(!intensity.is_spent());
        assert_eq!(intensity.wait(Moment(0)), None);
    }
}
