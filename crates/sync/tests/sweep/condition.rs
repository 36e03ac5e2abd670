//! A victim that gives items to those who wait for a condition, and one that waits for an item itself.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use poolctl_shm::SharedCells;
use poolctl_sync::{Acquired, Detection, Host, Member, Place, RawCondition, RawLock};
use poolctl_testkit::stepper::{self, Refused, Swept, Then};

use crate::play::{self, Cue, Play};
use crate::stage::{Side, Stage};

pub(crate) const NOTIFIER: &str = "notifier";
pub(crate) const WAITER: &str = "waiter";

/// The word of the data that counts items.
const ITEMS: usize = 0;

struct Pair {
    lock: RawLock,
    condition: RawCondition,
    data: SharedCells<AtomicU32>,
}

impl Pair {
    fn at(member: &Member, places: &[Place], data: &SharedCells<AtomicU32>) -> Self {
        let lock = RawLock::at(member, places[0]).unwrap().with_detection(Detection::Off);
        Self { lock, condition: RawCondition::at(member, places[1]).unwrap(), data: data.clone() }
    }

    fn items(&self) -> &AtomicU32 {
        &self.data.cells()[ITEMS]
    }

    /// The count of items is never half changed.
    fn accept(&self, acquired: Acquired) {
        if acquired == Acquired::OwnerDied {
            self.lock.consistent().unwrap();
        }
    }

    fn give(&self, items: u32) {
        self.accept(self.lock.acquire(None).unwrap());
        self.items().store(self.items().load(SeqCst) + items, SeqCst);
        self.condition.notify(items).unwrap();
        self.lock.release().unwrap();
    }

    fn take(&self) {
        self.accept(self.lock.acquire(None).unwrap());
        while self.items().load(SeqCst) == 0 {
            self.accept(self.condition.wait(&self.lock, None).unwrap().acquired);
        }
        self.items().store(self.items().load(SeqCst) - 1, SeqCst);
        self.lock.release().unwrap();
    }
}

fn of(stage: &Stage<()>) -> Pair {
    Pair::at(stage.host.member(), &stage.places, &stage.data)
}

fn play(part: &'static str, contenders: usize) -> Play<()> {
    let stage =
        Stage::new(|host: &mut Host| vec![host.create_lock().unwrap(), host.create_condition().unwrap()]);
    let contend = |stage: &mut Stage<()>| {
        let places = stage.places.clone();
        stage.contend(move |member, data| Pair::at(&member, &places, &data).take());
    };
    Play { contenders, ..Play::new(stage, part, contend) }
}

/// With an item of the host's for the first to wait, which is the victim.
fn waiting(contenders: usize) -> Play<()> {
    let give = |stage: &Stage<()>| of(stage).give(1);
    Play { cue: Cue::Asleep, host_acts: [give as fn(&Stage<()>)].into(), ..play(WAITER, contenders) }
}

/// As a program would: more items only where there are none.
fn finish(stage: &Stage<()>, contenders: usize) {
    let pair = of(stage);
    pair.accept(pair.lock.acquire(None).unwrap());
    if pair.items().load(SeqCst) == 0 {
        pair.items().store(u32::try_from(contenders).unwrap(), SeqCst);
        pair.condition.notify_all().unwrap();
    }
    pair.lock.release().unwrap();
}

fn pair_of(side: &Side) -> Pair {
    let pair = Pair::at(&side.member, &side.places, &side.data);
    assert_eq!(pair.lock.try_acquire().unwrap(), Some(Acquired::Clean));
    pair.lock.release().unwrap();
    pair
}

pub(crate) fn notifier(side: &Side) {
    let pair = pair_of(side);
    stepper::mark_start();
    side.wait_at_gate();
    pair.give(2);
    stepper::mark_end();
}

pub(crate) fn waiter(side: &Side) {
    let pair = pair_of(side);
    stepper::mark_start();
    pair.take();
    stepper::mark_end();
}

pub(crate) fn killed(contenders: usize) -> Result<Swept, Refused> {
    play::sweep(Then::Kill, || play(NOTIFIER, contenders), finish, |_, _, _| ())
}

pub(crate) fn woken_killed(contenders: usize) -> Result<Swept, Refused> {
    play::sweep(Then::Kill, || waiting(contenders), finish, |_, _, _| ())
}

pub(crate) fn hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || waiting(1), finish)
}
