//! A keeper under test, and what it has reported.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use poolctl_supervisor::keeper::{Keeper, Report, Setup};
use poolctl_sys::poller::{Interest, Poller};
use poolctl_sys::{pipe, transfer};
use poolctl_testkit::DEADLINE;
use poolctl_types::{Exit, WorkerId};

/// The program that is the keeper.
pub(crate) const FIXTURE: &str = env!("CARGO_BIN_EXE_keeper-fixture");

/// A keeper and the reports that no test has asked for yet.
pub(crate) struct Kept {
    pub(crate) keeper: Keeper,
    pub(crate) reports: Vec<Report>,
    poller: Poller,
}

/// A run id that no other test has, here or in another process.
pub(crate) fn run_id(name: &str) -> String {
    format!("keeper-test-{name}-{}", std::process::id())
}

/// A setup with this process's environment.
pub(crate) fn setup(name: &str) -> Setup {
    Setup { run_id: run_id(name), env: std::env::vars_os().collect(), ..Setup::default() }
}

impl Kept {
    pub(crate) fn start(setup: Setup) -> Self {
        let keeper = Keeper::start(Path::new(FIXTURE), setup).unwrap();
        let poller = Poller::new().unwrap();
        poller.add(keeper.socket(), 0, Interest::Read).unwrap();
        Self { keeper, reports: Vec::new(), poller }
    }

    pub(crate) fn keeper_pid(&self) -> u32 {
        self.keeper.pidfd().pid()
    }

    /// Asks for `sh -c script`, and gives what it will write.
    pub(crate) fn shell(&mut self, worker: WorkerId, script: &str) -> Output {
        self.program(worker, "/bin/sh", &["sh", "-c", script], &[])
    }

    pub(crate) fn program(
        &mut self,
        worker: WorkerId,
        path: &str,
        argv: &[&str],
        extra_env: &[(&str, String)],
    ) -> Output {
        let (read, write) = pipe::pair().unwrap();
        let argv: Vec<&[u8]> = argv.iter().map(|argument| argument.as_bytes()).collect();
        self.keeper.spawn(worker, path.as_bytes(), &argv, extra_env, vec![(write, 1)]).unwrap();
        self.keeper.flush().unwrap();
        Output(read)
    }

    /// Sends what is queued, and takes reports until there is one that is `wanted`; that one is given and gone.
    pub(crate) fn wait(&mut self, what: &str, mut wanted: impl FnMut(&Report) -> bool) -> Report {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(place) = self.reports.iter().position(&mut wanted) {
                return self.reports.remove(place);
            }
            assert!(Instant::now() < end, "gave up waiting for {what}; there are {:?}", self.reports);
            self.exchange();
        }
    }

    /// Sends and receives once, waiting a little if there is nothing to receive.
    pub(crate) fn exchange(&mut self) {
        self.keeper.flush().unwrap();
        let interest = if self.keeper.wants_write() { Interest::ReadWrite } else { Interest::Read };
        self.poller.modify(self.keeper.socket(), 0, interest).unwrap();
        let mut ready = Vec::new();
        self.poller.wait(&mut ready, Some(Duration::from_millis(20))).unwrap();
        self.keeper.receive(&mut self.reports).unwrap();
    }

    pub(crate) fn wait_spawned(&mut self, worker: WorkerId) -> u32 {
        let wanted = |report: &Report| matches!(report, Report::Spawned { worker: of, .. } if *of == worker);
        match self.wait("a spawn", wanted) {
            Report::Spawned { pid, .. } => pid,
            _ => unreachable!("only that was wanted"),
        }
    }

    pub(crate) fn wait_exited(&mut self, worker: WorkerId) -> Exit {
        let wanted = |report: &Report| matches!(report, Report::Exited { worker: of, .. } if *of == worker);
        match self.wait("an exit", wanted) {
            Report::Exited { exit, .. } => exit,
            _ => unreachable!("only that was wanted"),
        }
    }

    /// Runs one worker to its end, reaps it, and gives how it ended and what it wrote.
    pub(crate) fn run(&mut self, worker: WorkerId, script: &str) -> (Exit, String) {
        let output = self.shell(worker, script);
        self.wait_spawned(worker);
        let exit = self.wait_exited(worker);
        self.keeper.reap(worker);
        self.keeper.flush().unwrap();
        (exit, output.text())
    }
}

/// The reading end of a worker's stdout.
pub(crate) struct Output(pub(crate) OwnedFd);

impl Output {
    /// Everything, up to the end of the file: the last holder of the other end has gone then.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        while let Some(piece) = self.piece() {
            text.extend(piece);
        }
        String::from_utf8(text).unwrap()
    }

    /// What comes next; `None` at the end of the file.
    pub(crate) fn piece(&self) -> Option<Vec<u8>> {
        let mut poller = Poller::new().unwrap();
        poller.add(self.0.as_fd(), 0, Interest::Read).unwrap();
        let mut ready = Vec::new();
        poller.wait(&mut ready, Some(DEADLINE)).unwrap();
        assert!(!ready.is_empty(), "gave up waiting for output or its end");
        let mut buffer = vec![0; 65536];
        let length = transfer::read(self.0.as_fd(), &mut buffer).unwrap();
        buffer.truncate(length);
        (length > 0).then_some(buffer)
    }

    /// Everything up to when there is `enough`.
    pub(crate) fn text_until(&self, enough: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        while !enough(&text) {
            let piece = self.piece().unwrap_or_else(|| panic!("the output ended after {text:?}"));
            text.push_str(&String::from_utf8(piece).unwrap());
        }
        text
    }

    /// The number on the next line.
    pub(crate) fn number(&self) -> u32 {
        self.text_until(|text| text.ends_with('\n')).trim().parse().unwrap()
    }
}
