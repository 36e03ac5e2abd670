//! Pools of tasks: what their workers are, and what they do besides tasks.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use poolctl_supervisor::{Attachment, Parcels};
use poolctl_worker::{Encoder, Task};

use super::target::Aim;
use super::{BuildError, PoolBuilder};
use crate::arguments::pack;
use crate::kind::Native;

/// What one message to a worker holds of arguments, in bytes. Vectors of numbers do not count.
const MAX_ARGUMENT_BYTES: usize = 64 << 10;

/// A call that is made in each worker.
#[derive(Debug)]
pub(super) struct OwnCall {
    pub(super) function: Arc<str>,
    /// Its encoded arguments.
    pub(super) arguments: Vec<u8>,
    /// What goes along with them.
    pub(super) attachments: Vec<Attachment>,
}

/// Arguments that are encoded when it is known where the large ones go.
pub(super) struct Pending(Box<Encode>);

type Encode = dyn FnOnce(&Parcels) -> Result<OwnCall, BuildError> + Send;

impl PoolBuilder<Native> {
    /// The program that the workers are: one that has the tasks and calls [`init`](crate::init()) first thing in its
    /// `main`. By default it is this program.
    pub fn worker_executable(mut self, program: impl Into<PathBuf>) -> Self {
        self.native().executable = Some(program.into());
        self
    }

    /// What each worker runs before its first task. If it fails, so does the start of the worker.
    ///
    /// Large arguments are kept for as long as the pool, for workers to come.
    pub fn initializer<T: Task>(mut self, task: T, args: T::Args) -> Self {
        self.native().initializer = Some(Pending::new(task, args));
        self
    }

    /// What each worker runs before it ends, unless it is killed; see
    /// [`Pool::exit_results`](crate::Pool::exit_results).
    pub fn exit_function<T: Task>(mut self, task: T, args: T::Args) -> Self {
        self.native().exit_function = Some(Pending::new(task, args));
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

impl Pending {
    fn new<T: Task>(_task: T, args: T::Args) -> Self {
        Self(Box::new(move |parcels| {
            let mut encoder = Encoder::new();
            let bad = |source| BuildError::BadArguments { function: T::NAME, source };
            T::encode_args(&args, &mut encoder).map_err(bad)?;
            let no_room = |source| BuildError::NoRoom { function: T::NAME, source };
            let (attachments, _) = pack(&encoder, parcels).map_err(no_room)?;
            let (arguments, _) = encoder.into_parts();
            if arguments.len() > MAX_ARGUMENT_BYTES {
                return Err(BuildError::HeavyArguments { function: T::NAME.to_owned() });
            }
            Ok(OwnCall { function: T::NAME.into(), arguments, attachments })
        }))
    }

    /// The call.
    pub(super) fn encode(self, parcels: &Parcels) -> Result<OwnCall, BuildError> {
        (self.0)(parcels)
    }
}

impl OwnCall {
    /// The call, if nothing goes along with it.
    pub(super) fn alone(self) -> Result<(Arc<str>, Vec<u8>), BuildError> {
        if self.attachments.is_empty() {
            return Ok((self.function, self.arguments));
        }
        Err(BuildError::HeavyArguments { function: self.function.to_string() })
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}
