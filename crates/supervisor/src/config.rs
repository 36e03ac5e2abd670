//! What a supervisor is told when it starts: what to run, and under which rules.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use poolctl_protocol::Encoding;
use poolctl_types::{Item, Slot, WorkerId};

use crate::block::Attachment;
use crate::constant::Constant;
use crate::parcels::Parcels;

/// What a pool runs, and under which rules.
#[derive(Debug)]
pub struct PoolConfig {
    /// The rules of scheduling.
    pub engine: poolctl_engine::Config,
    /// What a worker is.
    pub target: Target,
    /// How finely the sink is told of results.
    pub detail: Detail,
    /// Variables for the workers, added to the environment of this process.
    pub env: Vec<(OsString, OsString)>,
    /// The directory in which workers run; none: this process's own.
    pub cwd: Option<PathBuf>,
    /// What to add to the workers' niceness.
    pub nice: Option<i32>,
    /// Commands asked of the keeper beyond `engine.slots`, begun right when a running one ends.
    pub spawn_ahead: u32,
    /// A warm worker whose resident memory is larger than this after an item is replaced, in bytes.
    pub max_rss: Option<u64>,
    /// The name of this run; unique among all runs of the machine.
    pub run_id: String,
    /// The executable that serves as keeper when it is started with `--keeper`.
    pub keeper: PathBuf,
    /// Where the (nameless) spill file lies.
    pub spill_dir: PathBuf,
    /// An output that grows beyond this goes to the spill file, in bytes.
    pub memory_per_output: usize,
}

/// What a worker is.
pub enum Target {
    /// One process per item.
    Command(Box<dyn CommandTemplate>),
    /// A program that answers each line with one line.
    Lines {
        /// The program and its arguments.
        argv: Vec<Vec<u8>>,
        /// Most lines outstanding per worker; more than 1 gives up exact accounting.
        ahead: u32,
        /// How long a line may stay unanswered before the program is taken to be buffering.
        reply_timeout: Duration,
        /// A line that ends the answer to an item; without it an answer is one line.
        eot: Option<Vec<u8>>,
    },
    /// A program that speaks the worker protocol.
    Worker {
        /// The program and its arguments.
        argv: Vec<Vec<u8>>,
        /// In which form.
        framing: Framing,
        /// Which of its functions; none: its only one.
        function: Option<String>,
        /// Whether it speaks on stdin and stdout, for want of further descriptors.
        stdio: bool,
    },
    /// Functions of a program built with this library, over shared memory.
    Native(Arc<Native>),
    /// A Python function in warm interpreters.
    Python {
        /// The interpreter.
        interpreter: Vec<u8>,
        /// A dotted module, or a path that ends in `.py`.
        module: Vec<u8>,
        /// The function in it, possibly dotted.
        function: String,
        /// Whether an item that is an array is spread over the parameters.
        starmap: bool,
    },
    /// Python callables in warm interpreters; they come as constants, items and results are bytes of any kind.
    Objects {
        /// The interpreter.
        interpreter: Vec<u8>,
        /// What a worker gets before its hello.
        setup: Option<Arc<Constant>>,
    },
}

/// A program built with this library, and what it is to do.
#[derive(Debug, Clone, Default)]
pub struct Native {
    /// The program, which calls `init` first thing in its `main`, and its arguments.
    pub argv: Vec<Vec<u8>>,
    /// How items and results are written.
    pub encoding: Encoding,
    /// The function for blocks that name none.
    pub function: Option<Arc<str>>,
    /// What each worker runs before its first item: a function and its argument.
    pub initializer: Option<(Arc<str>, Vec<u8>)>,
    /// The descriptors that go to each worker with the initializer's argument.
    pub initializer_attachments: Vec<Attachment>,
    /// What each worker that is let go runs before it ends; its results are kept.
    pub exit_function: Option<(Arc<str>, Vec<u8>)>,
    /// The processors of the worker in each slot; slots beyond the last begin with the first again. Empty: all.
    pub affinity: Vec<Vec<usize>>,
    /// What workers print goes where this process's own output goes, instead of being captured.
    pub inherit_output: bool,
    /// The time of each item is measured.
    pub timed: bool,
    /// Items may submit others: the sink is told of them ([`crate::Notice::Nested`]) and answers.
    pub may_nest: bool,
    /// Where large payloads lie.
    pub parcels: Parcels,
    /// Where workers get their seats among those who share objects.
    pub seats: Option<Arc<dyn Seats>>,
}

/// Gives processes seats among those who share objects.
pub trait Seats: fmt::Debug + Send + Sync {
    /// A seat for a worker that is about to start; `None` if all are taken.
    fn take(&self, worker: WorkerId) -> Option<Seat>;
}

/// What a worker is told of its seat, and what gives it back when it is dropped, which is when the worker and its
/// group are dead.
#[derive(Debug)]
pub struct Seat {
    /// For the worker, at most 64 KiB.
    pub told: Vec<u8>,
    /// For the host.
    pub taken: Box<dyn Taken>,
}

/// A seat that is taken until this is dropped.
pub trait Taken: fmt::Debug + Send + Sync {}

/// The form in which a worker speaks its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One JSON object a line.
    JsonLines,
    /// Binary frames on a socket.
    Frames,
    /// Tab-separated, for shells.
    Tsv,
}

/// How finely the sink is told of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Plain successes of warm workers come many at a time ([`crate::Sink::run`]).
    Bulk,
    /// Every item gets its own [`crate::Report`].
    PerItem,
}

/// Makes the command for an item.
pub trait CommandTemplate: Send {
    /// The program, if it is the same for every item: a run whose program is missing then ends before it begins.
    fn program(&self) -> Option<&[u8]> {
        None
    }

    /// The command for `item`, whose bytes are `payload`, when it runs in `slot`.
    ///
    /// # Errors
    /// The item cannot be made into a command.
    fn command(&self, item: Item, payload: &[u8], slot: Slot) -> Result<CommandLine, ArgumentError>;
}

/// One command to run, without a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The program (looked up on PATH) and its arguments.
    pub argv: Vec<Vec<u8>>,
    /// What its stdin holds; none: /dev/null.
    pub stdin: Option<Vec<u8>>,
}

/// Why an item cannot be made into a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// The kernel takes at most 128 KiB per argument.
    #[error("the item is too long for an argument ({len} bytes, at most {most}); use --stdin")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        most: usize,
    },
    /// Arguments end at NUL.
    #[error("the item holds a NUL byte, which no argument can; use --stdin")]
    Nul,
    /// The template names a field that this item does not have.
    #[error("the item has no field `{field}`")]
    NoField {
        /// Its name or number.
        field: String,
    },
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Command(_) => "Command",
            Target::Lines { .. } => "Lines",
            Target::Worker { .. } => "Worker",
            Target::Native(_) => "Native",
            Target::Python { .. } => "Python",
            Target::Objects { .. } => "Objects",
        })
    }
}
