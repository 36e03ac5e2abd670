//! A pseudo-terminal with a program on it, at which a test types and reads the screen as a person would.

use std::fs::File;
use std::io::Write;

use nix::pty::{OpenptyResult, openpty};
use nix::unistd::{Pid, tcgetpgrp};

use crate::capture::Capture;
use crate::{Finished, Invocation, Running, Sandbox};

/// A terminal whose session is led by the program that was started on it. What is typed is echoed, as at any terminal.
#[derive(Debug)]
pub struct Terminal {
    keys: File,
    screen: Capture,
    running: Running,
}

impl Sandbox {
    /// Starts a program as leader of the session of a new terminal, with its three streams there.
    ///
    /// # Panics
    /// If there are no terminals, or the program cannot be started.
    #[must_use]
    #[track_caller]
    pub fn terminal(&self, program: &str, arguments: &[&str]) -> Terminal {
        let OpenptyResult { master, slave } = openpty(None, None).expect("the machine has terminals");
        let keys = File::from(master);
        let screen = Capture::of(keys.try_clone().expect("a descriptor is left"));
        let slave = File::from(slave);
        // Whoever runs the tests may ignore the signals of a terminal.
        let start = r#"exec env --default-signal setsid --ctty --wait "$0" "$@" 2>&1"#;
        let invocation: Invocation = self.peer("sh").args(["-c", start, program]).args(arguments);
        let running = invocation
            .env("TERM", "dumb")
            .env("PS1", "$ ")
            .env("HISTFILE", "")
            .input_file(slave.try_clone().expect("a descriptor is left"))
            .stdout_file(slave)
            .start();
        Terminal { keys, screen, running }
    }

    /// An interactive shell with job control, whose prompt is `$ `, at a new terminal.
    ///
    /// # Panics
    /// As [`Sandbox::terminal`].
    #[must_use]
    #[track_caller]
    pub fn shell(&self) -> Terminal {
        let terminal = self.terminal("bash", &["--norc", "--noprofile", "--noediting", "-i"]);
        terminal.wait_screen("$ ");
        terminal
    }
}

impl Terminal {
    /// Types; `\n` is the return key, `\x03` Ctrl-C, `\x1a` Ctrl-Z, `\x04` the end of the input.
    ///
    /// # Panics
    /// If the terminal is gone.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// Waits until the screen so far has `text`, and returns all of it, lines ended by `\n`.
    ///
    /// # Panics
    /// If it does not within the deadline, or the terminal is gone before.
    #[track_caller]
    pub fn wait_screen(&self, text: &str) -> String {
        if self.screen.wait(|bytes| plain(bytes).contains(text)).is_err() {
            panic!(
                "the screen never had {text:?}\n{}\nthe screen:\n{}",
                self.running.describe(),
                self.screen()
            );
        }
        self.screen()
    }

    /// The screen so far, lines ended by `\n`.
    #[must_use]
    pub fn screen(&self) -> String {
        plain(&self.screen.so_far())
    }

    /// The process group that may read from the terminal now.
    #[must_use]
    pub fn foreground(&self) -> Option<u32> {
        let group = tcgetpgrp(&self.keys).ok().map(Pid::as_raw)?;
        u32::try_from(group).ok()
    }

    /// Waits for the end of the program that was started; says how it ended and, as stdout, the whole screen.
    ///
    /// # Panics
    /// As [`Running::wait`].
    #[must_use]
    #[track_caller]
    pub fn wait(self) -> Finished {
        let finished = self.running.wait();
        let stdout = self.screen.wait_end().unwrap_or_else(|_| self.screen.so_far());
        Finished { stdout, ..finished }
    }
}

fn plain(screen: &[u8]) -> String {
    String::from_utf8_lossy(screen).replace('\r', "")
}
