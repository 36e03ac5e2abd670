//! Stops a process at each instruction of what it does, one run for each, and kills it there or lets it go on.
//!
//! The process is a *victim*: a program of the test's own that calls [`allow_steps`], then [`mark_start`], does what is
//! to be swept, and calls [`mark_end`]. The test says how to start one and what the other side does meanwhile
//! ([`Scene`]), and looks after each run at what is left.
//!
//! # How
//! 1. A first victim is single-stepped from start to end, and where it was is written down: each place, and how often
//!    it had been there. So is a second, and if that went another way, some more, until two went the same.
//! 2. For each point that was written down a new victim runs to it on a breakpoint. So a sweep takes a time that grows
//!    with the number of points, and not with its square.
//!
//! Places are files and offsets in them, since every process has its own addresses. Those are kept the same where that is
//! permitted: a `memset` near the end of a page takes another way than elsewhere. Release builds are stopped at every
//! instruction; debug builds, which have many times as many, where each instruction is reached first.
//!
//! Where a victim that is killed has more than [`EACH`] instructions to go, most of them change nothing that others see.
//! Killed before or behind such a one, it leaves the same: so release builds stop it before and behind each instruction
//! that changes shared memory and each system call, and, in case we are wrong about that, at every [`STRIDE`]th of the
//! rest, but for those that read the clock: how many they are depends on how fast they are stepped. With `--every` on the
//! command line it stops at all of them.
//!
//! What runs beside a victim may send it another way than the first one went. Behind one that passed its point by others
//! are stepped to it, at the pace of the first, until one comes there.
//!
//! A scene may have a second victim, a [`Companion`], which stands still when it is woken, and dies when the scene says so.
//!
//! x86-64 alone. Where ptrace(2) is not permitted, [`sweep`] answers [`Refused`], and the test says that it skips.

mod companion;
mod harness;
mod victim;
mod visible;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use nix::sys::personality::{self, Persona};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};

pub use companion::Companion;
pub use harness::{Builds, Sweep, VICTIM, run_sweeps};
use victim::{News, Place, Victim};
use visible::Visible;

/// How a victim ends that may not be traced.
const NOT_PERMITTED: i32 = 77;
/// What a victim raises where the sweep begins.
const START: Signal = Signal::SIGUSR1;
/// What it raises where the sweep ends.
const END: Signal = Signal::SIGUSR2;
/// How many victims are recorded if no two of them go the same way.
const MOST_RECORDS: usize = 5;
/// Up to so many instructions a victim is killed at each of them.
const EACH: usize = 1000;
/// Of more, at each that others notice, and at so many-th of the rest.
const STRIDE: usize = 7;
/// The argument of a test that wants them all.
const EVERY: &str = "--every";
/// How often a victim may fall asleep on its way to one point.
const MOST_SLEEPS: u32 = 100;
/// How many victims are sent to one point before it counts as one that none comes to.
const MOST_VICTIMS: usize = 100;

/// In the victim: lets the process that started it step it. Ends the victim where that is not permitted.
#[expect(clippy::exit, clippy::disallowed_methods, reason = "there is nothing else for a victim to do")]
pub fn allow_steps() {
    if ptrace::traceme().is_err() {
        std::process::exit(NOT_PERMITTED);
    }
}

/// In the victim: the sweep begins behind this.
///
/// # Panics
/// Never: a process may always send itself a signal.
pub fn mark_start() {
    raise(START).expect("a process may send itself a signal");
}

/// In the victim: the sweep ends before this.
///
/// # Panics
/// Never: a process may always send itself a signal.
pub fn mark_end() {
    raise(END).expect("a process may send itself a signal");
}

/// One run of a victim, and what the test does beside it.
pub trait Scene {
    /// Starts a victim, from this thread, and answers its pid. It is the sweep that reaps it.
    fn start(&mut self) -> u32;

    /// What the other side does. In a sweep that kills: whenever the victim sleeps, so that it goes on. In one that goes
    /// on: once, while the victim stands at its point or, if it comes to that first, sleeps.
    fn act(&mut self);

    /// Whether something else goes on from point to point, so that no two of them are alike.
    fn is_moving(&self) -> bool {
        false
    }
}

/// What becomes of a victim at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is killed there. If it ever sleeps, one more is killed asleep.
    Kill,
    /// The same from its first sleep on, which it must come to: it is killed asleep, and at each point behind that.
    KillWoken,
    /// The other side acts, and the victim goes on to its end, where it must exit with 0. If it falls asleep then, it
    /// was not woken, and the sweep fails.
    GoOn,
}

/// How far a sweep got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Victims that were stopped.
    pub points: usize,
    /// Instructions from start to end.
    pub instructions: usize,
    /// Victims that went another way than the first, and were followed by others.
    pub astray: usize,
}

/// This process may not trace another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ptrace is not permitted here")
    }
}

/// Stops one victim after another at each point, and calls `after` with what is left: its scene, and where it stood.
///
/// # Errors
/// [`Refused`].
///
/// # Panics
/// If a victim does anything else than it should, with what it did, and where.
pub fn sweep<S: Scene>(
    then: Then,
    mut scene: impl FnMut() -> S,
    mut after: impl FnMut(S, &Point),
) -> Result<Swept, Refused> {
    keep_addresses();
    let Record { path, slept_at, turns } = usual_record(&mut scene)?;
    let from = match then {
        Then::KillWoken => slept_at.expect("a victim sleeps that is to be woken"),
        Then::Kill | Then::GoOn => 0,
    };
    let mut swept = Swept { points: 0, instructions: path.len() - from, astray: 0 };
    let mut places = HashSet::new();
    let is_each = then == Then::GoOn
        || swept.instructions <= EACH
        || scene().is_moving()
        || std::env::args().any(|argument| argument == EVERY);
    let is_wanted = |(index, point): &(usize, &Point)| match cfg!(debug_assertions) {
        true => places.insert(point.place.clone()),
        false => is_each || turns.contains(index) || index % STRIDE == 0 && !point.place.is_clock(),
    };
    for (_, point) in path.iter().enumerate().skip(from).filter(is_wanted) {
        let (mut scene, mut victim, reached) = reach(point, then, &mut scene, &mut swept.astray)?;
        match then {
            Then::Kill | Then::KillWoken => victim.kill(),
            Then::GoOn => {
                scene.act();
                run_to_exit(&mut victim, point);
            }
        }
        swept.points += 1;
        after(scene, point);
        if (then, reached) == (Then::GoOn, Reached::Sleep) {
            // Whatever lies behind the sleep is reached only when the other side has acted.
            return Ok(swept);
        }
    }
    if slept_at.is_some() && then != Then::GoOn {
        let mut scene = scene();
        let mut victim = Victim::start(scene.start())?;
        assert_eq!(victim.go_on(), News::Sleeps, "the first victim slept, and this one does not");
        victim.kill();
        swept.points += 1;
        after(scene, path.last().expect("a path has a point"));
    }
    Ok(swept)
}

/// The `nth` time that the victim is about to execute the instruction at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    place: Place,
    nth: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, time {}", self.place, self.nth)
    }
}

/// Where a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Point,
    Sleep,
    End,
}

/// Gives the programs that this thread starts from now on the same addresses each time.
#[expect(clippy::print_stderr, reason = "who reads the sweeps' results should know")]
fn keep_addresses() {
    let kept = personality::get().and_then(|now| personality::set(now | Persona::ADDR_NO_RANDOMIZE));
    if let Err(error) = kept {
        eprintln!("     victims have addresses of their own, since personality(2) answers: {error}");
    }
}

/// Sends victims to a point until one comes there, or sleeps before it where that is an end, too.
fn reach<S: Scene>(
    point: &Point,
    then: Then,
    scene: &mut impl FnMut() -> S,
    astray: &mut usize,
) -> Result<(S, Victim, Reached), Refused> {
    for tried in 0..MOST_VICTIMS {
        let mut scene = scene();
        let mut victim = Victim::start(scene.start())?;
        let reached = match tried {
            0 => run_to(&mut victim, point, then, &mut scene),
            _ => step_to(&mut victim, point, then, &mut scene),
        };
        if reached != Reached::End {
            return Ok((scene, victim, reached));
        }
        *astray += 1;
    }
    panic!("{point}: the first victim came there, and {MOST_VICTIMS} others did not");
}

/// The way of a victim from start to end.
#[derive(Debug)]
struct Record {
    path: Vec<Point>,
    /// Which point was the first behind a sleep.
    slept_at: Option<usize>,
    /// Before and behind which points others saw something change.
    turns: BTreeSet<usize>,
}

impl Record {
    /// Whether this victim went the same way as the other. What others did meanwhile need not be the same.
    fn is_like(&self, other: &Self) -> bool {
        (&self.path, self.slept_at) == (&other.path, other.slept_at)
    }
}

/// The way that two victims go, or, where none do, the last one went. A single one may go its own, which others hardly
/// ever go at the same instruction: a clock is read again if the kernel sets it meanwhile, and a second may end.
fn usual_record<S: Scene>(scene: &mut impl FnMut() -> S) -> Result<Record, Refused> {
    let mut records = vec![record(&mut scene())?];
    loop {
        let mut next = record(&mut scene())?;
        let like = records.iter().filter(|earlier| earlier.is_like(&next));
        let turns: Vec<usize> = like.flat_map(|earlier| earlier.turns.iter().copied()).collect();
        let is_usual = records.iter().any(|earlier| earlier.is_like(&next));
        next.turns.extend(turns);
        if is_usual || records.len() + 1 == MOST_RECORDS {
            return Ok(next);
        }
        records.push(next);
    }
}

/// Steps a victim from start to end.
fn record(scene: &mut impl Scene) -> Result<Record, Refused> {
    let mut victim = Victim::start(scene.start())?;
    let (mut path, mut slept_at) = (Vec::new(), None);
    let mut seen = HashMap::<Place, u32>::new();
    let mut visible = Visible::of(&victim);
    let steps = Cell::new(0);
    let mut note = |victim: &Victim| {
        let place = victim.place();
        visible.look(victim, &place);
        let nth = seen.entry(place.clone()).or_default();
        *nth += 1;
        path.push(Point { place, nth: *nth });
        steps.set(path.len());
        false
    };
    let act = || {
        slept_at.get_or_insert(steps.get());
        scene.act();
        true
    };
    walk(&mut victim, &mut note, act);
    // Where it stands when the signal is there already; nothing more is executed.
    path.pop();
    Ok(Record { path, slept_at, turns: visible.turns() })
}

/// Steps a victim to a point, or as far as it comes.
fn step_to(victim: &mut Victim, point: &Point, then: Then, scene: &mut impl Scene) -> Reached {
    let mut times = 0;
    let is_there = |victim: &Victim| {
        times += u32::from(victim.place() == point.place);
        times == point.nth
    };
    let act = || {
        if then != Then::GoOn {
            scene.act();
        }
        then != Then::GoOn
    };
    walk(victim, is_there, act)
}

/// Steps a victim until `is_there`, asked before each step, says so. Whenever it sleeps `act` makes it go on, or answers
/// that it shall not.
fn walk(
    victim: &mut Victim,
    mut is_there: impl FnMut(&Victim) -> bool,
    mut act: impl FnMut() -> bool,
) -> Reached {
    let mut sleeps = 0;
    while !is_there(victim) {
        let mut news = victim.step();
        while news == News::Sleeps {
            sleeps += 1;
            assert!(sleeps < MOST_SLEEPS, "the victim sleeps, whatever the other side does");
            if !act() {
                return Reached::Sleep;
            }
            news = victim.news();
        }
        match news {
            News::Trapped | News::Sleeps => {}
            News::End => return Reached::End,
            News::Exited(code) => panic!("the victim exited with {code} before its end"),
        }
    }
    Reached::Point
}

/// Runs a victim to a point, or as far as it comes.
fn run_to(victim: &mut Victim, point: &Point, then: Then, scene: &mut impl Scene) -> Reached {
    victim.set_breakpoint(&point.place);
    let (mut times, mut sleeps) = (0, 0);
    let mut news = victim.go_on();
    loop {
        match news {
            News::Trapped if victim.is_at_breakpoint() => {
                times += 1;
                victim.clear_breakpoint();
                if times == point.nth {
                    return Reached::Point;
                }
                news = victim.step();
            }
            News::Trapped => {
                victim.set_breakpoint(&point.place);
                news = victim.go_on();
            }
            News::Sleeps if then == Then::GoOn => return Reached::Sleep,
            News::Sleeps => {
                sleeps += 1;
                assert!(sleeps < MOST_SLEEPS, "{point}: the victim sleeps, whatever the other side does");
                scene.act();
                news = victim.news();
            }
            News::End => return Reached::End,
            News::Exited(code) => panic!("{point}: the victim exited with {code} before that"),
        }
    }
}

/// Lets a victim go on after the other side has acted.
fn run_to_exit(victim: &mut Victim, point: &Point) {
    let mut news = if victim.is_stopped() { victim.go_on() } else { victim.news() };
    loop {
        match news {
            News::Trapped => {
                victim.clear_breakpoint();
                news = victim.go_on();
            }
            News::Sleeps => panic!("{point}: the victim was not woken"),
            News::End => news = victim.go_on(),
            News::Exited(0) => return,
            News::Exited(code) => panic!("{point}: the victim exited with {code}"),
        }
    }
}
