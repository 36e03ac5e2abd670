//! What most sweeps have in common: contenders that fall asleep while the victim is at its gate, or asleep itself.

use poolctl_testkit::stepper::{self, Point, Refused, Scene, Swept, Then};

use crate::stage::Stage;

/// How the contenders meet the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cue {
    /// The victim comes to its gate; the contenders fall asleep; the gate is opened.
    Gate,
    /// The victim falls asleep; the contenders do, too; the host wakes the victim.
    Asleep,
    /// The victim falls asleep; the contenders come and wake it.
    Wakers,
}

/// A scene.
pub(crate) struct Play<T> {
    pub(crate) stage: Stage<T>,
    pub(crate) part: &'static str,
    pub(crate) contenders: usize,
    pub(crate) cue: Cue,
    /// Starts a contender.
    pub(crate) contend: fn(&mut Stage<T>),
    /// What the host does when the victim sleeps, or, at the latest, when it is dead.
    pub(crate) host_acts: fn(&Stage<T>),
    pub(crate) has_acted: bool,
}

impl<T: Send + 'static> Play<T> {
    pub(crate) fn start_contenders(&mut self) {
        while self.stage.contenders() < self.contenders {
            (self.contend)(&mut self.stage);
        }
    }

    pub(crate) fn host_acts_once(&mut self) {
        if !self.has_acted {
            self.has_acted = true;
            (self.host_acts)(&self.stage);
        }
    }
}

impl<T: Send + 'static> Scene for Play<T> {
    fn start(&mut self) -> u32 {
        self.stage.start(self.part)
    }

    fn act(&mut self) {
        if self.cue == Cue::Gate && !self.stage.is_at_gate() {
            return;
        }
        self.start_contenders();
        match self.cue {
            Cue::Wakers => self.stage.wait_until_done(),
            Cue::Gate | Cue::Asleep => self.stage.wait_until_asleep(),
        }
        match self.cue {
            Cue::Gate => self.stage.open_gate(),
            Cue::Asleep => self.host_acts_once(),
            Cue::Wakers => {}
        }
    }
}

/// Kills the victim everywhere and recovers it. `after` is what the host does then for those who still wait, as a
/// program would, and looks at what is left, with all answers.
pub(crate) fn sweep<T: Send + 'static>(
    play: impl Fn() -> Play<T>,
    finish: impl Fn(&Stage<T>, usize),
    mut check: impl FnMut(&mut Stage<T>, Vec<T>, &Point),
) -> Result<Swept, Refused> {
    stepper::sweep(Then::Kill, play, |mut play: Play<T>, point| {
        play.stage.recover();
        play.start_contenders();
        if play.cue == Cue::Asleep {
            play.host_acts_once();
        }
        finish(&play.stage, play.contenders);
        let answers = play.stage.answers(point);
        check(&mut play.stage, answers, point);
    })
}

/// The same with a recovery that wakes nobody: somebody must hang.
pub(crate) fn hangs<T: Send + 'static>(
    play: impl Fn() -> Play<T>,
    finish: impl Fn(&Stage<T>, usize),
) -> Result<Swept, Refused> {
    let mut hangs = 0;
    let swept = stepper::sweep(Then::Kill, play, |mut play: Play<T>, _| {
        play.stage.recover_silently();
        if play.cue == Cue::Asleep {
            play.host_acts_once();
        }
        finish(&play.stage, play.contenders);
        hangs += u32::from(play.stage.hangs());
    })?;
    println!("     without the broadcast {hangs} of {} hang", swept.points);
    assert!(hangs > 0, "nobody hangs without the broadcast");
    Ok(swept)
}
