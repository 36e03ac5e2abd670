//! A pool, and what can be asked of it whatever it runs.

mod items;
mod native;

pub use self::native::{ExitResult, MapResult};

use std::marker::PhantomData;

use poolctl_supervisor::host::{Handle, Host};
use poolctl_supervisor::{Counts, Insight, Parcels, Stop};

use crate::block::MAX_ITEM_BYTES;
use crate::builder::PoolBuilder;
use crate::kind::{Kind, Native};
use crate::task_error::TaskError;

/// A pool of worker processes, usable from many threads at once. Dropping it terminates it, and waits until no process
/// of it is left.
///
/// `K` says what it runs: [`Native`] tasks, functions in other languages ([`Values`](crate::Values)), line filters
/// ([`Lines`](crate::Lines)) or commands ([`Commands`](crate::Commands)).
#[derive(Debug)]
pub struct Pool<K: Kind = Native> {
    host: Host,
    /// Where large arguments and results lie.
    parcels: Parcels,
    window: u64,
    kind: PhantomData<fn() -> K>,
}

impl Pool {
    /// How long an item may be as it travels, in bytes. Vectors of numbers do not count: they travel on their own.
    pub const MAX_ITEM_BYTES: usize = MAX_ITEM_BYTES;

    /// Describes a pool. Its workers are this same program, unless [`PoolBuilder::worker_executable`] names another,
    /// or [`PoolBuilder::python`], [`PoolBuilder::worker`], [`PoolBuilder::lines`] or [`PoolBuilder::command`] another
    /// kind of target.
    pub fn builder() -> PoolBuilder<Native> {
        PoolBuilder::new()
    }
}

impl<K: Kind> Pool<K> {
    pub(crate) fn of(host: Host, parcels: Parcels, window: u64) -> Self {
        Self { host, parcels, window, kind: PhantomData }
    }

    /// Takes no item any more; those handed in go on. Idle workers are let go.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn close(&self) -> Result<(), TaskError> {
        Ok(self.handle().close()?)
    }

    /// Closes the pool and waits until all items have ended and no process of it is left.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn join(&self) -> Result<(), TaskError> {
        self.close()?;
        Ok(self.handle().wait_for_end()?)
    }

    /// Takes no item any more and stops those that run, politely first (SIGTERM, then after the grace SIGKILL).
    /// Unfinished items end as [`TaskError::Cancelled`]. Does not wait for that.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn terminate(&self) -> Result<(), TaskError> {
        Ok(self.handle().stop(Stop::Term)?)
    }

    /// Has so many workers at most from now on. Those too many finish what they hold and go.
    ///
    /// # Errors
    /// [`TaskError::NoWorkers`], [`TaskError::ForkedHost`].
    pub fn resize(&self, workers: u32) -> Result<(), TaskError> {
        if workers == 0 {
            return Err(TaskError::NoWorkers);
        }
        Ok(self.handle().resize(workers)?)
    }

    /// The processes of the workers that live.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn worker_pids(&self) -> Result<Vec<u32>, TaskError> {
        Ok(self.handle().pids()?.into_iter().map(|(_, pid)| pid).collect())
    }

    /// How many items stand where.
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn counts(&self) -> Result<Counts, TaskError> {
        Ok(self.handle().counts()?)
    }

    /// What the workers spent their time on so far: start-up, waiting, work; and which items were the slowest, where
    /// each is timed ([`PoolBuilder::insight`]).
    ///
    /// # Errors
    /// [`TaskError::ForkedHost`].
    pub fn insight(&self) -> Result<Insight, TaskError> {
        Ok(self.handle().insight()?)
    }

    fn handle(&self) -> &Handle {
        self.host.handle()
    }
}
