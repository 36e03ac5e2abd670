//! How this process uses the objects of a host: its own, that of the process which started it, or of one that published.
//!
//! A membership begins with the first handle, from the seat that was told of. To the host it says which of its objects this
//! process has handles to, so that those stay.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use poolctl_supervisor::WorkerId;
use poolctl_sync::{Member, Place, RawRLock, Ticket};
use poolctl_worker::seat;
use serde::{Deserialize, Serialize};

use super::home;
use super::object::ObjectError;

/// How this process uses the objects of one host.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) host: u64,
    pub(super) member: Member,
    /// How often recursive locks are held, for all handles of this process to one: by its line.
    recursive: Mutex<HashMap<u32, RawRLock>>,
    /// Objects to which this process has handles, by their lines.
    holds: Mutex<HashMap<u32, Weak<Hold>>>,
}

/// That this process has handles to an object, or that copies of its own are on their way. If the object is another
/// process's, that knows it by a bit in the segment.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) membership: Arc<Membership>,
    pub(super) place: Place,
    /// Whether another process than the maker may use it.
    pub(super) was_sent: AtomicBool,
}

/// What a child is told of its seat.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) host: u64,
    pub(super) entries: u32,
    pub(super) lines: u32,
    pub(super) rows: u32,
    pub(super) first: u32,
    pub(super) threads: u32,
    pub(super) slot: u32,
    pub(super) generation: u64,
}

impl Membership {
    pub(super) fn new(host: u64, member: Member) -> Self {
        Self { host, member, recursive: Mutex::default(), holds: Mutex::default() }
    }

    /// Whether this process makes these objects.
    pub(super) fn is_own(&self) -> bool {
        self.host == home::home_id()
    }

    /// That for the objects of `host`, whose segment is `file`.
    pub(super) fn of(host: u64, file: OwnedFd) -> Result<Arc<Self>, ObjectError> {
        if let Some(own) = home::own_membership(host)? {
            return Ok(own);
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

    /// The recursive lock, the same for all handles of this process.
    pub(super) fn recursive(&self, place: Place) -> Result<RawRLock, ObjectError> {
        let mut known = locked(&self.recursive);
        if let Some(lock) = known.get(&place.line) {
            return Ok(lock.clone());
        }
        let lock = RawRLock::at(&self.member, place).ok_or(ObjectError::Nothing)?;
        known.insert(place.line, lock.clone());
        Ok(lock)
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

/// The other hosts with whom this process has a seat.
pub(crate) fn known_hosts() -> Vec<u64> {
    let mut known = Known::lock();
    known.memberships.retain(|_, membership| membership.strong_count() > 0);
    // A seat is this process's as long as both live, used or not.
    let parents = parents_seat().ok().flatten().map(|told| told.host);
    parents.into_iter().chain(known.seats.keys().copied()).collect()
}

/// Keeps a seat that a host has told of. What cannot be read is none: whoever needs it is told that it has none.
pub(crate) fn take_seat(host: u64, told: &[u8]) {
    if let Ok(told) = serde_json::from_slice::<Told>(told)
        && told.host == host
    {
        Known::lock().seats.insert(host, told);
    }
}

impl Hold {
    /// That for the object at a place, the same for all handles.
    pub(super) fn of(membership: &Arc<Membership>, place: Place) -> Arc<Self> {
        let mut holds = locked(&membership.holds);
        if let Some(hold) = holds.get(&place.line).and_then(Weak::upgrade) {
            return hold;
        }
        let was_sent = AtomicBool::new(false);
        let hold = Arc::new(Self { membership: Arc::clone(membership), place, was_sent });
        if !membership.is_own() {
            membership.member.set_held(place, true);
        }
        holds.insert(place.line, Arc::downgrade(&hold));
        hold
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Self { membership, place, was_sent } = self;
        // What a forked copy has is its parent's still.
        if !membership.member.is_here() {
            return;
        }
        let mut holds = locked(&membership.holds);
        // Another one may have begun since.
        if holds.get(&place.line).is_none_or(|hold| hold.strong_count() > 0) {
            return;
        }
        holds.remove(&place.line);
        locked(&membership.recursive).remove(&place.line);
        if membership.is_own() {
            home::forget(*place, was_sent.load(Ordering::Relaxed));
        } else {
            membership.member.set_held(*place, false);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
