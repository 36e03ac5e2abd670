//! A victim that takes a lock, changes two words that belong together, and gives it back. With a recursive lock it takes
//! it twice, and changes the second word between giving it back once and again.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use poolctl_shm::SharedCells;
use poolctl_sync::{Acquired, Detection, Host, Member, Place, RawLock, RawRLock};
use poolctl_testkit::stepper::{self, Point, Refused, Swept, Then};

use crate::play::{self, Cue, Order, Play, Second};
use crate::stage::{Side, Stage, count};

pub(crate) const PART: &str = "lock";
pub(crate) const RECURSIVE: &str = "rlock";
/// Has never used an object when the sweep begins.
pub(crate) const NEWCOMER: &str = "lock of a newcomer";

/// The word of the data that says who of the dead held the lock, or that one had done so and nobody had repaired it.
const LEFT_BY: usize = 2;
/// In that word, where a victim's slot may stand.
const NOBODY: u32 = 0;
const FIRST: u32 = 1;
const SECOND: u32 = 2;
const EARLIER: u32 = 100;

/// What a contender found: how the lock came, and whether the two words differed.
type Found = (Acquired, bool);

/// A lock of either kind, by the word that both have.
struct Lock {
    plain: RawLock,
    /// Of which a thread has it again.
    recursive: Option<RawRLock>,
}

impl Lock {
    fn at(member: &Member, place: Place, part: &str) -> Self {
        let plain = RawLock::at(member, place).unwrap().with_detection(Detection::Off);
        let recursive =
            (part == RECURSIVE).then(|| RawRLock::at(member, place).unwrap().with_detection(Detection::Off));
        Self { plain, recursive }
    }

    fn acquire(&self) -> Acquired {
        match &self.recursive {
            Some(lock) => lock.acquire(None).unwrap(),
            None => self.plain.acquire(None).unwrap(),
        }
    }

    fn release(&self) {
        match &self.recursive {
            Some(lock) => lock.release().unwrap(),
            None => self.plain.release().unwrap(),
        }
    }

    /// Takes it once more, if it is of that kind.
    fn again(&self) {
        if let Some(lock) = &self.recursive {
            let _ = lock.acquire(None).unwrap();
            assert_eq!(lock.depth(), 2);
        }
    }

    /// Gives it back once less than it was taken.
    fn release_once(&self) {
        if self.recursive.is_some() {
            self.release();
        }
    }

    /// Makes equal what an owner left that died.
    fn accept(&self, acquired: Acquired, data: &SharedCells<AtomicU32>) -> Found {
        let found = (acquired, is_torn(data));
        if acquired == Acquired::OwnerDied {
            data.cells()[1].store(data.cells()[0].load(SeqCst), SeqCst);
            self.plain.consistent().unwrap();
        }
        found
    }
}

fn is_torn(data: &SharedCells<AtomicU32>) -> bool {
    let [first, second] = [0, 1].map(|word| data.cells()[word].load(SeqCst));
    first != second
}

fn of<T>(stage: &Stage<T>) -> RawLock {
    RawLock::at(stage.host.member(), stage.places[0]).unwrap()
}

fn play(part: &'static str, contenders: usize) -> Play<Found> {
    let stage = Stage::new(|host: &mut Host| vec![host.create_lock().unwrap()]);
    let contend = move |stage: &mut Stage<Found>| {
        let place = stage.places[0];
        stage.contend(move |member, data| {
            let lock = Lock::at(&member, place, part);
            let found = lock.accept(lock.acquire(), &data);
            count(&data, 0);
            count(&data, 1);
            lock.release();
            found
        });
    };
    let note = |stage: &Stage<Found>| {
        let (lock, host) = (of(stage), stage.host.member().worker());
        let owner = lock.owner().and_then(|owner| owner.participant);
        let left_by = match owner.map(|owner| owner.worker) {
            Some(owner) if owner != host => owner.slot.0,
            _ if lock.is_owner_dead() => EARLIER,
            _ => NOBODY,
        };
        stage.data.cells()[LEFT_BY].store(left_by, SeqCst);
    };
    Play { contenders, note, ..Play::new(stage, part, contend) }
}

/// With the host as the first owner, who gives it to the victim.
fn held(part: &'static str, contenders: usize) -> Play<Found> {
    let play = play(part, contenders);
    assert_eq!(of(&play.stage).try_acquire().unwrap(), Some(Acquired::Clean));
    let release = |stage: &Stage<Found>| of(stage).release().unwrap();
    Play { cue: Cue::Asleep, host_acts: [release as fn(&Stage<Found>)].into(), ..play }
}

pub(crate) fn victim(side: &Side, part: &str) {
    let lock = Lock::at(&side.member, side.places[0], part);
    // The thread has its entry when the sweep begins.
    let is_free = part == NEWCOMER || lock.plain.try_acquire().unwrap().is_some();
    if is_free && part != NEWCOMER {
        lock.plain.release().unwrap();
    }
    stepper::mark_start();
    let (acquired, _) = lock.accept(lock.acquire(), &side.data);
    side.count(0);
    lock.again();
    if is_free || acquired == Acquired::OwnerDied {
        side.wait_at_gate();
    }
    lock.release_once();
    side.count(1);
    lock.release();
    stepper::mark_end();
}

/// What is to be true when all is over; notes who left the lock, and what was told.
fn check(stage: &Stage<Found>, mut found: Vec<Found>, point: &Point, seen: &mut Seen) {
    let lock = of(stage);
    found.push((lock.acquire(Some(poolctl_testkit::DEADLINE)).unwrap(), is_torn(&stage.data)));
    let told: Vec<Found> =
        found.iter().filter(|(acquired, _)| *acquired == Acquired::OwnerDied).copied().collect();
    let left_by = stage.data.cells()[LEFT_BY].load(SeqCst);
    assert_eq!(told.len(), usize::from(left_by != NOBODY), "{point}: left by {left_by}: {found:?}");
    assert!(
        found.iter().all(|(acquired, is_torn)| !is_torn || *acquired == Acquired::OwnerDied),
        "{point}: torn, and nobody was told: {found:?}"
    );
    seen.left_by.insert(left_by);
    seen.told.insert(told.first().copied());
    lock.release().unwrap();
    assert_eq!(lock.waiters(), [], "{point}");
}

/// All that was seen in a sweep.
#[derive(Debug, Default)]
struct Seen {
    left_by: BTreeSet<u32>,
    told: BTreeSet<Option<Found>>,
}

/// Somewhere each of `owners` is to die with the lock, and survivors are told nothing, or that, and that with torn data.
fn sweep(owners: &[u32], play: impl Fn() -> Play<Found>) -> Result<Swept, Refused> {
    let mut seen = Seen::default();
    let check = |stage: &mut _, found, point: &_| check(stage, found, point, &mut seen);
    let swept = play::sweep(Then::Kill, play, |_, _| (), check)?;
    assert_eq!(seen.left_by, owners.iter().copied().chain([NOBODY]).collect());
    let told = [None, Some((Acquired::OwnerDied, false)), Some((Acquired::OwnerDied, true))];
    assert_eq!(seen.told, told.into());
    Ok(swept)
}

pub(crate) fn killed(part: &'static str, contenders: usize) -> Result<Swept, Refused> {
    sweep(&[FIRST], || play(part, contenders))
}

pub(crate) fn woken_killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(&[FIRST], || held(PART, contenders))
}

/// The second one sleeps behind the first, or has been woken by it.
pub(crate) fn both_killed(contenders: usize, order: Order) -> Result<Swept, Refused> {
    sweep(&[FIRST, SECOND], || Play { second: Second::Behind(PART), order, ..play(PART, contenders) })
}

/// The swept one falls asleep behind one that is killed holding the lock; woken by the recovery of that one it repairs
/// what was left, and is killed itself.
pub(crate) fn heir_killed(contenders: usize) -> Result<Swept, Refused> {
    let second = Second::Before(PART);
    sweep(&[FIRST, SECOND, EARLIER], || Play { second, ..play(PART, contenders) })
}

/// From the first use of an object on; a later life of the process finds its block as if nothing had been.
pub(crate) fn newcomer_killed() -> Result<Swept, Refused> {
    let mut seen = Seen::default();
    let check = |stage: &mut Stage<Found>, found, point: &Point| {
        check(stage, found, point, &mut seen);
        let place = stage.places[0];
        stage.succeed(move |member, data| {
            let lock = RawLock::at(&member, place).unwrap();
            let acquired = lock.acquire(None).unwrap();
            let owner = lock.owner().and_then(|owner| owner.participant).unwrap();
            assert_eq!(owner.worker, member.worker());
            lock.release().unwrap();
            (acquired, is_torn(&data))
        });
        assert_eq!(stage.answers(point)[0].0, Acquired::Clean, "{point}");
    };
    play::sweep(Then::Kill, || play(NEWCOMER, 1), |_, _| (), check)
}

pub(crate) fn hangs_without_broadcast(part: &'static str) -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || play(part, 1), |_, _| ())
}

pub(crate) fn woken_hangs_without_broadcast() -> Result<Swept, Refused> {
    play::hangs(Then::Kill, || held(PART, 1), |_, _| ())
}
