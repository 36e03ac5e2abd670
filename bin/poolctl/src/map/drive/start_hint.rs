//! What a person can do when workers end before they are ready, or do not offer what is asked for.

use poolctl_supervisor::{ExitCode, GaveUp, Target, TaskError};

use crate::nearest::nearest;

/// What the workers are, as far as the advice depends on it.
#[derive(Debug)]
pub(super) enum StartHint {
    /// They import this module first.
    Module(String),
    /// They are of any kind, and are asked for this function.
    Worker { function: Option<String> },
    /// They are the stock worker, asked for this function.
    Native { function: String, verb: &'static str },
    /// They need not say anything.
    Silent,
}

impl StartHint {
    /// For workers of this target, asked for by the command `verb`.
    pub(super) fn of(target: &Target, verb: &'static str) -> Self {
        match target {
            Target::Python { module, .. } => Self::Module(String::from_utf8_lossy(module).into_owned()),
            Target::Worker { function, .. } => Self::Worker { function: function.clone() },
            Target::Native(native) => {
                let function = native.function.as_deref().unwrap_or_default().to_owned();
                Self::Native { function, verb }
            }
            _ => Self::Silent,
        }
    }

    /// The advice for a run that was given up for this reason, if there is any. `offered`: the functions that a worker
    /// said it has.
    pub(super) fn about(&self, why: &GaveUp, offered: &[String]) -> Option<String> {
        let last = match why {
            GaveUp::Refused { code, .. } if *code == ExitCode::NotFound as u8 => {
                return self.about_function(offered);
            }
            GaveUp::TooManyStarts { last, .. } => last,
            _ => return None,
        };
        match (self, &last.error) {
            (Self::Module(module), None) => Some(format!(
                "the module `{module}` is imported first, and its interpreter ended in that; an import that only \
                 takes long gets the time with --start-timeout"
            )),
            (Self::Module(module), Some(TaskError::NoHello { .. })) => Some(format!(
                "the module `{module}` is imported first, and that takes longer; --start-timeout 5m gives it more time"
            )),
            (Self::Worker { .. }, None) if last.stderr.is_empty() => Some(
                "a worker first says hello on descriptor 4: {\"poolctl\":1} (docs/protocol.md); a plain line filter \
                 runs with --lines"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The advice where the input is no JSON and no worker was there yet to say whether it has the function.
    pub(super) fn about_input(&self, offered: &[String]) -> Option<String> {
        match self {
            Self::Native { function, verb } if offered.is_empty() => Some(format!(
                "functions take JSON, or with --raw strings; if `{function}` is a command, it stands behind `--`: \
                 poolctl {verb} -- {function}"
            )),
            _ => None,
        }
    }

    /// The advice where the function that is asked for is not offered.
    fn about_function(&self, offered: &[String]) -> Option<String> {
        let function = match self {
            Self::Worker { function: None } => {
                return Some(
                    "--function NAME says which; `poolctl functions --worker …` lists them".to_owned(),
                );
            }
            Self::Worker { function: Some(function) } => function,
            Self::Native { function, .. } => function,
            Self::Module(_) | Self::Silent => return None,
        };
        let guess = nearest(function, offered.iter().map(String::as_str));
        match (guess, self) {
            (Some(guess), _) => Some(format!("did you mean `{guess}`?")),
            (None, Self::Native { verb, .. }) => Some(format!(
                "`poolctl functions` lists them; a command stands behind `--`: poolctl {verb} -- {function}; a Python \
                 function: python:MODULE:{function}"
            )),
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use poolctl_supervisor::{LastStart, RemoteError};

    use super::*;

    fn given_up(error: Option<TaskError>, stderr: &[u8]) -> GaveUp {
        let last = LastStart { error, stderr: stderr.to_vec(), ..LastStart::default() };
        GaveUp::TooManyStarts { starts: 5, last: Box::new(last) }
    }

    #[test]
    fn a_function_is_advised_by_its_module_and_the_time_it_has() {
        let hint = StartHint::Module("slow.py".to_owned());

        for error in [None, Some(TaskError::NoHello { after: Duration::from_secs(1) })] {
            let advice = hint.about(&given_up(error, b""), &[]).unwrap();

            assert!(advice.contains("`slow.py`") && advice.contains("--start-timeout"), "{advice}");
            assert!(!advice.contains("descriptor") && !advice.contains("--lines"), "{advice}");
        }
    }

    #[test]
    fn only_a_protocol_worker_that_says_nothing_is_told_of_the_hello() {
        let worker = StartHint::Worker { function: None };

        assert!(worker.about(&given_up(None, b""), &[]).unwrap().contains("hello"));
        assert_eq!(worker.about(&given_up(None, b"Traceback"), &[]), None);
        assert_eq!(StartHint::Silent.about(&given_up(None, b""), &[]), None);
    }

    #[test]
    fn a_function_that_is_not_offered_is_answered_with_one_that_is_like_it_or_with_other_targets() {
        let error = RemoteError {
            type_name: String::new(),
            msg: String::new(),
            trace: None,
            retry: None,
            more: None,
        };
        let refused = GaveUp::Refused { code: 127, error };
        let offered = ["square".to_owned(), "sum".to_owned()];
        let native = |function: &str| StartHint::Native { function: function.to_owned(), verb: "map" };
        let worker = StartHint::Worker { function: Some("summ".to_owned()) };

        assert_eq!(native("sqare").about(&refused, &offered).unwrap(), "did you mean `square`?");
        assert!(native("gzip").about(&refused, &offered).unwrap().contains("poolctl map -- gzip"));
        assert_eq!(worker.about(&refused, &offered).unwrap(), "did you mean `sum`?");
        assert_eq!(worker.about(&refused, &[]), None);
        assert!(native("gzip").about_input(&[]).unwrap().contains("poolctl map -- gzip"));
        assert_eq!(native("square").about_input(&offered), None);
    }
}
