//! Taking the outcomes of a call, in the order of its items: one by one, or all that are there.

use poolctl_supervisor::host::{Call, Refusal, ResultBytes, Settled};
use poolctl_supervisor::{Form, Outcome};
use poolctl_sys::advice;

use crate::raw::{Raw, split_first};
use crate::task_error::{MapError, TaskError};

/// Room that is taken from the start for results at most, in bytes: an input may be wrong about its length.
const MAX_EXPECTED_BYTES: usize = 256 << 20;

/// Where one stands that takes the outcomes of a call one by one.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// The item whose outcome is next.
    next: u64,
    /// Results that came together, from `at` on.
    run: ResultBytes,
    form: Form,
    at: usize,
    left: u32,
    /// How many items follow that have no result, and why; none: they were cancelled.
    lost: (u32, Option<Refusal>),
}

impl Outcomes {
    pub(crate) fn new() -> Self {
        Self { next: 0, run: ResultBytes::new(), form: Form::Lines, at: 0, left: 0, lost: (0, None) }
    }

    /// The index of the item whose outcome is taken next.
    pub(crate) fn next_item(&self) -> u64 {
        self.next
    }

    /// The outcome of the next item, if it came together with the last one.
    #[inline]
    pub(crate) fn take_here<R>(
        &mut self,
        read: impl Fn(Raw<'_>) -> Result<R, TaskError>,
    ) -> Option<Result<R, TaskError>> {
        if let Some(left) = self.lost.0.checked_sub(1) {
            self.lost.0 = left;
            self.next += 1;
            return Some(Err(self.lost.1.clone().map_or(TaskError::Cancelled, TaskError::from)));
        }
        self.left = self.left.checked_sub(1)?;
        self.next += 1;
        let rest = &self.run[self.at..];
        Some(split_first(self.form, rest).and_then(|(result, behind)| {
            self.at += rest.len() - behind.len();
            read(Raw::Bytes(result))
        }))
    }

    /// The outcome of the next item, if it is there.
    pub(crate) fn take<R>(
        &mut self,
        call: &Call,
        read: impl Fn(Raw<'_>) -> Result<R, TaskError>,
    ) -> Option<Result<R, TaskError>> {
        if self.left == 0 && self.lost.0 == 0 {
            let settled = call.take(self.next)?;
            if let Some(alone) = self.put(settled) {
                self.next += 1;
                return Some(read_alone(alone, read));
            }
        }
        self.take_here(read)
    }

    /// The outcome that came first of those left in a call that is unordered, and whose it is, as far as it is anybody's.
    pub(crate) fn take_any<R>(
        &mut self,
        call: &Call,
        read: impl Fn(Raw<'_>) -> Result<R, TaskError>,
    ) -> Option<(Option<u64>, Result<R, TaskError>)> {
        if self.left == 0 && self.lost.0 == 0 {
            let (first, settled) = call.take_any()?;
            if let Some(alone) = self.put(settled) {
                return Some((first, read_alone(alone, read)));
            }
            self.next = first.unwrap_or_default();
        }
        let item = self.next;
        self.take_here(read).map(|outcome| (Some(item), outcome))
    }

    /// Takes results that came together in; gives anything else back.
    fn put(&mut self, settled: Settled) -> Option<Settled> {
        match settled {
            Settled::Run { count, results, form } => {
                (self.run, self.form, self.at, self.left) = (results, form, 0, count);
                None
            }
            Settled::NeverRan { count } => {
                self.lost = (count, None);
                None
            }
            Settled::Refused { why, count } => {
                self.lost = (count, Some(why));
                None
            }
            alone => Some(alone),
        }
    }
}

/// The results of a map as they come, as far as they are without a gap.
#[derive(Debug)]
pub(crate) struct Gathered<R> {
    /// The item whose outcome is next.
    next: u64,
    results: Vec<R>,
    failed: Option<MapError>,
}

impl<R> Gathered<R> {
    /// Expects about `count` results.
    pub(crate) fn expecting(count: usize) -> Self {
        let most = MAX_EXPECTED_BYTES / size_of::<R>().max(1);
        let mut results = Vec::with_capacity(count.min(most));
        advice::fill_soon(results.spare_capacity_mut());
        Self { next: 0, results, failed: None }
    }

    /// The index of the item whose outcome is taken next.
    pub(crate) fn next_item(&self) -> u64 {
        self.next
    }

    /// Takes the outcomes that are there, of the first `count` items. Once one was not ok those behind it are let go.
    pub(crate) fn gather(
        &mut self,
        call: &Call,
        count: u64,
        read: &impl Fn(Raw<'_>) -> Result<R, TaskError>,
    ) {
        while self.next < count {
            let Some(settled) = call.take(self.next) else { return };
            let first = self.next;
            self.next += u64::from(settled.count());
            if self.failed.is_some() {
                continue;
            }
            let before = self.results.len();
            let kept = match settled {
                Settled::Run { count, results, form } => {
                    read_run(form, &results, count, read, &mut self.results)
                }
                alone => read_alone(alone, read).map(|result| self.results.push(result)),
            };
            if let Err(source) = kept {
                let item = first + (self.results.len() - before) as u64;
                self.failed = Some(MapError { item, source });
                self.results = Vec::new();
            }
        }
    }

    /// All results, when all are there.
    pub(crate) fn finish(self) -> Result<Vec<R>, MapError> {
        match self.failed {
            None => Ok(self.results),
            Some(error) => Err(error),
        }
    }
}

/// Reads `count` results that came together. On an error those before it are in `into`.
#[inline]
fn read_run<R>(
    form: Form,
    mut results: &[u8],
    count: u32,
    read: &impl Fn(Raw<'_>) -> Result<R, TaskError>,
    into: &mut Vec<R>,
) -> Result<(), TaskError> {
    into.reserve(count as usize);
    for _ in 0..count {
        let (result, behind) = split_first(form, results)?;
        into.push(read(Raw::Bytes(result))?);
        results = behind;
    }
    Ok(())
}

/// Reads an outcome that came on its own.
pub(crate) fn read_alone<R>(
    settled: Settled,
    read: impl Fn(Raw<'_>) -> Result<R, TaskError>,
) -> Result<R, TaskError> {
    match settled {
        Settled::One(report) if report.outcome == Outcome::Ok => read(Raw::Output(&report.attempt.out)),
        Settled::One(report) => Err(TaskError::of(*report)),
        Settled::NeverRan { .. } => Err(TaskError::Cancelled),
        Settled::Refused { why, .. } => Err(why.into()),
        other => unreachable!("no outcome of one item: {other:?}"),
    }
}
