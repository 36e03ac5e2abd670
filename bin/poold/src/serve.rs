//! From the configuration to a service that runs, and to its end.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use poolctl_service::{
    Allowed, Control, Controller, OpenError, Passed, PassedError, PoolSpec, Readiness, Record, Reload,
    RuntimeDirectoryError, Server, Setup, Tenure, TenureError, executable, passed_sockets, run_id, sibling,
    usual_socket,
};
use poolctl_supervisor::{now, raise_open_files};
use poolctl_types::ExitCode;

use crate::cli::Cli;
use crate::config::{self, Config, ConfigError, Settings};
use crate::failure::{Failure, chain};
use crate::log::{Log, LogPlan};
use crate::signals::{self, Wish};

/// Pools by name.
type Pools = Vec<(String, PoolSpec)>;

/// A pool cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the pool `{name}`")]
struct PoolError {
    name: String,
    source: OpenError,
}

/// Where clients connect.
#[derive(Debug)]
struct Door {
    listener: UnixListener,
    /// None where somebody else sees to it that there is but one service.
    tenure: Option<Tenure>,
    path: Option<PathBuf>,
}

/// Serves until it is asked to end.
pub(crate) fn serve(cli: &Cli) -> Result<ExitCode, Failure> {
    let internal = |error: io::Error| Failure::new(ExitCode::Internal, error);
    // Before the first thread: variables are forgotten, and no thread but one ever sees the signals.
    let passed = passed_sockets().map_err(not_passed)?;
    let readiness = Readiness::from_environment().map_err(internal)?;
    let held = signals::hold().map_err(internal)?;
    let source = config::find(cli.config.as_deref());
    let Config { service: settings, pools } = config::load(source.as_deref()).map_err(config::failure)?;
    let log = Log::start(&LogPlan {
        file: cli.log.as_deref().or(settings.log.as_deref()).or(cli.else_log.as_deref()),
        format: cli.log_format.unwrap_or(settings.log_format),
        level: &settings.log_level,
    })?;
    if let Err(error) = raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let record = Record {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: source.clone(),
        log: log.place(),
    };
    let mut doors = doors(cli, &settings, passed)?;
    for door in &mut doors {
        if let Some(tenure) = &mut door.tenure
            && let Err(error) = tenure.record(&record)
        {
            tracing::warn!(%error, "nobody can read who serves here");
        }
    }
    let (server, tenures, status) = server(&settings, source.as_deref(), pools, doors)
        .map_err(|error| Failure::new(ExitCode::Internal, error))?;
    let readiness = Arc::new(readiness);
    let wishes = Wishes {
        controller: server.controller(),
        readiness: Arc::clone(&readiness),
        log,
        source,
        settings: settings.clone(),
        status: status.clone(),
    };
    held.watch(settings.drain_timeout(), move |wish| wishes.fulfil(wish)).map_err(internal)?;
    tracing::info!("{status}");
    readiness.ready(&status);
    let end = server.run();
    readiness.stopping();
    tracing::info!("the end");
    drop(tenures);
    end.map(|()| ExitCode::Ok).map_err(internal)
}

/// The server with its pools and doors; what keeps others from serving there, to be held until its end; and a sentence.
fn server(
    settings: &Settings,
    source: Option<&Path>,
    pools: Pools,
    doors: Vec<Door>,
) -> Result<(Server, Vec<Tenure>, String), Box<dyn std::error::Error + Send + Sync>> {
    let stock_worker = sibling("pool-worker");
    if let Err(error) = &stock_worker {
        tracing::warn!(%error, "there are no native functions");
    }
    let mut server = Server::new(Setup {
        keeper: executable(),
        stock_worker: stock_worker.ok(),
        run_id: run_id(now()),
        may_open: settings.may_open,
        shm_limit: settings.shm_limit(),
        max_clients: settings.max_clients,
        drain_timeout: Some(settings.drain_timeout()),
        reload: Some(reload_hook(source, settings)),
    })?;
    let names: Vec<String> = pools.iter().map(|(name, _)| name.clone()).collect();
    for (name, spec) in pools {
        server.open_named(name.clone(), spec).map_err(|source| PoolError { name, source })?;
    }
    let allowed = Allowed { users: settings.allow_users.iter().map(|user| user.0).collect() };
    let mut tenures = Vec::new();
    let mut places = Vec::new();
    for door in doors {
        places
            .push(door.path.map_or("a socket without a path".to_owned(), |path| path.display().to_string()));
        server.listen(door.listener, allowed.clone())?;
        tenures.extend(door.tenure);
    }
    let pools = if names.is_empty() { "no pools".to_owned() } else { format!("pools {}", names.join(", ")) };
    Ok((server, tenures, format!("serves {pools} at {}", places.join(", "))))
}

/// Where clients connect: the sockets that were passed, else one of our own.
fn doors(cli: &Cli, settings: &Settings, passed: Vec<Passed>) -> Result<Vec<Door>, Failure> {
    if passed.is_empty() {
        let path = match cli.socket.as_ref().or(settings.socket.as_ref()) {
            Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            None => usual_socket().map_err(no_directory)?,
        };
        let mut tenure = Tenure::begin(&path).map_err(not_served)?;
        let listener = tenure.listen().map_err(not_served)?;
        if !settings.allow_users.is_empty() {
            // Who may connect is then decided by who they are, when they do.
            open_to_others(&path);
        }
        return Ok(vec![Door { listener, tenure: Some(tenure), path: Some(path) }]);
    }
    passed.into_iter().map(passed_door).collect()
}

fn passed_door(passed: Passed) -> Result<Door, Failure> {
    let address = passed.listener.local_addr().ok();
    let path = address.and_then(|address| address.as_pathname().map(Path::to_path_buf));
    let tenure = match path.as_deref().map(Tenure::begin) {
        None => None,
        Some(Ok(tenure)) => Some(tenure),
        Some(Err(error @ TenureError::Taken { .. })) => return Err(not_served(error)),
        // Who listens there is systemd's to decide then.
        Some(Err(error)) => {
            tracing::warn!(
                error = chain(&error, ": "),
                name = passed.name,
                "no lock is kept beside the socket"
            );
            None
        }
    };
    Ok(Door { listener: passed.listener, tenure, path })
}

fn open_to_others(path: &Path) {
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(0o666)) {
        tracing::warn!(%error, "users besides this one cannot connect");
    }
}

fn no_directory(error: RuntimeDirectoryError) -> Failure {
    let hint = format!("{}  (or name another place: --socket PATH)", error.hint());
    Failure::new(ExitCode::BadConfig, error).hint(hint)
}

fn not_passed(error: PassedError) -> Failure {
    Failure::new(ExitCode::BadConfig, error)
        .hint("poold takes stream sockets: ListenStream= in its socket unit")
}

fn not_served(error: TenureError) -> Failure {
    let (code, hint) = match &error {
        TenureError::Taken { .. } => (
            ExitCode::Overloaded,
            Some("`poolctl status` shows what it does, `poolctl stop` ends it".to_owned()),
        ),
        TenureError::Live { .. } => {
            (ExitCode::Overloaded, Some("another place for the socket: --socket PATH".to_owned()))
        }
        TenureError::TooLong { .. } => (ExitCode::BadConfig, Some("a shorter one: --socket PATH".to_owned())),
        TenureError::NoSocket { path } => {
            (ExitCode::BadConfig, Some(format!("move it away: mv {0} {0}.old", path.display())))
        }
        TenureError::Foreign { path, .. } => (ExitCode::BadConfig, Some(format!("rm {}", path.display()))),
        TenureError::Lock { path, source } | TenureError::Listen { path, source }
            if source.kind() == io::ErrorKind::NotFound =>
        {
            let directory = path.parent().unwrap_or(path);
            (ExitCode::BadConfig, Some(format!("mkdir -m 700 {}", directory.display())))
        }
        _ => (ExitCode::BadConfig, None),
    };
    let failure = Failure::new(code, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What fulfils wishes while the service runs.
struct Wishes {
    controller: Controller,
    readiness: Arc<Readiness>,
    log: Log,
    source: Option<PathBuf>,
    settings: Settings,
    status: String,
}

impl Wishes {
    fn fulfil(&self, wish: Wish) {
        match wish {
            Wish::Reload => {
                self.readiness.reloading();
                self.log.reopen();
                match reload(self.source.as_deref(), &self.settings) {
                    Ok(pools) => self.controller.send(Control::Reload(pools)),
                    Err(error) => tracing::error!(
                        error = chain(&error, ": "),
                        "the configuration cannot be used; everything stays as it is"
                    ),
                }
                self.readiness.ready(&self.status);
            }
            Wish::Drain => {
                tracing::info!("no new tasks; those that are there are finished");
                self.readiness.stopping();
                self.controller.send(Control::Drain);
            }
            Wish::Terminate => {
                tracing::info!("tasks that run are stopped");
                self.controller.send(Control::Terminate);
            }
        }
    }
}

/// What reads the configuration for a client who asks for that.
fn reload_hook(source: Option<&Path>, settings: &Settings) -> Reload {
    let (source, settings) = (source.map(Path::to_path_buf), settings.clone());
    Reload(Arc::new(move || {
        reload(source.as_deref(), &settings).map_err(|error| {
            let error = chain(&error, ": ");
            tracing::error!(error, "the configuration cannot be used; everything stays as it is");
            error
        })
    }))
}

/// The pools of a configuration that is read again.
fn reload(source: Option<&Path>, settings: &Settings) -> Result<Pools, ConfigError> {
    // Where there was no file there may be one now.
    let found = config::find(source);
    let config = config::load(found.as_deref())?;
    if config.service != *settings {
        tracing::warn!("what has changed under [service] holds from the next start on");
    }
    tracing::info!(pools = config.pools.len(), "the configuration was read again");
    Ok(config.pools)
}
