//! The figures of one runner over all rounds.

use std::time::Duration;

use super::cases::{Target, Unit};

/// What the rounds gave, in the unit of the case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    values: Vec<f64>,
}

/// A case's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// Something that it needs was not there.
    Unknown,
}

impl Figures {
    /// Adds a round.
    pub(crate) fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// The best round.
    pub(crate) fn best(&self, unit: Unit) -> Option<f64> {
        self.values.iter().copied().reduce(|a, b| if unit.prefers(a, b) { a } else { b })
    }

    /// The round in the middle.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len().saturating_sub(1) / 2).copied()
    }
}

/// A run's wall time in the unit of its case.
pub(crate) fn of_time(unit: Unit, time: Duration, items: u32) -> f64 {
    let seconds = time.as_secs_f64();
    match unit {
        Unit::MicrosecondsPerItem => seconds * 1e6 / f64::from(items),
        Unit::ItemsPerSecond => f64::from(items) / seconds,
        Unit::Microseconds => seconds * 1e6,
        Unit::Milliseconds => seconds * 1e3,
        Unit::GigabytesPerSecond | Unit::Mebibytes | Unit::Count => {
            unreachable!("{unit:?} is not taken from the time")
        }
    }
}

/// How many times better poolctl's figure is than `other`'s.
pub(crate) fn times_better(unit: Unit, ours: f64, other: f64) -> f64 {
    if unit.is_rate() { ours / other } else { other / ours }
}

/// Holds poolctl's best against the target.
pub(crate) fn verdict(target: Target, ours: Option<f64>, second: Option<f64>) -> Verdict {
    let met = match (target, ours, second) {
        (Target::RatioToSecond(most), Some(ours), Some(second)) => ours <= most * second,
        (Target::RateToSecond(least), Some(ours), Some(second)) => ours >= least * second,
        (Target::AtLeast(least), Some(ours), _) => ours >= least,
        (Target::AtMost(most), Some(ours), _) => ours <= most,
        (Target::Done, Some(_), _) => true,
        _ => return Verdict::Unknown,
    };
    if met { Verdict::Met } else { Verdict::Missed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: &[f64]) -> Figures {
        Figures { values: values.to_vec() }
    }

    #[test]
    fn best_is_the_most_of_a_rate_and_the_least_of_a_cost() {
        let three = figures(&[3.0, 1.0, 2.0]);

        assert_eq!(three.best(Unit::ItemsPerSecond), Some(3.0));
        assert_eq!(three.best(Unit::Milliseconds), Some(1.0));
        assert_eq!(three.median(), Some(2.0));
        assert_eq!(figures(&[]).best(Unit::Milliseconds), None);
        assert_eq!(figures(&[]).median(), None);
    }

    #[test]
    fn a_target_is_met_at_its_edge_and_unknown_without_figures() {
        assert_eq!(verdict(Target::RatioToSecond(1.5), Some(3.0), Some(2.0)), Verdict::Met);
        assert_eq!(verdict(Target::RatioToSecond(1.5), Some(3.1), Some(2.0)), Verdict::Missed);
        assert_eq!(verdict(Target::RateToSecond(10.0), Some(30.0), Some(3.0)), Verdict::Met);
        assert_eq!(verdict(Target::RateToSecond(10.0), Some(29.0), Some(3.0)), Verdict::Missed);
        assert_eq!(verdict(Target::AtLeast(4e6), Some(3.9e6), None), Verdict::Missed);
        assert_eq!(verdict(Target::AtMost(64.0), Some(64.0), None), Verdict::Met);
        assert_eq!(verdict(Target::RatioToSecond(1.5), Some(3.0), None), Verdict::Unknown);
    }

    #[test]
    fn a_time_becomes_the_figure_of_its_unit() {
        let second = Duration::from_secs(1);

        assert!((of_time(Unit::MicrosecondsPerItem, second, 1000) - 1000.0).abs() < 1e-9);
        assert!((of_time(Unit::ItemsPerSecond, second, 1000) - 1000.0).abs() < 1e-9);
        assert!((of_time(Unit::Milliseconds, second, 1) - 1000.0).abs() < 1e-9);
        assert!((times_better(Unit::ItemsPerSecond, 4.0, 2.0) - 2.0).abs() < 1e-9);
        assert!((times_better(Unit::Milliseconds, 4.0, 2.0) - 0.5).abs() < 1e-9);
    }
}
