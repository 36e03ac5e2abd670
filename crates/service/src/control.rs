//! What a server is told from outside: when it starts, and while it runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use poolctl_supervisor::Waker;

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
    /// A drain that takes longer becomes an end.
    pub drain_timeout: Option<Duration>,
    /// Reads the configuration anew, for clients who ask for that.
    pub reload: Option<Reload>,
}

/// Reads the configuration anew.
#[derive(Clone)]
pub struct Reload(pub Arc<ReadPools>);

/// Gives the named pools, or what is wrong with their description.
pub type ReadPools = dyn Fn() -> Result<Vec<(String, PoolSpec)>, String> + Send + Sync;

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
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
pub struct Controller {
    pub(crate) sender: Sender<Control>,
    pub(crate) waker: Waker,
}

impl Controller {
    /// Asks it. What comes after its end is of no effect.
    pub fn send(&self, control: Control) {
        if self.sender.send(control).is_ok() {
            self.waker.wake();
        }
    }
}

/// Who may connect to a listening server: its own user always, and these.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Their user ids.
    pub users: Vec<u32>,
}
