//! The monotonic clock, the only one that decides anything.

use poolctl_types::Moment;
use rustix::time::{ClockId, clock_gettime};

/// The time on `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).expect("monotonic time is not negative");
    let nanos = u64::try_from(time.tv_nsec).expect("nanoseconds are not negative");
    Moment(seconds * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on() {
        let first = now();

        let second = now();

        assert!(first.0 > 0);
        assert!(second >= first);
    }
}
