//! Looking again for a moment before going to sleep.
//!
//! A client that makes one call after another says the next thing some microseconds after an answer. To wake a processor
//! that has gone idle meanwhile takes longer than that, so the server looks again and again after it has answered, while
//! nothing else is to be done. Whether that pays depends on the clients: it is given up where they take longer, and tried
//! now and then.

use std::io;
use std::time::{Duration, Instant};

use poolctl_sys::cpu;
use poolctl_sys::poller::{Poller, Ready};

/// So long is looked at most.
const SPIN: Duration = Duration::from_micros(100);
/// Others are let run after so many looks, each of which takes about a microsecond.
const LOOKS_PER_YIELD: u32 = 8;
/// One miss weighs as much as so many hits.
const MISS: u32 = 4;
/// The most that past hits count for.
const MOST_LUCK: u32 = 16;
/// Where it does not pay, every so manieth wait tries.
const TRY_EVERY: u32 = 16;

/// How it went so far.
#[derive(Debug)]
pub(crate) struct Spin {
    luck: u32,
    waits: u32,
    /// On one processor there is nobody to be faster than.
    is_alone: bool,
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self { luck: MISS, waits: 0, is_alone: cpu::available() < 2 }
    }

    /// Waits as the poller does, and looks again for a moment first if somebody was answered just now and no pool has work.
    pub(crate) fn wait(
        &mut self,
        poller: &mut Poller,
        ready: &mut Vec<Ready>,
        most: Option<Duration>,
        is_expectant: bool,
    ) -> io::Result<()> {
        if is_expectant && self.is_worth_it() {
            let begun = Instant::now();
            let until = most.map_or(SPIN, |most| most.min(SPIN));
            let mut looks = 0_u32;
            while begun.elapsed() < until {
                poller.wait(ready, Some(Duration::ZERO))?;
                if !ready.is_empty() {
                    self.learn(true);
                    return Ok(());
                }
                looks += 1;
                if looks.is_multiple_of(LOOKS_PER_YIELD) {
                    // Who is to say the next thing may be on this same processor.
                    std::thread::yield_now();
                }
            }
            self.learn(false);
        }
        poller.wait(ready, most)
    }

    fn is_worth_it(&mut self) -> bool {
        self.waits = self.waits.wrapping_add(1);
        !self.is_alone && (self.luck > 0 || self.waits.is_multiple_of(TRY_EVERY))
    }

    fn learn(&mut self, has_come: bool) {
        self.luck = if has_come { (self.luck + 1).min(MOST_LUCK) } else { self.luck.saturating_sub(MISS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In how many of 160 waits it looks again and again, if that pays in every `each`-th one.
    fn tries(each: u32) -> u32 {
        let mut spin = Spin { is_alone: false, ..Spin::new() };
        let mut tries = 0;
        for number in 1..=160_u32 {
            if spin.is_worth_it() {
                tries += 1;
                spin.learn(number.is_multiple_of(each));
            }
        }
        tries
    }

    #[test]
    fn it_is_done_where_it_pays_and_tried_now_and_then_where_it_does_not() {
        assert_eq!(tries(1), 160);
        // The one that it begins with, and one of sixteen.
        assert_eq!(tries(1000), 11);
        assert!(tries(2) < 60, "{}", tries(2));
    }

    #[test]
    fn it_recovers_from_clients_that_were_slow() {
        let mut spin = Spin { is_alone: false, ..Spin::new() };
        (0..10).for_each(|_| spin.learn(false));
        (0..100).filter(|_| spin.is_worth_it()).count();

        spin.learn(true);

        assert!(spin.is_worth_it());
    }

    #[test]
    fn on_one_processor_it_is_not_done() {
        let mut spin = Spin { is_alone: true, ..Spin::new() };

        assert!((0..100).all(|_| !spin.is_worth_it()));
    }
}
