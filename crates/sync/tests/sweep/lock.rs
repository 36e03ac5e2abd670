//! A victim that takes a lock, changes two words that belong together, and gives it back.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;

use poolctl_sync::{Acquired, Detection, Host, RawLock};
use poolctl_testkit::stepper::{self, Refused, Scene, Swept, Then};

use crate::stage::{Side, Stage, count};

pub(crate) const PART: &str = "lock";

/// What a contender found: how the lock came, and whether the two words differed.
type Found = (Acquired, bool);

struct Scenery {
    stage: Stage<Found>,
    lock: RawLock,
    contenders: usize,
    /// Whether the host holds the lock while the victim comes to it.
    is_held: bool,
}

impl Scenery {
    fn new(contenders: usize) -> Self {
        let stage = Stage::new(|host: &mut Host| vec![host.create_lock().unwrap()]);
        let lock = RawLock::at(stage.host.member(), stage.places[0]).unwrap();
        Self { stage, lock, contenders, is_held: false }
    }

    /// With the host as its first owner.
    fn held(contenders: usize) -> Self {
        let mut scenery = Self::new(contenders);
        assert_eq!(scenery.lock.try_acquire().unwrap(), Some(Acquired::Clean));
        scenery.is_held = true;
        scenery
    }

    fn contend(&mut self) {
        while self.stage.contenders() < self.contenders {
            let place = self.stage.places[0];
            self.stage.contend(move |member, data| {
                let lock = RawLock::at(&member, place).unwrap().with_detection(Detection::Off);
                let acquired = lock.acquire(None).unwrap();
                let [first, second] = [0, 1].map(|word| data.cells()[word].load(SeqCst));
                let is_torn = first != second;
                if acquired == Acquired::OwnerDied {
                    data.cells()[1].store(first, SeqCst);
                    lock.consistent().unwrap();
                }
                count(&data, 0);
                count(&data, 1);
                lock.release().unwrap();
                (acquired, is_torn)
            });
        }
    }

    /// What is to be true when all is over.
    fn check(&mut self, point: &stepper::Point, seen: &mut BTreeSet<Option<Found>>) {
        self.contend();
        if self.is_held {
            self.lock.release().unwrap();
        }
        let mut found = self.stage.answers(point);
        let last = self.lock.acquire(Some(poolctl_testkit::DEADLINE)).unwrap();
        let [first, second] = [0, 1].map(|word| self.stage.data.cells()[word].load(SeqCst));
        found.push((last, first != second));
        let dead = found.iter().filter(|(acquired, _)| *acquired == Acquired::OwnerDied).count();
        assert!(dead <= 1, "{point}: {dead} owners were told of one death");
        assert!(
            found.iter().all(|(acquired, is_torn)| !is_torn || *acquired == Acquired::OwnerDied),
            "{point}: torn, and nobody was told: {found:?}"
        );
        let told = found.into_iter().find(|(acquired, _)| *acquired == Acquired::OwnerDied);
        seen.insert(told);
        self.lock.release().unwrap();
        assert_eq!(self.lock.waiters(), [], "{point}");
    }
}

impl Scene for Scenery {
    fn start(&mut self) -> u32 {
        self.stage.start(PART)
    }

    fn act(&mut self) {
        self.contend();
        self.stage.wait_until_asleep();
        if self.is_held {
            self.is_held = false;
            // The victim came first, so it is the one that is woken.
            self.lock.release().unwrap();
        } else if self.stage.is_at_gate() {
            self.stage.open_gate();
        }
    }
}

pub(crate) fn victim(side: &Side) {
    let lock = RawLock::at(&side.member, side.places[0]).unwrap().with_detection(Detection::Off);
    // The thread has its entry when the sweep begins.
    let is_free = lock.try_acquire().unwrap().is_some();
    if is_free {
        lock.release().unwrap();
    }
    stepper::mark_start();
    let acquired = lock.acquire(None).unwrap();
    side.count(0);
    if is_free {
        side.wait_at_gate();
    }
    side.count(1);
    lock.release().unwrap();
    stepper::mark_end();
    assert_eq!(acquired, Acquired::Clean);
}

/// All that a survivor may be told: nothing, that the owner died, and that with torn data.
fn all_found() -> BTreeSet<Option<Found>> {
    [None, Some((Acquired::OwnerDied, false)), Some((Acquired::OwnerDied, true))].into()
}

fn sweep(scene: impl Fn() -> Scenery) -> Result<Swept, Refused> {
    let mut seen = BTreeSet::new();
    let swept = stepper::sweep(Then::Kill, scene, |mut scene: Scenery, point| {
        scene.stage.recover();
        scene.check(point, &mut seen);
    })?;
    assert_eq!(seen, all_found());
    Ok(swept)
}

pub(crate) fn killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(|| Scenery::new(contenders))
}

pub(crate) fn woken_killed(contenders: usize) -> Result<Swept, Refused> {
    sweep(|| Scenery::held(contenders))
}

/// With a recovery that marks and does not wake.
fn silently(scene: impl Fn() -> Scenery) -> Result<Swept, Refused> {
    let mut hangs = 0;
    let swept = stepper::sweep(Then::Kill, scene, |mut scene: Scenery, _| {
        scene.stage.recover_silently();
        if scene.is_held {
            scene.lock.release().unwrap();
        }
        hangs += u32::from(scene.stage.hangs());
    })?;
    println!("     without the broadcast {hangs} of {} hang", swept.points);
    assert!(hangs > 0, "nobody hangs without the broadcast");
    Ok(swept)
}

pub(crate) fn hangs_without_broadcast() -> Result<Swept, Refused> {
    silently(|| Scenery::new(1))
}

pub(crate) fn woken_hangs_without_broadcast() -> Result<Swept, Refused> {
    silently(|| Scenery::held(1))
}
