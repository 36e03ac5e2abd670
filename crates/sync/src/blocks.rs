//! Which block of a host's table each process has: plain numbers, which can be given away before there is a table.

use std::collections::VecDeque;
use std::ops::Range;

use poolctl_types::WorkerId;

use crate::host::{Capacity, CreateError};
use crate::member::Ticket;

/// All blocks of the table are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {processes} places for processes are taken")]
pub struct NoBlock {
    /// How many there are.
    pub processes: u32,
}

/// The blocks of a host that is, or is to be.
#[derive(Debug)]
pub struct Blocks {
    capacity: Capacity,
    /// How many entries the whole table has.
    entries: u32,
    /// First entries of blocks that were given back, oldest first.
    free: VecDeque<u32>,
    /// Entries from the first on that were ever given away.
    given: u32,
}

impl Blocks {
    /// All free but the host's own.
    ///
    /// # Errors
    /// [`CreateError::Capacity`].
    pub fn new(capacity: Capacity) -> Result<Self, CreateError> {
        let Capacity { processes, threads, host_threads, .. } = capacity;
        let others = processes.checked_sub(1).and_then(|others| others.checked_mul(threads));
        let entries = others.and_then(|others| others.checked_add(host_threads));
        let entries = entries.filter(|entries| *entries <= 1 << 16 && threads > 0 && host_threads > 0);
        let entries = entries.ok_or(CreateError::Capacity { capacity })?;
        Ok(Self { capacity, entries, free: VecDeque::new(), given: host_threads })
    }

    /// The block of the host itself, the process life `worker`.
    #[must_use]
    pub fn of_host(&self, worker: WorkerId) -> Ticket {
        let Capacity { host_threads, lines, .. } = self.capacity;
        Ticket { entries: self.entries, lines, rows: self.rows(), first: 0, threads: host_threads, worker }
    }

    /// Gives a block to a process life. It must have ended, and been recovered, before another gets the block. Blocks that
    /// nobody had come first, then those given back, oldest first.
    ///
    /// # Errors
    /// [`NoBlock`].
    pub fn take(&mut self, worker: WorkerId) -> Result<Ticket, NoBlock> {
        let Capacity { processes, threads, lines, .. } = self.capacity;
        let fresh = self.given;
        let first = if fresh + threads <= self.entries {
            self.given = fresh + threads;
            fresh
        } else {
            self.free.pop_front().ok_or(NoBlock { processes })?
        };
        Ok(Ticket { entries: self.entries, lines, rows: self.rows(), first, threads, worker })
    }

    /// Takes a block back, which was given and has not come back yet; any other changes nothing.
    pub fn give_back(&mut self, ticket: Ticket) {
        let Capacity { threads, host_threads, .. } = self.capacity;
        let behind = ticket.first.checked_sub(host_threads);
        let is_one = behind.is_some_and(|behind| behind.is_multiple_of(threads)) && ticket.first < self.given;
        if is_one && !self.free.contains(&ticket.first) {
            self.free.push_back(ticket.first);
        }
    }

    /// The rows of all blocks but the host's that were ever given away.
    pub(crate) fn given_rows(&self) -> Range<usize> {
        let Capacity { threads, host_threads, .. } = self.capacity;
        host_threads.div_ceil(threads) as usize..self.given.div_ceil(threads) as usize
    }

    /// How many rows there are: one more than the highest [`Ticket::row`].
    pub(crate) fn rows(&self) -> u32 {
        self.entries / self.capacity.threads + 1
    }

    /// Entries from the first on that were ever given away.
    pub(crate) fn given(&self) -> u32 {
        self.given
    }
}
