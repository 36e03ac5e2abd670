//! The simulated world: time, workers that live and die in it, and a host that carries out every effect.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use poolctl_engine::{
    Accounting, Answer, Claim, Effect, End, EndCause, Engine, Event, Gate, Lasting, Lifecycle,
};
use poolctl_types::{Item, ItemRange, Moment, WorkerId};

use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::life::{Course, Life, Running};
use crate::plot::Plot;

/// A run that takes more steps does not end.
const MOST_STEPS: u64 = 1_000_000;
/// The invariants are slow: they are checked after every so many steps.
const CHECKED_EVERY: u64 = 8;

/// Something that happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Tell(Event),
    Hello(WorkerId),
    Ends(WorkerId, Item),
    Dies(WorkerId, EndCause),
    Disturbs,
    Reads,
}

/// A simulated run.
pub(crate) struct World {
    plot: Plot,
    chance: Chance,
    engine: Engine,
    pub(crate) ledger: Ledger,
    now: Moment,
    agenda: BinaryHeap<Reverse<(Moment, u64)>>,
    happenings: HashMap<u64, Happening>,
    lives: HashMap<WorkerId, Life>,
    scheduled: u64,
    /// Asked for and not carried out yet, in order; an effect may lead to news before the next one's turn.
    effects: VecDeque<Effect>,
    is_carrying_out: bool,
    pub(crate) steps: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let plot = Plot::draw(&mut chance);
        let now = Moment(5_000_000_000);
        let accounting = match plot.config.lifecycle {
            Lifecycle::PerItem => Accounting::InOrder,
            Lifecycle::Warm => plot.capacity.accounting,
        };
        let mut world = Self {
            engine: Engine::new(plot.config.clone(), now),
            ledger: Ledger::new(plot.config.clone(), accounting, plot.rates.lies == 0),
            chance,
            now,
            agenda: BinaryHeap::new(),
            happenings: HashMap::new(),
            lives: HashMap::new(),
            scheduled: 0,
            effects: VecDeque::new(),
            is_carrying_out: false,
            steps: 0,
            plot,
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        self.schedule(Duration::ZERO, Happening::Reads);
        for (at, stop) in self.plot.stops.clone() {
            self.schedule(at, Happening::Tell(Event::Stop(stop)));
        }
        if self.plot.has_disturbances {
            for _ in 0..self.chance.between(1, 30) {
                let at = Duration::from_micros(self.chance.below(2_000_000));
                self.schedule(at, Happening::Disturbs);
            }
        }
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.scheduled += 1;
        self.agenda.push(Reverse((self.now + after, self.scheduled)));
        self.happenings.insert(self.scheduled, happening);
    }

    /// Plays until nothing happens any more, and checks that this is the end.
    pub(crate) fn play(&mut self) {
        loop {
            let deadline = self.engine.next_deadline();
            let next = self.agenda.peek().map(|Reverse((at, _))| *at);
            match (next, deadline) {
                (None, None) => break,
                (next, Some(deadline)) if next.is_none_or(|next| self.tick_at(deadline) <= next) => {
                    self.now = self.now.max(self.tick_at(deadline));
                    self.tell(Event::Tick);
                }
                (_, _) => {
                    let Reverse((at, key)) = self.agenda.pop().expect("it was peeked");
                    self.now = self.now.max(at);
                    let happening = self.happenings.remove(&key).expect("every entry has one");
                    self.happen(happening);
                }
            }
            assert!(self.steps < MOST_STEPS, "the run ends: {:?}\n{:#?}", self.engine.counts(), self.plot);
        }
        self.engine.invariants();
        assert!(self.engine.is_quiet(), "no stall: {:?}\n{:#?}", self.engine.counts(), self.plot);
        self.ledger.check_end();
    }

    /// The host is not always on time: other news may come first.
    fn tick_at(&self, deadline: Moment) -> Moment {
        let lateness = [0, 0, 200, 9_000][usize::try_from(deadline.0 % 4).expect("small")];
        deadline + Duration::from_micros(lateness)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tell(event) => self.tell(event),
            Happening::Hello(worker) => self.say_hello(worker),
            Happening::Ends(worker, item) => self.end_item(worker, item),
            Happening::Dies(worker, cause) => self.die(worker, cause),
            Happening::Disturbs => self.disturb(),
            Happening::Reads => self.read_some(),
        }
    }

    fn tell(&mut self, event: Event) {
        self.steps += 1;
        self.ledger.hear(&event);
        let mut effects = Vec::new();
        self.engine.step(self.now, event, &mut effects);
        if self.steps.is_multiple_of(CHECKED_EVERY) {
            self.engine.invariants();
        }
        if event == Event::Tick && !self.plot.config.grace.is_zero() {
            let again = self.engine.next_deadline();
            assert!(again.is_none_or(|again| again > self.now), "a tick does what is due: {again:?}");
        }
        self.ledger.check(&effects, self.now);
        self.effects.extend(effects);
        if !self.is_carrying_out {
            self.is_carrying_out = true;
            while let Some(effect) = self.effects.pop_front() {
                self.carry_out(effect);
            }
            self.is_carrying_out = false;
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn(worker) => self.spawn(worker, None),
            Effect::Run { worker, item, .. } => self.spawn(worker, Some(item)),
            Effect::Dispatch { worker, items, .. } => {
                if let Some(life) = self.lives.get_mut(&worker) {
                    life.queue.extend(items.iter());
                    self.go_on(worker);
                }
            }
            Effect::Probe(worker) => self.tell_claim(worker),
            Effect::Cancel { worker, item } => self.cancel(worker, item),
            Effect::CloseInput(worker) => {
                if let Some(life) = self.lives.get_mut(&worker) {
                    life.is_closed = true;
                    self.go_on(worker);
                }
            }
            Effect::Terminate(worker) => self.terminate(worker),
            Effect::Kill(worker) => {
                let after = self.micros(500);
                self.schedule(after, Happening::Dies(worker, EndCause::Ended));
            }
            Effect::Settle { .. }
            | Effect::Retry { .. }
            | Effect::Reap(_)
            | Effect::Halted
            | Effect::GaveUp(_) => {}
        }
    }

    fn micros(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.chance.between(1, most))
    }

    fn spawn(&mut self, worker: WorkerId, item: Option<Item>) {
        let rates = self.plot.rates;
        let after = self.micros(3_000);
        if self.chance.permille(rates.spawn_fails) {
            let lasting = if self.chance.permille(100) { Lasting::Yes } else { Lasting::No };
            self.schedule(after, Happening::Tell(Event::SpawnFailed { worker, lasting }));
            return;
        }
        let life = Life { is_deaf: self.chance.permille(rates.deaf), ..Life::default() };
        self.lives.insert(worker, life);
        if self.chance.permille(rates.spawn_fails / 4) {
            self.schedule(after, Happening::Dies(worker, EndCause::NeverRan));
            return;
        }
        self.schedule(after, Happening::Tell(Event::Spawned(worker)));
        if let Some(item) = item {
            self.lives.get_mut(&worker).expect("it was born").queue.push_back(item);
            self.schedule(after, Happening::Hello(worker));
            return;
        }
        let after = after + self.micros(20_000);
        if self.chance.permille(rates.start_dies) {
            self.schedule(after, Happening::Dies(worker, EndCause::Ended));
        } else if !self.chance.permille(rates.start_hangs) {
            self.schedule(after, Happening::Hello(worker));
        }
    }

    fn say_hello(&mut self, worker: WorkerId) {
        let Some(life) = self.lives.get_mut(&worker).filter(|life| !life.is_dead) else { return };
        life.has_spawned = true;
        if self.plot.config.lifecycle == Lifecycle::PerItem {
            self.go_on(worker);
            return;
        }
        let is_doomed = self.chance.permille(self.plot.rates.idle_dies);
        self.lives.get_mut(&worker).expect("it says hello").is_doomed = is_doomed;
        self.tell(Event::Ready(worker, self.plot.capacity));
        if is_doomed {
            self.schedule(Duration::ZERO, Happening::Dies(worker, EndCause::Ended));
        }
        if self.chance.permille(self.plot.rates.retires) {
            let after = self.micros(20_000);
            self.schedule(after, Happening::Tell(Event::Retire(worker)));
        }
    }

    /// Starts what it can start, and ends when it has nothing and will get nothing.
    fn go_on(&mut self, worker: WorkerId) {
        let is_mux = self.is_mux();
        while let Some(life) = self.lives.get_mut(&worker).filter(|life| life.has_spawned && !life.is_dead) {
            if life.is_doomed || !is_mux && !life.running.is_empty() {
                return;
            }
            if let Some(item) = life.queue.pop_front() {
                self.begin_item(worker, item);
                continue;
            }
            let (is_closed, is_deaf) = (life.is_closed && life.running.is_empty(), life.is_deaf);
            self.publish(worker);
            if is_closed && !is_deaf {
                let after = self.micros(1_000);
                self.schedule(after, Happening::Dies(worker, EndCause::Ended));
            }
            return;
        }
    }

    fn is_mux(&self) -> bool {
        self.plot.config.lifecycle == Lifecycle::Warm && self.plot.capacity.accounting == Accounting::Mux
    }

    fn begin_item(&mut self, worker: WorkerId, item: Item) {
        self.ledger.start(item);
        let course = self.draw_course();
        let life = self.lives.get_mut(&worker).expect("it goes on");
        life.running.push(Running { item, since: self.now, course });
        if course != Course::Hangs {
            let usual = self.plot.usual_micros;
            let micros = self.chance.one_of(&[usual / 2, usual, usual, usual * 4]);
            self.schedule(Duration::from_micros(micros.max(1)), Happening::Ends(worker, item));
        }
    }

    fn draw_course(&mut self) -> Course {
        let rates = self.plot.rates;
        if self.chance.permille(rates.fails) {
            self.chance.one_of(&[Course::Fails, Course::Fails, Course::FailsForGood])
        } else if self.chance.permille(rates.dies) {
            self.chance.one_of(&[Course::Dies, Course::Dies, Course::DiesForMemory])
        } else if self.chance.permille(rates.faults) {
            Course::Faults
        } else if self.chance.permille(rates.hangs) {
            Course::Hangs
        } else {
            Course::Ok
        }
    }

    fn end_item(&mut self, worker: WorkerId, item: Item) {
        let Some(life) = self.lives.get_mut(&worker).filter(|life| !life.is_dead) else { return };
        let Some(running) = life.running.iter().find(|running| running.item == item).copied() else { return };
        match running.course {
            Course::Ok => {
                life.end(item);
                self.answer(worker, item, Answer::Ok);
            }
            Course::Fails | Course::FailsForGood => {
                life.end(item);
                let is_final = running.course == Course::FailsForGood;
                self.answer(worker, item, if is_final { Answer::FailedForGood } else { Answer::Failed });
            }
            Course::Dies => self.die(worker, EndCause::Ended),
            Course::DiesForMemory => self.die(worker, EndCause::OutOfMemory),
            Course::Faults => {
                self.publish(worker);
                let item = Some(item).filter(|_| self.chance.permille(500));
                self.condemn(worker);
                self.tell(Event::Fault { worker, item });
            }
            Course::Hangs => {}
        }
        self.go_on(worker);
    }

    fn condemn(&mut self, worker: WorkerId) {
        if let Some(life) = self.lives.get_mut(&worker) {
            life.is_condemned = true;
        }
    }

    fn answer(&mut self, worker: WorkerId, item: Item, answer: Answer) {
        if self.plot.config.lifecycle == Lifecycle::PerItem {
            self.tell(Event::Answered { worker, item, answer });
            self.die(worker, EndCause::Ended);
            return;
        }
        if self.lives[&worker].is_condemned {
            return;
        }
        if answer == Answer::Ok && !self.is_mux() && self.plot.rates.lies == 0 {
            self.lives.get_mut(&worker).expect("it answers").published += 1;
            if self.chance.permille(300) {
                self.publish(worker);
            }
            return;
        }
        self.publish(worker);
        self.tell(Event::Answered { worker, item, answer });
    }

    /// Tells the results that are finished and not told.
    fn publish(&mut self, worker: WorkerId) {
        let Some(life) = self.lives.get_mut(&worker) else { return };
        let count = std::mem::take(&mut life.published);
        if count > 0 && !life.is_condemned {
            self.tell(Event::Finished { worker, count });
        }
    }

    fn tell_claim(&mut self, worker: WorkerId) {
        let Some(life) = self.lives.get(&worker) else { return };
        let claim = life.running.first().map(|running| Claim { item: running.item, since: running.since });
        self.schedule(Duration::ZERO, Happening::Tell(Event::Claimed { worker, claim }));
    }

    fn cancel(&mut self, worker: WorkerId, item: Item) {
        if !self.chance.permille(500) {
            return;
        }
        let Some(life) = self.lives.get_mut(&worker).filter(|life| !life.is_dead) else { return };
        if life.end(item).is_some() {
            self.answer(worker, item, Answer::Failed);
            self.go_on(worker);
        }
    }

    fn terminate(&mut self, worker: WorkerId) {
        let Some(life) = self.lives.get(&worker).filter(|life| !life.is_deaf) else { return };
        let cause = if life.has_spawned { EndCause::Ended } else { EndCause::NeverRan };
        let running = life.running.first().map(|running| running.item);
        let is_caught = self.chance.permille(300) && self.plot.config.lifecycle == Lifecycle::PerItem;
        if let Some(item) = running.filter(|_| is_caught) {
            self.lives.get_mut(&worker).expect("it was told to end").end(item);
            self.answer(worker, item, Answer::Failed);
            return;
        }
        let after = self.micros(2_000);
        self.schedule(after, Happening::Dies(worker, cause));
    }

    fn die(&mut self, worker: WorkerId, cause: EndCause) {
        let Some(life) = self.lives.get_mut(&worker).filter(|life| !life.is_dead) else { return };
        life.is_dead = true;
        // What never ran is only so while it does not.
        let cause = if life.has_spawned && cause == EndCause::NeverRan { EndCause::Ended } else { cause };
        let claimed = life.running.first().map(|running| running.item);
        self.publish(worker);
        let claimed = claimed.filter(|_| self.plot.capacity.accounting == Accounting::Claim);
        self.schedule(Duration::ZERO, Happening::Tell(Event::Exited { worker, end: End { claimed, cause } }));
    }

    fn read_some(&mut self) {
        let left = self.plot.items - self.ledger.read();
        if left == 0 {
            self.tell(Event::EndOfInput);
            return;
        }
        let most = self.chance.one_of(&[1, 10, 1_000]);
        let count = self.chance.between(1, left.min(most));
        self.tell(Event::Items(count));
        if self.chance.permille(500) {
            self.schedule(Duration::ZERO, Happening::Tell(Event::InputIdle));
        }
        let after = Duration::from_micros(self.chance.one_of(&[0, 10, 5_000]));
        self.schedule(after, Happening::Reads);
    }

    /// Somebody interferes from outside, or news comes that makes no sense.
    fn disturb(&mut self) {
        let slot = self.chance.small(0, 7);
        let item = Item(self.chance.below(self.plot.items + 2));
        match self.chance.below(8) {
            0 => {
                self.tell(Event::Gate(Gate::Closed));
                let after = self.micros(100_000);
                self.schedule(after, Happening::Tell(Event::Gate(Gate::Open)));
            }
            1 => self.tell(Event::Resize(slot)),
            2 => {
                self.tell(Event::Pause);
                let after = self.micros(100_000);
                self.schedule(after, Happening::Tell(Event::Resume));
            }
            3 => self.tell(Event::CancelItem(item)),
            4 => {
                let count = self.chance.small(1, 60);
                self.tell(Event::CancelQueued(ItemRange::new(item, count)));
            }
            5 => self.tell(Event::Tick),
            6 => self.tell_old_news(slot, item),
            _ => {
                if self.plot.rates.lies > 0 {
                    self.lie(slot, item);
                }
            }
        }
    }

    /// News about a life that is over has no effect at all.
    fn tell_old_news(&mut self, slot: u32, item: Item) {
        let Some(worker) = self.ledger.present_in(slot).filter(|worker| self.ledger.is_over(*worker)) else {
            return;
        };
        let end = End { claimed: Some(item), cause: EndCause::Ended };
        let event = self.chance.one_of(&[
            Event::Exited { worker, end },
            Event::Ready(worker, self.plot.capacity),
            Event::Finished { worker, count: 3 },
            Event::Answered { worker, item, answer: Answer::Ok },
            Event::Fault { worker, item: None },
            Event::Retire(worker),
        ]);
        let mut effects = Vec::new();
        self.engine.step(self.now, event, &mut effects);
        assert_eq!(effects, [], "{event:?} is about a life that is over");
    }

    fn lie(&mut self, slot: u32, item: Item) {
        let Some(worker) = self.ledger.present_in(slot).filter(|worker| !self.ledger.is_over(*worker)) else {
            return;
        };
        let claim = Some(Claim { item, since: Moment(self.chance.below(self.now.0 * 2)) });
        let event = self.chance.one_of(&[
            Event::Answered { worker, item, answer: Answer::Ok },
            Event::Answered { worker, item, answer: Answer::Failed },
            Event::Finished { worker, count: 2 },
            Event::Claimed { worker, claim },
            Event::Claimed { worker, claim: None },
        ]);
        self.tell(event);
    }
}
