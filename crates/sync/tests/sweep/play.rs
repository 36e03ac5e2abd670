//! What all sweeps have in common: contenders that fall asleep while the victim is at its gate, or asleep itself, and
//! perhaps a second victim.

use std::collections::VecDeque;

use poolctl_testkit::stepper::{self, Companion, Point, Refused, Scene, Swept, Then};

use crate::stage::{Stage, Who};

/// How the contenders meet the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cue {
    /// The victim comes to its gate; the contenders fall asleep; the gate is opened.
    Gate,
    /// The victim falls asleep, and for each sleep there is an act of the host, which wakes it. Before the last one the
    /// contenders fall asleep, too.
    Asleep,
    /// The victim falls asleep; the contenders come and wake it.
    Wakers,
    /// The victim sleeps for nobody. The contenders come when it is dead, and fall asleep if it left something locked.
    Late,
}

/// A second victim, by its part: when it is there, and how it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Second {
    Nobody,
    /// Falls asleep before the contenders do. It dies behind the first, asleep, or woken and some instructions later, a
    /// [`STRIDE`] more each time.
    Behind(&'static str),
    /// Is at its gate before the first begins. It dies, and is recovered, when the first sleeps behind it; or behind the
    /// first.
    Before(&'static str),
    /// Is in the middle of it when the first is killed, an instruction further each time, and dies there.
    Beside(&'static str),
}

/// How the host recovers two who are dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    SweptFirst,
    SweptLast,
    /// One way and the other, from point to point.
    InTurn,
}

/// How far the second victims of a sweep have come.
#[derive(Debug, Default)]
struct Seconds {
    dead: usize,
    /// How many instructions the next one is to execute before it dies.
    steps: usize,
}

/// There are fewer points behind a wake than one that was woken has instructions.
const STRIDE: usize = 7;

type Contend<T> = Box<dyn Fn(&mut Stage<T>)>;

/// A scene.
pub(crate) struct Play<T> {
    pub(crate) stage: Stage<T>,
    pub(crate) part: &'static str,
    pub(crate) contenders: usize,
    pub(crate) cue: Cue,
    /// Starts a contender.
    pub(crate) contend: Contend<T>,
    /// What the host does when the victim sleeps, or, at the latest, when it is dead and recovered.
    pub(crate) host_acts: VecDeque<fn(&Stage<T>)>,
    /// Notes what the dead left, before the host recovers them.
    pub(crate) note: fn(&Stage<T>),
    pub(crate) second: Second,
    pub(crate) order: Order,
    /// The second victim, while it lives.
    pub(crate) companion: Option<Companion>,
}

impl<T: Send + 'static> Play<T> {
    /// With one contender, and a gate.
    pub(crate) fn new(
        stage: Stage<T>,
        part: &'static str,
        contend: impl Fn(&mut Stage<T>) + 'static,
    ) -> Self {
        Self {
            stage,
            part,
            contenders: 1,
            cue: Cue::Gate,
            contend: Box::new(contend),
            host_acts: VecDeque::new(),
            note: |_| (),
            second: Second::Nobody,
            order: Order::InTurn,
            companion: None,
        }
    }

    fn start_second(&mut self, part: &str) -> &mut Companion {
        self.companion.insert(Companion::start(self.stage.start(Who::Second, part)))
    }

    fn start_contenders(&mut self) {
        while self.stage.contenders() < self.contenders {
            (self.contend)(&mut self.stage);
        }
    }

    fn host_acts(&mut self) {
        if let Some(act) = self.host_acts.pop_front() {
            act(&self.stage);
        }
    }

    fn act_at_gate(&mut self) {
        if let Second::Behind(part) = self.second {
            self.start_second(part).fall_asleep();
        }
        self.start_contenders();
        self.stage.wait_until_asleep();
        self.stage.open_gate(Who::First);
    }

    fn act_behind_second(&mut self) {
        if let Some(second) = self.companion.take() {
            second.kill();
            self.stage.recover(Who::Second);
        }
        self.stage.wait_until_at_rest();
    }

    fn act_asleep(&mut self) {
        if self.host_acts.len() == 1 {
            self.start_contenders();
            self.stage.wait_until_asleep();
        }
        if self.host_acts.is_empty() {
            // Those who have what it waits for will wake it.
            self.stage.wait_until_at_rest();
        }
        self.host_acts();
    }

    /// The first victim has been killed. Kills the second one, if it lives, and has the host recover them by `recover`.
    /// What is left for the others to do they do then.
    fn bury(&mut self, seconds: &mut Seconds, recover: fn(&mut Stage<T>, Who)) {
        let mut dead = vec![Who::First];
        if let Some(mut second) = self.companion.take() {
            // What contenders were woken for they have taken, before the second one goes on.
            self.stage.wait_until_at_rest();
            let stride = if matches!(self.second, Second::Behind(_)) { STRIDE } else { 1 };
            seconds.steps = if second.step(seconds.steps) { seconds.steps + stride } else { 0 };
            second.kill();
            seconds.dead += 1;
            let is_last = match self.order {
                Order::SweptFirst => false,
                Order::SweptLast => true,
                Order::InTurn => seconds.dead.is_multiple_of(2),
            };
            dead.insert(usize::from(!is_last), Who::Second);
        }
        if self.cue == Cue::Late {
            self.start_contenders();
            self.stage.wait_until_at_rest();
        }
        (self.note)(&self.stage);
        dead.into_iter().for_each(|who| recover(&mut self.stage, who));
    }

    fn finish(&mut self, finish: impl Fn(&Stage<T>, usize)) {
        while !self.host_acts.is_empty() {
            self.host_acts();
        }
        finish(&self.stage, self.contenders);
    }
}

impl<T: Send + 'static> Scene for Play<T> {
    fn start(&mut self) -> u32 {
        match self.second {
            Second::Before(part) => self.start_second(part).fall_asleep(),
            Second::Beside(part) => {
                self.start_second(part);
            }
            Second::Nobody | Second::Behind(_) => {}
        }
        self.stage.start(Who::First, self.part)
    }

    fn act(&mut self) {
        let is_at_gate = self.stage.is_at_gate(Who::First);
        match self.cue {
            Cue::Gate if is_at_gate => self.act_at_gate(),
            Cue::Gate if matches!(self.second, Second::Before(_)) => self.act_behind_second(),
            // Those who have what it waits for will wake it.
            Cue::Gate => self.stage.wait_until_at_rest(),
            Cue::Asleep => self.act_asleep(),
            Cue::Wakers => {
                self.start_contenders();
                self.stage.wait_until_done();
            }
            Cue::Late => {}
        }
    }

    /// A second victim that dies behind the first dies elsewhere each time.
    fn is_moving(&self) -> bool {
        matches!(self.second, Second::Behind(_) | Second::Beside(_))
    }
}

/// Kills the victim everywhere and recovers it. `finish` is what the host does then for those who still wait, as a
/// program would; `check` looks at what is left, with all answers.
pub(crate) fn sweep<T: Send + 'static>(
    then: Then,
    play: impl Fn() -> Play<T>,
    finish: impl Fn(&Stage<T>, usize),
    mut check: impl FnMut(&mut Stage<T>, Vec<T>, &Point),
) -> Result<Swept, Refused> {
    let mut seconds = Seconds::default();
    stepper::sweep(then, play, |mut play: Play<T>, point| {
        play.bury(&mut seconds, Stage::recover);
        play.start_contenders();
        play.finish(&finish);
        let answers = play.stage.answers(point);
        check(&mut play.stage, answers, point);
    })
}

/// The same with a recovery that wakes nobody: somebody must hang.
pub(crate) fn hangs<T: Send + 'static>(
    then: Then,
    play: impl Fn() -> Play<T>,
    finish: impl Fn(&Stage<T>, usize),
) -> Result<Swept, Refused> {
    let (mut seconds, mut hangs) = (Seconds::default(), 0);
    let swept = stepper::sweep(then, play, |mut play: Play<T>, _| {
        play.bury(&mut seconds, Stage::recover_silently);
        play.finish(&finish);
        hangs += u32::from(play.stage.hangs());
    })?;
    println!("     without the broadcast {hangs} of {} hang", swept.points);
    assert!(hangs > 0, "nobody hangs without the broadcast");
    Ok(swept)
}
