//! With what status the program ends.

use poolctl_types::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In one of our own ways.
    Ours(ExitCode),
    /// As the one command that it ran (`apply`).
    AsCommand(u8),
}

impl From<ExitCode> for End {
    fn from(code: ExitCode) -> Self {
        Self::Ours(code)
    }
}

impl From<End> for std::process::ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Ours(code) => code.into(),
            End::AsCommand(status) => status.into(),
        }
    }
}
