//! Why a command ends badly, as a person reads it: what failed, why, and what to do.

use std::error::Error;
use std::io::{self, Write};

use poolctl_types::ExitCode;

/// Why a command ends badly.
#[derive(Debug)]
pub(crate) struct Failure {
    code: ExitCode,
    error: Box<dyn Error + Send + Sync>,
    details: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with the status the process shall end with.
    pub(crate) fn new(code: ExitCode, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code, error: error.into(), details: String::new(), hint: None }
    }

    /// A command line that cannot be understood.
    pub(crate) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ExitCode::Usage, error)
    }

    /// The same with what the person can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with what else was said about it, in lines.
    pub(crate) fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The status the process shall end with.
    pub(crate) fn code(&self) -> ExitCode {
        self.code
    }

    /// Writes the error with the whole chain of its causes, and the hint.
    pub(crate) fn write_to(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "error: {}", self.error)?;
        let mut source = self.error.source();
        while let Some(cause) = source {
            writeln!(to, "  caused by: {cause}")?;
            source = cause.source();
        }
        for line in self.details.trim_end().lines() {
            writeln!(to, "    {line}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(to, "hint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to open the input `x`")]
    struct Outer {
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("failed to start")]
    struct Outermost {
        source: Outer,
    }

    #[test]
    fn the_whole_chain_is_written_with_the_hint_last() {
        let source = io::Error::other("no medium");
        let failure = Failure::new(ExitCode::BadInput, Outermost { source: Outer { source } })
            .details("dev x\n")
            .hint("insert a disk");

        let mut text = Vec::new();
        failure.write_to(&mut text).unwrap();

        let expected = "error: failed to start\n  caused by: failed to open the input `x`\n  caused by: no medium\n    dev x\nhint: insert a disk\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert_eq!(failure.code(), ExitCode::BadInput);
    }
}
