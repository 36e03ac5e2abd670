//! The loop that serves clients.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::spec::PoolSpec;

/// What a server is told when it starts.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The executable that serves as keeper when it is started with `--keeper`.
    pub keeper: PathBuf,
    /// The stock worker, if it was found.
    pub stock_worker: Option<PathBuf>,
    /// The name of this run; unique among all runs of the machine.
    pub run_id: String,
    /// Whether clients may open pools of their own.
    pub may_open: bool,
    /// Most bytes of objects that clients share.
    pub shm_limit: Option<u64>,
    /// Most clients at once.
    pub max_clients: usize,
}

/// What somebody else asks of a running server.
#[derive(Debug)]
pub enum Control {
    /// These are the named pools from now on; tasks of those that go are finished.
    Reload(Vec<(String, PoolSpec)>),
    /// No new tasks; it ends when those that are there have ended.
    Drain,
    /// It ends; tasks that run are stopped.
    Terminate,
}

/// Asks things of a running server, from any thread.
#[derive(Debug, Clone)]
pub struct Controller {}

impl Controller {
    /// Asks it. What comes after its end is of no effect.
    pub fn send(&self, control: Control) {
        tracing::debug!(?control, "asked");
    }
}

/// Who may connect to a listening server: its own user always, and these.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Their user ids.
    pub users: Vec<u32>,
}

/// Serves clients until there is nothing more to serve.
#[derive(Debug)]
pub struct Server {}

impl Server {
    /// A server without clients and pools.
    ///
    /// # Errors
    /// The kernel gives no descriptors.
    pub fn new(setup: Setup) -> io::Result<Self> {
        tracing::debug!(?setup, "a server starts");
        Ok(Self {})
    }

    /// Opens a pool that clients attach to by its name.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_named(&mut self, name: String, spec: PoolSpec) -> io::Result<()> {
        tracing::debug!(name, ?spec, "opened");
        Ok(())
    }

    /// Serves the client at the other end of these two, which may be one socket; the server ends when it goes, or the process
    /// that started this one.
    pub fn serve_one(&mut self, input: OwnedFd, output: OwnedFd) {
        drop((input, output));
    }

    /// Serves all who connect and may.
    pub fn listen(&mut self, listener: UnixListener, allowed: Allowed) {
        drop((listener, allowed));
    }

    /// What asks things of it while it runs.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller {}
    }

    /// Serves until it has ended.
    ///
    /// # Errors
    /// The kernel lets it wait for nothing.
    pub fn run(self) -> io::Result<()> {
        Ok(())
    }
}
