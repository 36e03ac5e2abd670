//! The monotonic clock, the only one that decides anything.

use poolctl_types::Moment;
use rustix::time::{ClockId, clock_gettime};

/// The time on `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> Moment {
    // Both are non-negative: this clock counts from the start of the machine.
    let time = clock_gettime(ClockId::Monotonic);
    Moment(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
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
