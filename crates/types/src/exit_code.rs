//! The exit codes of the binaries: one table, published as `docs/exit-codes.md`.

/// With what status a binary ends, and why. Discriminants are the statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Every item is ok.
    Ok = 0,
    /// Some item failed.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// Stopped by `--halt`.
    Halted = 3,
    /// The input cannot be used.
    BadInput = 65,
    /// No service listens there.
    NoService = 69,
    /// A bug in poolctl.
    Internal = 70,
    /// Output could not be written.
    OutputError = 74,
    /// Overloaded; try again.
    Overloaded = 75,
    /// The configuration cannot be used.
    BadConfig = 78,
    /// `--deadline` passed.
    Deadline = 124,
    /// The worker was found but cannot start.
    CannotStart = 126,
    /// The worker, function or module was not found.
    NotFound = 127,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// The reader of stdout went away.
    ReaderGone = 141,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl ExitCode {
    /// Every exit code, in ascending order.
    pub const ALL: [ExitCode; 16] = [
        ExitCode::Ok,
        ExitCode::Failed,
        ExitCode::Usage,
        ExitCode::Halted,
        ExitCode::BadInput,
        ExitCode::NoService,
        ExitCode::Internal,
        ExitCode::OutputError,
        ExitCode::Overloaded,
        ExitCode::BadConfig,
        ExitCode::Deadline,
        ExitCode::CannotStart,
        ExitCode::NotFound,
        ExitCode::Interrupted,
        ExitCode::ReaderGone,
        ExitCode::Terminated,
    ];

    /// What it means, as in `docs/exit-codes.md`.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            ExitCode::Ok => "every item is ok",
            ExitCode::Failed => "some item failed",
            ExitCode::Usage => "the command line cannot be understood",
            ExitCode::Halted => "stopped by `--halt`",
            ExitCode::BadInput => {
                "the input cannot be used (line and column are named; the items before it finish)"
            }
            ExitCode::NoService => "no service listens there",
            ExitCode::Internal => "a bug in poolctl",
            ExitCode::OutputError => "output could not be written",
            ExitCode::Overloaded => "overloaded; try again",
            ExitCode::BadConfig => "the configuration cannot be used",
            ExitCode::Deadline => "`--deadline` passed",
            ExitCode::CannotStart => "the worker was found but cannot start, or raises at import",
            ExitCode::NotFound => "worker, function or module not found",
            ExitCode::Interrupted => "ended by SIGINT",
            ExitCode::ReaderGone => "the reader of stdout went away",
            ExitCode::Terminated => "ended by SIGTERM",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}
