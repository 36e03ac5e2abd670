//! The engine's own time: the host's, without the time during which it was paused.
//!
//! Every deadline is kept in this time, so that a pause moves all of them at once and none can be forgotten.

use std::collections::VecDeque;

use poolctl_types::Moment;

/// So many past pauses are remembered, to date what was said to have begun before them.
const REMEMBERED_PAUSES: usize = 64;

/// Turns the host's time into the engine's and back.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    now: Moment,
    /// Nanoseconds spent in pauses that are over.
    lost: u64,
    paused_at: Option<Moment>,
    pauses: VecDeque<Pause>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    from: u64,
    until: u64,
}

impl Clock {
    pub(crate) fn new(host_now: Moment) -> Self {
        Self { now: host_now, lost: 0, paused_at: None, pauses: VecDeque::new() }
    }

    /// The engine's time at the host's `host_now`; never earlier than what it said before.
    pub(crate) fn advance(&mut self, host_now: Moment) -> Moment {
        let real = self.paused_at.unwrap_or(host_now);
        self.now = self.now.max(Moment(real.0.saturating_sub(self.lost)));
        self.now
    }

    pub(crate) fn pause(&mut self, host_now: Moment) {
        if self.paused_at.is_none() {
            self.paused_at = Some(host_now);
        }
    }

    pub(crate) fn resume(&mut self, host_now: Moment) {
        let Some(from) = self.paused_at.take() else { return };
        let until = host_now.0.max(from.0);
        self.lost = self.lost.saturating_add(until - from.0);
        self.pauses.push_back(Pause { from: from.0, until });
        if self.pauses.len() > REMEMBERED_PAUSES {
            self.pauses.pop_front();
        }
    }

    /// When, in the engine's time, the host's `past` moment was.
    pub(crate) fn in_engine_time(&self, past: Moment) -> Moment {
        let mut lost = self.lost;
        for pause in self.pauses.iter().rev() {
            if past.0 >= pause.until {
                break;
            }
            lost = lost.saturating_sub(pause.until - pause.from);
            if past.0 >= pause.from {
                return Moment(pause.from.saturating_sub(lost));
            }
        }
        Moment(past.0.saturating_sub(lost)).min(self.now)
    }

    /// When, in the host's time, the engine's `moment` comes; `None` while paused: it does not come.
    pub(crate) fn in_host_time(&self, moment: Moment) -> Option<Moment> {
        match self.paused_at {
            Some(_) => None,
            None => Some(self.shifted(moment)),
        }
    }

    /// The engine's `moment` on the host's clock, were no further pause to come.
    pub(crate) fn shifted(&self, moment: Moment) -> Moment {
        Moment(moment.0.saturating_add(self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_moves_what_comes_after_it() {
        let mut clock = Clock::new(Moment(100));
        clock.pause(Moment(200));
        assert_eq!(clock.advance(Moment(900)), Moment(200));
        assert_eq!(clock.in_host_time(Moment(300)), None);

        clock.resume(Moment(1_000));

        assert_eq!(clock.advance(Moment(1_000)), Moment(200));
        assert_eq!(clock.advance(Moment(1_100)), Moment(300));
        assert_eq!(clock.in_host_time(Moment(300)), Some(Moment(1_100)));
    }

    #[test]
    fn what_began_before_or_in_a_pause_is_dated_without_it() {
        let mut clock = Clock::new(Moment(0));
        clock.pause(Moment(200));
        clock.resume(Moment(1_000));
        clock.pause(Moment(1_100));
        clock.resume(Moment(2_100));
        clock.advance(Moment(3_000));

        let dated = [150, 500, 1_050, 1_500, 2_200].map(|past| clock.in_engine_time(Moment(past)).0);

        assert_eq!(dated, [150, 200, 250, 300, 400]);
    }

    #[test]
    fn time_never_runs_backwards() {
        let mut clock = Clock::new(Moment(50));
        clock.resume(Moment(10));

        assert_eq!(clock.advance(Moment(10)), Moment(50));
    }
}
