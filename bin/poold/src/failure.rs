//! Why the service does not run, as a person reads it: what failed, why, and what to do.

use std::error::Error;
use std::io::Write;

use poolctl_types::ExitCode;

/// Why the service ends badly.
#[derive(Debug)]
pub(crate) struct Failure {
    code: ExitCode,
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl Failure {
    /// A failure with the status the process shall end with.
    pub(crate) fn new(code: ExitCode, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code, error: error.into(), hint: None }
    }

    /// The same with what the person can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on stderr, and gives the status.
    pub(crate) fn report(self) -> ExitCode {
        let mut text = format!("error: {}\n", chain(self.error.as_ref(), "\n  caused by: "));
        if let Some(hint) = &self.hint {
            text += &format!("hint: {hint}\n");
        }
        // There is nobody to tell if that fails.
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
        self.code
    }
}

/// An error and its causes, with `between` before each of them.
pub(crate) fn chain(error: &(dyn Error + 'static), between: &str) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!("{between}{cause}");
        source = cause.source();
    }
    text
}
