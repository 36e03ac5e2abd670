//! What a pool runs: tasks of this program or another, or a target in another language.

use std::ffi::{OsStr, OsString};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use poolctl_supervisor::{self as supervisor, Framing, Target};

use super::native::{OwnCall, Pending};
use super::{BuildError, PoolBuilder, this_program};
use crate::kind::{Commands, Lines, Native, Values};
use crate::shared::HomeSeats;
use crate::template::{Passing, Template};

/// How long a line filter may take to answer, unless the user says otherwise.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// What workers are.
#[derive(Debug)]
pub(super) enum Aim {
    /// Programs with tasks.
    Native(Box<NativeAim>),
    /// Interpreters with a function.
    Python { interpreter: OsString, module: OsString, function: String },
    /// Programs that speak the worker protocol.
    Worker { argv: Vec<Vec<u8>>, framing: Framing, function: Option<String> },
    /// Programs that answer each line with one.
    Lines { argv: Vec<Vec<u8>>, ahead: u32, reply_timeout: Duration, end_of_answer: Option<Vec<u8>> },
    /// One process per item.
    Command(Template),
}

/// What is told of native workers.
#[derive(Debug, Default)]
pub(super) struct NativeAim {
    /// `None`: this program.
    pub(super) executable: Option<PathBuf>,
    pub(super) initializer: Option<Pending>,
    pub(super) exit_function: Option<Pending>,
    pub(super) config: supervisor::Native,
}

impl Default for Aim {
    fn default() -> Self {
        Aim::Native(Box::default())
    }
}

impl PoolBuilder<Native> {
    /// Calls a Python function, in warm interpreters (`python3` on PATH, see [`PoolBuilder::interpreter`]).
    ///
    /// - `module`: dotted, found from the working directory or installed; or a path that ends in `.py`.
    /// - `function`: its name in the module, possibly dotted. It gets the item as its one argument.
    pub fn python(self, module: impl AsRef<OsStr>, function: impl Into<String>) -> PoolBuilder<Values> {
        let module = module.as_ref().to_owned();
        self.aimed(Aim::Python { interpreter: "python3".into(), module, function: function.into() })
    }

    /// Starts a program, in any language, that speaks the worker protocol in JSON lines on descriptors 3 and 4.
    pub fn worker<A: Into<OsString>>(self, argv: impl IntoIterator<Item = A>) -> PoolBuilder<Values> {
        self.aimed(Aim::Worker { argv: bytes(argv), framing: Framing::JsonLines, function: None })
    }

    /// The same in binary frames.
    pub fn frame_worker<A: Into<OsString>>(self, argv: impl IntoIterator<Item = A>) -> PoolBuilder<Values> {
        self.aimed(Aim::Worker { argv: bytes(argv), framing: Framing::Frames, function: None })
    }

    /// Starts a program that answers each line with one line, such as `jq --unbuffered .a`.
    pub fn lines<A: Into<OsString>>(self, argv: impl IntoIterator<Item = A>) -> PoolBuilder<Lines> {
        let (argv, reply_timeout) = (bytes(argv), REPLY_TIMEOUT);
        self.aimed(Aim::Lines { argv, ahead: 1, reply_timeout, end_of_answer: None })
    }

    /// Starts one process per item, without a shell: each `{}` in an argument is the item, which is the last argument
    /// if there is none.
    pub fn command<A: Into<OsString>>(self, argv: impl IntoIterator<Item = A>) -> PoolBuilder<Commands> {
        self.aimed(Aim::Command(Template { argv: bytes(argv), passing: Passing::Argument }))
    }

    fn aimed<K>(self, aim: Aim) -> PoolBuilder<K> {
        PoolBuilder { aim, rules: self.rules, kind: PhantomData }
    }
}

impl PoolBuilder<Values> {
    /// Which Python runs the function; a name on PATH or a path.
    pub fn interpreter(mut self, program: impl Into<OsString>) -> Self {
        if let Aim::Python { interpreter, .. } = &mut self.aim {
            *interpreter = program.into();
        }
        self
    }

    /// Which of a worker's functions is called; needed where it announces several.
    pub fn function(mut self, name: impl Into<String>) -> Self {
        match &mut self.aim {
            Aim::Python { function, .. } => *function = name.into(),
            Aim::Worker { function, .. } => *function = Some(name.into()),
            Aim::Native(_) | Aim::Lines { .. } | Aim::Command(_) => {}
        }
        self
    }
}

impl PoolBuilder<Lines> {
    /// How many lines a filter may have unanswered. More than 1 is several times faster for quick filters, and gives
    /// up exact accounting: if the filter dies, these lines are run again one by one, so they may be run twice.
    pub fn ahead(mut self, lines: u32) -> Self {
        if let Aim::Lines { ahead, .. } = &mut self.aim {
            *ahead = lines.max(1);
        }
        self
    }

    /// How long a line may stay unanswered before the filter is taken to be buffering its output; 10 s by default.
    pub fn reply_timeout(mut self, limit: Duration) -> Self {
        if let Aim::Lines { reply_timeout, .. } = &mut self.aim {
            *reply_timeout = limit;
        }
        self
    }

    /// A line that ends each answer, which may then be any number of lines.
    pub fn end_of_answer(mut self, line: impl Into<Vec<u8>>) -> Self {
        if let Aim::Lines { end_of_answer, .. } = &mut self.aim {
            *end_of_answer = Some(line.into());
        }
        self
    }
}

impl PoolBuilder<Commands> {
    /// The item goes to the command's stdin instead of its arguments.
    pub fn stdin(mut self) -> Self {
        if let Aim::Command(template) = &mut self.aim {
            template.passing = Passing::Stdin;
        }
        self
    }
}

impl Aim {
    /// The target as the supervisor takes it.
    pub(super) fn into_target(self) -> Result<Target, BuildError> {
        Ok(match self {
            Aim::Native(native) => Target::Native(native.into_config()?.into()),
            Aim::Python { interpreter, module, function } => Target::Python {
                interpreter: interpreter.into_vec(),
                module: module.into_vec(),
                function,
                starmap: false,
            },
            Aim::Worker { argv, framing, function } => {
                Target::Worker { argv, framing, function, stdio: false }
            }
            Aim::Lines { argv, ahead, reply_timeout, end_of_answer } => {
                Target::Lines { argv, ahead, reply_timeout, eot: end_of_answer }
            }
            Aim::Command(template) => Target::Command(Box::new(template)),
        })
    }
}

impl NativeAim {
    fn into_config(self) -> Result<supervisor::Native, BuildError> {
        let program = match self.executable {
            Some(program) => program,
            None => this_program()?,
        };
        let encode = |call: Option<Pending>| call.map(|call| call.encode(&self.config.parcels)).transpose();
        let (initializer, exit_function) = (encode(self.initializer)?, encode(self.exit_function)?);
        let (initializer, initializer_attachments) = match initializer {
            Some(call) => (Some((call.function, call.arguments)), call.attachments),
            None => (None, Vec::new()),
        };
        Ok(supervisor::Native {
            argv: bytes([program]),
            initializer,
            initializer_attachments,
            exit_function: exit_function.map(OwnCall::alone).transpose()?,
            may_nest: true,
            seats: Some(Arc::new(HomeSeats)),
            ..self.config
        })
    }
}

fn bytes<A: Into<OsString>>(argv: impl IntoIterator<Item = A>) -> Vec<Vec<u8>> {
    argv.into_iter().map(|argument| argument.into().into_vec()).collect()
}
