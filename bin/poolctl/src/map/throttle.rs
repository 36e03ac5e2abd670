//! Holding new items back while the machine has too little memory or too much to do.

use std::fs;
use std::time::Duration;

use poolctl_types::Moment;

use crate::value::Size;

/// When new items are held back.
#[derive(Debug)]
pub(crate) struct Throttle {
    least_free: Option<Size>,
    most_load: Option<f64>,
    next_look: Moment,
    holding: bool,
    /// Whether it was said, or is not to be said, why it holds back.
    told: bool,
    words: Option<String>,
}

/// How often the machine is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

impl Throttle {
    /// Holds back while less memory is free, or while the load is higher; says why once, or never if `quiet`.
    pub(crate) fn new(least_free: Option<Size>, most_load: Option<f64>, quiet: bool) -> Self {
        Self { least_free, most_load, next_look: Moment(0), holding: false, told: quiet, words: None }
    }

    /// When to look again; none: never.
    pub(crate) fn next_look(&self) -> Option<Moment> {
        (self.least_free.is_some() || self.most_load.is_some()).then_some(self.next_look)
    }

    /// Whether new items are held back, looking again if it is time.
    pub(crate) fn holds(&mut self, now: Moment) -> bool {
        if self.next_look().is_some_and(|next| next <= now) {
            self.next_look = now + INTERVAL;
            let why = self.why();
            self.holding = why.is_some();
            if let Some(why) = why.filter(|_| !self.told) {
                self.told = true;
                self.words = Some(format!("poolctl: waiting before new items start: {why}\n"));
            }
        }
        self.holding
    }

    /// Why new items are held back, once.
    pub(crate) fn words(&mut self) -> Option<String> {
        self.words.take()
    }

    fn why(&self) -> Option<String> {
        if let (Some(least), Some(free)) = (self.least_free, free_memory())
            && free < least.0
        {
            let free = free >> 20;
            return Some(format!(
                "{free} MiB of memory are free, less than --memfree ({} MiB)",
                least.0 >> 20
            ));
        }
        match (self.most_load, load()) {
            (Some(most), Some(load)) if load > most => {
                Some(format!("the load average is {load}, more than --load ({most})"))
            }
            _ => None,
        }
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
        assert!(!Throttle::new(None, None, false).holds(Moment(5)));
        assert_eq!(Throttle::new(None, None, false).next_look(), None);
        assert!(Throttle::new(Some(Size(u64::MAX)), None, false).holds(Moment(5)));
        assert!(!Throttle::new(Some(Size(1)), Some(1e9), false).holds(Moment(5)));
        assert!(Throttle::new(None, Some(-1.0), false).holds(Moment(5)));
    }

    #[test]
    fn why_it_holds_back_is_said_once() {
        let mut throttle = Throttle::new(None, Some(-1.0), false);
        assert_eq!(throttle.words(), None);

        throttle.holds(Moment(5));
        let first = throttle.words().unwrap();
        throttle.holds(Moment(5) + 2 * INTERVAL);

        assert!(first.contains("--load (-1)"), "{first}");
        assert_eq!(throttle.words(), None);
    }
}
