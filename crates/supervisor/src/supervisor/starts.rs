//! Starting processes, and what the keeper says of them.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use poolctl_engine::{Effect, Event, Lasting};
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::poller::Interest;
use poolctl_types::{Item, WorkerId};

use super::{KEEPER_PIDFD, KEEPER_SOCKET, KeeperState, Supervisor};
use crate::desk::Delivery;
use crate::launch::{Launch, LaunchError, Warm};
use crate::life::{Channel, Life, Token, Work};
use crate::report::{Attempt, GaveUp, LastStart, Sink, TaskError};

/// What the kernel answers when it has no room just now.
const PASSING: [i32; 4] =
    [11 /* EAGAIN */, 12 /* ENOMEM */, 23 /* ENFILE */, 24 /* EMFILE */];

impl Supervisor {
    /// Asks the keeper for the process of a `Spawn` or `Run`.
    pub(super) fn start_process(&mut self, effect: Effect, sink: &mut dyn Sink) {
        let now = self.desk.now;
        let (worker, started) = match effect {
            Effect::Spawn(worker) => {
                self.desk.observer.asked(worker, now);
                if let Some(path) = self.desk.interpreter.take() {
                    self.launcher.learn_interpreter(&path);
                }
                let started = self.launcher.warm(worker, now).map(|warm| {
                    let Warm { launch, link, control, streams } = warm;
                    let control = control.map(Box::new);
                    (launch, Life { control, ..Life::new(worker, Work::Warm(Box::new(link)), streams, now) })
                });
                (worker, started)
            }
            Effect::Run { worker, item, .. } => {
                let work = Work::Command { item, started: None };
                match self.launcher.command(item, self.desk.store.item(item), worker.slot) {
                    Ok((launch, streams)) => (worker, Ok((launch, Life::new(worker, work, streams, now)))),
                    Err(LaunchError::Io(error)) => (worker, Err(error)),
                    Err(LaunchError::Argument(error)) => {
                        return self.refuse_item(worker, item, error.into(), sink);
                    }
                    Err(LaunchError::Resolve(error)) => {
                        return self.refuse_item(worker, item, TaskError::Program(error), sink);
                    }
                }
            }
            _ => unreachable!("only starts come here"),
        };
        let asked = started.and_then(|(launch, life)| self.ask_keeper(launch, life));
        if let Err(reason) = asked {
            let item = match effect {
                Effect::Run { item, .. } => Some(item),
                _ => None,
            };
            self.start_failed(worker, item, reason, sink);
        }
    }

    fn ask_keeper(&mut self, mut launch: Launch, life: Life) -> io::Result<()> {
        let (worker, streams) = (life.worker, &life.streams);
        let KeeperState::Alive(keeper) = &mut self.keeper else {
            unreachable!("starts wait for a keeper");
        };
        if let Work::Warm(link) = &life.work
            && let Some(fd) = link.reply_fd()
        {
            self.poller.add(fd, Token::of(worker, Channel::Reply).number(), Interest::Read)?;
            if let Some((outbox, false)) = link.outbox() {
                let token = Token::of(worker, Channel::Input).number();
                self.poller.add(outbox.as_fd(), token, Interest::Close)?;
            }
        }
        for (stream, channel) in [(&streams.stdout, Channel::Stdout), (&streams.stderr, Channel::Stderr)] {
            if let Some(capture) = stream {
                self.poller.add(capture.as_fd(), Token::of(worker, channel).number(), Interest::Read)?;
            }
        }
        if let Some(control) = &life.control {
            self.poller.add(control.as_fd(), Token::of(worker, Channel::Control).number(), Interest::Read)?;
        }
        if matches!(life.work, Work::Warm(_)) {
            // So that a worker can tell that it is one, and not just a descendant that inherited its environment.
            launch.env.push(("POOLCTL_PARENT", keeper.pidfd().pid().to_string()));
        }
        let argv: Vec<&[u8]> = launch.argv.iter().map(Vec::as_slice).collect();
        let path = launch.path.as_os_str().as_bytes();
        keeper.spawn(worker, path, &argv, &launch.env, launch.fds)?;
        self.lives.insert(life);
        // What it gets before its hello may be more than its socket takes at once.
        self.watch_room(worker);
        Ok(())
    }

    /// The item cannot be made into a process at all.
    fn refuse_item(&mut self, worker: WorkerId, item: Item, error: TaskError, sink: &mut dyn Sink) {
        let mut error = Some(error);
        let event = Event::SpawnFailed { worker, lasting: Lasting::Yes };
        let mut attempt = |settled: Item| Attempt {
            worker: Some(worker),
            error: error.take().filter(|_| settled == item),
            ..Attempt::default()
        };
        self.desk.tell(event, Delivery::Each(&mut attempt), sink);
    }

    /// The keeper could not make the process.
    pub(super) fn spawn_failed(&mut self, worker: WorkerId, errno: i32, sink: &mut dyn Sink) {
        let item = match self.lives.remove(worker).map(|life| life.work) {
            Some(Work::Command { item, .. }) => Some(item),
            Some(Work::Warm(_)) | None => None,
        };
        self.start_failed(worker, item, io::Error::from_raw_os_error(errno), sink);
    }

    /// The process could not be made: for `item`, or a warm one.
    fn start_failed(&mut self, worker: WorkerId, item: Option<Item>, reason: io::Error, sink: &mut dyn Sink) {
        let passing = reason.raw_os_error().is_some_and(|errno| PASSING.contains(&errno));
        match item {
            Some(item) if !passing => self.refuse_item(worker, item, TaskError::Spawn { reason }, sink),
            None if !passing => {
                let program = self.launcher.program();
                self.refusal = Some(GaveUp::CannotStart { program, reason });
                self.desk.tell_plain(Event::SpawnFailed { worker, lasting: Lasting::Yes }, sink);
            }
            _ => {
                tracing::warn!(%worker, %reason, "no process can be made just now");
                self.last_start =
                    LastStart { error: Some(TaskError::Spawn { reason }), ..LastStart::default() };
                self.desk.tell_plain(Event::SpawnFailed { worker, lasting: Lasting::No }, sink);
            }
        }
    }

    /// The process runs.
    pub(super) fn spawned(
        &mut self,
        worker: WorkerId,
        pid: u32,
        pidfd: io::Result<Pidfd>,
        sink: &mut dyn Sink,
    ) {
        let Some(life) = self.lives.get_mut(worker) else { return };
        life.pid = Some(pid);
        // Only the death of the keeper asks for it.
        life.pidfd =
            pidfd.inspect_err(|error| tracing::debug!(%error, %worker, "no pidfd for a worker")).ok();
        if let Work::Command { started, .. } = &mut life.work {
            *started = Some(self.desk.now);
            life.greeted = true;
        }
        self.desk.tell_plain(Event::Spawned(worker), sink);
        self.look_after_one(worker, sink);
    }

    /// Watches the keeper's socket and its life.
    pub(super) fn watch_keeper(&self) -> io::Result<()> {
        if let KeeperState::Alive(keeper) = &self.keeper {
            self.poller.add(keeper.socket(), KEEPER_SOCKET, Interest::Read)?;
            self.poller.add(keeper.pidfd().as_fd(), KEEPER_PIDFD, Interest::Read)?;
        }
        Ok(())
    }
}
