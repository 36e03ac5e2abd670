//! Waiting for something to happen: in the poller, and in the rings of native workers, which the poller does not know.
//!
//! # Why no news is missed
//! Before it sleeps, the loop tells every busy native worker so, and looks at its ring once more; a worker publishes, and
//! then looks whether it has to kick. So either the loop sees the news or the worker sees that a kick is due, which makes
//! its socket readable. A worker that dies in between is told by the keeper. After every wait all rings are looked at.
//!
//! # Spinning
//! Waking a sleeper costs some microseconds on either side, a spinning one sees news at once. So a caller that waits for
//! an answer spins first, for [`SPIN`] at most, while the processors are not all needed by busy workers. It yields now
//! and then: the scheduler may have put both sides on one processor, where they would spin against each other.

use std::time::Duration;

use poolctl_sys::clock;
use poolctl_sys::poller::Ready;
use poolctl_types::Moment;

use super::Supervisor;
use crate::life::{Life, Work};
use crate::link::{Link, NativeLink};
use crate::report::Sink;

/// How long is spun at most.
const SPIN: Duration = Duration::from_micros(50);

/// While a ring always has news the poller is asked this often, so that nobody else waits longer.
const POLL_EVERY: Duration = Duration::from_micros(100);

/// How often the clock is looked at while spinning, in looks at the rings.
const LOOKS_PER_CLOCK: u32 = 64;

/// Who spins for so long lets others run, and again after each four times as long.
const FIRST_YIELD: Duration = Duration::from_micros(1);

/// What a loop around several supervisors has to do for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Turn it again at once.
    Turn,
    /// Turn it when its descriptor is readable, when it was told something, or at this time, if there is one.
    Until(Option<Moment>),
}

impl Supervisor {
    /// For who waits elsewhere, for the descriptor of this supervisor among others: says until when it may, and has native
    /// workers kick from now on. With the next turn it is awake again.
    pub fn rest(&mut self) -> Rest {
        if !self.inputs.is_empty() || !self.desk.effects.is_empty() {
            return Rest::Turn;
        }
        self.busy_rings().for_each(NativeLink::sleep);
        self.is_resting = true;
        if self.has_news() { Rest::Turn } else { Rest::Until(self.next_due(None)) }
    }

    /// The end of a rest, if there was one.
    pub(super) fn wake_up(&mut self) {
        if std::mem::take(&mut self.is_resting) {
            self.busy_rings().for_each(NativeLink::awake);
        }
    }

    /// Waits until something happens, for `most` at most.
    pub(super) fn wait(&mut self, ready: &mut Vec<Ready>, most: Option<Duration>) {
        let has_news = self.has_news() || self.spin(most);
        if has_news && clock::now() - self.polled < POLL_EVERY {
            return;
        }
        let most = if has_news { Some(Duration::ZERO) } else { most };
        let sleeps = most != Some(Duration::ZERO);
        if sleeps {
            self.busy_rings().for_each(NativeLink::sleep);
        }
        let most = if sleeps && self.has_news() { Some(Duration::ZERO) } else { most };
        if let Err(error) = self.poller.wait(ready, most) {
            tracing::error!(%error, "cannot wait for events");
        }
        if sleeps {
            self.busy_rings().for_each(NativeLink::awake);
        }
        self.polled = clock::now();
    }

    /// Tells what native workers have published.
    pub(super) fn hear_rings(&mut self, sink: &mut dyn Sink) {
        for slot in 0..self.lives.slots() {
            let Some(life) = self.lives.in_slot(slot) else { continue };
            let (worker, peer) = (life.worker, life.peer());
            let Life { work: Work::Warm(link), streams, fault: None, greeted, .. } = life else { continue };
            let Link::Native(link) = &mut **link else { continue };
            if !link.has_news() {
                continue;
            }
            let drained = link.drain(peer, streams, &mut self.desk, sink);
            *greeted = link.is_greeted();
            match drained {
                Ok(()) => self.weigh(worker, sink),
                Err(breach) => self.accuse(worker, breach, sink),
            }
        }
    }

    /// Looks at the rings for a moment before it is slept; says whether there is news.
    fn spin(&self, most: Option<Duration>) -> bool {
        let busy = self.busy_rings().count();
        if !self.may_spin || busy == 0 || busy >= self.processors || most == Some(Duration::ZERO) {
            return false;
        }
        let begun = clock::now();
        let until = begun + most.map_or(SPIN, |most| most.min(SPIN));
        let mut next = FIRST_YIELD;
        loop {
            let now = clock::now();
            if now >= until {
                break;
            }
            if now - begun >= next {
                // The worker may be on this same processor, and waits for it.
                std::thread::yield_now();
                next = (now - begun) * 4;
            }
            for _ in 0..LOOKS_PER_CLOCK {
                if self.has_news() {
                    return true;
                }
                if self.waker.is_raised() {
                    return false;
                }
                std::hint::spin_loop();
            }
        }
        false
    }

    fn has_news(&self) -> bool {
        self.busy_rings().any(NativeLink::has_news)
    }

    /// The native workers that something may come from.
    fn busy_rings(&self) -> impl Iterator<Item = &NativeLink> {
        let links = self.lives.iter().filter_map(|life| match &life.work {
            Work::Warm(link) if life.fault.is_none() => link.native(),
            _ => None,
        });
        links.filter(|link| link.is_busy())
    }
}
