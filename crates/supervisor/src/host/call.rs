//! What was handed in together, and what became of it: outcomes in the order of the items.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread::{self, ThreadId};

use poolctl_types::Item;
use smallvec::SmallVec;

use super::Refusal;
use super::seat::{Seat, Wake, lock};
use crate::report::Report;
use crate::results::Form;

/// Items that were handed in together, or one after another, and their outcomes as they come.
#[derive(Debug, Default)]
pub struct Call {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    submitted: u64,
    settled: u64,
    /// The bytes of all results so far, taken out or not.
    result_bytes: u64,
    /// Items in the supervisor's hands.
    posted: u64,
    /// The first item in the supervisor's numbers, once known.
    first: Option<Item>,
    /// Sorted by index, unless it is `unordered`; what was taken out is gone.
    outcomes: Outcomes,
    /// Outcomes stand in the order in which they came.
    unordered: bool,
    seats: Vec<(Need, Arc<Seat>)>,
    task: Option<(Need, Waker)>,
    is_cancelled: bool,
    callback: Callback,
    /// Why what has no outcome will never have one.
    refusal: Option<Refusal>,
}

/// Outcomes with the indices of their first items. The first of all lies in place: of most calls it is the only one.
#[derive(Debug, Default)]
struct Outcomes {
    front: Option<(u64, Settled)>,
    /// Empty if there is no front.
    others: VecDeque<(u64, Settled)>,
}

/// What is called once everything has its outcome; whoever waits for that waits for its return.
type Then = Box<dyn FnOnce(&Call) + Send>;

/// Where the callback of a call stands.
#[derive(Default)]
enum Callback {
    /// There is none, or it has returned.
    #[default]
    Done,
    /// It is called when everything that is handed in until the call is sealed has its outcome.
    Unsealed(Then),
    /// Nothing more is handed in.
    Sealed(Then),
    /// It is on its way to the thread of callbacks.
    Due(Then),
    /// It runs there.
    Running(ThreadId),
}

/// Results; few bytes lie in place, since memory that one thread takes and another gives back costs both.
pub type ResultBytes = SmallVec<[u8; 32]>;

/// How items of a call ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Settled {
    /// `count` items next to each other are ok.
    Run {
        /// How many.
        count: u32,
        /// Their results, one after another.
        results: ResultBytes,
        /// How one is told from the next.
        form: Form,
    },
    /// One item, with all that is known of it.
    One(Box<Report>),
    /// `count` items next to each other were cancelled before they ran.
    NeverRan {
        /// How many.
        count: u32,
    },
    /// `count` items next to each other were not run to an end.
    Refused {
        /// Why.
        why: Refusal,
        /// How many.
        count: u32,
    },
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every item that was handed in has its outcome.
    All,
    /// The item of this index has its outcome, all before it having been taken out.
    Next(u64),
    /// Some item has an outcome that was not taken out. Of calls that are [`Call::unordered`].
    Any,
}

/// How far what somebody waits for is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It needs turns of the loop.
    Open,
    /// Only a callback has to return, which is on its way.
    CalledBack,
    /// It is there.
    There,
}

impl Call {
    /// A call without items.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A call without items, whose outcomes are taken out in the order in which they come, by [`Call::take_any`].
    #[must_use]
    pub fn unordered() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { unordered: true, ..State::default() }) })
    }

    /// A call without items, which has `then` called, on a thread of the host's own, when everything that is handed in
    /// until [`super::Handle::seal`] has its outcome. Whoever waits for [`Need::All`] waits for its return too, but in
    /// `then` itself.
    #[must_use]
    pub fn with_callback(then: impl FnOnce(&Call) + Send + 'static) -> Arc<Self> {
        let state = State { callback: Callback::Unsealed(Box::new(then)), ..State::default() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Whether what is needed is there.
    #[must_use]
    pub fn is_met(&self, need: Need) -> bool {
        lock(&self.state).is_met(need)
    }

    /// Takes out the first outcome left, which must be that of the item `index`: with its neighbours, if it came so.
    #[must_use]
    pub fn take(&self, index: u64) -> Option<Settled> {
        let mut state = lock(&self.state);
        if state.outcomes.front.as_ref().is_some_and(|(first, _)| *first == index) {
            return state.outcomes.pop_front().map(|(_, settled)| settled);
        }
        state.refusal.clone().map(|why| Settled::Refused { why, count: 1 })
    }

    /// Takes out the outcome that came first of those left, and says which item it begins with; none, if what is left
    /// was refused. Of calls that are [`Call::unordered`].
    #[must_use]
    pub fn take_any(&self) -> Option<(Option<u64>, Settled)> {
        let mut state = lock(&self.state);
        match state.outcomes.pop_front() {
            Some((index, settled)) => Some((Some(index), settled)),
            None => state.refusal.clone().map(|why| (None, Settled::Refused { why, count: 1 })),
        }
    }

    /// How long a result is on average, in bytes; none: there was none yet.
    #[must_use]
    pub fn mean_result_bytes(&self) -> Option<u64> {
        let state = lock(&self.state);
        state.result_bytes.checked_div(state.settled)
    }

    /// Looks at the first outcome left.
    pub fn peek<T>(&self, look: impl FnOnce(&Settled) -> T) -> Option<T> {
        lock(&self.state).outcomes.front.as_ref().map(|(_, settled)| look(settled))
    }

    /// Has `waker` called when what is needed is there, unless it is: says whether it is. One task at a time.
    #[must_use]
    pub fn poll(&self, need: Need, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        let met = state.is_met(need);
        if met {
            state.task = None;
        } else if !state.task.as_ref().is_some_and(|(known, task)| *known == need && task.will_wake(waker)) {
            state.task = Some((need, waker.clone()));
        }
        met
    }

    /// No task waits any more.
    pub fn forget_task(&self) {
        let task = lock(&self.state).task.take();
        drop(task);
    }

    /// How far what is needed is. To be asked once: the callback may return between two questions.
    pub(super) fn standing(&self, need: Need) -> Standing {
        let state = lock(&self.state);
        let is_called = matches!(state.callback, Callback::Due(_) | Callback::Running(_));
        match need {
            _ if state.is_met(need) => Standing::There,
            Need::All if state.is_settled() && is_called => Standing::CalledBack,
            Need::All | Need::Next(_) | Need::Any => Standing::Open,
        }
    }

    /// Has `seat` woken when what is needed is there, unless it is: says whether it is.
    pub(super) fn watch(&self, need: Need, seat: &Arc<Seat>) -> bool {
        let mut state = lock(&self.state);
        let met = state.is_met(need);
        if !met && !state.seats.iter().any(|(_, known)| Arc::ptr_eq(known, seat)) {
            state.seats.push((need, Arc::clone(seat)));
        }
        met
    }

    pub(super) fn unwatch(&self, seat: &Arc<Seat>) {
        lock(&self.state).seats.retain(|(_, known)| !Arc::ptr_eq(known, seat));
    }

    /// Counts `count` further items as handed in; says the index of the first.
    pub(super) fn submit(&self, count: u64) -> u64 {
        let mut state = lock(&self.state);
        let index = state.submitted;
        state.submitted += count;
        index
    }

    /// It is not wanted any more. Whether that is news, and changes anything.
    pub(super) fn cancel(&self) -> bool {
        let mut state = lock(&self.state);
        !state.is_met(Need::All) && !std::mem::replace(&mut state.is_cancelled, true)
    }

    /// `count` of the items are in the supervisor's hands now, from `first` on.
    pub(super) fn post(&self, first: Item, count: u64) {
        let mut state = lock(&self.state);
        state.first.get_or_insert(first);
        state.posted += count;
    }

    /// The first item, and how many are in the supervisor's hands.
    pub(super) fn posted(&self) -> Option<(Item, u64)> {
        let state = lock(&self.state);
        Some((state.first?, state.posted))
    }

    /// Stores the outcome of the items from `index` on, and adds to `wakes` who waits for it.
    pub(super) fn settle(self: &Arc<Self>, index: u64, settled: Settled, wakes: &mut Vec<Wake>) {
        let mut state = lock(&self.state);
        let count = u64::from(settled.count());
        state.settled += count;
        state.result_bytes += settled.result_bytes();
        state.posted = state.posted.saturating_sub(count);
        if state.unordered {
            state.outcomes.push(index, settled);
        } else {
            state.outcomes.insert(index, settled);
        }
        state.call_back(self, wakes);
        state.call_watchers(wakes);
    }

    /// Nothing more is handed in.
    pub(super) fn seal(self: &Arc<Self>, wakes: &mut Vec<Wake>) {
        let mut state = lock(&self.state);
        state.callback = match std::mem::take(&mut state.callback) {
            Callback::Unsealed(then) => Callback::Sealed(then),
            other => other,
        };
        state.call_back(self, wakes);
    }

    /// Runs the callback, which is due; adds to `wakes` who waits for that. A panic in it goes no further.
    pub(super) fn run_callback(&self, wakes: &mut Vec<Wake>) {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.callback, Callback::Running(thread::current().id())) {
            Callback::Due(then) => {
                drop(state);
                if catch_unwind(AssertUnwindSafe(|| then(self))).is_err() {
                    tracing::error!("a callback has panicked");
                }
                state = lock(&self.state);
                state.callback = Callback::Done;
                state.call_watchers(wakes);
            }
            other => state.callback = other,
        }
    }

    /// What has no outcome by now will never have one, and that is an end to all waiting.
    pub(super) fn refuse(self: &Arc<Self>, why: Refusal, wakes: &mut Vec<Wake>) {
        let mut state = lock(&self.state);
        state.refusal.get_or_insert(why);
        state.call_back(self, wakes);
        state.call_watchers(wakes);
    }
}

impl State {
    fn is_met(&self, need: Need) -> bool {
        match need {
            Need::All => self.is_settled() && self.callback.is_over(),
            Need::Next(_) | Need::Any if self.refusal.is_some() => true,
            Need::Next(index) => self.outcomes.front.as_ref().is_some_and(|(first, _)| *first == index),
            Need::Any => self.outcomes.front.is_some(),
        }
    }

    /// Whether every outcome there will be is there.
    fn is_settled(&self) -> bool {
        self.refusal.is_some() || self.settled == self.submitted
    }

    /// Sends the callback on its way if its time has come.
    fn call_back(&mut self, call: &Arc<Call>, wakes: &mut Vec<Wake>) {
        if !self.is_settled() || !matches!(self.callback, Callback::Sealed(_)) {
            return;
        }
        self.callback = match std::mem::take(&mut self.callback) {
            Callback::Sealed(then) => {
                wakes.push(Wake::Callback(Arc::clone(call)));
                Callback::Due(then)
            }
            other => other,
        };
    }

    fn call_watchers(&mut self, wakes: &mut Vec<Wake>) {
        let mut seats = std::mem::take(&mut self.seats);
        seats.retain(|(need, seat)| {
            let met = self.is_met(*need);
            if met {
                wakes.push(Wake::Seat(Arc::clone(seat)));
            }
            !met
        });
        self.seats = seats;
        if self.task.as_ref().is_some_and(|(need, _)| self.is_met(*need)) {
            wakes.extend(self.task.take().map(|(_, waker)| Wake::Task(waker)));
        }
    }
}

impl Outcomes {
    /// Takes the first out.
    fn pop_front(&mut self) -> Option<(u64, Settled)> {
        std::mem::replace(&mut self.front, self.others.pop_front())
    }

    /// Adds an outcome behind all others.
    fn push(&mut self, index: u64, settled: Settled) {
        match self.front {
            None => self.front = Some((index, settled)),
            Some(_) => self.others.push_back((index, settled)),
        }
    }

    /// Adds an outcome in the order of the items.
    fn insert(&mut self, index: u64, settled: Settled) {
        match &mut self.front {
            None => self.front = Some((index, settled)),
            Some(front) if front.0 > index => {
                let behind = std::mem::replace(front, (index, settled));
                self.others.push_front(behind);
            }
            Some(_) => {
                let place = self.others.partition_point(|(known, _)| *known < index);
                self.others.insert(place, (index, settled));
            }
        }
    }
}

impl Callback {
    /// Whether nobody needs to wait for it: not that of a call which is waited for in its own callback.
    fn is_over(&self) -> bool {
        match self {
            Callback::Done => true,
            Callback::Running(thread) => *thread == thread::current().id(),
            Callback::Unsealed(_) | Callback::Sealed(_) | Callback::Due(_) => false,
        }
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Callback::Done => "Done",
            Callback::Unsealed(_) => "Unsealed",
            Callback::Sealed(_) => "Sealed",
            Callback::Due(_) => "Due",
            Callback::Running(_) => "Running",
        })
    }
}

impl Settled {
    /// How many bytes of results are in it.
    fn result_bytes(&self) -> u64 {
        match self {
            Settled::Run { results, .. } => results.len() as u64,
            Settled::One(report) => report.attempt.out.len(),
            Settled::NeverRan { .. } | Settled::Refused { .. } => 0,
        }
    }

    /// Of how many items this is the outcome.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self {
            Settled::Run { count, .. } | Settled::NeverRan { count } | Settled::Refused { count, .. } => {
                *count
            }
            Settled::One(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(count: u32) -> Settled {
        Settled::Run { count, results: b"x\n".repeat(count as usize).into(), form: Form::Lines }
    }

    #[test]
    fn a_settled_call_with_a_callback_goes_from_open_to_called_back_to_there() {
        let (mut wakes, call) = (Vec::new(), Call::with_callback(|_| {}));
        let index = call.submit(1);
        assert_eq!(call.standing(Need::All), Standing::Open);

        call.settle(index, run(1), &mut wakes);
        assert_eq!(call.standing(Need::All), Standing::Open, "further items may be handed in");
        call.seal(&mut wakes);
        assert_eq!(call.standing(Need::All), Standing::CalledBack);
        call.run_callback(&mut wakes);

        assert_eq!(call.standing(Need::All), Standing::There);
    }

    #[test]
    fn outcomes_come_out_in_the_order_of_items_whatever_order_they_came_in() {
        let call = Call::new();
        let mut wakes = Vec::new();
        assert_eq!(call.submit(3), 0);
        assert_eq!(call.submit(2), 3);

        call.settle(3, run(2), &mut wakes);
        assert!(call.take(0).is_none(), "the first item has no outcome yet");
        call.settle(1, run(2), &mut wakes);
        call.settle(0, run(1), &mut wakes);

        assert!(call.is_met(Need::All));
        assert_eq!(
            [0, 1, 3].map(|index| call.take(index).map(|settled| settled.count())),
            [Some(1), Some(2), Some(2)]
        );
        assert!(wakes.is_empty(), "nobody waited");
    }

    #[test]
    fn outcomes_of_an_unordered_call_come_out_as_they_came_in() {
        let call = Call::unordered();
        let mut wakes = Vec::new();
        call.submit(3);
        assert!(!call.is_met(Need::Any));

        call.settle(2, run(1), &mut wakes);
        call.settle(0, run(2), &mut wakes);

        assert!(call.is_met(Need::Any));
        let taken: Vec<_> =
            std::iter::from_fn(|| call.take_any()).map(|(first, run)| (first, run.count())).collect();
        assert_eq!(taken, [(Some(2), 1), (Some(0), 2)]);
    }

    #[test]
    fn a_seat_is_woken_once_what_it_needs_is_there_and_not_before() {
        let call = Call::new();
        let (all, next) = (Seat::new(), Seat::new());
        let mut wakes = Vec::new();
        call.submit(2);
        assert!(!call.watch(Need::All, &all));
        assert!(!call.watch(Need::Next(0), &next));

        call.settle(1, run(1), &mut wakes);
        assert_eq!(wakes.len(), 0);
        call.settle(0, run(1), &mut wakes);

        assert_eq!(wakes.len(), 2);
        assert!(call.watch(Need::All, &all), "whoever comes later sees that it is there");
    }
}
