//! What is started for each target: program, arguments, environment and descriptors, and our ends of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use poolctl_engine::Timeout;
use poolctl_protocol::Encoding;
use poolctl_sys::{cpu, memfd, pipe};
use poolctl_types::{Item, Moment, Slot, WorkerId};

use crate::capture::{Capture, Keep};
use crate::channel::Outbox;
use crate::config::{ArgumentError, Detail, Framing, Native, PoolConfig, Target};
use crate::link::{
    Form, FrameLink, LinesLink, Link, Manner, NativeLink, Payloads, Rules, Streams, TextLink, Wants,
    buffering_hint, reading_end,
};
use crate::resolve::{ResolveError, resolve};

/// The worker script for Python functions.
const PYTHON_WORKER: &[u8] =
    concat!(include_str!("../python/link.py"), include_str!("../python/functions.py")).as_bytes();

/// The worker script for pickled callables.
const PYTHON_OBJECTS: &[u8] = concat!(
    include_str!("../python/link.py"),
    include_str!("../python/nesting.py"),
    include_str!("../python/objects.py")
)
.as_bytes();

/// Where a worker that may be a native one says so.
const CONTROL_FD: i32 = 5;

/// Where the worker script lies in a Python worker.
const SCRIPT_FD: i32 = 6;

/// Names the item of a command in its environment.
pub(crate) const ITEM: &str = "POOLCTL_ITEM";

/// Names the slot of a warm worker in its environment.
pub(crate) const SLOT: &str = "POOLCTL_SLOT";

/// Makes processes of one target.
#[derive(Debug)]
pub(crate) struct Launcher {
    target: Target,
    memory_per_output: usize,
    timing: bool,
    /// How native workers are to behave.
    manner: Manner,
    /// What a protocol worker is to do if it turns out to be a native one.
    maybe_native: Option<Arc<Native>>,
    /// The program as it was named last, and its path.
    program: (Vec<u8>, PathBuf),
    script: Option<OwnedFd>,
}

/// A warm worker to be started, and our ends of what it gets.
#[derive(Debug)]
pub(crate) struct Warm {
    pub(crate) launch: Launch,
    pub(crate) link: Link,
    /// Where it says hello if it is a native worker, for a target that may be one.
    pub(crate) control: Option<NativeLink>,
    pub(crate) streams: Streams,
}

/// A process to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) path: PathBuf,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) fds: Vec<(OwnedFd, i32)>,
}

/// Why nothing can be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Launcher {
    /// A launcher for the target of `config`; its program is looked up now, where it is known.
    pub(crate) fn new(config: &PoolConfig, target: Target) -> Result<Self, LaunchError> {
        let named = match &target {
            Target::Command(template) => template.program().map(<[u8]>::to_vec),
            Target::Lines { argv, .. } | Target::Worker { argv, .. } => {
                Some(argv.first().cloned().unwrap_or_default())
            }
            Target::Native(native) => Some(native.argv.first().cloned().unwrap_or_default()),
            Target::Python { interpreter, .. } | Target::Objects { interpreter, .. } => {
                Some(interpreter.clone())
            }
        };
        let program = match named {
            Some(name) => {
                let path = resolve(&name)?;
                (name, path)
            }
            None => Default::default(),
        };
        let script = match &target {
            Target::Python { .. } => Some(memfd::with_contents("poolctl-worker.py", PYTHON_WORKER)?),
            Target::Objects { .. } => Some(memfd::with_contents("poolctl-worker.py", PYTHON_OBJECTS)?),
            _ => None,
        };
        let timing = config.detail == Detail::PerItem;
        let timeout = config.engine.timeout != Timeout::Never;
        let manner = Manner {
            timed: timing || timeout || matches!(&target, Target::Native(native) if native.timed),
            may_spin: (config.engine.slots as usize) < cpu::available(),
        };
        let maybe_native = match &target {
            Target::Worker { function, framing: Framing::JsonLines, stdio: false, .. } => {
                Some(Arc::new(Native {
                    encoding: Encoding::Json,
                    function: function.as_deref().map(Arc::from),
                    ..Native::default()
                }))
            }
            _ => None,
        };
        let memory_per_output = config.memory_per_output;
        Ok(Self { target, memory_per_output, timing, manner, maybe_native, program, script })
    }

    /// The program that is started, for messages.
    pub(crate) fn program(&self) -> String {
        self.program.1.display().to_string()
    }

    /// The process for one item.
    pub(crate) fn command(
        &mut self,
        item: Item,
        payload: &[u8],
        slot: Slot,
    ) -> Result<(Launch, Streams), LaunchError> {
        let Target::Command(template) = &self.target else {
            unreachable!("only commands are started per item");
        };
        let line = template.command(item, payload, slot)?;
        let name = line.argv.first().map_or(&[][..], Vec::as_slice);
        if self.program.0 != name || name.is_empty() {
            self.program = (name.to_vec(), resolve(name)?);
        }
        let (stdout, their_stdout) = Capture::make(Keep::All(self.memory_per_output))?;
        let (stderr, their_stderr) = Capture::make(Keep::All(self.memory_per_output))?;
        let mut fds = vec![(their_stdout, 1), (their_stderr, 2)];
        if let Some(stdin) = &line.stdin {
            fds.push((memfd::with_contents("poolctl-stdin", stdin)?, 0));
        }
        let launch = Launch {
            path: self.program.1.clone(),
            argv: line.argv,
            env: vec![(ITEM, item.to_string())],
            fds,
        };
        Ok((launch, Streams { stdout: Some(stdout), stderr: Some(stderr) }))
    }

    /// Takes the short way from now on: the interpreter itself, where the program only finds it.
    pub(crate) fn learn_interpreter(&mut self, path: &str) {
        if let Target::Python { interpreter, .. } | Target::Objects { interpreter, .. } = &mut self.target
            && interpreter != path.as_bytes()
            && let Ok(found) = resolve(path.as_bytes())
        {
            *interpreter = path.as_bytes().to_vec();
            self.program = (interpreter.clone(), found);
        }
    }

    /// The process of a warm worker.
    pub(crate) fn warm(&self, worker: WorkerId, now: Moment) -> io::Result<Warm> {
        let slot = worker.slot;
        match &self.target {
            Target::Command(_) => unreachable!("commands are started per item"),
            Target::Native(native) => self.native(native, worker, now),
            Target::Lines { argv, ahead, reply_timeout, eot } => {
                let rules = Rules {
                    ahead: *ahead,
                    reply_timeout: *reply_timeout,
                    eot: eot.clone(),
                    hint: buffering_hint(&self.program.0),
                };
                let (their_stdin, outbox, reply, their_stdout) = text_channel()?;
                let (stderr, their_stderr) = Capture::make(Keep::Tail)?;
                let fds = vec![(their_stdin, 0), (their_stdout, 1), (their_stderr, 2)];
                let launch = self.launch(argv.clone(), Vec::new(), fds);
                let link = Link::Lines(LinesLink::new(outbox, reply, rules, now));
                let streams = Streams { stdout: None, stderr: Some(stderr) };
                Ok(Warm { launch, link, control: None, streams })
            }
            Target::Worker { argv, framing: Framing::Frames, function, .. } => {
                let wants = Wants { function: function.clone(), form: Payloads::Json };
                self.framed(argv.clone(), wants, worker_env(slot, "frame", (3, 4)), now)
            }
            Target::Worker { argv, framing, function, stdio } => {
                let form = Form { framing: *framing, stdio: *stdio, function: function.clone() };
                self.text(argv.clone(), form, worker, now)
            }
            Target::Python { interpreter, module, function, starmap } => {
                let script = format!("/proc/self/fd/{SCRIPT_FD}").into_bytes();
                let argv = vec![interpreter.clone(), script, module.clone(), function.clone().into_bytes()];
                let mut env = worker_env(slot, "frame", (3, 4));
                env.push(("POOLCTL_INTERPRETER", self.program.1.display().to_string()));
                if *starmap {
                    env.push(("POOLCTL_STARMAP", "1".to_owned()));
                }
                let wants = Wants { function: None, form: Payloads::Json };
                self.with_script(self.framed(argv, wants, env, now)?)
            }
            Target::Objects { interpreter, setup } => {
                let script = format!("/proc/self/fd/{SCRIPT_FD}").into_bytes();
                let argv = vec![interpreter.clone(), script, b"--objects".to_vec()];
                let mut env = worker_env(slot, "frame", (3, 4));
                env.push(("POOLCTL_INTERPRETER", self.program.1.display().to_string()));
                env.extend(setup.is_some().then(|| ("POOLCTL_SETUP", "1".to_owned())));
                let wants = Wants { function: None, form: Payloads::Raw };
                let mut warm = self.framed(argv, wants, env, now)?;
                if let (Link::Frames(link), Some(setup)) = (&mut warm.link, setup) {
                    link.set_up(setup);
                }
                self.with_script(warm)
            }
        }
    }

    fn text(&self, argv: Vec<Vec<u8>>, form: Form, worker: WorkerId, now: Moment) -> io::Result<Warm> {
        let slot = worker.slot;
        let (their_in, outbox, reply, their_out) = text_channel()?;
        let (stderr, their_stderr) = Capture::make(Keep::Tail)?;
        let name = if form.framing == Framing::Tsv { "tsv" } else { "jsonl" };
        let mut control = None;
        let (env, stdout, fds) = if form.stdio {
            let fds = vec![(their_in, 0), (their_out, 1), (their_stderr, 2)];
            (worker_env(slot, name, (0, 1)), None, fds)
        } else {
            let (stdout, their_stdout) = Capture::make(Keep::Tail)?;
            let mut fds = vec![(their_stdout, 1), (their_stderr, 2), (their_in, 3), (their_out, 4)];
            let mut env = worker_env(slot, name, (3, 4));
            if let Some(native) = &self.maybe_native {
                let (ours, theirs) = pipe::stream_pair()?;
                control = Some(NativeLink::new(ours, worker, Arc::clone(native), self.manner, now)?);
                fds.push((theirs, CONTROL_FD));
                env.extend(self.timing.then(|| ("POOLCTL_TIMING", "1".to_owned())));
                env.push(("POOLCTL_CONTROL_FD", CONTROL_FD.to_string()));
            }
            (env, Some(stdout), fds)
        };
        let link = Link::Text(TextLink::new(outbox, reply, form, now));
        let streams = Streams { stdout, stderr: Some(stderr) };
        Ok(Warm { launch: self.launch(argv, env, fds), link, control, streams })
    }

    fn native(&self, native: &Arc<Native>, worker: WorkerId, now: Moment) -> io::Result<Warm> {
        let slot = worker.slot;
        let (ours, theirs) = pipe::stream_pair()?;
        let link = NativeLink::with_segments(ours, worker, Arc::clone(native), self.manner, now)?;
        let mut env = worker_env(slot, "frame", (3, 4));
        env.extend(self.timing.then(|| ("POOLCTL_TIMING", "1".to_owned())));
        if std::env::var_os("RUST_BACKTRACE").is_none() {
            env.push(("RUST_BACKTRACE", "1".to_owned()));
        }
        let sets = &native.affinity;
        if !sets.is_empty() {
            let set: Vec<_> = sets[slot.index() % sets.len()].iter().map(usize::to_string).collect();
            env.push(("POOLCTL_AFFINITY", set.join(",")));
        }
        let reply = theirs.try_clone()?;
        let mut fds = vec![(theirs, 3), (reply, 4)];
        let mut streams = Streams::default();
        if native.inherit_output {
            fds.push((io::stdout().as_fd().try_clone_to_owned()?, 1));
            fds.push((io::stderr().as_fd().try_clone_to_owned()?, 2));
        } else {
            let (stdout, their_stdout) = Capture::make(Keep::Tail)?;
            let (stderr, their_stderr) = Capture::make(Keep::Tail)?;
            fds.extend([(their_stdout, 1), (their_stderr, 2)]);
            streams = Streams { stdout: Some(stdout), stderr: Some(stderr) };
        }
        let launch = self.launch(native.argv.clone(), env, fds);
        Ok(Warm { launch, link: Link::Native(Box::new(link)), control: None, streams })
    }

    /// Hands the worker script along.
    fn with_script(&self, mut warm: Warm) -> io::Result<Warm> {
        let script = self.script.as_ref().expect("a launcher of Python workers has the script");
        warm.launch.fds.push((script.try_clone()?, SCRIPT_FD));
        Ok(warm)
    }

    fn framed(
        &self,
        argv: Vec<Vec<u8>>,
        wants: Wants,
        mut env: Vec<(&'static str, String)>,
        now: Moment,
    ) -> io::Result<Warm> {
        if self.timing {
            env.push(("POOLCTL_TIMING", "1".to_owned()));
        }
        let (ours, theirs) = pipe::stream_pair()?;
        let (link, claim) = FrameLink::new(ours, wants, now)?;
        let (stdout, their_stdout) = Capture::make(Keep::Tail)?;
        let (stderr, their_stderr) = Capture::make(Keep::Tail)?;
        let reply = theirs.try_clone()?;
        let fds = vec![(their_stdout, 1), (their_stderr, 2), (theirs, 3), (reply, 4), (claim, 5)];
        let streams = Streams { stdout: Some(stdout), stderr: Some(stderr) };
        let launch = self.launch(argv, env, fds);
        Ok(Warm { launch, link: Link::Frames(link), control: None, streams })
    }

    fn launch(
        &self,
        argv: Vec<Vec<u8>>,
        env: Vec<(&'static str, String)>,
        fds: Vec<(OwnedFd, i32)>,
    ) -> Launch {
        Launch { path: self.program.1.clone(), argv, env, fds }
    }
}

/// The two pipes of a worker that speaks lines: its reading end, our outbox, our reading end, its writing end.
fn text_channel() -> io::Result<(OwnedFd, Outbox, OwnedFd, OwnedFd)> {
    let (their_in, our_out) = pipe::pair()?;
    let (our_in, their_out) = pipe::pair()?;
    Ok((their_in, Outbox::over_pipe(our_out)?, reading_end(our_in)?, their_out))
}

fn worker_env(slot: Slot, framing: &str, (input, output): (i32, i32)) -> Vec<(&'static str, String)> {
    vec![
        ("POOLCTL_PROTOCOL", "1".to_owned()),
        ("POOLCTL_FRAMING", framing.to_owned()),
        ("POOLCTL_IN_FD", input.to_string()),
        ("POOLCTL_OUT_FD", output.to_string()),
        (SLOT, slot.to_string()),
    ]
}
