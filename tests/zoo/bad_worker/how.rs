//! The ways to misbehave.

use std::fs;
use std::io::Write;
use std::process::{Command, ExitCode};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, raise};

use crate::link::{Link, LinkError, Task};

/// One way to misbehave.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// `exit:N`: ends with this code.
    Exit(u8),
    /// `kill`, `segv`, `term`, `stop`: raises the signal.
    Raise(Signal),
    /// `abort`
    Abort,
    /// `panic`
    Panic,
    /// `overflow`: uses up its stack.
    Overflow,
    /// `hang`: never answers, blocks until it is killed.
    Hang,
    /// `deaf`: as `hang`, with every signal blocked.
    Deaf,
    /// `wait:MS`: goes on after so many milliseconds.
    Wait(u64),
    /// `partial:N`: writes N bytes of its reply, and is killed.
    Partial(usize),
    /// `say:FILE`: writes the contents of FILE in place of its reply; `IDIDIDID` replaced by the id as a little-endian
    /// number, `ID` by the id as text.
    Say(String),
    /// `say-end:FILE`: as `say`, and ends with 0.
    SayEnd(String),
    /// `twice`: replies twice.
    Twice,
    /// `other-id:N`: replies for an id N further on, then for its own.
    OtherId(u64),
    /// `flood-out:N`, `flood-err:N`: writes N MiB there, then goes on.
    Flood(Stream, u64),
    /// `close-reply`: closes descriptor 4 and hangs.
    CloseReply,
    /// `grandchild`: leaves a child that holds every descriptor, and is killed.
    Grandchild,
    /// `double-fork`: leaves a grandchild in a session of its own, and is killed.
    DoubleFork,
    /// `sibling:DIR`: kills another worker that has left its pid in DIR.
    Sibling(String),
    /// Nothing.
    Nothing,
}

/// Where a flood goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// What the worker does next.
pub(crate) enum After {
    /// It ends.
    End(ExitCode),
    /// The task has been answered, as badly as it was to be.
    Answered,
    /// It goes on as if nothing had been.
    GoOn,
}

impl How {
    pub(crate) fn parse(text: &str) -> Self {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("how={text}: a number is missing"));
        match name {
            "" => How::Nothing,
            "exit" => How::Exit(u8::try_from(number()).expect("an exit code")),
            "kill" => How::Raise(Signal::SIGKILL),
            "segv" => How::Raise(Signal::SIGSEGV),
            "term" => How::Raise(Signal::SIGTERM),
            "stop" => How::Raise(Signal::SIGSTOP),
            "abort" => How::Abort,
            "panic" => How::Panic,
            "overflow" => How::Overflow,
            "hang" => How::Hang,
            "deaf" => How::Deaf,
            "wait" => How::Wait(number()),
            "partial" => How::Partial(usize::try_from(number()).expect("a small number")),
            "say" => How::Say(value.to_owned()),
            "say-end" => How::SayEnd(value.to_owned()),
            "twice" => How::Twice,
            "other-id" => How::OtherId(number()),
            "flood-out" => How::Flood(Stream::Out, number()),
            "flood-err" => How::Flood(Stream::Err, number()),
            "close-reply" => How::CloseReply,
            "grandchild" => How::Grandchild,
            "double-fork" => How::DoubleFork,
            "sibling" => How::Sibling(value.to_owned()),
            _ => panic!("how={text} is unknown"),
        }
    }

    /// Does it, with `task` in hand if there is one.
    pub(crate) fn happen(&self, link: &mut Link, task: Option<&Task>) -> Result<After, LinkError> {
        match self {
            How::Nothing => return Ok(After::GoOn),
            How::Exit(code) => return Ok(After::End(ExitCode::from(*code))),
            How::Raise(signal) => {
                // The first SIGSEGV goes to the handler of the runtime, which looks for a stack overflow, sees none, and
                // gives up its place.
                raise(*signal).map_err(std::io::Error::from)?;
                if *signal == Signal::SIGSEGV {
                    raise(*signal).map_err(std::io::Error::from)?;
                }
            }
            How::Abort => std::process::abort(),
            How::Panic => panic!("the worker was told to panic"),
            How::Overflow => return Ok(After::End(ExitCode::from(use_up_stack(1)))),
            How::Hang => hang(),
            How::Deaf => {
                SigSet::all().thread_block().map_err(std::io::Error::from)?;
                hang();
            }
            How::Wait(millis) => wait(Duration::from_millis(*millis)),
            How::Partial(count) => {
                let reply = task.map(|task| link.reply(task.id, &task.data)).unwrap_or_default();
                link.put(&reply[..reply.len().min(*count)])?;
                raise(Signal::SIGKILL).map_err(std::io::Error::from)?;
            }
            How::Say(file) | How::SayEnd(file) => {
                let id = task.map_or(0, |task| task.id);
                let bytes = replace(&fs::read(file)?, b"IDIDIDID", &id.to_le_bytes());
                link.put(&replace(&bytes, b"ID", id.to_string().as_bytes()))?;
                let end = matches!(self, How::SayEnd(_));
                return Ok(if end { After::End(ExitCode::SUCCESS) } else { After::Answered });
            }
            How::Twice => {
                if let Some(task) = task {
                    link.answer(task)?;
                }
            }
            How::OtherId(offset) => {
                if let Some(task) = task {
                    let reply = link.reply(task.id + offset, "\"stolen\"");
                    link.put(&reply)?;
                }
            }
            How::Flood(stream, mebibytes) => flood(*stream, *mebibytes)?,
            How::CloseReply => {
                link.close_replies()?;
                hang();
            }
            How::Grandchild => {
                start("sleep 1000")?;
                raise(Signal::SIGKILL).map_err(std::io::Error::from)?;
            }
            How::DoubleFork => {
                start("setsid sleep 1000 & exit 0")?;
                raise(Signal::SIGKILL).map_err(std::io::Error::from)?;
            }
            How::Sibling(directory) => kill_sibling(directory)?,
        }
        Ok(After::GoOn)
    }
}

/// Blocks for ever.
fn hang() -> ! {
    let (sender, receiver) = channel::<()>();
    loop {
        // The sender is kept, so this never returns; the loop only says so to the compiler.
        receiver.recv().ok();
        std::hint::black_box(&sender);
    }
}

fn wait(span: Duration) {
    let (sender, receiver) = channel::<()>();
    receiver.recv_timeout(span).ok();
    drop(sender);
}

/// Recurses until the guard page; the kernel ends it.
fn use_up_stack(depth: u64) -> u8 {
    let page = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { use_up_stack(depth + 1).wrapping_add(page[0].to_le_bytes()[0]) }
}

fn flood(stream: Stream, mebibytes: u64) -> Result<(), LinkError> {
    let mut line = vec![b'x'; 1023];
    line.push(b'\n');
    let chunk = line.repeat(1024);
    for _ in 0..mebibytes {
        match stream {
            Stream::Out => std::io::stdout().write_all(&chunk)?,
            Stream::Err => std::io::stderr().write_all(&chunk)?,
        }
    }
    match stream {
        Stream::Out => std::io::stdout().write_all(b"the tail of the flood\n")?,
        Stream::Err => std::io::stderr().write_all(b"the tail of the flood\n")?,
    }
    Ok(std::io::stdout().flush()?)
}

/// Starts a shell that inherits descriptors 3 and 4, and leaves it alone.
fn start(script: &str) -> Result<(), LinkError> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    #[expect(clippy::disallowed_methods, reason = "a bad worker leaves children as it likes")]
    let child = command.spawn()?;
    drop(child);
    Ok(())
}

/// Leaves its own pid in the directory, and kills one worker found there.
fn kill_sibling(directory: &str) -> Result<(), LinkError> {
    let own = std::process::id();
    fs::write(format!("{directory}/{own}"), "")?;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let pid: Option<i32> = name.to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid.filter(|pid| pid.unsigned_abs() != own) {
            fs::remove_file(format!("{directory}/{pid}")).ok();
            // It may be dead already.
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).ok();
            return Ok(());
        }
    }
    Ok(())
}

fn replace(bytes: &[u8], pattern: &[u8], by: &[u8]) -> Vec<u8> {
    /// Longer texts are sent as they are.
    const LONGEST: usize = 1 << 20;
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    if bytes.len() > LONGEST {
        return bytes.to_vec();
    }
    while let Some(at) = rest.windows(pattern.len()).position(|window| window == pattern) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(by);
        rest = &rest[at + pattern.len()..];
    }
    out.extend_from_slice(rest);
    out
}
