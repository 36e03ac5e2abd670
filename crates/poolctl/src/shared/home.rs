//! The host of this process's shared objects.
//!
//! A process is the *home* of the objects that it makes: it alone recovers them. Its children (workers of its pools, and
//! processes), and those that attach by name, get a seat each: a block in the table of participants, plain numbers that are
//! known before there is a table. The segment begins with the first object.
//!
//! # If a process dies
//! Its seat is given back once it and its group are dead: what it held is marked, and every waiter is woken. If the home
//! dies, its children do, and the segment goes with the last of them.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use poolctl_supervisor::{Seat, Seats, Taken, WorkerId};
use poolctl_sync::{Blocks, Capacity, CreateError, Host, Place, RawJoinableQueue, Recovered, Ticket};
use poolctl_sys::fork_mark::ForkMark;

use super::membership::{Membership, Told};
use super::object::ObjectError;

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

    fn check_fork(&self) -> Result<(), ObjectError> {
        if self.here.is_here() { Ok(()) } else { Err(ObjectError::Forked) }
    }
}

/// The host that this process is.
pub(crate) fn home_id() -> u64 {
    home().id
}

/// Makes an object.
pub(super) fn make(
    make: impl FnOnce(&mut Host) -> Result<Place, CreateError>,
) -> Result<(Arc<Membership>, Place), ObjectError> {
    let home = home();
    home.check_fork()?;
    let mut stage = home.lock();
    let (host, membership) = stage.host(home.id)?;
    let place = make(host).map_err(ObjectError::Create)?;
    Ok((Arc::clone(membership), place))
}

/// Forgets an object of which this process has no handle any more: at once, or when no other process has one.
pub(super) fn forget(place: Place, was_sent: bool) {
    if let home = home()
        && home.here.is_here()
        && let Stage::Hosting(host, _) = &mut *home.lock()
    {
        if was_sent { host.release(place) } else { host.remove(place) }
    }
}

/// From now on what a dead process had in hand of this queue of this process is known as abandoned.
pub(super) fn watch(queue: &RawJoinableQueue) {
    if let Stage::Hosting(host, _) = &mut *home().lock() {
        host.watch(queue);
    }
}

/// This process's own membership, if it is the host of this id.
pub(super) fn own_membership(host: u64) -> Result<Option<Arc<Membership>>, ObjectError> {
    let home = home();
    if host != home.id {
        return Ok(None);
    }
    home.check_fork()?;
    home.lock().host(host).map(|(_, membership)| Some(Arc::clone(membership)))
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
