//! Finding the service, connecting to it, and what its refusals mean.

use std::io::{self, Write};
use std::path::PathBuf;

use poolctl_service::{
    ConnectError, Connection, ErrorBody, ErrorCode, Pool, RequestError, RuntimeDirectoryError, usual_socket,
};
use poolctl_types::ExitCode;

use crate::end::End;
use crate::failure::Failure;
use crate::nearest::nearest;

/// Which service.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Where the service listens [default: $XDG_RUNTIME_DIR/poolctl/poold.sock]
    #[arg(long, value_name = "PATH", env = "POOLD_SOCKET", hide_env_values = true)]
    pub(crate) socket: Option<PathBuf>,
}

impl PlaceArgs {
    /// Where the service listens.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        match &self.socket {
            Some(path) => Ok(path.clone()),
            None => usual_socket().map_err(no_directory),
        }
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        let path = self.path()?;
        Connection::open(&path, &client()).map_err(|error| self.not_connected(error))
    }

    fn not_connected(&self, error: ConnectError) -> Failure {
        match error {
            ConnectError::NoService { .. } => {
                let at = self.socket.as_ref().map(|path| format!(" --socket {}", path.display()));
                let hint = format!("start it: poolctl start{}", at.unwrap_or_default());
                Failure::new(ExitCode::NoService, error).hint(hint)
            }
            ConnectError::Greeting(RequestError::Refused(body)) => refusal(body, &[]),
            error => Failure::new(ExitCode::NoService, error),
        }
    }
}

fn client() -> String {
    format!("poolctl {}", env!("CARGO_PKG_VERSION"))
}

fn no_directory(error: RuntimeDirectoryError) -> Failure {
    let hint = error.hint();
    Failure::new(ExitCode::BadConfig, error).hint(hint)
}

/// Attaches to a pool by its name.
pub(crate) fn attach(connection: &mut Connection, name: &str) -> Result<Pool, Failure> {
    let known = connection.hello().pools.clone();
    connection.attach(name).map_err(|error| match error {
        RequestError::Refused(body) => refusal(body, &[name, &known.join(", "), &hint_of(name, &known)]),
        error => refused(error),
    })
}

/// What was probably meant.
fn hint_of(name: &str, known: &[String]) -> String {
    nearest(name, known.iter().map(String::as_str))
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// A request that has no result.
pub(crate) fn refused(error: RequestError) -> Failure {
    match error {
        RequestError::Refused(body) => refusal(body, &[]),
        RequestError::Lost => Failure::new(ExitCode::NoService, error)
            .hint("`poolctl logs` has its last words, if it is still there"),
        RequestError::PoolLost => {
            Failure::new(ExitCode::NoService, error).hint("`poolctl status` shows what is there")
        }
        RequestError::ItemTooLong { .. } => Failure::new(ExitCode::BadInput, error),
        error => Failure::new(ExitCode::Internal, error),
    }
}

/// An error of the service, in its words. `pool`: the name that was asked for, the known ones, and a further hint.
fn refusal(body: ErrorBody, pool: &[&str]) -> Failure {
    let code = match body.code {
        ErrorCode::NoSuchPool | ErrorCode::NoSuchTask | ErrorCode::NotPermitted | ErrorCode::BadArgument => {
            ExitCode::Usage
        }
        ErrorCode::OverLimit | ErrorCode::Closed => ExitCode::Overloaded,
        ErrorCode::CannotStart => ExitCode::CannotStart,
        ErrorCode::BadFrame => ExitCode::Internal,
    };
    let hint = match (body.code, pool) {
        (ErrorCode::NoSuchPool, [_, "", _]) => Some("it has no pools: poold.toml describes them".to_owned()),
        (ErrorCode::NoSuchPool, [_, known, nearest]) => Some(format!("it has: {known}{nearest}")),
        _ => body.hint.clone(),
    };
    let failure = Failure::new(code, RequestError::Refused(body));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Prints the answer.
pub(super) fn print(text: &str) -> Result<End, Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(ExitCode::Ok.into()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::ReaderGone.into()),
        Err(error) => Err(Failure::new(ExitCode::OutputError, error)),
    }
}
