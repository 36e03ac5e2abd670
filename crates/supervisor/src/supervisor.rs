//! The loop: one epoll over sockets, pipes, pidfds and the keeper, around the engine.
//!
//! ```text
//! push(Block) ──► store ──dispatch──► link ═══► worker
//!                   │                             ║
//!   sink ◄─settle─ desk ◄──────news────── link ◄══╝
//!                   │ ▲
//!            effects▼ │events
//!                  engine
//! ```
//!
//! One [`Supervisor::turn`] is: carry out what the engine asked for, send what is queued for the keeper, wait, tell the
//! engine what happened. Nothing in it blocks but that one wait.

mod deaths;
mod effects;
mod readiness;
mod starts;
mod waiting;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use poolctl_engine::{Counts, Engine, Event, Gate, Stop};
use poolctl_sys::poller::{Interest, Poller, Ready};
use poolctl_sys::waker::Waker;
use poolctl_sys::{clock, cpu};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};

pub use self::waiting::Rest;

use crate::block::Block;
use crate::config::{PoolConfig, Target};
use crate::desk::Desk;
use crate::insight::Insight;
use crate::keeper::{self, Keeper, KeeperError};
use crate::launch::{ITEM, LaunchError, Launcher, SLOT};
use crate::life::{Life, Lives, Work};
use crate::memory_kills::MemoryKills;
use crate::report::{ExitResult, GaveUp, LastStart, NestedOutcome, Sink};
use crate::resolve::ResolveError;
use crate::spill::Spill;

/// From so many bytes of items on, and from so many items on, no more are read ahead of those dispatched.
const BACKLOG_BYTES: usize = 4 << 20;
const BACKLOG_ITEMS: u64 = 1 << 16;

/// How much longer than asked for the end of the workers may take before the keeper is not waited for any more.
const OVERDUE: Duration = Duration::from_secs(2);

/// The poller's numbers for what is no worker's.
const WAKER: u64 = u64::MAX;
const KEEPER_SOCKET: u64 = u64::MAX - 1;
const KEEPER_PIDFD: u64 = u64::MAX - 2;

/// A pool of worker processes, and the loop that runs it.
#[derive(Debug)]
pub struct Supervisor {
    desk: Desk,
    lives: Lives,
    launcher: Launcher,
    keeper: KeeperState,
    keeper_program: PathBuf,
    setup: keeper::Setup,
    poller: Poller,
    waker: Waker,
    ready: Vec<Ready>,
    reports: Vec<keeper::Report>,
    /// What the user said since the last turn.
    inputs: Vec<(Moment, Event)>,
    last_start: LastStart,
    refusal: Option<GaveUp>,
    given_up: bool,
    memory_kills: MemoryKills,
    max_rss: Option<u64>,
    start_timeout: Duration,
    grace: Duration,
    /// When a keeper that carries nothing out any more is killed, and everything with it.
    overdue: Option<Moment>,
    may_spin: bool,
    /// Somebody else waits for this loop.
    is_resting: bool,
    /// When the poller was asked last.
    polled: Moment,
    processors: usize,
}

/// Whether there is a keeper.
#[derive(Debug)]
enum KeeperState {
    /// There is.
    Alive(Keeper),
    /// It died; its workers are on their way out, and a new one comes when they are gone. Starts wait until then.
    Lost {
        /// The starts that wait.
        waiting: Vec<poolctl_engine::Effect>,
    },
    /// None can be had, or the pool is shut down.
    Gone,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It does.
    Going,
    /// Every item is settled and no worker lives.
    Finished,
}

/// An item that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// Who runs it.
    pub worker: WorkerId,
    /// That worker's process.
    pub pid: Option<u32>,
    /// Which.
    pub item: Item,
    /// Which attempt, from 1 on.
    pub attempt: u32,
    /// Since when, as far as known.
    pub since: Option<Moment>,
}

/// Why a pool cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program of the target cannot be run.
    #[error("cannot run the worker")]
    Program(#[source] ResolveError),
    /// There is no keeper.
    #[error("cannot start the keeper of the worker processes")]
    Keeper(#[source] KeeperError),
    /// The kernel gives no descriptors or no memory.
    #[error("cannot set the pool up")]
    Setup(#[source] io::Error),
}

impl Supervisor {
    /// Starts the keeper, and no worker yet: those start with the first items.
    ///
    /// # Errors
    /// [`StartError`], when nothing could run.
    pub fn start(mut config: PoolConfig) -> Result<Self, StartError> {
        let target = std::mem::replace(
            &mut config.target,
            Target::Worker {
                argv: Vec::new(),
                framing: crate::Framing::JsonLines,
                function: None,
                stdio: false,
            },
        );
        let per_item = matches!(target, Target::Command(_));
        let launcher = Launcher::new(&config, target).map_err(|error| match error {
            LaunchError::Resolve(error) => StartError::Program(error),
            LaunchError::Io(error) => StartError::Setup(error),
            LaunchError::Argument(_) => unreachable!("no item is looked at yet"),
        })?;
        let now = clock::now();
        let slots = config.engine.slots;
        let start_timeout = config.engine.start_timeout;
        let grace = config.engine.grace;
        if per_item {
            config.engine.lifecycle = poolctl_engine::Lifecycle::PerItem;
            config.engine.slots += config.spawn_ahead;
        }
        let setup = keeper::Setup {
            run_id: config.run_id.clone(),
            env: worker_environment(&config),
            cwd: config.cwd.clone(),
            nice: config.nice,
            max_running: per_item.then_some(slots),
        };
        let poller = Poller::new().map_err(StartError::Setup)?;
        let waker = Waker::new().map_err(StartError::Setup)?;
        poller.add(waker.as_fd(), WAKER, Interest::Read).map_err(StartError::Setup)?;
        let keeper = Keeper::start(&config.keeper, setup.clone()).map_err(StartError::Keeper)?;
        let spill = Arc::new(Spill::new(config.spill_dir));
        let supervisor = Self {
            desk: Desk::new(Engine::new(config.engine, now), spill, config.detail, now),
            lives: Lives::default(),
            launcher,
            keeper: KeeperState::Alive(keeper),
            keeper_program: config.keeper,
            setup,
            poller,
            waker,
            ready: Vec::new(),
            reports: Vec::new(),
            inputs: Vec::new(),
            last_start: LastStart::default(),
            refusal: None,
            given_up: false,
            memory_kills: MemoryKills::watch(),
            max_rss: config.max_rss,
            start_timeout,
            grace,
            overdue: None,
            may_spin: false,
            is_resting: false,
            polled: now,
            processors: cpu::available(),
        };
        supervisor.watch_keeper().map_err(StartError::Setup)?;
        Ok(supervisor)
    }

    /// What wakes a waiting [`Supervisor::turn`] from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The spill file of this run, for output that has to wait.
    #[must_use]
    pub fn spill(&self) -> Arc<Spill> {
        Arc::clone(&self.desk.spill)
    }

    /// Whether more items should be pushed: few are waiting.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        if !self.inputs.is_empty() {
            return false;
        }
        let queued = self.desk.engine.counts().queued;
        queued == 0 || (queued < BACKLOG_ITEMS && self.desk.store.bytes() < BACKLOG_BYTES)
    }

    /// Adds items behind those before. This and the other instructions take effect with the next turn.
    pub fn push(&mut self, block: Block) {
        let count = self.desk.store.push(block);
        if count > 0 {
            self.say(Event::Items(count));
        }
    }

    /// The input has nothing more just now: what is there is sent though chunks are not full.
    pub fn input_idle(&mut self) {
        self.say(Event::InputIdle);
    }

    /// No item follows.
    pub fn end_of_input(&mut self) {
        self.say(Event::EndOfInput);
    }

    /// Whether new items may be dispatched.
    pub fn set_gate(&mut self, gate: Gate) {
        self.say(Event::Gate(gate));
    }

    /// An item is not wanted any more: it ends as cancelled, unless it has its outcome by then.
    pub fn cancel(&mut self, item: Item) {
        self.say(Event::CancelItem(item));
    }

    /// From now on there are this many workers at most (at least 1); those too many finish what they hold.
    pub fn resize(&mut self, workers: u32) {
        self.say(Event::Resize(workers.max(1)));
    }

    /// Whether a turn that waits for native workers may spin for a moment before it sleeps: worth it when somebody waits
    /// for the next answer and has nothing else to do.
    pub fn set_spin(&mut self, may_spin: bool) {
        self.may_spin = may_spin;
    }

    /// What the workers spent their time on so far.
    #[must_use]
    pub fn insight(&self) -> Insight {
        self.desk.observer.insight(clock::now())
    }

    /// What the exit functions of workers that have ended gave, in the order of their ends.
    #[must_use]
    pub fn exit_results(&self) -> &[ExitResult] {
        &self.desk.exits
    }

    /// Those of [`Self::exit_results`] that were not taken before; they are forgotten here.
    pub fn take_exit_results(&mut self) -> Vec<ExitResult> {
        std::mem::take(&mut self.desk.exits)
    }

    /// The processes of the workers that live.
    #[must_use]
    pub fn pids(&self) -> Vec<(WorkerId, u32)> {
        self.lives.iter().filter_map(|life| Some((life.worker, life.pid?))).collect()
    }

    /// Those of them that have said hello.
    #[must_use]
    pub fn ready_pids(&self) -> Vec<(WorkerId, u32)> {
        let ready = self.lives.iter().filter(|life| life.greeted);
        ready.filter_map(|life| Some((life.worker, life.pid?))).collect()
    }

    /// Whether this worker lives.
    #[must_use]
    pub fn is_alive(&self, worker: WorkerId) -> bool {
        self.lives.iter().any(|life| life.worker == worker)
    }

    /// Whether no worker has this item, and it has no outcome.
    #[must_use]
    pub fn is_queued(&self, item: Item) -> bool {
        let was_told = item.0 < self.desk.engine.counts().read;
        !was_told || self.desk.engine.is_queued(item)
    }

    /// Whether a worker has this item.
    #[must_use]
    pub fn is_held(&self, item: Item) -> bool {
        self.desk.engine.is_held(item)
    }

    /// Tells the item in a worker's hands what became of one that it submitted.
    pub fn tell_nested(&mut self, worker: WorkerId, id: u64, outcome: NestedOutcome) {
        if let Some(Life { work: Work::Warm(link), fault: None, .. }) = self.lives.get_mut(worker) {
            link.tell_nested(id, outcome, &self.desk);
            self.watch_room(worker);
        }
    }

    /// Of these items, those that no worker has are not wanted any more.
    pub fn cancel_queued(&mut self, items: ItemRange) {
        self.say(Event::CancelQueued(items));
    }

    /// Stops the run, this hard.
    pub fn stop(&mut self, stop: Stop) {
        let most = match stop {
            Stop::Drain => None,
            Stop::Term => Some(self.grace + OVERDUE),
            Stop::Kill => Some(OVERDUE),
        };
        self.overdue = most.map(|most| clock::now() + most).or(self.overdue);
        self.say(Event::Stop(stop));
    }

    /// Stops the workers' processes (SIGSTOP) and the clocks, at once.
    pub fn pause(&mut self) {
        self.signal_all(SIGSTOP);
        self.flush_keeper();
        self.say(Event::Pause);
    }

    /// Lets processes and clocks go on.
    pub fn resume(&mut self) {
        self.signal_all(SIGCONT);
        self.flush_keeper();
        self.say(Event::Resume);
    }

    /// One pass: does what is to be done, then waits until something happens, the waker fires or it is `until`.
    pub fn turn(&mut self, sink: &mut dyn Sink, until: Option<Moment>) -> Turn {
        self.wake_up();
        self.desk.now = clock::now();
        let now = self.desk.now;
        // Who pushed items was told to come again for more, and what was cancelled has its outcome at once: this turn
        // must not wait for something else to happen. That the input has nothing more is no such thing: who says it says
        // it in every turn until there is more.
        let fed = self.inputs.iter().any(|(_, event)| !matches!(event, Event::InputIdle));
        for (said, event) in std::mem::take(&mut self.inputs) {
            self.desk.now = said;
            self.desk.tell_plain(event, sink);
        }
        self.desk.now = now;
        self.carry_out(sink);
        self.flush_keeper();
        if self.desk.engine.is_quiet() {
            return Turn::Finished;
        }
        let mut ready = std::mem::take(&mut self.ready);
        let wait_time = if fed { Some(Duration::ZERO) } else { self.wait_time(until) };
        self.wait(&mut ready, wait_time);
        self.desk.now = clock::now();
        self.hear_rings(sink);
        for event in ready.drain(..) {
            self.handle(event, sink);
        }
        self.ready = ready;
        self.look_after(sink);
        self.end_what_is_overdue();
        self.carry_out(sink);
        self.flush_keeper();
        if self.desk.engine.is_quiet() { Turn::Finished } else { Turn::Going }
    }

    /// How the run stands.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.desk.engine.counts()
    }

    /// Why the last start that failed did so, once; for who does not wait for the pool to give up.
    pub fn take_failed_start(&mut self) -> Option<GaveUp> {
        let last = std::mem::take(&mut self.last_start);
        let has_failed = last.exit.is_some() || last.error.is_some();
        has_failed.then(|| GaveUp::TooManyStarts { starts: 1, last: Box::new(last) })
    }

    /// How long one item takes a worker, as measured lately.
    #[must_use]
    pub fn time_per_item(&self) -> Option<Duration> {
        self.desk.engine.time_per_item()
    }

    /// The items that run.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        let pid = |worker| self.lives.iter().find(|life| life.worker == worker).and_then(|life| life.pid);
        let running = self.desk.engine.running();
        running
            .map(|(worker, item, since, attempt)| Running { worker, pid: pid(worker), item, attempt, since })
            .collect()
    }

    /// Lets workers forget constants that nobody keeps any more.
    pub fn forget_constants(&mut self) {
        let now = clock::now();
        for slot in 0..self.lives.slots() {
            let Some(life) = self.lives.in_slot(slot) else { continue };
            let worker = life.worker;
            if let Some(link) = effects::link_of(Some(life)) {
                link.forget_constants(now);
                self.watch_room(worker);
            }
        }
    }

    /// The payload of an item that is not settled.
    #[must_use]
    pub fn item(&self, item: Item) -> &[u8] {
        self.desk.store.item(item)
    }

    /// Kills what still lives and waits until it is gone.
    pub fn shut_down(mut self) {
        if let KeeperState::Alive(keeper) = std::mem::replace(&mut self.keeper, KeeperState::Gone) {
            keeper.shut_down();
        }
    }

    /// Kills a keeper that has not ended its workers in time, as one that is stopped itself; they end with it.
    fn end_what_is_overdue(&mut self) {
        if self.overdue.is_none_or(|overdue| overdue > self.desk.now) {
            return;
        }
        self.overdue = None;
        if let KeeperState::Alive(keeper) = &self.keeper
            && let Err(error) = keeper.pidfd().signal(SIGKILL)
        {
            tracing::debug!(%error, "the keeper is gone already");
        }
    }

    /// Keeps an event for the next turn, with its time.
    fn say(&mut self, event: Event) {
        self.inputs.push((clock::now(), event));
    }

    /// How long nothing needs to be done, if nothing happens.
    fn wait_time(&self, until: Option<Moment>) -> Option<Duration> {
        Some(self.next_due(until)? - clock::now())
    }

    /// When something needs to be done, if nothing happens.
    fn next_due(&self, until: Option<Moment>) -> Option<Moment> {
        let looks = self.lives.iter().filter_map(crate::life::Life::look_at);
        looks.chain(self.desk.engine.next_deadline()).chain(until).chain(self.overdue).min()
    }
}

impl AsFd for Supervisor {
    /// What is readable when a turn is due, see [`Supervisor::rest`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let KeeperState::Alive(keeper) = std::mem::replace(&mut self.keeper, KeeperState::Gone) {
            keeper.shut_down();
        }
    }
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// The environment of the workers: ours, and what the configuration adds.
fn worker_environment(config: &PoolConfig) -> Vec<(OsString, OsString)> {
    // Where this process is a worker itself, or was started by one, its own place is not that of its workers.
    let is_own = |name: &OsString| name == ITEM || name == SLOT;
    let added = |name: &OsString| config.env.iter().any(|(added, _)| added == name);
    let mut env: Vec<_> = std::env::vars_os().filter(|(name, _)| !is_own(name) && !added(name)).collect();
    env.extend(config.env.iter().cloned());
    env
}
