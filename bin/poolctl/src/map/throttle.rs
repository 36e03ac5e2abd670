//! Holding new items back while the machine has too little memory or too much to do.

use std::fs;
use std::time::Duration;

use poolctl_types::Moment;

/// When new items are held back.
#[derive(Debug)]
pub(crate) struct Throttle {
    least_free: Option<u64>,
    most_load: Option<f64>,
    next_look: Moment,
    holding: bool,
}

/// How often the machine is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

impl Throttle {
    /// Holds back while less memory (in bytes) is free, or while the load is higher.
    pub(crate) fn new(least_free: Option<u64>, most_load: Option<f64>) -> Self {
        Self { least_free, most_load, next_look: Moment(0), holding: false }
    }

    /// When to look again; none: never.
    pub(crate) fn next_look(&self) -> Option<Moment> {
        (self.least_free.is_some() || self.most_load.is_some()).then_some(self.next_look)
    }

    /// Whether new items are held back, looking again if it is time.
    pub(crate) fn holds(&mut self, now: Moment) -> bool {
        if self.next_look().is_some_and(|next| next <= now) {
            self.next_look = now + INTERVAL;
            let little = self.least_free.is_some_and(|least| free_memory().is_some_and(|free| free < least));
            let busy = self.most_load.is_some_and(|most| load().is_some_and(|load| load > most));
            self.holding = little || busy;
        }
        self.holding
    }
}

/// The memory that could be had without swapping, in bytes.
fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The load average of the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_back_only_where_a_limit_is_passed() {
        assert!(!Throttle::new(None, None).holds(Moment(5)));
        assert_eq!(Throttle::new(None, None).next_look(), None);
        assert!(Throttle::new(Some(u64::MAX), None).holds(Moment(5)));
        assert!(!Throttle::new(Some(1), Some(1e9)).holds(Moment(5)));
        assert!(Throttle::new(None, Some(-1.0)).holds(Moment(5)));
    }
}
