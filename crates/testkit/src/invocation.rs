//! A program to be run: its arguments, environment, streams and deadline.
//!
//! Each runs in a process group of its own, so that a stop signal to it is not discarded (a group whose parents are all
//! in another session ignores SIGTSTP). Its output is read by a thread per stream; with [`Invocation::hold_stdout`] the
//! test reads, or does not, itself.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::capture::Capture;
use crate::{Finished, Running};

/// How long a program may take before it is killed and its test fails.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(120);

/// A program to be run: its arguments, environment and streams.
#[derive(Debug)]
pub struct Invocation {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    mark: String,
    input: Input,
    output: Output,
    deadline: Duration,
}

#[derive(Debug)]
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    Open,
    File(File),
}

#[derive(Debug)]
enum Output {
    Captured,
    Held,
    File(File),
}

impl Invocation {
    pub(crate) fn new(
        program: &OsStr,
        environment: Vec<(OsString, OsString)>,
        directory: PathBuf,
        mark: &str,
    ) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment,
            directory,
            mark: mark.to_owned(),
            input: Input::Nothing,
            output: Output::Captured,
            deadline: PROGRAM_DEADLINE,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Takes an environment variable away.
    #[must_use]
    pub fn env_without(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// Runs it in this directory instead of the sandbox's own.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Gives it these bytes on stdin, then end of file. Without this stdin is /dev/null.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Gives it a pipe on stdin that stays open until [`Running::close_input`].
    #[must_use]
    pub fn open_input(mut self) -> Self {
        self.input = Input::Open;
        self
    }

    /// Gives it a file on stdin.
    #[must_use]
    pub fn input_file(mut self, file: File) -> Self {
        self.input = Input::File(file);
        self
    }

    /// Leaves its stdout, a pipe, to the test: [`Running::take_stdout`].
    #[must_use]
    pub fn hold_stdout(mut self) -> Self {
        self.output = Output::Held;
        self
    }

    /// Sends its stdout to a file.
    #[must_use]
    pub fn stdout_file(mut self, file: File) -> Self {
        self.output = Output::File(file);
        self
    }

    /// Runs it under `sh` after `prelude`, such as `ulimit -n 64`.
    #[must_use]
    pub fn after_shell(mut self, prelude: &str) -> Self {
        let script = format!("{prelude}\nexec \"$@\"");
        let rest = std::mem::take(&mut self.arguments);
        let program = std::mem::replace(&mut self.program, "/bin/sh".into());
        self.arguments = vec!["-c".into(), script.into(), "sh".into(), program];
        self.arguments.extend(rest);
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started, or does not end within the deadline.
    #[must_use]
    #[track_caller]
    pub fn run(self) -> Finished {
        self.start().wait()
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Running {
        let command_line = self.command_line();
        let mut command = Command::new("/usr/bin/env");
        // Whoever runs the tests may ignore signals, as shells do for what they run in the background.
        command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment).current_dir(&self.directory);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut bytes = None;
        command.stdin(match self.input {
            Input::Nothing => Stdio::null(),
            Input::Open => Stdio::piped(),
            Input::File(file) => Stdio::from(file),
            Input::Bytes(input) => {
                bytes = Some(input);
                Stdio::piped()
            }
        });
        let held = matches!(self.output, Output::Held);
        command.stdout(match self.output {
            Output::Captured | Output::Held => Stdio::piped(),
            Output::File(file) => Stdio::from(file),
        });
        command.stderr(Stdio::piped());
        #[expect(
            clippy::disallowed_methods,
            reason = "a black-box test starts the product as a stranger does"
        )]
        let child = command.spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command_line}: {error}"));
        let stdin = child.stdin.take();
        let stdin = match bytes {
            Some(bytes) => {
                feed(stdin.expect("stdin is a pipe"), bytes);
                None
            }
            None => stdin,
        };
        let stdout = if held {
            Capture::ended()
        } else {
            child.stdout.take().map_or_else(Capture::ended, Capture::of)
        };
        let stderr = Capture::of(child.stderr.take().expect("stderr is a pipe"));
        Running {
            child,
            stdin,
            stdout,
            stderr,
            command: command_line,
            mark: self.mark,
            deadline: self.deadline,
        }
    }

    fn command_line(&self) -> String {
        let mut line = self.program.to_string_lossy().into_owned();
        for argument in &self.arguments {
            let argument = argument.to_string_lossy();
            line.push(' ');
            line.extend(argument.chars().take(200));
        }
        line
    }
}

/// Writes `bytes` on a thread of its own. A program that stops reading is no error of the one that writes.
fn feed(mut stdin: ChildStdin, bytes: Vec<u8>) {
    thread::spawn(move || match stdin.write_all(&bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => panic!("writing to stdin: {error}"),
    });
}
