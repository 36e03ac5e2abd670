//! One pool: its supervisor, what waits for it, and whose that is.
//!
//! # Fairness
//! A supervisor runs items in the order in which it gets them. So it is fed little ahead ([`Ahead`]), and each client's in
//! turn ([`Intake`]).

use std::sync::Arc;

use poolctl_protocol::Kind;
use poolctl_protocol::client::to_json;
use poolctl_supervisor::{
    Constant, ExitResult, ItemRange, Moment, Rest, Stop, Supervisor, Turn, WorkerId, now,
};

use crate::ahead::Ahead;
use crate::client::Client;
use crate::clients::Clients;
use crate::intake::Intake;
use crate::ledger::{ClientId, Ledger, Place};
use crate::nests::Nests;
use crate::open::{self, Items, OpenError, Surroundings};
use crate::sink::{End, PoolSink, Tally, tell_not_run};
use crate::spec::PoolSpec;

/// A pool.
#[derive(Debug)]
pub(crate) struct Pool {
    /// What clients call it; a pool and its successor after a reload have the same.
    pub(crate) number: u64,
    pub(crate) name: Option<String>,
    pub(crate) spec: PoolSpec,
    pub(crate) items: Items,
    /// Whose it is; none: that of all who attach to it by its name.
    pub(crate) owner: Option<ClientId>,
    pub(crate) workers: u32,
    pub(crate) intake: Intake,
    /// None once it has ended.
    pub(crate) supervisor: Option<Supervisor>,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
    /// What items of it have submitted.
    nests: Nests,
    /// Requests that are answered when it has ended.
    ending: Vec<(ClientId, u64)>,
    /// Requests that are answered when it has nothing to do.
    awaiting_idle: Vec<(ClientId, u64)>,
    /// Requests that are answered when nothing of that client is left in it.
    leaving: Vec<(ClientId, u64)>,
    pub(crate) is_closing: bool,
    /// Whether its supervisor was told that nothing follows.
    is_sealed: bool,
    is_stopped: bool,
    /// Whether it is to be turned without waiting.
    pub(crate) is_due: bool,
    pub(crate) rests_until: Option<Moment>,
    ahead: Ahead,
    /// The workers that its clients know of.
    known: Vec<(WorkerId, u32)>,
}

impl Pool {
    /// Opens a pool.
    pub(crate) fn open(
        number: u64,
        name: Option<String>,
        owner: Option<ClientId>,
        spec: PoolSpec,
        setup: Option<Arc<Constant>>,
        around: &Surroundings,
    ) -> Result<Self, OpenError> {
        let config = open::config_of(&spec, setup, around, number)?;
        let mut supervisor = Supervisor::start(config)?;
        // Workers that are to be there from the start are asked for in the first turn.
        supervisor.input_idle();
        let ahead = Ahead::new(spec.target.most_held());
        Ok(Self {
            number,
            name,
            items: open::items_of(&spec.target),
            owner,
            workers: open::workers_of(&spec),
            spec,
            intake: Intake::default(),
            supervisor: Some(supervisor),
            ledger: Ledger::default(),
            tally: Tally::default(),
            nests: Nests::default(),
            ending: Vec::new(),
            awaiting_idle: Vec::new(),
            leaving: Vec::new(),
            is_closing: false,
            is_sealed: false,
            is_stopped: false,
            is_due: true,
            rests_until: None,
            ahead,
            known: Vec::new(),
        })
    }

    /// Why it takes no items, if it takes none.
    pub(crate) fn refusal(&self) -> Option<&End> {
        self.tally.end.as_ref()
    }

    /// Whether it has ended, and nobody can be told anything more of it.
    pub(crate) fn is_over(&self) -> bool {
        // One that ended by itself stays, to say why, until somebody closes it.
        self.supervisor.is_none() && self.is_closing
    }

    /// Whether an item may be the content of a memfd.
    pub(crate) fn takes_memfds(&self) -> bool {
        matches!(self.spec.target, crate::spec::TargetSpec::Objects { .. })
    }

    /// Whether nothing is queued and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.intake.items() == 0 && self.ledger.unsettled() == 0
    }

    /// One pass that does not wait: feeds the supervisor, turns it, tells what came of it. Calls `known` with the items that
    /// were cancelled in it.
    pub(crate) fn turn(&mut self, clients: &mut Clients, known: impl FnMut(Place, u32)) {
        self.is_due = false;
        self.refuse_all_if_ended(clients);
        self.feed(clients);
        self.seal_if_closing();
        let Some(supervisor) = &mut self.supervisor else { return self.answer(clients) };
        let mut sink = PoolSink {
            pool: self.number,
            owner: self.owner,
            policy: self.spec.on_worker_death,
            now: now(),
            ledger: &mut self.ledger,
            clients,
            tally: &mut self.tally,
            nests: &mut self.nests,
            requests: Vec::new(),
            cancelled: Vec::new(),
        };
        let turn = supervisor.turn(&mut sink, Some(now()));
        let requests = sink.finish(known);
        self.nests.serve(requests, &mut self.ledger, supervisor);
        if self.tally.end.is_some() && !self.is_stopped {
            supervisor.stop(Stop::Kill);
            self.is_stopped = true;
            self.is_due = true;
        }
        self.tell_of_workers(clients);
        self.tell_of_exits(clients);
        match turn {
            Turn::Finished if self.is_sealed || self.is_stopped => self.supervisor = None,
            Turn::Finished | Turn::Going => {}
        }
        self.refuse_all_if_ended(clients);
        self.answer(clients);
        self.is_due |= self.wants_more(clients);
        match self.supervisor.as_mut().map(Supervisor::rest) {
            Some(Rest::Turn) => self.is_due = true,
            Some(Rest::Until(until)) => self.rests_until = until,
            None => self.rests_until = None,
        }
    }

    /// Gives the supervisor of what waits, as far as it may have.
    fn feed(&mut self, clients: &Clients) {
        let mut room = self.room(clients);
        let Some(supervisor) = &mut self.supervisor else { return };
        let counts = supervisor.counts();
        self.ahead.give(u64::from(self.workers), counts.queued + counts.held + room);
        let turns = self.intake.clients().len().max(1) as u64;
        let keeps_up = |client| clients.get(client).is_some_and(Client::keeps_up);
        let mut fed = false;
        while room > 0 {
            let share = usize::try_from((room / turns).max(1)).unwrap_or(usize::MAX);
            let Some((place, block)) = self.intake.take(share, keeps_up) else { break };
            room -= block.len() as u64;
            self.ledger.enter(place, block.len() as u64);
            supervisor.push(block);
            fed = true;
        }
        if fed {
            supervisor.input_idle();
        }
    }

    /// Whether something waits that could be given to the supervisor now.
    fn wants_more(&self, clients: &Clients) -> bool {
        let keeps_up = |client: &ClientId| clients.get(*client).is_some_and(Client::keeps_up);
        self.intake.items() > 0 && self.room(clients) > 0 && self.intake.clients().iter().any(keeps_up)
    }

    /// How many more items the supervisor may have now.
    fn room(&self, clients: &Clients) -> u64 {
        let Some(supervisor) = &self.supervisor else { return 0 };
        let (counts, each) = (supervisor.counts(), supervisor.time_per_item());
        let workers = u64::from(self.workers);
        if self.is_shared(clients) {
            // Items that workers have ahead count too.
            self.ahead.shared(workers, each).saturating_sub(counts.queued + counts.held)
        } else {
            Ahead::alone(workers, each).saturating_sub(counts.queued)
        }
    }

    fn is_shared(&self, clients: &Clients) -> bool {
        self.owner.is_none() && clients.of_pool(self.number).len() > 1
    }

    /// What waits for a pool that has ended is refused.
    fn refuse_all_if_ended(&mut self, clients: &mut Clients) {
        if self.tally.end.is_none() && !self.is_stopped {
            return;
        }
        for client in self.intake.clients() {
            self.withdraw_all(client, clients);
        }
    }

    /// Drops what a client has sent and the supervisor does not have; tells it so if it is there.
    pub(crate) fn withdraw_all(&mut self, client: ClientId, clients: &mut Clients) {
        let gone = self.intake.withdraw_all(client);
        self.tell_withdrawn(&gone, clients);
    }

    fn tell_withdrawn(&mut self, gone: &[(Place, u64)], clients: &mut Clients) {
        for (place, count) in gone {
            self.tally.cancelled += count;
            if let Some(client) = clients.tell(place.client) {
                if let Some(account) = client.accounts.get_mut(&self.number) {
                    account.settle(*count);
                }
                tell_not_run(client, *place, *count, 0, self.tally.end.as_ref());
            }
        }
    }

    /// A client does not want `count` tasks from `id` on any more, or the map `id`. Says how many end as cancelled.
    pub(crate) fn cancel(
        &mut self,
        client: ClientId,
        id: u64,
        count: u64,
        only_queued: bool,
        clients: &mut Clients,
    ) -> u64 {
        let gone = self.intake.withdraw(client, id, count);
        self.tell_withdrawn(&gone, clients);
        let mut cancelled: u64 = gone.iter().map(|(_, count)| count).sum();
        let ranges = self.ledger.items_of(client, id, count);
        if ranges.is_empty() {
            return cancelled;
        }
        let is_wanted = |place: Place| match place.index {
            Some(_) => place.id == id,
            None => (id..id.saturating_add(count)).contains(&place.id),
        };
        for items in &ranges {
            self.cancel_items(*items, only_queued);
        }
        self.turn(clients, |place, count| {
            if place.client == client && is_wanted(place) {
                cancelled += u64::from(count);
            }
        });
        if let (false, Some(supervisor)) = (only_queued, &self.supervisor) {
            // Those that run are being stopped. Of the others in a range some have ended already.
            let left = self.ledger.items_of(client, id, count);
            let held = left.iter().flat_map(|items| items.iter()).filter(|item| supervisor.is_held(*item));
            cancelled += held.count() as u64;
        }
        cancelled
    }

    fn cancel_items(&mut self, items: ItemRange, only_queued: bool) {
        let Some(supervisor) = &mut self.supervisor else { return };
        if !only_queued {
            for item in items.iter() {
                if supervisor.is_held(item) {
                    supervisor.cancel(item);
                }
            }
        }
        supervisor.cancel_queued(items);
        self.is_due = true;
    }

    /// A client is gone: what it had queued is dropped, what it had running is stopped.
    pub(crate) fn forget(&mut self, client: ClientId, clients: &mut Clients) {
        self.withdraw_all(client, clients);
        for items in self.ledger.all_of(client) {
            self.cancel_items(items, false);
        }
        for requests in [&mut self.ending, &mut self.awaiting_idle, &mut self.leaving] {
            requests.retain(|(whose, _)| *whose != client);
        }
        if self.owner == Some(client) {
            self.stop(Stop::Kill);
        }
    }

    /// It takes nothing more, and ends when all that it has is done. `request` is answered then.
    pub(crate) fn close(&mut self, request: Option<(ClientId, u64)>) {
        self.ending.extend(request);
        self.is_closing = true;
        self.is_due = true;
    }

    /// It takes nothing more and ends; what runs is stopped.
    pub(crate) fn stop(&mut self, how: Stop) {
        self.is_closing = true;
        self.is_stopped = true;
        self.is_due = true;
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.stop(how);
        }
    }

    /// Answers `request` when nothing of its client is left here.
    pub(crate) fn leave(&mut self, request: (ClientId, u64)) {
        self.leaving.push(request);
        self.is_due = true;
    }

    /// Answers `request` when there is nothing to do.
    pub(crate) fn await_idle(&mut self, request: (ClientId, u64)) {
        self.awaiting_idle.push(request);
        self.is_due = true;
    }

    /// From now on there are this many workers at most.
    pub(crate) fn resize(&mut self, workers: u32) {
        self.workers = workers;
        self.is_due = true;
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.resize(workers);
        }
    }

    /// A constant is not needed any more by who had it defined.
    pub(crate) fn forget_constants(&mut self) {
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.forget_constants();
        }
    }

    /// It is gone: its clients have it no more, and those who did not ask for that are told.
    pub(crate) fn part_from_clients(&self, clients: &mut Clients) {
        for id in clients.of_pool(self.number) {
            if let Some(client) = clients.tell(id) {
                client.accounts.remove(&self.number);
                if self.owner.is_none() {
                    client.send(Kind::Event, self.number, b"", b"{\"event\":\"lost\"}");
                }
            }
        }
    }

    fn seal_if_closing(&mut self) {
        if self.is_closing
            && !self.is_sealed
            && self.intake.items() == 0
            && let Some(supervisor) = &mut self.supervisor
        {
            supervisor.end_of_input();
            self.is_sealed = true;
        }
    }

    /// Answers the requests whose time has come.
    fn answer(&mut self, clients: &mut Clients) {
        if self.supervisor.is_none() {
            self.ending.drain(..).for_each(|(client, id)| reply(clients, client, id, b"{}"));
        }
        if self.is_idle() && !self.awaiting_idle.is_empty() {
            let stats = serde_json::json!({ "pools": [self.stats(clients)] }).to_string();
            self.awaiting_idle
                .drain(..)
                .for_each(|(client, id)| reply(clients, client, id, stats.as_bytes()));
        }
        if !self.leaving.is_empty() {
            let Self { leaving, ledger, intake, number, .. } = self;
            leaving.retain(|(client, id)| {
                let is_gone = ledger.all_of(*client).is_empty() && !intake.clients().contains(client);
                if is_gone && let Some(there) = clients.tell(*client) {
                    there.accounts.remove(number);
                    there.reply(*id, b"{}");
                }
                !is_gone
            });
        }
    }

    /// Tells the owner what exit functions gave.
    fn tell_of_exits(&mut self, clients: &mut Clients) {
        let Some(supervisor) = &mut self.supervisor else { return };
        let exits = supervisor.take_exit_results();
        let Some(client) = self.owner.and_then(|owner| clients.tell(owner)) else { return };
        for ExitResult { worker, result } in exits {
            let (has_failed, payload) = match result {
                Ok(bytes) => (false, bytes),
                Err(error) => (true, to_json(&error)),
            };
            let worker = worker.to_string();
            let meta = serde_json::json!({ "event": "exit", "worker": worker, "failed": has_failed });
            client.send(Kind::Event, self.number, meta.to_string().as_bytes(), &payload);
        }
    }

    /// Tells clients which workers are ready, and which are gone in good order.
    fn tell_of_workers(&mut self, clients: &mut Clients) {
        let Some(supervisor) = &self.supervisor else { return };
        let ready = supervisor.ready_pids();
        if ready == self.known {
            return;
        }
        let event = |kind: &str, (worker, pid): &(WorkerId, u32)| {
            serde_json::json!({ "event": kind, "worker": worker.to_string(), "pid": pid }).to_string()
        };
        let came =
            ready.iter().filter(|worker| !self.known.contains(worker)).map(|worker| event("up", worker));
        let went =
            self.known.iter().filter(|worker| !ready.contains(worker)).map(|worker| event("gone", worker));
        let events: Vec<String> = went.chain(came).collect();
        for id in clients.of_pool(self.number) {
            if let Some(client) = clients.tell(id) {
                events.iter().for_each(|event| client.send(Kind::Event, self.number, b"", event.as_bytes()));
            }
        }
        self.known = ready;
    }
}

fn reply(clients: &mut Clients, client: ClientId, id: u64, payload: &[u8]) {
    if let Some(client) = clients.tell(client) {
        client.reply(id, payload);
    }
}
