//! Everything that stands in the directory at one moment; what nobody needs any more is swept out on the way.

use std::io;

use poolctl_supervisor::file_lock;

use super::name::{Entry, Object};
use super::place::{Guard, Place};
use super::record::{self, Found, Party, Waiter};

/// Somebody who holds a lock or a permit, or died at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) object: Object,
    /// Which permit, counted from 0; a lock has but one.
    pub(crate) permit: u32,
    /// Who; none if a record is missing or torn.
    pub(crate) party: Option<Party>,
    pub(crate) state: State,
}

/// Whether a holder lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Held,
    OwnerDied,
}

/// Who holds and who waits.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) holdings: Vec<Holding>,
    pub(crate) waiters: Vec<Waiter>,
}

impl Table {
    /// Reads the directory, and removes what dead waiters left and files that stand for nothing.
    ///
    /// A file is removed only if it is not locked and empty and nobody waits for its object: whoever has it open
    /// either holds it or is among the waiters, since all open it and register under the guard.
    pub(crate) fn read(place: &Place, guard: &Guard) -> io::Result<Self> {
        let mut table = Self::default();
        let mut spare = Vec::new();
        for entry in place.entries(guard)? {
            let file = place.open_existing(&entry, guard)?;
            let locked = file_lock::is_locked_elsewhere(&file)?;
            let (object, permit) = match &entry {
                Entry::Wait(_) if locked => {
                    table.waiters.extend(record::read::<Waiter>(&file)?.record());
                    continue;
                }
                Entry::Wait(_) => {
                    place.remove(&entry, guard)?;
                    continue;
                }
                Entry::Permit(_, number) => (entry.object(), *number),
                Entry::Lock(_) | Entry::Gate(_) => (entry.object(), 0),
            };
            let object = object.expect("all but those who wait belong to an object");
            match (record::read(&file)?, locked) {
                (Found::Nothing, false) => spare.push((entry, object)),
                _ if matches!(entry, Entry::Gate(_)) => {}
                (found, locked) => {
                    let state = if locked { State::Held } else { State::OwnerDied };
                    table.holdings.push(Holding { object, permit, party: found.record(), state });
                }
            }
        }
        for (entry, object) in spare {
            if !table.waiters.iter().any(|waiter| waiter.wants == object) {
                place.remove(&entry, guard)?;
            }
        }
        table.waiters.sort_by_key(|waiter| waiter.party.since);
        Ok(table)
    }
}
