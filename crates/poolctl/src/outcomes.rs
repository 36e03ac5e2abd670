//! Taking the outcomes of a call one by one, in the order of its items.

use std::borrow::Cow;
use std::sync::Arc;

use poolctl_supervisor::Outcome;
use poolctl_supervisor::host::{Call, Settled};

use crate::kind::Gives;
use crate::task_error::TaskError;

/// The outcomes of a call that were not taken yet.
#[derive(Debug)]
pub(crate) struct Outcomes {
    call: Arc<Call>,
    /// The item whose outcome is next.
    next: u64,
    /// Lines of results that came together, from here on.
    run: Vec<u8>,
    at: usize,
    left: u32,
}

impl Outcomes {
    pub(crate) fn of(call: Arc<Call>) -> Self {
        Self { call, next: 0, run: Vec::new(), at: 0, left: 0 }
    }

    /// The index of the item whose outcome is taken next.
    pub(crate) fn next_item(&self) -> u64 {
        self.next
    }

    /// The outcome of the next item, if it is there.
    pub(crate) fn take<K: Gives<R>, R>(&mut self) -> Option<Result<R, TaskError>> {
        if self.left == 0 {
            match self.call.take(self.next)? {
                Settled::Run { count, results } => (self.run, self.at, self.left) = (results, 0, count),
                Settled::One(report) => {
                    self.next += 1;
                    if report.outcome != Outcome::Ok {
                        return Some(Err(TaskError::of(*report)));
                    }
                    let bytes = match report.attempt.out.in_memory() {
                        Some(bytes) => Ok(Cow::Borrowed(bytes)),
                        None => report.attempt.out.to_vec().map(Cow::Owned),
                    };
                    return Some(bytes.map_err(|source| TaskError::LostResult { source }).and_then(K::read));
                }
                Settled::Refused { why } => {
                    self.next += 1;
                    return Some(Err(why.into()));
                }
                other => unreachable!("no such outcome: {other:?}"),
            }
        }
        self.left -= 1;
        self.next += 1;
        let rest = &self.run[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        self.at += len + 1;
        Some(K::read(Cow::Borrowed(&rest[..len])))
    }
}
