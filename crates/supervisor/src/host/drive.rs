//! Driving: taking the lead, turning the loop, handing over. The protocol is in [`super`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use poolctl_engine::{Counts, Stop};
use poolctl_sys::clock;
use poolctl_sys::fork_mark::ForkMark;
use poolctl_sys::waker::Waker;
use poolctl_types::Moment;

use super::call::{Call, Need, Standing};
use super::callbacks::{Callbacks, Due};
use super::cancels::Cancels;
use super::door::{Door, Driver, Leader, Letter, NAP, Next, Part, Question, Stage};
use super::ledger::Ledger;
use super::nests::Nests;
use super::progress::{Hook, Progress};
use super::seat::{Seat, Wake, lock};
use super::{DeathPolicy, Intent, Last, Refusal, Room};
use crate::block::Block;
use crate::supervisor::{Supervisor, Turn};

/// What all handles of a host share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Of the process that has the host.
    home: ForkMark,
    waker: Waker,
    door: Mutex<Door>,
    /// Where the driver sleeps; goes with `door`.
    driver_bell: Condvar,
    looped: Mutex<Loop>,
    callbacks: Callbacks,
    progress: OnceLock<Arc<Progress>>,
}

/// The state of the loop: the leader's alone.
#[derive(Debug)]
struct Loop {
    /// `None` once it has ended.
    supervisor: Option<Supervisor>,
    ledger: Ledger,
    nests: Nests,
    cancels: Cancels,
    /// The inbox of last time, for its memory.
    letters: Vec<Letter>,
}

/// What a thread leads or sleeps for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal<'a> {
    /// An outcome.
    Outcome(&'a Call, Need),
    /// Room for more items.
    Room,
    /// The end of the host.
    End,
    /// The driver's: somebody else wants to lead.
    GiveWay,
}

/// The lead, from taking it to handing it over, however that comes.
struct Term<'a>(&'a Shared, Intent);

impl Drop for Term<'_> {
    fn drop(&mut self) {
        self.0.leave(lock(&self.0.door), self.1);
    }
}

impl Shared {
    pub(super) fn new(supervisor: Supervisor, room: Room, policy: DeathPolicy) -> Self {
        Self {
            home: ForkMark::new(),
            waker: supervisor.waker(),
            door: Mutex::new(Door::new(room)),
            driver_bell: Condvar::new(),
            looped: Mutex::new(Loop {
                supervisor: Some(supervisor),
                ledger: Ledger::new(policy),
                nests: Nests::default(),
                cancels: Cancels::default(),
                letters: Vec::new(),
            }),
            callbacks: Callbacks::default(),
            progress: OnceLock::new(),
        }
    }

    /// Shows `hook` how far the host is from now on. The first one stays.
    pub(super) fn show_progress(&self, hook: Hook) {
        self.progress.get_or_init(|| Arc::new(Progress::new(hook)));
    }

    /// Whether this is the process that has the host, and no forked copy.
    pub(super) fn is_at_home(&self) -> bool {
        self.home.is_here()
    }

    /// Whether the calling thread is in the middle of leading.
    pub(super) fn is_leading(&self) -> bool {
        lock(&self.door).is_led_by(thread::current().id())
    }

    /// Puts a letter into the inbox, unless the host has ended.
    pub(super) fn hand_in(&self, letter: Letter) {
        let mut door = lock(&self.door);
        if door.has_ended() {
            return;
        }
        let next = door.put(letter);
        drop(door);
        self.wake(&next);
    }

    /// Nothing more is handed in with `call`.
    pub(super) fn seal(&self, call: &Arc<Call>) {
        let mut wakes = Vec::new();
        call.seal(&mut wakes);
        for wake in wakes {
            wake.fire(&self.callbacks);
        }
    }

    /// What the loop says of itself, or said at its end.
    pub(super) fn ask<T: Send + 'static>(&self, ask: fn(&Supervisor) -> T, last: fn(&Last) -> T) -> T {
        let (answer, answered) = mpsc::sync_channel(1);
        let question = Question(Box::new(move |supervisor| {
            // Nobody who asks goes before the answer.
            answer.send(ask(supervisor)).unwrap_or_default();
        }));
        let mut door = lock(&self.door);
        let ended = |door: &Door| door.last.as_ref().map(last);
        if let Some(known) = ended(&door) {
            return known;
        }
        if door.is_led_by(thread::current().id()) {
            drop(door);
            // Asked by the waker of a task, in the middle of a turn of this very thread.
            let looped = lock(&self.looped);
            return looped.supervisor.as_ref().map_or_else(|| last(&Last::default()), ask);
        }
        let next = door.put(Letter::Question(question));
        drop(door);
        self.wake(&next);
        // A loop that ends drops its questions.
        answered.recv().unwrap_or_else(|_| ended(&lock(&self.door)).unwrap_or_else(|| last(&Last::default())))
    }

    /// How the pool stood at the end of the last turn.
    pub(super) fn counts(&self) -> Counts {
        lock(&self.door).counts
    }

    /// Takes the block in if there is room. Says whether there was.
    pub(super) fn try_submit(
        &self,
        call: &Arc<Call>,
        block: &mut Block,
        intent: Intent,
    ) -> Result<bool, Refusal> {
        let mut door = lock(&self.door);
        match &door.stage {
            Stage::Open => {}
            Stage::Closing => return Err(Refusal::Closed),
            Stage::Ended(why) => return Err(why.clone()),
        }
        if !door.has_room() {
            return Ok(false);
        }
        let index = call.submit(block.len() as u64);
        // Who waits next takes the lead, or queues for the driver's and wakes it then.
        let comes_itself = intent == Intent::Wait && matches!(door.leader, Leader::None | Leader::Driver(_));
        let may_sleep = door.may_sleep;
        let part = Part { call: Arc::clone(call), index, count: block.len() as u64 };
        let next = door.put_items(part, block);
        if comes_itself {
            door.may_sleep = may_sleep;
        } else {
            drop(door);
            self.wake(&next);
        }
        Ok(true)
    }

    /// Waits until the goal is met, leading if possible. Says whether it is; it may not be by `until`, nor when the
    /// host has ended. `intent` says whether it comes back at once.
    pub(super) fn wait(&self, goal: Goal<'_>, until: Option<Instant>, intent: Intent) -> bool {
        let me = thread::current().id();
        let mut seat = None;
        let met = loop {
            let standing = self.standing_of(goal);
            if standing == Standing::There {
                break true;
            }
            if has_passed(until) {
                break false;
            }
            if standing == Standing::CalledBack {
                // The loop has done its part, and would not be woken when the callback returns.
                let seat = seat.get_or_insert_with(Seat::new);
                if !goal.watch(seat) {
                    seat.sleep(until);
                }
                continue;
            }
            let mut door = lock(&self.door);
            if door.has_ended() {
                break self.is_met_with(goal, &door);
            }
            match door.leader {
                // The waker of some task, called by this very thread while it leads, waits for an outcome.
                Leader::Driver(leader) | Leader::Caller(leader) if leader == me => {
                    drop(door);
                    self.lead(goal, until);
                }
                Leader::Named(leader) if leader == me => {
                    door.leader = Leader::Caller(me);
                    self.lead_term(door, goal, until, intent);
                }
                Leader::None => {
                    door.lead(Leader::Caller(me));
                    self.lead_term(door, goal, until, intent);
                }
                Leader::Driver(_) | Leader::Named(_) | Leader::Caller(_) => {
                    let seat = seat.get_or_insert_with(Seat::new);
                    door.enqueue(seat);
                    let is_driven = matches!(door.leader, Leader::Driver(_));
                    let next = if is_driven { door.rouse() } else { Next::Nobody };
                    let met = match goal {
                        Goal::Room | Goal::End => {
                            door.watchers.push(Arc::clone(seat));
                            self.is_met_with(goal, &door)
                        }
                        Goal::Outcome(..) | Goal::GiveWay => false,
                    };
                    drop(door);
                    self.wake(&next);
                    if !met && !goal.watch(seat) {
                        seat.sleep(until);
                    }
                }
            }
        };
        if let Some(seat) = seat {
            self.go(goal, &seat);
        }
        met
    }

    /// Turns the loop once without waiting, for one who is back at once; or has whoever leads look at the inbox.
    pub(super) fn turn_once(&self) {
        let mut door = lock(&self.door);
        if door.has_ended() {
            return;
        }
        if door.leader == Leader::None {
            door.lead(Leader::Caller(thread::current().id()));
            drop(door);
            let term = Term(self, Intent::Wait);
            self.turn(Goal::Room, Some(Instant::now()));
            drop(term);
        } else {
            let next = door.rouse();
            drop(door);
            self.wake(&next);
        }
    }

    /// A caller that has queued goes.
    fn go(&self, goal: Goal<'_>, seat: &Arc<Seat>) {
        if let Goal::Outcome(call, _) = goal {
            call.unwatch(seat);
        }
        let mut door = lock(&self.door);
        door.dequeue(seat);
        door.watchers.retain(|known| !Arc::ptr_eq(known, seat));
        if door.leader == Leader::Named(seat.thread()) {
            self.leave(door, Intent::Leave);
        }
    }

    /// What the driver does, until the host has ended.
    pub(super) fn drive(&self) {
        let mut door = lock(&self.door);
        // Callers led during the last nap and said that they are back at once.
        let mut is_spared = false;
        loop {
            if door.has_ended() {
                return;
            }
            if door.leader == Leader::None && !std::mem::take(&mut is_spared) {
                door.lead(Leader::Driver(thread::current().id()));
                // As it will be when the lead is handed over.
                door.driver = Driver::Naps;
                self.lead_term(door, Goal::GiveWay, None, Intent::Leave);
                door = lock(&self.door);
            } else if door.driver == Driver::Naps {
                let term = door.terms;
                let napped = self.driver_bell.wait_timeout(door, NAP);
                let (woken, nap) = napped.unwrap_or_else(PoisonError::into_inner);
                door = woken;
                if nap.timed_out() && door.terms == term && door.leader != Leader::None {
                    door.driver = Driver::Sleeps;
                }
                is_spared = nap.timed_out() && door.terms != term;
            } else {
                door = self.driver_bell.wait(door).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Leads a whole term.
    fn lead_term(&self, door: MutexGuard<'_, Door>, goal: Goal<'_>, until: Option<Instant>, intent: Intent) {
        drop(door);
        let term = Term(self, intent);
        self.lead(goal, until);
        drop(term);
    }

    /// Turns the loop until no turn brings the goal nearer, it is `until`, or the host has ended.
    fn lead(&self, goal: Goal<'_>, until: Option<Instant>) {
        // Asked first: whoever led before may have done all there was to do.
        while self.standing_of(goal) == Standing::Open && !lock(&self.door).has_ended() {
            self.turn(goal, until);
            if has_passed(until) {
                return;
            }
        }
    }

    /// One turn: inbox, loop, outcomes, and then, without any mutex, those who wait for them.
    fn turn(&self, goal: Goal<'_>, until: Option<Instant>) {
        let mut looped = lock(&self.looped);
        let mut door = lock(&self.door);
        if matches!(goal, Goal::GiveWay) && self.is_met_with(goal, &door) {
            return;
        }
        std::mem::swap(&mut door.inbox, &mut looped.letters);
        door.may_sleep = true;
        let look = self.progress.get().and_then(|progress| progress.next(&door.counts));
        let until = until.into_iter().chain(look).min();
        drop(door);
        let mut wakes = Vec::new();
        let mut last = None;
        let ended = looped.turn(until, goal);
        let counts = looped.supervisor.as_ref().map(Supervisor::counts);
        if let Some(why) = &ended {
            last = looped.end(why, &mut wakes);
        }
        let (mail, freed) = looped.ledger.take_mail();
        for mail in mail {
            mail.call.settle(mail.index, mail.settled, &mut wakes);
        }
        let mut door = lock(&self.door);
        door.may_sleep = false;
        if let Some(counts) = counts {
            door.counts = counts;
        }
        let progress = self.progress.get().filter(|progress| progress.is_due(&door.counts, ended.is_some()));
        if let Some(why) = ended {
            door.last = Some(last.unwrap_or_default());
            door.stage = Stage::Ended(why.clone());
            for letter in std::mem::take(&mut door.inbox) {
                letter.refuse(&why, &mut wakes);
            }
            wakes.extend(door.queue.drain(..).map(Wake::Seat));
            self.driver_bell.notify_one();
        }
        if door.free(freed) || door.has_ended() {
            wakes.extend(door.watchers.drain(..).map(Wake::Seat));
        }
        for wake in &wakes {
            // It has what it wants, or looks again and queues again.
            if let Wake::Seat(seat) = wake {
                door.dequeue(seat);
            }
        }
        drop(door);
        drop(looped);
        if let Some(progress) = progress {
            self.callbacks.run(Due::Progress(Arc::clone(progress)));
        }
        for wake in wakes {
            wake.fire(&self.callbacks);
        }
    }

    /// Gives the lead away.
    fn leave(&self, mut door: MutexGuard<'_, Door>, intent: Intent) {
        let (seat, next) = door.leave(intent);
        drop(door);
        if let Some(seat) = seat {
            seat.wake();
        }
        self.wake(&next);
    }

    fn wake(&self, next: &Next) {
        match next {
            Next::Nobody => {}
            Next::Leader => self.waker.wake(),
            Next::Driver => self.driver_bell.notify_one(),
        }
    }

    fn standing_of(&self, goal: Goal<'_>) -> Standing {
        match goal {
            Goal::Outcome(call, need) => call.standing(need),
            Goal::Room | Goal::End | Goal::GiveWay => {
                if self.is_met_with(goal, &lock(&self.door)) {
                    Standing::There
                } else {
                    Standing::Open
                }
            }
        }
    }

    fn is_met_with(&self, goal: Goal<'_>, door: &Door) -> bool {
        match goal {
            Goal::Outcome(call, need) => call.is_met(need),
            Goal::Room => door.has_room() || !matches!(door.stage, Stage::Open),
            Goal::End => door.has_ended(),
            Goal::GiveWay => !door.queue.is_empty(),
        }
    }
}

impl Goal<'_> {
    /// Has `seat` woken when the goal may be met; says whether it is.
    fn watch(self, seat: &Arc<Seat>) -> bool {
        match self {
            Goal::Outcome(call, need) => call.watch(need, seat),
            Goal::Room | Goal::End | Goal::GiveWay => false,
        }
    }
}

impl Loop {
    /// One pass of the supervisor's loop. Says why the host has ended, if it has.
    fn turn(&mut self, until: Option<Instant>, goal: Goal<'_>) -> Option<Refusal> {
        let Self { supervisor: Some(supervisor), ledger, nests, cancels, letters } = self else {
            return Some(self.ledger.refusal());
        };
        let turned = catch_unwind(AssertUnwindSafe(|| {
            // What came with the last turn, before what comes with this one.
            cancels.press(supervisor, ledger);
            deliver(letters, cancels, supervisor, ledger);
            nests.serve(ledger.take_requests(), ledger, supervisor);
            // Who waits here wants its answer soon; the driver has time.
            supervisor.set_spin(matches!(goal, Goal::Outcome(..)));
            let until = until.map(moment).into_iter().chain(cancels.next()).min();
            let turn = supervisor.turn(ledger, until);
            if ledger.is_broken() {
                supervisor.stop(Stop::Kill);
            }
            turn
        }));
        match turned {
            Ok(Turn::Going) => None,
            Ok(Turn::Finished) => Some(ledger.refusal()),
            Err(_) => {
                tracing::error!("a panic in the loop of a pool has ended the pool");
                Some(Refusal::Broken)
            }
        }
    }

    /// Kills what still lives, and refuses what has no outcome.
    fn end(&mut self, why: &Refusal, wakes: &mut Vec<Wake>) -> Option<Last> {
        let supervisor = self.supervisor.take();
        let last = supervisor.as_ref().map(|supervisor| Last {
            insight: supervisor.insight(),
            exits: supervisor.exit_results().to_vec(),
        });
        if catch_unwind(AssertUnwindSafe(|| drop(supervisor))).is_err() {
            tracing::error!("a panic while a pool was ended");
        }
        for letter in self.letters.drain(..) {
            letter.refuse(why, wakes);
        }
        self.ledger.refuse_all(why, wakes);
        last
    }
}

/// Hands what was handed in on to the supervisor.
fn deliver(
    letters: &mut Vec<Letter>,
    cancels: &mut Cancels,
    supervisor: &mut Supervisor,
    ledger: &mut Ledger,
) {
    let mut has_items = false;
    for letter in letters.drain(..) {
        match letter {
            Letter::Items { parts, block } => {
                ledger.enter(parts, &block);
                supervisor.push(block);
                has_items = true;
            }
            Letter::Cancel(call) => cancels.take_in(call, supervisor, ledger),
            Letter::Resize(workers) => supervisor.resize(workers),
            Letter::Question(Question(ask)) => ask(supervisor),
            Letter::Close => supervisor.end_of_input(),
            Letter::Stop(stop) => supervisor.stop(stop),
        }
    }
    if has_items {
        supervisor.input_idle();
    }
}

fn has_passed(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until <= Instant::now())
}

/// The same time on the loop's clock.
fn moment(until: Instant) -> Moment {
    clock::now() + until.saturating_duration_since(Instant::now())
}
