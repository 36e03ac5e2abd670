//! What a person can do when worker after worker ends before it is ready.

use poolctl_supervisor::{GaveUp, Target, TaskError};

/// What the workers are, as far as the advice depends on it.
#[derive(Debug)]
pub(super) enum StartHint {
    /// They import this module first.
    Module(String),
    /// They speak the worker protocol.
    Protocol,
    /// They need not say anything.
    Silent,
}

impl StartHint {
    /// For workers of this target.
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Python { module, .. } => Self::Module(String::from_utf8_lossy(module).into_owned()),
            Target::Worker { .. } => Self::Protocol,
            _ => Self::Silent,
        }
    }

    /// The advice for a run that was given up for this reason, if there is any.
    pub(super) fn about(&self, why: &GaveUp) -> Option<String> {
        let GaveUp::TooManyStarts { last, .. } = why else { return None };
        match (self, &last.error) {
            (Self::Module(module), None) => Some(format!(
                "the module `{module}` is imported first, and its interpreter ended in that; an import that only \
                 takes long gets the time with --start-timeout"
            )),
            (Self::Module(module), Some(TaskError::NoHello { .. })) => Some(format!(
                "the module `{module}` is imported first, and that takes longer; --start-timeout 5m gives it more time"
            )),
            (Self::Protocol, None) if last.stderr.is_empty() => Some(
                "a worker first says hello on descriptor 4: {\"poolctl\":1} (docs/protocol.md); a plain line filter \
                 runs with --lines"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use poolctl_supervisor::LastStart;

    use super::*;

    fn given_up(error: Option<TaskError>, stderr: &[u8]) -> GaveUp {
        let last = LastStart { error, stderr: stderr.to_vec(), ..LastStart::default() };
        GaveUp::TooManyStarts { starts: 5, last: Box::new(last) }
    }

    #[test]
    fn a_function_is_advised_by_its_module_and_the_time_it_has() {
        let hint = StartHint::Module("slow.py".to_owned());

        for error in [None, Some(TaskError::NoHello { after: Duration::from_secs(1) })] {
            let advice = hint.about(&given_up(error, b"")).unwrap();

            assert!(advice.contains("`slow.py`") && advice.contains("--start-timeout"), "{advice}");
            assert!(!advice.contains("descriptor") && !advice.contains("--lines"), "{advice}");
        }
    }

    #[test]
    fn only_a_protocol_worker_that_says_nothing_is_told_of_the_hello() {
        assert!(StartHint::Protocol.about(&given_up(None, b"")).unwrap().contains("hello"));
        assert_eq!(StartHint::Protocol.about(&given_up(None, b"Traceback")), None);
        assert_eq!(StartHint::Silent.about(&given_up(None, b"")), None);
    }
}
