//! Locks that clients know by name. They belong to connections: one whose holder vanished goes to the next in line, who is
//! told so.

use std::collections::{HashMap, VecDeque};

use poolctl_supervisor::Moment;

use crate::ledger::ClientId;

/// Most locks that are held or waited for at once.
const MAX_LOCKS: usize = 65_536;

/// All locks.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: HashMap<String, Lock>,
}

#[derive(Debug)]
struct Lock {
    /// None if the last one vanished with it, and nobody has had it since.
    owner: Option<ClientId>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    client: ClientId,
    request: u64,
    until: Option<Moment>,
}

/// A request that has its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) client: ClientId,
    pub(crate) request: u64,
    /// How it went.
    pub(crate) how: Grant,
}

/// How a request for a lock went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// The client has it now.
    Taken {
        /// Whether the one before vanished with it.
        owner_died: bool,
    },
    /// Its time is over.
    TimedOut,
}

/// Why a lock is not to be had, or not to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LockError {
    /// It would wait for itself.
    #[error("this connection has the lock already")]
    Owned,
    /// Somebody else has it, or nobody.
    #[error("this connection does not have the lock")]
    NotOwned,
    /// There are too many.
    #[error("there are {MAX_LOCKS} locks already")]
    TooMany,
}

impl Locks {
    /// A client wants a lock. Says what it gets if that is known now.
    pub(crate) fn take(
        &mut self,
        name: String,
        client: ClientId,
        request: u64,
        until: Option<Moment>,
        now: Moment,
    ) -> Result<Option<Grant>, LockError> {
        if self.held.len() >= MAX_LOCKS && !self.held.contains_key(&name) {
            self.held.retain(|_, lock| lock.owner.is_some());
            if self.held.len() >= MAX_LOCKS {
                return Err(LockError::TooMany);
            }
        }
        match self.held.get_mut(&name) {
            None => {
                self.held.insert(name, Lock { owner: Some(client), waiting: VecDeque::new() });
                Ok(Some(Grant::Taken { owner_died: false }))
            }
            Some(lock) if lock.owner.is_none() => {
                lock.owner = Some(client);
                Ok(Some(Grant::Taken { owner_died: true }))
            }
            Some(lock) if lock.owner == Some(client) => Err(LockError::Owned),
            Some(_) if until.is_some_and(|until| until <= now) => Ok(Some(Grant::TimedOut)),
            Some(lock) => {
                lock.waiting.push_back(Waiting { client, request, until });
                Ok(None)
            }
        }
    }

    /// A client gives a lock back. Says who has it next.
    pub(crate) fn release(&mut self, name: &str, client: ClientId) -> Result<Option<Granted>, LockError> {
        match self.held.get(name) {
            Some(lock) if lock.owner == Some(client) => Ok(self.pass_on(name, false)),
            _ => Err(LockError::NotOwned),
        }
    }

    /// Who has it.
    pub(crate) fn owner(&self, name: &str) -> Option<ClientId> {
        self.held.get(name).and_then(|lock| lock.owner)
    }

    /// A client is gone: what it had goes on, and it waits for nothing.
    pub(crate) fn forget(&mut self, client: ClientId) -> Vec<Granted> {
        for lock in self.held.values_mut() {
            lock.waiting.retain(|waiting| waiting.client != client);
        }
        let had = self.held.iter().filter(|(_, lock)| lock.owner == Some(client));
        let had: Vec<String> = had.map(|(name, _)| name.clone()).collect();
        had.iter().filter_map(|name| self.pass_on(name, true)).collect()
    }

    /// When the first who waits has waited long enough.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.held.values().flat_map(|lock| &lock.waiting).filter_map(|waiting| waiting.until).min()
    }

    /// Those who have waited long enough.
    pub(crate) fn expire(&mut self, now: Moment) -> Vec<Granted> {
        let mut expired = Vec::new();
        for lock in self.held.values_mut() {
            lock.waiting.retain(|waiting| {
                let is_over = waiting.until.is_some_and(|until| until <= now);
                if is_over {
                    let (client, request) = (waiting.client, waiting.request);
                    expired.push(Granted { client, request, how: Grant::TimedOut });
                }
                !is_over
            });
        }
        expired
    }

    fn pass_on(&mut self, name: &str, owner_died: bool) -> Option<Granted> {
        let lock = self.held.get_mut(name)?;
        match lock.waiting.pop_front() {
            Some(Waiting { client, request, .. }) => {
                lock.owner = Some(client);
                Some(Granted { client, request, how: Grant::Taken { owner_died } })
            }
            None if owner_died => {
                // Whoever takes it next is told.
                lock.owner = None;
                None
            }
            None => {
                self.held.remove(name);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000);

    #[test]
    fn a_lock_goes_to_the_next_in_line_who_learns_that_its_holder_vanished() {
        let (one, two, three) = (ClientId(1), ClientId(2), ClientId(3));
        let mut locks = Locks::default();
        let mut take = |client, request| locks.take("db".to_owned(), client, request, None, NOW);

        assert_eq!(take(one, 10), Ok(Some(Grant::Taken { owner_died: false })));
        assert_eq!((take(two, 20), take(three, 30)), (Ok(None), Ok(None)));
        assert_eq!(take(one, 11), Err(LockError::Owned));
        let next = locks.forget(one);
        let last = locks.release("db", two);

        assert_eq!(next, [Granted { client: two, request: 20, how: Grant::Taken { owner_died: true } }]);
        let granted = Granted { client: three, request: 30, how: Grant::Taken { owner_died: false } };
        assert_eq!(last, Ok(Some(granted)));
        assert_eq!(locks.release("db", two), Err(LockError::NotOwned));
        assert_eq!(locks.release("db", three), Ok(None));
        assert_eq!(locks.owner("db"), None);
    }

    #[test]
    fn who_takes_a_lock_that_a_vanished_one_had_is_told_once() {
        let mut locks = Locks::default();
        let take = |locks: &mut Locks, client| locks.take("db".to_owned(), ClientId(client), 1, None, NOW);

        assert_eq!(take(&mut locks, 1), Ok(Some(Grant::Taken { owner_died: false })));
        assert_eq!(locks.forget(ClientId(1)), []);
        assert_eq!(locks.owner("db"), None);

        assert_eq!(take(&mut locks, 2), Ok(Some(Grant::Taken { owner_died: true })));
        assert_eq!(locks.release("db", ClientId(2)), Ok(None));
        assert_eq!(take(&mut locks, 3), Ok(Some(Grant::Taken { owner_died: false })));
    }

    #[test]
    fn who_waits_too_long_is_told() {
        let mut locks = Locks::default();
        let until = Some(Moment(5_000));
        assert!(locks.take("db".to_owned(), ClientId(1), 10, None, NOW).is_ok());
        assert_eq!(locks.take("db".to_owned(), ClientId(2), 20, until, NOW), Ok(None));

        assert_eq!(locks.next_deadline(), until);
        assert_eq!(locks.expire(Moment(4_999)), []);
        let expired = locks.expire(Moment(5_000));

        assert_eq!(expired, [Granted { client: ClientId(2), request: 20, how: Grant::TimedOut }]);
        assert_eq!(locks.take("db".to_owned(), ClientId(2), 21, Some(NOW), NOW), Ok(Some(Grant::TimedOut)));
    }
}
