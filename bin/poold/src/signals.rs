//! Signals for the service: a thread waits for them, another does what they ask for.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

/// What somebody asks for, by a signal or by letting time pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Read the configuration again.
    Reload,
    /// Finish what is there, and end.
    Drain,
    /// End.
    Terminate,
}

/// The signals that are held back from every thread, so that one can wait for them.
#[derive(Debug)]
pub(crate) struct Held(SigSet);

/// Holds the signals back from this thread and all that it starts.
///
/// # Errors
/// The kernel refuses, which it has no reason for.
pub(crate) fn hold() -> io::Result<Held> {
    let held = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT].into_iter().collect::<SigSet>();
    held.thread_block()?;
    Ok(Held(held))
}

impl Held {
    /// Waits for the signals on threads of their own, and passes on what they ask for. The first request to end drains;
    /// the second, or `drain_timeout` after the first, terminates.
    ///
    /// # Errors
    /// The threads cannot be made.
    pub(crate) fn watch(
        self,
        drain_timeout: Duration,
        fulfil: impl FnMut(Wish) + Send + 'static,
    ) -> io::Result<()> {
        let (tell, told) = channel();
        let wait = move || {
            while let Ok(signal) = self.0.wait() {
                if tell.send(signal).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        thread::Builder::new().name("wishes".to_owned()).spawn(move || obey(&told, drain_timeout, fulfil))?;
        Ok(())
    }
}

/// Fulfils what the signals ask for until there is nothing more to ask.
fn obey(told: &Receiver<Signal>, drain_timeout: Duration, mut fulfil: impl FnMut(Wish)) {
    let mut deadline: Option<Instant> = None;
    loop {
        let left =
            deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        match told.recv_timeout(left) {
            Ok(Signal::SIGHUP) if deadline.is_none() => fulfil(Wish::Reload),
            Ok(Signal::SIGHUP) => {}
            Ok(_) if deadline.is_none() => {
                deadline = Some(Instant::now().checked_add(drain_timeout).unwrap_or_else(far));
                fulfil(Wish::Drain);
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => return fulfil(Wish::Terminate),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A time that nobody waits for.
fn far() -> Instant {
    const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + A_YEAR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(signals: &[Signal], drain_timeout: Duration) -> Vec<Wish> {
        let (tell, told) = channel();
        for signal in signals {
            tell.send(*signal).unwrap();
        }
        // With no end to the signals only the time can end it.
        let _open = drain_timeout.is_zero().then_some(tell);
        let mut wishes = Vec::new();
        obey(&told, drain_timeout, |wish| wishes.push(wish));
        wishes
    }

    #[test]
    fn the_second_request_to_end_is_no_longer_patient() {
        use Signal::{SIGHUP, SIGINT, SIGTERM};
        use Wish::{Drain, Reload, Terminate};

        assert_eq!(
            wishes(&[SIGHUP, SIGTERM, SIGHUP, SIGINT, SIGTERM], far_off()),
            [Reload, Drain, Terminate]
        );
        assert_eq!(wishes(&[SIGINT], far_off()), [Drain]);
        assert_eq!(wishes(&[SIGTERM], Duration::ZERO), [Drain, Terminate]);
    }

    fn far_off() -> Duration {
        Duration::MAX
    }
}
