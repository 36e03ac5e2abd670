//! What the supervisor tells its user: results, outcomes, and what else is worth knowing.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use poolctl_engine::Outcome;
pub use poolctl_protocol::Stream;
use poolctl_protocol::client::JsonError;
use poolctl_protocol::{
    ByeError, ClaimError, Excerpt, FrameError, Hello, HelloError, Kind, Level, MetaError, PROTOCOL_VERSION,
    RecordError, RemoteError, RemoteErrorError, ReplyError, ValueError,
};
use poolctl_shm::Lie;
use poolctl_types::{Exit, Item, ItemRange, Moment, WorkerId};

use crate::config::ArgumentError;
use crate::output::Output;
use crate::resolve::ResolveError;
use crate::results::Results;

/// Takes what a run yields. Called in the loop: it must not block.
pub trait Sink {
    /// Items that stand next to each other are ok, at the first attempt, and printed nothing. `results` are their
    /// results, one after another. Only with [`crate::Detail::Bulk`].
    fn run(&mut self, items: ItemRange, results: Results<'_>);

    /// One item has its outcome. Each item of a run is told exactly once, by this, [`Sink::run`] or
    /// [`Sink::never_ran`].
    fn settled(&mut self, report: Report);

    /// Items that stand next to each other are cancelled before they ever ran. Only with [`crate::Detail::Bulk`].
    /// Unless it is made cheaper, each is settled on its own, without its payload.
    fn never_ran(&mut self, items: ItemRange) {
        for item in items.iter() {
            self.settled(Report {
                item,
                payload: Vec::new(),
                outcome: Outcome::Cancelled,
                attempts: 0,
                attempt: Attempt::default(),
            });
        }
    }

    /// Something else happened.
    fn notice(&mut self, notice: Notice);
}

/// How one item ended.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub item: Item,
    /// Its bytes as they came in, for messages, `--tag` and the key in a log.
    pub payload: Vec<u8>,
    /// How.
    pub outcome: Outcome,
    /// How many attempts it took; 0 if it never ran.
    pub attempts: u32,
    /// What is known of the last attempt.
    pub attempt: Attempt,
}

/// What is known of one attempt at an item.
#[derive(Debug, Default)]
pub struct Attempt {
    /// Who ran it.
    pub worker: Option<WorkerId>,
    /// That worker's process.
    pub pid: Option<u32>,
    /// How the process ended, if it did.
    pub exit: Option<Exit>,
    /// The result: JSON text without LF, the line without LF, or the command's stdout as it was.
    pub out: Output,
    /// What a warm worker printed on stdout meanwhile.
    pub stdout: Output,
    /// What was written on stderr meanwhile.
    pub stderr: Output,
    /// What went wrong, where more is known than `exit`.
    pub error: Option<TaskError>,
    /// When it began.
    pub started: Option<Moment>,
    /// How long it ran.
    pub wall: Option<Duration>,
    /// The processor time the process used (one process per item only).
    pub cpu: Option<Duration>,
    /// The most memory the process had (one process per item only), in KiB.
    pub max_rss_kib: Option<u64>,
    /// Whether the kernel killed it because memory ran out.
    pub out_of_memory: bool,
}

/// What went wrong with an attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function raised, or the worker answered with an error.
    #[error("{}", Remote(.0))]
    Remote(RemoteError),
    /// The worker sent something that is no message.
    #[error("the worker broke the protocol: {0}")]
    BadReply(#[from] BadReply),
    /// A line filter did not answer.
    #[error("no line came back within {}; is the program buffering its output? {hint}", Seconds(*after))]
    NoReply {
        /// How long was waited.
        after: Duration,
        /// What to do about it.
        hint: &'static str,
    },
    /// A line filter answered with more than was asked for.
    #[error(
        "the program wrote more than one line for each it was given: {shown}; use --eot for answers of several lines"
    )]
    ExtraOutput {
        /// The beginning of what was too much.
        shown: Excerpt,
    },
    /// A line filter wrote before it was given a line.
    #[error("the program wrote something before it was given a line: {shown}; a banner must go to stderr")]
    Uninvited {
        /// The beginning of what it wrote.
        shown: Excerpt,
    },
    /// The process could not be made.
    #[error("cannot start the command: {reason}{}", Limit(reason))]
    Spawn {
        /// What the kernel said.
        reason: std::io::Error,
    },
    /// The program of this item cannot be run.
    #[error(transparent)]
    Program(#[from] ResolveError),
    /// The item cannot be made into a command.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The worker did not say hello in time.
    #[error("no hello came within {}; a worker that starts slowly needs a longer start timeout (--start-timeout)", Seconds(*after))]
    NoHello {
        /// How long was waited.
        after: Duration,
    },
    /// The worker says itself that it cannot start.
    #[error("{}", Remote(error))]
    Refused {
        /// 126: it cannot start; 127: what is asked for is not there.
        code: u8,
        /// What it says.
        error: RemoteError,
    },
    /// The output has no room.
    #[error("cannot keep the output in {}: {reason}; let TMPDIR name a place with more room", directory.display())]
    Spill {
        /// Where the spill file lies.
        directory: PathBuf,
        /// What the file system said.
        reason: std::io::Error,
    },
}

/// What a worker sent that is no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadReply {
    /// A line that cannot be understood.
    #[error("{0}; {hint}", hint = .0.hint())]
    Line(ReplyError),
    /// A line longer than any message may be.
    #[error("a line of more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Bytes that are no frame.
    #[error("{0} (print to stdout, not to fd 4)")]
    Frame(#[from] FrameError),
    /// A frame whose meta says nothing.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A frame whose meta does not say what it must.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A result that is no JSON.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// An error that says nothing.
    #[error(transparent)]
    Error(#[from] RemoteErrorError),
    /// A bye that says nothing.
    #[error(transparent)]
    Bye(#[from] ByeError),
    /// A frame that only the supervisor may send.
    #[error("an unexpected frame of kind {kind:?}")]
    Unexpected {
        /// Its kind.
        kind: Kind,
    },
    /// An answer to an item that this worker does not hold.
    #[error("an answer for item {item}, which it was not given or has answered before")]
    NotHeld {
        /// The item.
        item: u64,
    },
    /// A worker that waits gives back more than it can have.
    #[error("it gives back {given} items and holds {held}, one of which it works on")]
    GivesBack {
        /// How many it gives back.
        given: u32,
        /// How many it holds.
        held: u64,
    },
    /// Something else came where the hello belongs.
    #[error("its first message is no hello")]
    NoHello,
    /// A hello that cannot be used.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// Another version of the protocol.
    #[error("it speaks version {version} of the protocol, this is version {PROTOCOL_VERSION}")]
    Version {
        /// The worker's.
        version: u64,
    },
    /// It closed an end of the link and lives on.
    #[error("it closed its end of the link and lives on")]
    Closed,
    /// It said bye and never read what was on its way to it.
    #[error("it said bye and does not end")]
    Lingers,
    /// A frame says that its payload is in a memfd, and none came with it.
    #[error("a frame without the memfd it announces")]
    NoMemfd,
    /// A file came that is no memfd sealed against writing, shrinking and growing.
    #[error("a file came that others can still change; seal memfds against writing, shrinking and growing")]
    Unsealed,
    /// A descriptor came with no frame that announces one.
    #[error("a descriptor that no frame announces")]
    StrayDescriptor,
    /// The claim in shared memory is not what a worker may write.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A record that is none, in a native worker's ring.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A number in a native worker's shared memory that cannot be.
    #[error("its shared memory is damaged: {0}")]
    Shared(#[from] Lie),
    /// A native worker's record that says nothing, or nothing that is due.
    #[error("a record that says nothing")]
    Senseless,
    /// A native worker's answer to nothing.
    #[error("an answer to an item that it was not given or has answered before")]
    Uncalled,
    /// Bytes in the ring that end in the middle of a frame.
    #[error("its result ring ends in the middle of a frame")]
    TornRing,
    /// The link cannot be read or written.
    #[error("its link failed: {0}")]
    Link(std::io::Error),
}

/// What a worker's exit function gave.
#[derive(Debug, Clone)]
pub struct ExitResult {
    /// Whose.
    pub worker: WorkerId,
    /// Its result, as the pool writes results, or its error.
    pub result: Result<Vec<u8>, RemoteError>,
}

/// Something worth knowing that is no outcome.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// An attempt did not go well; another follows.
    Retry {
        /// Which item.
        item: Item,
        /// The number of the attempt to come, from 2 on.
        next: u32,
        /// How the last one ended.
        why: Outcome,
        /// What is known of it.
        attempt: Box<Attempt>,
    },
    /// A worker said hello, which may offer another function than the one that is asked for.
    Greeted {
        /// Which.
        worker: WorkerId,
        /// What it said.
        hello: Box<Hello>,
    },
    /// A warm worker died, whatever it held.
    WorkerDied {
        /// Which.
        worker: WorkerId,
        /// Its process.
        pid: Option<u32>,
        /// How.
        exit: Exit,
    },
    /// Output of a worker that belongs to no item in particular.
    WorkerOutput {
        /// Whose.
        worker: WorkerId,
        /// Where it was written.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// A log line of a worker.
    Log {
        /// Whose.
        worker: WorkerId,
        /// While it ran this item.
        item: Option<Item>,
        /// How grave it is.
        level: Level,
        /// What it says.
        text: String,
    },
    /// How far an item is.
    Progress {
        /// Which item.
        item: Item,
        /// From 0 to 1.
        fraction: f64,
        /// In words.
        note: Option<String>,
    },
    /// The item in a native worker's hands submits another one. Only where the target lets it.
    Nested {
        /// The worker.
        worker: WorkerId,
        /// The new item's number among those that its worker submits.
        id: u64,
        /// What runs on it.
        function: Arc<str>,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// The item in a native worker's hands does not want the outcome of one that it submitted.
    NestedForget {
        /// The worker.
        worker: WorkerId,
        /// The number of the item.
        id: u64,
    },
    /// The item in a native worker's hands waits for one that it submitted.
    NestedWait {
        /// The worker.
        worker: WorkerId,
        /// The number of the item it waits for.
        id: u64,
    },
    /// `--halt` ends the run.
    Halted,
    /// Workers cannot be started: the run is over.
    GaveUp(GaveUp),
    /// The keeper died and is started anew.
    KeeperLost,
}

/// What became of an item that another item submitted.
#[derive(Debug)]
pub enum NestedOutcome {
    /// It is ok; its result.
    Ok(Output),
    /// It is not.
    Err(RemoteError),
    /// It was not begun: the worker that submitted it runs it itself.
    Yours,
}

/// Why a run was given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GaveUp {
    /// The executable cannot be run.
    #[error("the worker cannot start: {program}: {reason}")]
    CannotStart {
        /// Its path.
        program: String,
        /// What the kernel said.
        reason: std::io::Error,
    },
    /// The worker says itself that it cannot start, as when the function is not found or its module raises.
    #[error("the worker cannot start: {}", Remote(.error))]
    Refused {
        /// 126 or 127.
        code: u8,
        /// What it says.
        error: RemoteError,
    },
    /// Worker after worker ended without a hello.
    #[error("{}", Starts { starts: *starts, last })]
    TooManyStarts {
        /// How many.
        starts: u32,
        /// What is known of the last one.
        last: Box<LastStart>,
    },
    /// The keeper cannot be started, or dies again and again.
    #[error("the keeper of the worker processes cannot be kept alive: {reason}")]
    Keeper {
        /// What the kernel said.
        reason: std::io::Error,
    },
}

/// What is known of a start that failed.
#[derive(Debug, Default)]
pub struct LastStart {
    /// How the process ended.
    pub exit: Option<Exit>,
    /// What was wrong with its hello, or with making the process.
    pub error: Option<TaskError>,
    /// The last bytes it wrote on stderr.
    pub stderr: Vec<u8>,
    /// The program, where it was to be a native worker.
    pub native: Option<String>,
}

/// An error with its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A remote error in one line: `ValueError: bad value`.
struct Remote<'a>(&'a RemoteError);

impl fmt::Display for Remote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.type_name.is_empty(), self.0.msg.is_empty()) {
            (true, _) => f.write_str(&self.0.msg),
            (false, true) => f.write_str(&self.0.type_name),
            (false, false) => write!(f, "{}: {}", self.0.type_name, self.0.msg),
        }
    }
}

/// A span in seconds, without needless digits.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

/// Which limit of the user's a lack of something comes from, and what to do about it.
struct Limit<'a>(&'a std::io::Error);

impl fmt::Display for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.raw_os_error() {
            Some(EAGAIN) => " (the limit of processes: raise `ulimit -u`, or use a smaller -j)",
            Some(EMFILE) => " (the limit of open files: raise `ulimit -n`, or use a smaller -j)",
            Some(ENFILE | ENOMEM) => " (the machine is at its limit; use a smaller -j)",
            _ => "",
        })
    }
}

/// The same on x86-64 and aarch64 (errno(3)).
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Starts that failed in a row, and what the last one looked like.
struct Starts<'a> {
    starts: u32,
    last: &'a LastStart,
}

impl fmt::Display for Starts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error @ TaskError::Spawn { .. }) = &self.last.error {
            return write!(f, "no process can be made, after {} tries: {error}", self.starts);
        }
        let separator = if self.starts == 1 {
            f.write_str("the worker ended before it was ready")?;
            ": "
        } else {
            write!(f, "{} workers in a row ended before they were ready", self.starts)?;
            "; the last one: "
        };
        match (&self.last.error, self.last.exit) {
            (Some(error), _) => write!(f, "{separator}{error}")?,
            (None, Some(exit)) => write!(f, "{separator}{exit}")?,
            (None, None) => {}
        }
        match &self.last.native {
            Some(program) if self.last.error.is_none() => {
                write!(f, " ({program}; a worker calls `poolctl::init()` first thing in its `main`)")
            }
            Some(_) | None => Ok(()),
        }
    }
}
