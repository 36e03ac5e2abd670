//! The host of this process's shared objects, and this process's part in the objects of the one that started it.
//!
//! A process is the *home* of the objects that it makes: it alone recovers them. Its children (workers of its pools, and
//! processes) get a seat each when they start: a block in the table of participants, plain numbers that are known before
//! there is a table. The segment comes with the first handle. A handle of neither home is [`ObjectError::Foreign`].
//!
//! # If a process dies
//! Its seat is given back once it and its group are dead: what it held is marked, and every waiter is woken. If the home
//! dies, its children do, and the segment goes with the last of them.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use poolctl_supervisor::{Seat, Seats, Taken, WorkerId};
use poolctl_sync::{
    AttachError, Blocks, Capacity, CreateError, Host, Member, Place, RawJoinableQueue, RawRLock, Recovered,
    Ticket,
};
use poolctl_sys::fork_mark::ForkMark;
use poolctl_worker::attachments::{self, Kept, Luggage};
use poolctl_worker::seat;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use poolctl_shm::SharedError;

/// Why there is no shared object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// There is no room for it among the objects of this process.
    #[error("failed to make a shared object")]
    Create(#[source] CreateError),
    /// There is no memory for what it holds.
    #[error("no memory for a shared object")]
    Memory(#[from] SharedError),
    /// It is of a process that has not started this one, and whose objects it has not attached by name.
    #[error(
        "the object is of another host: a process uses its own objects, those of the one that started it, and what it \
         attached by name"
    )]
    Foreign,
    /// As many processes share objects already as can.
    #[error("this process has no seat among those who share objects: all were taken when it started")]
    NoSeat,
    /// This is a forked copy of the process whose objects they are.
    #[error("a forked copy of a process cannot use its shared objects")]
    Forked,
    /// The segment of the objects, 115 MiB of addresses, cannot be mapped into this process.
    #[error("cannot use the shared objects of the process that started this one")]
    Attach(#[source] AttachError),
    /// The handle leads nowhere.
    #[error("the handle leads to no shared object")]
    Nothing,
}

/// How this process uses the objects of one host.
#[derive(Debug)]
pub(super) struct Membership {
    host: u64,
    pub(super) member: Member,
    /// How often recursive locks are held, for all handles of this process to one: by its line.
    recursive: Mutex<HashMap<u32, RawRLock>>,
    /// Objects of another process to which this one has handles, by their lines.
    holds: Mutex<HashMap<u32, Weak<Hold>>>,
}

/// An object: where it is, and how it is used here.
#[derive(Clone)]
pub(super) struct Object {
    membership: Arc<Membership>,
    pub(super) place: Place,
    tie: Tie,
}

/// What keeps an object as long as there are handles to it.
#[derive(Debug, Clone)]
enum Tie {
    /// In the process that made it.
    Made(Arc<Made>),
    /// In another one.
    Held { _hold: Arc<Hold> },
    /// In the process that made it, where the handle came back to: it was sent for good, so it stays.
    Pinned,
}

/// What the process that made an object knows of it. Handles on their way have it, too.
#[derive(Debug)]
struct Made {
    place: Place,
    /// Whether another process may use it.
    was_sent: AtomicBool,
}

/// That this process has handles to an object of another, which knows it by a bit in the segment.
#[derive(Debug)]
struct Hold {
    membership: Arc<Membership>,
    place: Place,
}

/// A handle on its way.
#[derive(Debug)]
struct Parting {
    file: Arc<OwnedFd>,
    member: Member,
    place: Place,
    made: Option<Arc<Made>>,
}

/// The host of this process.
#[derive(Debug)]
struct Home {
    id: u64,
    here: ForkMark,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    /// Nothing was made yet.
    Waiting(Blocks),
    Hosting(Box<Host>, Arc<Membership>),
    /// While it goes from one to the other.
    Between,
}

/// What travels of a handle.
#[derive(Serialize, Deserialize)]
struct Reference {
    descriptor: u32,
    host: u64,
    line: u32,
    extra: u32,
}

/// What a child is told of its seat.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Told {
    host: u64,
    entries: u32,
    lines: u32,
    rows: u32,
    first: u32,
    threads: u32,
    slot: u32,
    generation: u64,
}

fn home() -> &'static Home {
    static HOME: OnceLock<Home> = OnceLock::new();
    HOME.get_or_init(|| Home {
        id: RandomState::new().hash_one(std::process::id()),
        here: ForkMark::new(),
        stage: Mutex::new(Stage::Waiting(
            Blocks::new(Capacity::default()).expect("the default is within its bounds"),
        )),
    })
}

impl Home {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    /// The host, which begins with the first object.
    fn host(&mut self, id: u64) -> Result<(&mut Host, &Arc<Membership>), ObjectError> {
        if let Self::Waiting(_) = self
            && let Self::Waiting(blocks) = std::mem::replace(self, Self::Between)
        {
            *self = match Host::with_blocks(WorkerId::new(0, 0), blocks) {
                Ok(host) => {
                    let membership = Membership::new(id, host.member().clone());
                    Self::Hosting(Box::new(host), Arc::new(membership))
                }
                Err((error, blocks)) => {
                    *self = Self::Waiting(blocks);
                    return Err(ObjectError::Create(error));
                }
            };
        }
        match self {
            Self::Hosting(host, membership) => Ok((host, membership)),
            Self::Waiting(_) | Self::Between => unreachable!("it was begun above"),
        }
    }
}

impl Membership {
    fn new(host: u64, member: Member) -> Self {
        Self { host, member, recursive: Mutex::default(), holds: Mutex::default() }
    }

    /// That for the objects of `host`, whose segment is `file`.
    fn of(host: u64, file: OwnedFd) -> Result<Arc<Self>, ObjectError> {
        let home = home();
        if host == home.id {
            if !home.here.is_here() {
                return Err(ObjectError::Forked);
            }
            return home.lock().host(host).map(|(_, membership)| Arc::clone(membership));
        }
        let mut known = Known::lock();
        if let Some(membership) = known.memberships.get(&host).and_then(Weak::upgrade) {
            return Ok(membership);
        }
        let parents = parents_seat()?;
        let is_parents = parents.as_ref().is_some_and(|told| told.host == host);
        let told = if is_parents { parents } else { known.seats.get(&host).copied() };
        let told = told.ok_or(ObjectError::Foreign)?;
        let Told { entries, lines, rows, first, threads, slot, generation, .. } = told;
        let ticket = Ticket { entries, lines, rows, first, threads, worker: WorkerId::new(slot, generation) };
        let member = Member::attach(file, ticket).map_err(ObjectError::Attach)?;
        let membership = Arc::new(Self::new(host, member));
        known.memberships.insert(host, Arc::downgrade(&membership));
        if is_parents {
            known.parents = Some(Arc::clone(&membership));
        }
        Ok(membership)
    }
}

/// This process's memberships with other hosts.
#[derive(Debug, Default)]
struct Known {
    /// Seats that were told of by others than the parent.
    seats: HashMap<u64, Told>,
    memberships: HashMap<u64, Weak<Membership>>,
    /// That with the parent is kept, since the next task may come with a handle again.
    parents: Option<Arc<Membership>>,
}

impl Known {
    fn lock() -> MutexGuard<'static, Self> {
        static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The seat that the process which started this one gave it.
fn parents_seat() -> Result<Option<Told>, ObjectError> {
    let told = seat::told().map(serde_json::from_slice).transpose();
    told.map_err(|_| ObjectError::NoSeat)
}

/// The host that this process is.
pub(crate) fn home_id() -> u64 {
    home().id
}

/// The other hosts with whom this process has a seat, and uses it.
pub(crate) fn known_hosts() -> Vec<u64> {
    let mut known = Known::lock();
    known.memberships.retain(|_, membership| membership.strong_count() > 0);
    let Known { seats, memberships, .. } = &mut *known;
    seats.retain(|host, _| memberships.contains_key(host));
    let parents = parents_seat().ok().flatten().map(|told| told.host);
    parents.into_iter().chain(memberships.keys().copied()).collect()
}

/// Keeps a seat that a host has told of. What cannot be read is none: whoever needs it is told that it has none.
pub(crate) fn take_seat(host: u64, told: &[u8]) {
    if let Ok(told) = serde_json::from_slice::<Told>(told)
        && told.host == host
    {
        Known::lock().seats.insert(host, told);
    }
}

impl Object {
    /// An object that this process makes.
    pub(super) fn make(
        make: impl FnOnce(&mut Host) -> Result<Place, CreateError>,
    ) -> Result<Self, ObjectError> {
        let home = home();
        if !home.here.is_here() {
            return Err(ObjectError::Forked);
        }
        let mut stage = home.lock();
        let (host, membership) = stage.host(home.id)?;
        let place = make(host).map_err(ObjectError::Create)?;
        let made = Arc::new(Made { place, was_sent: AtomicBool::new(false) });
        Ok(Self { membership: Arc::clone(membership), place, tie: Tie::Made(made) })
    }

    /// From now on what a dead process had in hand of this queue, which is at this object, is known as abandoned.
    pub(super) fn watch(&self, queue: &RawJoinableQueue) {
        if let Stage::Hosting(host, _) = &mut *home().lock() {
            host.watch(queue);
        }
    }

    pub(super) fn member(&self) -> &Member {
        &self.membership.member
    }

    /// What a primitive of `poolctl-sync` makes of it.
    pub(super) fn raw<R>(&self, at: impl FnOnce(&Member, Place) -> Option<R>) -> Result<R, ObjectError> {
        at(self.member(), self.place).ok_or(ObjectError::Nothing)
    }

    /// The recursive lock, the same for all handles of this process.
    pub(super) fn recursive(&self) -> Result<RawRLock, ObjectError> {
        let mut known = locked(&self.membership.recursive);
        if let Some(lock) = known.get(&self.place.line) {
            return Ok(lock.clone());
        }
        let lock = self.raw(RawRLock::at)?;
        known.insert(self.place.line, lock.clone());
        Ok(lock)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let home = home()
            && home.here.is_here()
            && let Stage::Hosting(host, membership) = &mut *home.lock()
        {
            locked(&membership.recursive).remove(&self.place.line);
            if self.was_sent.load(Ordering::Relaxed) {
                host.release(self.place);
            } else {
                host.remove(self.place);
            }
        }
    }
}

impl Hold {
    /// That for the object at a place, the same for all handles.
    fn of(membership: &Arc<Membership>, place: Place) -> Arc<Self> {
        let mut holds = locked(&membership.holds);
        if let Some(hold) = holds.get(&place.line).and_then(Weak::upgrade) {
            return hold;
        }
        let hold = Arc::new(Self { membership: Arc::clone(membership), place });
        membership.member.set_held(place, true);
        holds.insert(place.line, Arc::downgrade(&hold));
        hold
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = locked(&self.membership.holds);
        // Another one may have begun since.
        if holds.get(&self.place.line).is_some_and(|hold| hold.strong_count() == 0) {
            holds.remove(&self.place.line);
            locked(&self.membership.recursive).remove(&self.place.line);
            self.membership.member.set_held(self.place, false);
        }
    }
}

impl AsFd for Parting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Luggage for Parting {
    fn kept(&self) -> Option<Kept> {
        self.made.clone().map(|made| -> Kept { made })
    }

    fn leaves(&self) {
        self.member.pin(self.place);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (file, member) = (Arc::clone(self.member().file()), self.member().clone());
        let made = match &self.tie {
            Tie::Made(made) => {
                made.was_sent.store(true, Ordering::Relaxed);
                Some(Arc::clone(made))
            }
            // Who made it does not learn that it is on its way from here.
            Tie::Held { .. } | Tie::Pinned => {
                member.pin(self.place);
                None
            }
        };
        let parting = Parting { file, member, place: self.place, made };
        let descriptor = attachments::attach(Arc::new(parting)).map_err(ser::Error::custom)?;
        let Place { line, extra } = self.place;
        Reference { descriptor, host: self.membership.host, line, extra }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Reference { descriptor, host, line, extra } = Reference::deserialize(deserializer)?;
        let file = attachments::take(descriptor).map_err(de::Error::custom)?;
        let membership = Membership::of(host, file).map_err(de::Error::custom)?;
        let place = Place { line, extra };
        let tie =
            if host == home_id() { Tie::Pinned } else { Tie::Held { _hold: Hold::of(&membership, place) } };
        Ok(Self { membership, place, tie })
    }
}

/// Lets a handle travel that is nothing but its object.
macro_rules! travels {
    ($handle:ident) => {
        impl serde::Serialize for $handle {
            /// As an argument of a task or process alone; anything else is an error.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.object.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $handle {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::of(Object::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use travels;

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place.line)
    }
}

/// Where the children of this process get their seats.
#[derive(Debug)]
pub(crate) struct HomeSeats;

/// A seat of a child.
#[derive(Debug)]
struct TakenSeat(Ticket);

impl Seats for HomeSeats {
    fn take(&self, worker: WorkerId) -> Option<Seat> {
        let home = home();
        let ticket = match &mut *home.lock() {
            Stage::Waiting(blocks) => blocks.take(worker),
            Stage::Hosting(host, _) => host.admit(worker),
            Stage::Between => unreachable!("nobody sees it so"),
        };
        let ticket =
            ticket.inspect_err(|error| tracing::warn!(%error, %worker, "it shares no objects")).ok()?;
        let Ticket { entries, lines, rows, first, threads, worker } = ticket;
        let (slot, generation) = (worker.slot.0, worker.generation.0);
        let told = Told { host: home.id, entries, lines, rows, first, threads, slot, generation };
        let told = serde_json::to_vec(&told).expect("numbers are always JSON");
        Some(Seat { told, taken: Box::new(TakenSeat(ticket)) })
    }
}

impl Taken for TakenSeat {}

impl Drop for TakenSeat {
    fn drop(&mut self) {
        let home = home();
        if !home.here.is_here() {
            return;
        }
        let recovered = match &mut *home.lock() {
            Stage::Waiting(blocks) => {
                blocks.give_back(self.0);
                return;
            }
            Stage::Hosting(host, _) => host.recover(self.0),
            Stage::Between => unreachable!("nobody sees it so"),
        };
        if recovered != Recovered::default() {
            tracing::info!(worker = %self.0.worker, ?recovered, "a dead process held shared objects");
        }
    }
}
