//! Pools of tasks: what their workers are, and what they do besides tasks.

use std::path::PathBuf;
use std::sync::Arc;

use poolctl_supervisor::Parcels;
use poolctl_worker::{Encoder, Task};

use super::target::Aim;
use super::{BuildError, PoolBuilder};
use crate::kind::Native;

/// A call that is made in each worker: the function, and its encoded arguments.
pub(super) type OwnCall = (Arc<str>, Vec<u8>);

impl PoolBuilder<Native> {
    /// The program that the workers are: one that has the tasks and calls [`init`](crate::init()) first thing in its
    /// `main`. By default it is this program.
    pub fn worker_executable(mut self, program: impl Into<PathBuf>) -> Self {
        self.native().executable = Some(program.into());
        self
    }

    /// What each worker runs before its first task. If it fails, so does the start of the worker.
    pub fn initializer<T: Task>(mut self, task: T, args: T::Args) -> Self {
        self.native().initializer = Some(own_call(task, &args));
        self
    }

    /// What each worker runs before it ends, unless it is killed; see
    /// [`Pool::exit_results`](crate::Pool::exit_results).
    pub fn exit_function<T: Task>(mut self, task: T, args: T::Args) -> Self {
        self.native().exit_function = Some(own_call(task, &args));
        self
    }

    /// Which processors the workers run on, worker by worker; those beyond the last begin with the first again. By
    /// default they run on those of this process.
    pub fn affinity(mut self, processors: impl IntoIterator<Item = Vec<usize>>) -> Self {
        self.native().config.affinity = processors.into_iter().collect();
        self
    }

    /// What workers print goes where the output of this process goes, instead of into errors and the log.
    pub fn inherit_output(mut self) -> Self {
        self.native().config.inherit_output = true;
        self
    }

    /// The time of each item is measured, so that [`Pool::insight`](crate::Pool::insight) knows the slowest. It takes
    /// some ten nanoseconds an item.
    pub fn insight(mut self) -> Self {
        self.native().config.timed = true;
        self
    }

    /// How much shared memory large arguments and results may take together, in bytes. No limit by default.
    pub fn shm_limit(mut self, bytes: u64) -> Self {
        self.native().config.parcels = Parcels::new(Some(bytes));
        self
    }

    fn native(&mut self) -> &mut super::target::NativeAim {
        match &mut self.aim {
            Aim::Native(native) => native,
            other => unreachable!("a pool of tasks runs something else: {other:?}"),
        }
    }
}

/// The call, if it can travel: on its own, for there is nothing that could go along.
fn own_call<T: Task>(_task: T, args: &T::Args) -> Result<OwnCall, BuildError> {
    let mut encoder = Encoder::new();
    let bad = |source| BuildError::BadArguments { function: T::NAME, source };
    T::encode_args(args, &mut encoder).map_err(bad)?;
    if encoder.parcel_bytes() > 0 || !encoder.attachments().is_empty() {
        return Err(BuildError::HeavyArguments { function: T::NAME });
    }
    Ok((T::NAME.into(), encoder.into_parts().0))
}
