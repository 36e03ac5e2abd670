//! A call: pieces of items, each run by one thread, and what becomes of it when all have ended.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use poolctl_supervisor::{Item, Slot};
use poolctl_worker::{Current, during};

use super::queue::{Claim, Work, slot};
use crate::task_error::{MapError, TaskError};

/// Pieces per thread, so that a slow one does not leave the others idle for long.
const PIECES_PER_THREAD: usize = 4;

/// All results of a call, in the order of its items, or its first error in that order.
pub(super) type Outcome<R> = Result<Vec<R>, MapError>;

/// What is done with the outcome, by the thread that ends the last piece.
type Finish<R> = Box<dyn FnOnce(Outcome<R>) + Send>;

/// One call.
pub(super) struct Job<R> {
    state: Mutex<State<R>>,
}

struct State<R> {
    waiting: VecDeque<Piece<R>>,
    /// By piece: its outcome, once it has ended.
    outcomes: Vec<Option<Outcome<R>>>,
    /// Pieces that have not ended.
    open: usize,
    /// There until all have.
    finish: Option<Finish<R>>,
}

/// Items that are run one behind the other.
struct Piece<R> {
    number: usize,
    /// The place of its first item.
    first: u64,
    run: Box<dyn FnOnce() -> Outcome<R> + Send>,
}

impl<R: Send + 'static> Job<R> {
    /// A call of one item.
    pub(super) fn single<F>(run: F, finish: Finish<R>) -> Self
    where
        F: FnOnce() -> Result<R, TaskError> + Send + 'static,
    {
        let run = || match guarded(0, run) {
            Ok(result) => Ok(vec![result]),
            Err(source) => Err(MapError { item: 0, source }),
        };
        Self::of(VecDeque::from([Piece { number: 0, first: 0, run: Box::new(run) }]), finish)
    }

    /// A call of `run` on each item, in pieces for so many threads.
    pub(super) fn many<A, F>(run: F, items: Vec<A>, threads: usize, finish: Finish<R>) -> Self
    where
        A: Send + 'static,
        F: Fn(A) -> Result<R, TaskError> + Send + Sync + 'static,
    {
        let len = items.len().div_ceil(threads.max(1) * PIECES_PER_THREAD).max(1);
        let run = Arc::new(run);
        let mut items = items.into_iter().peekable();
        let mut waiting = VecDeque::new();
        let mut first = 0;
        while items.peek().is_some() {
            let part: Vec<A> = items.by_ref().take(len).collect();
            let (begin, run) = (first, Arc::clone(&run));
            first += part.len() as u64;
            let run = move || run_in_order(part, begin, &*run);
            waiting.push_back(Piece { number: waiting.len(), first: begin, run: Box::new(run) });
        }
        Self::of(waiting, finish)
    }

    fn of(waiting: VecDeque<Piece<R>>, finish: Finish<R>) -> Self {
        let open = waiting.len();
        let outcomes = (0..open).map(|_| None).collect();
        let state = State { waiting, outcomes, open, finish: Some(finish) };
        Self { state: Mutex::new(state) }
    }

    /// How many pieces nobody has begun. A call without items has ended by this.
    pub(super) fn begin(&self) -> usize {
        let units = self.lock().waiting.len();
        if units == 0 {
            self.settle(Vec::new());
        }
        units
    }

    /// Stores the outcomes of pieces, and finishes the call with the last one.
    fn settle(&self, ended: Vec<(usize, Outcome<R>)>) {
        let mut state = self.lock();
        for (number, outcome) in ended {
            state.outcomes[number] = Some(outcome);
            state.open -= 1;
        }
        if state.open > 0 {
            return;
        }
        let Some(finish) = state.finish.take() else { return };
        let outcomes = std::mem::take(&mut state.outcomes);
        drop(state);
        finish(joined(outcomes.into_iter().flatten().collect()));
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Send + 'static> Work for Job<R> {
    fn claim(self: Arc<Self>) -> Option<Claim> {
        let mut state = self.lock();
        let piece = state.waiting.pop_front()?;
        let more = !state.waiting.is_empty();
        drop(state);
        let unit = move || self.settle(vec![(piece.number, (piece.run)())]);
        Some(Claim { unit: Box::new(unit), more })
    }

    fn cancel(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        if !waiting.is_empty() {
            let cancelled = |piece: &Piece<R>| {
                (piece.number, Err(MapError { item: piece.first, source: TaskError::Cancelled }))
            };
            self.settle(waiting.iter().map(cancelled).collect());
        }
    }

    fn is_spent(&self) -> bool {
        self.lock().waiting.is_empty()
    }
}

/// Runs every item, whatever becomes of the first.
fn run_in_order<A, R>(items: Vec<A>, first: u64, run: impl Fn(A) -> Result<R, TaskError>) -> Outcome<R> {
    let mut outcome = Ok(Vec::with_capacity(items.len()));
    for (item, argument) in (first..).zip(items) {
        match (guarded(item, || run(argument)), &mut outcome) {
            (Ok(result), Ok(results)) => results.push(result),
            (Err(source), Ok(_)) => outcome = Err(MapError { item, source }),
            (_, Err(_)) => {}
        }
    }
    outcome
}

/// The outcomes of all pieces as one.
fn joined<R>(outcomes: Vec<Outcome<R>>) -> Outcome<R> {
    let mut outcomes = outcomes.into_iter();
    let mut all = outcomes.next().unwrap_or(Ok(Vec::new()))?;
    for outcome in outcomes {
        all.append(&mut outcome?);
    }
    Ok(all)
}

/// The result of `run`, which is told that it is that item; a panic becomes an error.
pub(super) fn guarded<R>(item: u64, run: impl FnOnce() -> Result<R, TaskError>) -> Result<R, TaskError> {
    let current = Current::new(Slot(slot()), Item(item), 1);
    caught(|| during(current, run))
}

/// The result of `run`; a panic becomes an error.
pub(super) fn caught<R>(run: impl FnOnce() -> Result<R, TaskError>) -> Result<R, TaskError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = message_of(&*panic);
        drop(catch_unwind(AssertUnwindSafe(|| drop(panic))));
        Err(TaskError::Panicked { message, trace: None, worker: None })
    })
}

/// What a panic says.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("not a text").to_owned()
}
