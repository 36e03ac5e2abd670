//! For trying pools out: what takes time, and what fails.

use std::time::Duration;

use poolctl::task;

/// The longest sleep, in seconds: what is longer is a mistake.
const MAX_SECONDS: f64 = 1e9;

/// A time that nobody can sleep for.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("cannot sleep for {seconds} seconds; the least is 0 and the most is {MAX_SECONDS}")]
pub(crate) struct NoTime {
    seconds: f64,
}

/// Sleeps for so many seconds, as in 0.5.
#[task]
#[expect(clippy::disallowed_methods, reason = "sleeping is what it is for")]
fn sleep(seconds: f64) -> Result<(), NoTime> {
    if !(0.0..=MAX_SECONDS).contains(&seconds) {
        return Err(NoTime { seconds });
    }
    std::thread::sleep(Duration::from_secs_f64(seconds));
    Ok(())
}

/// Fails with this message.
#[task]
fn fail(message: String) -> Result<(), String> {
    Err(message)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_sleep_takes_no_less_than_it_was_told() {
        let start = Instant::now();

        assert_eq!(sleep(0.01), Ok(()));

        assert!(start.elapsed() >= Duration::from_millis(10));
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        assert_eq!(
            sleep(-1.0).unwrap_err().to_string(),
            "cannot sleep for -1 seconds; the least is 0 and the most is 1000000000"
        );
        assert!(sleep(f64::NAN).is_err() && sleep(f64::INFINITY).is_err());
    }

    #[test]
    fn a_failure_has_its_message() {
        assert_eq!(fail("on purpose".to_owned()), Err("on purpose".to_owned()));
    }
}
