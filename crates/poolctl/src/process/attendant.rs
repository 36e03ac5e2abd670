//! The keeper of all processes of this program, and the thread that hears it.
//!
//! One keeper, started with the first process. Callers talk to it themselves, under a mutex, since nothing there blocks;
//! the thread sleeps until the keeper has something to say, or takes what did not fit into its socket. When the keeper
//! dies the thread settles every process as killed and ends; the next start makes a new keeper and a new thread.

use std::collections::HashMap;
use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use poolctl_protocol::{Frame, Kind, RemoteError};
use poolctl_supervisor::keeper::{self, Keeper, Report, Setup, SpawnStage};
use poolctl_supervisor::{Exit, Seats, Taken, Waker, WorkerId};
use poolctl_sys::pidfd::Pidfd;
use poolctl_sys::poller::{Interest, Poller};
use poolctl_sys::{pipe, transfer};

use poolctl_worker::attachments::Kept;

use super::launch::Launch;
use super::serve::{LINE, MARK, MAX_ANSWER_BYTES};
use super::{ProcessError, SIGKILL};
use crate::init::can_be_keeper;
use crate::shared::HomeSeats;
use crate::task_error::TaskError;

const KEEPER_TOKEN: u64 = 0;
const WAKER_TOKEN: u64 = 1;

/// How long to wait for the end of what is being killed, once the keeper is dead.
const KILLED_TIMEOUT: Duration = Duration::from_secs(5);

/// The process that has the household; 0: none yet.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The keeper that new processes get.
static HOUSEHOLD: Mutex<Option<Arc<Household>>> = Mutex::new(None);

/// A keeper and its children.
struct Household {
    program: PathBuf,
    run_id: String,
    waker: Waker,
    /// How many processes were asked for.
    next: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// `None` once it is known to be dead.
    keeper: Option<Keeper>,
    members: HashMap<WorkerId, Member>,
}

/// A process that was asked for and has not ended. `line` is the host's end of its socketpair.
enum Member {
    Starting { tell: SyncSender<Result<Arc<Child>, ProcessError>>, line: OwnedFd, ties: Ties },
    Living { child: Arc<Child>, line: OwnedFd, ties: Ties },
}

/// What a process has of this one's shared objects. Dropped when it is dead.
struct Ties {
    /// Its seat among those who share them, given back first.
    _seat: Option<Box<dyn Taken>>,
    /// Objects that it was given.
    _kept: Vec<Kept>,
}

/// A process that was started.
pub(super) struct Child {
    worker: WorkerId,
    pidfd: Pidfd,
    household: Arc<Household>,
    end: Mutex<Option<End>>,
    ended: Condvar,
}

/// How a process ended, and what it answered.
struct End {
    exit: Exit,
    error: Option<RemoteError>,
}

/// In a forked copy of the process there is no thread, and a mutex may be held by one that was not copied.
pub(super) fn check_fork() -> Result<(), ProcessError> {
    let owner = OWNER.load(Ordering::Relaxed);
    if owner == 0 || owner == std::process::id() { Ok(()) } else { Err(ProcessError::ForkedHost) }
}

/// Starts a process, and waits until it has its pid.
pub(super) fn start(launch: Launch) -> Result<Arc<Child>, ProcessError> {
    let mut env: Vec<(String, String)> = launch.env.clone();
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(ProcessError::Prepare)?;
    let stderr = io::stderr().as_fd().try_clone_to_owned().map_err(ProcessError::Prepare)?;
    let household = household()?;
    let worker = WorkerId::new(0, household.next.fetch_add(1, Ordering::Relaxed));
    let (seat_told, seat) =
        HomeSeats.take(worker).map_or_else(Default::default, |seat| (seat.told, Some(seat.taken)));
    let (near, far, kept) = launch.into_line(seat_told)?;
    let ties = Ties { _seat: seat, _kept: kept };
    let (tell, told) = sync_channel(1);
    {
        let mut state = household.lock();
        let State { keeper, members } = &mut *state;
        let keeper = keeper.as_mut().ok_or(ProcessError::KeeperDied)?;
        env.push((MARK.to_owned(), keeper.pidfd().pid().to_string()));
        let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let program = household.program.as_os_str().as_bytes();
        let fds = vec![(stdout, 1), (stderr, 2), (far, LINE)];
        keeper.spawn(worker, program, &[program], &env, fds).map_err(ProcessError::Prepare)?;
        members.insert(worker, Member::Starting { tell, line: near, ties });
        household.send(keeper);
    }
    told.recv().unwrap_or(Err(ProcessError::KeeperDied))
}

/// The household that new processes belong to.
fn household() -> Result<Arc<Household>, ProcessError> {
    check_fork()?;
    let mut current = HOUSEHOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(household) = &*current {
        return Ok(Arc::clone(household));
    }
    let household = Household::start()?;
    OWNER.store(std::process::id(), Ordering::Relaxed);
    *current = Some(Arc::clone(&household));
    Ok(household)
}

impl Household {
    /// Starts a keeper, and the thread that hears it.
    fn start() -> Result<Arc<Self>, ProcessError> {
        if !can_be_keeper() || keeper::requested() {
            return Err(ProcessError::NotInitialised);
        }
        let program = env::current_exe().map_err(ProcessError::NoExecutable)?;
        let run_id = run_id();
        let setup = Setup { run_id: run_id.clone(), env: env::vars_os().collect(), ..Setup::default() };
        let waker = Waker::new().map_err(ProcessError::Prepare)?;
        let poller = Poller::new().map_err(ProcessError::Prepare)?;
        let mut keeper = Keeper::start(&program, setup).map_err(ProcessError::Keeper)?;
        keeper.flush().map_err(ProcessError::Prepare)?;
        poller.add(keeper.socket(), KEEPER_TOKEN, Interest::Read).map_err(ProcessError::Prepare)?;
        poller.add(waker.as_fd(), WAKER_TOKEN, Interest::Read).map_err(ProcessError::Prepare)?;
        let state = Mutex::new(State { keeper: Some(keeper), members: HashMap::new() });
        let household = Arc::new(Self { program, run_id, waker, next: AtomicU64::new(0), state });
        let attended = Arc::clone(&household);
        let thread = thread::Builder::new().name("poolctl-processes".to_owned());
        thread.spawn(move || attended.attend(poller)).map_err(ProcessError::Prepare)?;
        Ok(household)
    }

    /// Hears the keeper until it dies.
    fn attend(self: &Arc<Self>, mut poller: Poller) {
        let mut ready = Vec::new();
        let mut reports = Vec::new();
        let mut waited = false;
        let why = loop {
            if let Err(error) = poller.wait(&mut ready, None) {
                break error;
            }
            self.waker.clear();
            let mut state = self.lock();
            let Some(keeper) = state.keeper.as_mut() else { return };
            if let Err(error) = keeper.receive(&mut reports) {
                break error;
            }
            for report in reports.drain(..) {
                self.hear(&mut state, report);
            }
            let Some(keeper) = state.keeper.as_mut() else { return };
            flush(keeper);
            if keeper.wants_write() != waited {
                waited = !waited;
                let interest = if waited { Interest::ReadWrite } else { Interest::Read };
                if let Err(error) = poller.modify(keeper.socket(), KEEPER_TOKEN, interest) {
                    break error;
                }
            }
        };
        drop(poller);
        self.bury(&why);
    }

    fn hear(self: &Arc<Self>, state: &mut State, report: Report) {
        match report {
            Report::Spawned { worker, pidfd, .. } => {
                let Some(Member::Starting { tell, line, ties }) = state.members.remove(&worker) else {
                    return;
                };
                let pidfd = match pidfd {
                    Ok(pidfd) => pidfd,
                    Err(source) => {
                        if let Some(keeper) = &mut state.keeper {
                            keeper.signal(worker, SIGKILL);
                        }
                        let stage = SpawnStage::Prepare;
                        tell.send(Err(ProcessError::Spawn { stage, source })).unwrap_or_default();
                        return;
                    }
                };
                let household = Arc::clone(self);
                let child = Arc::new(Child {
                    worker,
                    pidfd,
                    household,
                    end: Mutex::new(None),
                    ended: Condvar::new(),
                });
                state.members.insert(worker, Member::Living { child: Arc::clone(&child), line, ties });
                // Whoever asked waits for this.
                tell.send(Ok(child)).unwrap_or_default();
            }
            Report::SpawnFailed { worker, stage, errno } => {
                if let Some(Member::Starting { tell, .. }) = state.members.remove(&worker) {
                    let source = io::Error::from_raw_os_error(errno);
                    tell.send(Err(ProcessError::Spawn { stage, source })).unwrap_or_default();
                }
            }
            // Only a signal before the spawn does that, and nobody has the process to signal before.
            Report::Dropped { worker } => drop(state.members.remove(&worker)),
            Report::Exited { worker, exit, .. } => {
                if let Some(keeper) = &mut state.keeper {
                    keeper.reap(worker);
                }
                if let Some(Member::Living { child, line, ties }) = state.members.remove(&worker) {
                    // Who learns of its end finds free what it held.
                    drop(ties);
                    child.settle(exit, answer(&line));
                }
            }
        }
    }

    /// Sends what a caller has queued; what does not fit is left to the thread.
    fn send(&self, keeper: &mut Keeper) {
        flush(keeper);
        if keeper.wants_write() {
            self.waker.wake();
        }
    }

    /// The keeper is gone, or has lost its mind: ends all that it had.
    fn bury(&self, why: &io::Error) {
        tracing::warn!(%why, "the keeper of processes has gone");
        let mut current = HOUSEHOLD.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| std::ptr::eq(&raw const **current, self)) {
            *current = None;
        }
        drop(current);
        let mut state = self.lock();
        let (keeper, members) = (state.keeper.take(), std::mem::take(&mut state.members));
        drop(state);
        drop(keeper);
        if let Err(error) = keeper::sweep(&self.run_id) {
            tracing::error!(%error, "cannot look for what the dead keeper's processes have left");
        }
        for member in members.into_values() {
            match member {
                Member::Starting { tell, .. } => {
                    tell.send(Err(ProcessError::KeeperDied)).unwrap_or_default();
                }
                Member::Living { child, line, ties } => {
                    if !matches!(child.pidfd.wait_for_end(Some(KILLED_TIMEOUT)), Ok(true)) {
                        tracing::error!(pid = child.pid(), "a process outlives its dead keeper");
                    }
                    drop(ties);
                    child.settle(Exit::Signal(SIGKILL), answer(&line));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Child {
    pub(super) fn pid(&self) -> u32 {
        self.pidfd.pid()
    }

    pub(super) fn pidfd(&self) -> &Pidfd {
        &self.pidfd
    }

    /// Waits for its end.
    pub(super) fn wait(&self) -> Exit {
        let mut end = self.lock();
        loop {
            match &*end {
                Some(End { exit, .. }) => return *exit,
                None => end = self.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits for its end, at most so long.
    pub(super) fn wait_timeout(&self, limit: Duration) -> Option<Exit> {
        let Some(until) = Instant::now().checked_add(limit) else { return Some(self.wait()) };
        let mut end = self.lock();
        loop {
            if let Some(End { exit, .. }) = &*end {
                return Some(*exit);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(end);
                return self.exit();
            }
            end = self.ended.wait_timeout(end, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How it ended, if it has. Whoever has seen the sentinel gets an answer: the keeper tells it any moment.
    pub(super) fn exit(&self) -> Option<Exit> {
        let told = self.lock().as_ref().map(|end| end.exit);
        let is_over = || matches!(self.pidfd.wait_for_end(Some(Duration::ZERO)), Ok(true));
        told.or_else(|| is_over().then(|| self.wait()))
    }

    /// What it answered, if it has ended.
    pub(super) fn error(&self) -> Option<TaskError> {
        self.exit()?;
        Some(TaskError::remote(self.lock().as_ref()?.error.clone()?, None))
    }

    /// Sends a signal to its group.
    pub(super) fn signal(&self, signal: i32) {
        let mut state = self.household.lock();
        // Without a keeper it is being killed already.
        if let Some(keeper) = &mut state.keeper {
            keeper.signal(self.worker, signal);
            self.household.send(keeper);
        }
    }

    fn settle(&self, exit: Exit, error: Option<RemoteError>) {
        *self.lock() = Some(End { exit, error });
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flush(keeper: &mut Keeper) {
    if let Err(error) = keeper.flush() {
        // The end of its socket tells the same, and is handled.
        tracing::debug!(%error, "cannot send to the keeper of processes");
    }
}

/// What an ended process answered, if that is a whole error.
fn answer(line: &OwnedFd) -> Option<RemoteError> {
    pipe::set_nonblocking(line).ok()?;
    let mut bytes = vec![0; MAX_ANSWER_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        match transfer::read(line.as_fd(), &mut bytes[filled..]) {
            Ok(count) if count > 0 => filled += count,
            // It has ended, so nothing more will come: a descendant of its may keep the socket open, if anybody does.
            Ok(_) | Err(_) => break,
        }
    }
    let frame = Frame::parse(&bytes[..filled], MAX_ANSWER_BYTES).ok()??;
    if frame.header.kind == Kind::Err { RemoteError::parse(frame.payload).ok() } else { None }
}

/// A name that nothing else on this machine has.
fn run_id() -> String {
    static HOUSEHOLDS: AtomicU64 = AtomicU64::new(0);
    let number = HOUSEHOLDS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-p{number:x}", std::process::id(), poolctl_supervisor::now().0)
}
