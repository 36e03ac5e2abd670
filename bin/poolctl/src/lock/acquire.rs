//! Getting a lock or a permit, on a thread that may block for ever.
//!
//! # Protocol
//! 1. Under the guard: open the file and try to lock it. Who gets it writes its record and is through.
//! 2. Else, still under the guard: lock and write a file of one's own that says what one waits for and below whom, and
//!    look for a cycle. The last waiter of a cycle sees the others.
//! 3. Without the guard: block in the kernel, for a lock on its file. For a permit on the gate; who has the gate waits
//!    until one of the processes that hold the permits ends.
//! 4. Under the guard again: write the record, take the file of the wait away.
//!
//! Giving back is truncating, closing, and sweeping, under the guard.
//!
//! # If a side dies
//! The kernel gives back what it had locked. A record in a file that is not locked says that its owner died, and the
//! next one is told. The file of a dead waiter is not locked: whoever reads the directory next removes it. A process
//! killed between locking and writing has done nothing yet, and nobody is told.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use poolctl_supervisor::{Pidfd, file_lock, now};

use super::deadlock::{self, Deadlock};
use super::name::{Entry, Kind, Object};
use super::place::{Guard, Place};
use super::record::{self, Found, Life, Party, Run, Waiter};
use super::table::{Holding, State, Table};

/// What somebody wants to hold.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) place: Place,
    pub(super) object: Object,
    /// One of so many; of a lock there is one.
    pub(super) permits: u32,
    pub(super) me: Life,
    pub(super) command: String,
    pub(super) under: Vec<Life>,
    /// Where it was started, if below a run.
    pub(super) run: Option<Run>,
}

/// Why it cannot be got.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcquireError {
    #[error(transparent)]
    Deadlock(#[from] Deadlock),
    #[error("{object} is `-n {theirs}` for {party}, so it cannot be `-n {ours}` now")]
    OtherNumber { object: Object, ours: u32, theirs: u32, party: Box<Party> },
    #[error("failed to lock in the runtime directory")]
    Io(#[from] io::Error),
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It has to wait.
    Queued(Seat),
    /// It is through, or will never be.
    Settled(Result<Grant, AcquireError>),
}

/// A place among those who wait.
#[derive(Debug)]
pub(super) struct Seat {
    place: Place,
    wait: Entry,
    /// What is waited at; the thread that waits may come to own it at any moment.
    file: Arc<File>,
    given_up: Arc<AtomicBool>,
}

/// A lock or permit that this process holds.
#[derive(Debug)]
pub(super) struct Grant {
    place: Place,
    file: Arc<File>,
    /// What the one before left, if it died.
    pub(super) died: Option<Died>,
}

/// Who died holding it; none if it died while saying so.
#[derive(Debug)]
pub(super) struct Died(Option<Party>);

/// How long a process may take to be gone after the kernel has given back what it had locked.
const DYING: Duration = Duration::from_secs(1);

impl Died {
    /// Waits until it is gone altogether, since the command below it is killed only then, and says who it was and which
    /// processes below it are still there.
    pub(super) fn tell(&self) -> String {
        let Some(party) = &self.0 else { return "its owner died while taking it".to_owned() };
        if let Ok(process) = Pidfd::open(party.life.pid)
            && Life::of(party.life.pid).is_ok_and(|life| life == party.life)
        {
            // What cannot be waited for has gone.
            drop(process.wait_for_end(Some(DYING)));
        }
        let left = party.life.processes_below();
        if left.is_empty() {
            return format!("{party} died while holding it");
        }
        let pids: Vec<String> = left.iter().map(u32::to_string).collect();
        format!("{party} died while holding it; of what it had started there is still: {}", pids.join(", "))
    }
}

impl Seat {
    /// Leaves. Nothing is granted any more after this; what was granted just before is for the caller to give back.
    ///
    /// # Errors
    /// The directory is out of reach.
    pub(super) fn give_up(&self) -> io::Result<()> {
        let guard = self.place.guard()?;
        // Read under the guard by the thread that waits, so it either has granted before this or never will.
        self.given_up.store(true, Ordering::Relaxed);
        file_lock::unlock(&self.file)?;
        self.place.remove(&self.wait, &guard)?;
        Table::read(&self.place, &guard).map(drop)
    }
}

impl Grant {
    /// Gives it back.
    ///
    /// # Errors
    /// The directory is out of reach; the end of the process gives it back then, and the next one takes it for a death.
    pub(super) fn release(&self) -> io::Result<()> {
        let guard = self.place.guard()?;
        self.file.set_len(0)?;
        file_lock::unlock(&self.file)?;
        Table::read(&self.place, &guard).map(drop)
    }
}

/// Gets what is asked for, however long it takes, and tells how it goes.
pub(super) fn acquire(request: &Request, tell: &impl Fn(Verdict)) {
    let got = match request.object.kind {
        Kind::Lock => lock(request, tell),
        Kind::Semaphore => permit(request, tell),
    };
    match got {
        // Told already, or nobody listens any more.
        Ok(()) => {}
        Err(error) => tell(Verdict::Settled(Err(error))),
    }
}

fn lock(request: &Request, tell: &impl Fn(Verdict)) -> Result<(), AcquireError> {
    let guard = request.place.guard()?;
    let file = Arc::new(request.place.create(&Entry::Lock(request.object.name.clone()), &guard)?);
    if file_lock::try_lock(&file)? {
        return request.settle(file, &guard, tell);
    }
    let queued = request.queue(&file, &guard)?;
    tell(Verdict::Queued(queued.seat()));
    drop(guard);
    file_lock::lock(&file)?;
    let guard = request.place.guard()?;
    if queued.given_up.load(Ordering::Relaxed) {
        return Ok(());
    }
    request.place.remove(&queued.wait, &guard)?;
    request.settle(file, &guard, tell)
}

fn permit(request: &Request, tell: &impl Fn(Verdict)) -> Result<(), AcquireError> {
    let guard = request.place.guard()?;
    request.agree(&guard)?;
    let gate = Arc::new(request.place.create(&Entry::Gate(request.object.name.clone()), &guard)?);
    let first = file_lock::try_lock(&gate)?;
    if first && let Some(file) = request.free_permit(&guard)? {
        drop(gate);
        Table::read(&request.place, &guard)?;
        return request.settle(file, &guard, tell);
    }
    let queued = request.queue(&gate, &guard)?;
    tell(Verdict::Queued(queued.seat()));
    drop(guard);
    if !first {
        file_lock::lock(&gate)?;
    }
    loop {
        let guard = request.place.guard()?;
        if queued.given_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(file) = request.free_permit(&guard)? {
            request.place.remove(&queued.wait, &guard)?;
            file_lock::unlock(&gate)?;
            Table::read(&request.place, &guard)?;
            return request.settle(file, &guard, tell);
        }
        let release = request.next_release(&guard)?;
        drop(guard);
        match release {
            Release::EndOf(processes) => wait_for_any(&processes)?,
            Release::Of(file) => {
                file_lock::lock(&file)?;
                file_lock::unlock(&file)?;
            }
        }
    }
}

/// What a permit that comes back is seen by.
#[derive(Debug)]
enum Release {
    /// The end of one of the processes that hold them.
    EndOf(Vec<Pidfd>),
    /// The lock on this one: its owner is not to be seen. It died while it started its command, which has the file open
    /// until it is executed; or it lives in another pid namespace.
    Of(File),
}

/// Waits until one of these processes has ended.
fn wait_for_any(processes: &[Pidfd]) -> io::Result<()> {
    let mut ends: Vec<PollFd<'_>> =
        processes.iter().map(|process| PollFd::new(process.as_fd(), PollFlags::POLLIN)).collect();
    loop {
        match poll(&mut ends, PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Somebody in the queue: as long as it lives, the file of the wait is locked.
#[derive(Debug)]
struct Queued {
    place: Place,
    wait: Entry,
    _wait_file: File,
    file: Arc<File>,
    given_up: Arc<AtomicBool>,
}

impl Queued {
    fn seat(&self) -> Seat {
        Seat {
            place: self.place.clone(),
            wait: self.wait.clone(),
            file: Arc::clone(&self.file),
            given_up: Arc::clone(&self.given_up),
        }
    }
}

impl Request {
    fn party(&self) -> Party {
        Party {
            life: self.me,
            since: now().0,
            command: self.command.clone(),
            permits: self.permits,
            run: self.run.clone(),
        }
    }

    /// Refuses a number of permits that is not that of those who hold or wait: some of them would count to another end.
    fn agree(&self, guard: &Guard) -> Result<(), AcquireError> {
        let table = Table::read(&self.place, guard)?;
        let holds = |holding: &&Holding| holding.object == self.object && holding.state == State::Held;
        let holders = table.holdings.iter().filter(holds).filter_map(|holding| holding.party.as_ref());
        let waiters = table.waiters.iter().filter(|waiter| waiter.wants == self.object);
        let mut others = holders.chain(waiters.map(|waiter| &waiter.party));
        match others.find(|party| party.permits != self.permits) {
            None => Ok(()),
            Some(party) => Err(AcquireError::OtherNumber {
                object: self.object.clone(),
                ours: self.permits,
                theirs: party.permits,
                party: Box::new(party.clone()),
            }),
        }
    }

    /// Registers the wait and refuses one that would never end.
    fn queue(&self, file: &Arc<File>, guard: &Guard) -> Result<Queued, AcquireError> {
        let wait = Entry::Wait(self.me.to_string());
        let wait_file = self.place.create(&wait, guard)?;
        file_lock::lock(&wait_file)?;
        let waiter = Waiter { party: self.party(), wants: self.object.clone(), under: self.under.clone() };
        record::write(&wait_file, &waiter)?;
        let table = Table::read(&self.place, guard)?;
        if let Some(deadlock) = deadlock::find(&table, self.me, now()) {
            self.place.remove(&wait, guard)?;
            return Err(deadlock.into());
        }
        Ok(Queued {
            place: self.place.clone(),
            wait,
            _wait_file: wait_file,
            file: Arc::clone(file),
            given_up: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Makes the locked file say who holds it, and grants it.
    fn settle(&self, file: Arc<File>, _guard: &Guard, tell: &impl Fn(Verdict)) -> Result<(), AcquireError> {
        let died = match record::read::<Party>(&file)? {
            Found::Nothing => None,
            found => Some(Died(found.record())),
        };
        record::write(&file, &self.party())?;
        tell(Verdict::Settled(Ok(Grant { place: self.place.clone(), file, died })));
        Ok(())
    }

    /// A permit that nobody holds, locked; first one whose owner died, so that somebody is told.
    fn free_permit(&self, guard: &Guard) -> io::Result<Option<Arc<File>>> {
        // Left by an owner when there were more permits.
        let mut beyond = None;
        for entry in self.place.entries(guard)? {
            let Entry::Permit(name, number) = &entry else { continue };
            if *name != self.object.name {
                continue;
            }
            let file = self.place.open_existing(&entry, guard)?;
            if file.metadata()?.len() > 0 && file_lock::try_lock(&file)? {
                if *number < self.permits {
                    return Ok(Some(Arc::new(file)));
                }
                beyond = Some(file);
            }
        }
        for number in 0..self.permits {
            let file = self.place.create(&self.permit(number), guard)?;
            if file_lock::try_lock(&file)? {
                if let Some(beyond) = &beyond {
                    record::hand_on(beyond, &file)?;
                }
                return Ok(Some(Arc::new(file)));
            }
        }
        Ok(None)
    }

    /// How the next permit comes back. None of them is free, by [`Request::free_permit`] under the same guard.
    fn next_release(&self, guard: &Guard) -> io::Result<Release> {
        let mut holders = Vec::new();
        for number in 0..self.permits {
            let file = self.place.open_existing(&self.permit(number), guard)?;
            let party = record::read::<Party>(&file)?.record();
            // The pid means this life, if it still does after it was opened.
            let process = party.and_then(|party| {
                let process = Pidfd::open(party.life.pid).ok()?;
                Life::of(party.life.pid).is_ok_and(|life| life == party.life).then_some(process)
            });
            match process {
                Some(process) => holders.push(process),
                None => return Ok(Release::Of(file)),
            }
        }
        Ok(Release::EndOf(holders))
    }

    fn permit(&self, number: u32) -> Entry {
        Entry::Permit(self.object.name.clone(), number)
    }
}
