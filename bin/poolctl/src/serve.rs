//! `poolctl serve`: the client protocol on a pair of descriptors, for the program that started it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use poolctl_service::{Ends, Server, Setup};
use poolctl_supervisor::{now, raise_open_files};
use poolctl_types::ExitCode;

use crate::config;
use crate::end::End;
use crate::failure::Failure;
use crate::map::start_log;
use crate::own_process;
use crate::value::Size;

const EXAMPLES: &str = "\
Examples:
  poolctl serve                         frames on stdin and stdout, which may be one socket (docs/protocol.md)
  poolctl serve --in-fd 3 --out-fd 3    on a socket that was inherited as descriptor 3
";

/// Serve the client protocol to the program that started this one, and go when it goes
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, before_long_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// The descriptor that requests come from
    #[arg(long, value_name = "N", requires = "out_fd")]
    in_fd: Option<i32>,

    /// The descriptor that replies go to; a socket may be both
    #[arg(long, value_name = "N", requires = "in_fd")]
    out_fd: Option<i32>,

    /// Most memory that objects of this client take together
    #[arg(long, value_name = "SIZE", env = "POOLCTL_SHM_LIMIT")]
    shm_limit: Option<Size>,

    /// Log more to stderr; twice for every event
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Serves until the client has gone.
pub(crate) fn serve(args: &ServeArgs) -> Result<End, Failure> {
    let settings = config::load_settings()?;
    start_log(args.verbose, settings.log_format)?;
    let ends = match (args.in_fd, args.out_fd) {
        (Some(input), Some(output)) => Ends::numbered(input, output),
        _ => Ends::standard(),
    };
    let hint = "a program starts it with descriptors that are open: docs/protocol.md";
    let ends = ends.map_err(|error| Failure::usage(error).hint(hint))?;
    if let Err(error) = raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let setup = Setup {
        keeper: own_process::executable(),
        stock_worker: own_process::stock_worker().ok().map(|path| PathBuf::from(OsString::from_vec(path))),
        run_id: own_process::run_id(now()),
        may_open: true,
        shm_limit: args.shm_limit.map(|size| size.0),
        max_clients: 1,
        drain_timeout: None,
        reload: None,
    };
    let internal = |error| Failure::new(ExitCode::Internal, error);
    let mut server = Server::new(setup).map_err(internal)?;
    server.serve_one(ends.input, ends.output).map_err(internal)?;
    server.run().map_err(internal)?;
    Ok(ExitCode::Ok.into())
}
