//! Whether failures shall end the run (`--halt`).

use crate::config::{Halt, HaltAt};
use crate::counts::Totals;

/// A share of failures is judged from this many finished items on.
const JUDGED_FROM: u64 = 10;

/// Whether `halt`'s limit is reached. `at_end`: nothing more will finish.
pub(crate) fn is_due(halt: Halt, totals: &Totals, at_end: bool) -> bool {
    let failed = totals.failed;
    if failed == 0 {
        return false;
    }
    match halt.at {
        HaltAt::Failures(limit) => failed >= limit,
        HaltAt::Percent(percent) => {
            let finished = totals.ran();
            let share = u128::from(failed) * 100 >= u128::from(finished) * u128::from(percent);
            (finished >= JUDGED_FROM || at_end) && share
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HaltHow;

    fn due(at: HaltAt, ok: u64, failed: u64, at_end: bool) -> bool {
        let totals = Totals { ok, failed, ..Totals::default() };
        is_due(Halt { how: HaltHow::Soon, at }, &totals, at_end)
    }

    #[test]
    fn a_number_of_failures_counts_at_once() {
        assert!(!due(HaltAt::Failures(2), 9, 1, true));
        assert!(due(HaltAt::Failures(2), 0, 2, false));
    }

    #[test]
    fn a_share_is_judged_from_the_tenth_item_on_or_at_the_end() {
        assert!(!due(HaltAt::Percent(50), 0, 9, false));
        assert!(due(HaltAt::Percent(50), 0, 9, true));
        assert!(due(HaltAt::Percent(50), 5, 5, false));
        assert!(!due(HaltAt::Percent(50), 6, 5, true));
    }

    #[test]
    fn no_failure_halts_nothing() {
        assert!(!due(HaltAt::Percent(0), 100, 0, true));
        assert!(!due(HaltAt::Failures(0), 100, 0, true));
    }
}
