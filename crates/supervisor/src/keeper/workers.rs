//! The keeper's workers: held back, living, and dead but not reaped.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use poolctl_sys::pidfd::Pidfd;
use poolctl_types::{Moment, WorkerId};

use super::held::HeldSpawn;

/// Every worker the host has asked for and not had reaped.
#[derive(Debug, Default)]
pub(super) struct Workers {
    held: HashMap<WorkerId, HeldSpawn>,
    /// In which order to begin them; names dropped ones too, but never in front.
    order: VecDeque<WorkerId>,
    /// By pid, which is theirs alone until they are reaped.
    leaders: HashMap<u32, Leader>,
    pids: HashMap<WorkerId, u32>,
    living: usize,
    max_running: Option<usize>,
}

/// A process that was spawned and is not reaped.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) worker: WorkerId,
    pub(super) pidfd: Rc<Pidfd>,
    pub(super) begun: Moment,
    dead: bool,
}

impl Workers {
    pub(super) fn set_max_running(&mut self, max_running: Option<u32>) {
        self.max_running = max_running.map(|count| count as usize);
    }

    /// Queues a spawn.
    pub(super) fn hold(&mut self, spawn: HeldSpawn) {
        self.order.push_back(spawn.worker);
        self.held.insert(spawn.worker, spawn);
    }

    /// Whether there is a spawn to begin, and it may be begun now.
    pub(super) fn may_begin(&self) -> bool {
        !self.held.is_empty() && self.max_running.is_none_or(|most| self.living < most)
    }

    /// The next spawn to begin now, if one may be begun.
    pub(super) fn next_to_begin(&mut self) -> Option<HeldSpawn> {
        let first = if self.may_begin() { self.order.pop_front() } else { None };
        let spawn = first.and_then(|worker| self.held.remove(&worker));
        self.skip_dropped();
        spawn
    }

    /// Takes back a spawn that has not begun; false if there is no such.
    pub(super) fn drop_held(&mut self, worker: WorkerId) -> bool {
        let dropped = self.held.remove(&worker).is_some();
        self.skip_dropped();
        dropped
    }

    fn skip_dropped(&mut self) {
        while self.order.front().is_some_and(|worker| !self.held.contains_key(worker)) {
            self.order.pop_front();
        }
    }

    /// A spawn succeeded.
    pub(super) fn began(&mut self, worker: WorkerId, pidfd: Rc<Pidfd>, begun: Moment) {
        let pid = pidfd.pid();
        self.pids.insert(worker, pid);
        self.leaders.insert(pid, Leader { worker, pidfd, begun, dead: false });
        self.living += 1;
    }

    /// The leader with this pid, dead or alive.
    pub(super) fn leader(&self, pid: u32) -> Option<&Leader> {
        self.leaders.get(&pid)
    }

    /// The leader with this pid, if it is not known to be dead.
    pub(super) fn living_leader(&self, pid: u32) -> Option<&Leader> {
        self.leader(pid).filter(|leader| !leader.dead)
    }

    /// The process of this worker, if it is not known to be dead.
    pub(super) fn living(&self, worker: WorkerId) -> Option<&Leader> {
        self.pids.get(&worker).and_then(|pid| self.living_leader(*pid))
    }

    /// Every process that is not known to be dead.
    pub(super) fn all_living(&self) -> impl Iterator<Item = &Leader> {
        self.leaders.values().filter(|leader| !leader.dead)
    }

    /// The leader with this pid is dead.
    pub(super) fn died(&mut self, pid: u32) {
        if let Some(leader) = self.leaders.get_mut(&pid)
            && !leader.dead
        {
            leader.dead = true;
            self.living -= 1;
        }
    }

    /// Forgets a dead worker, and gives its process to be reaped.
    pub(super) fn forget(&mut self, worker: WorkerId) -> Option<Leader> {
        let pid = *self.pids.get(&worker)?;
        if self.living_leader(pid).is_some() {
            return None;
        }
        self.pids.remove(&worker);
        self.leaders.remove(&pid)
    }
}
