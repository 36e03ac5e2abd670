//! Outcomes as they come.

use std::fmt;

use poolctl_supervisor::host::Need;

use super::feed::{Feed, Next};
use crate::outcomes::Outcomes;
use crate::raw::Raw;
use crate::task_error::{MapError, TaskError};

/// The outcomes of [`Pool::imap_unordered`](crate::Pool::imap_unordered), in the order in which the items end.
pub struct ImapUnordered<'a, I: Iterator, R> {
    feed: Feed<'a, I>,
    read: fn(Raw<'_>) -> Result<R, TaskError>,
    outcomes: Outcomes,
    /// How many were yielded.
    taken: u64,
}

impl<'a, I: Iterator, R> ImapUnordered<'a, I, R> {
    /// The call of `feed` is unordered.
    pub(crate) fn new(feed: Feed<'a, I>, read: fn(Raw<'_>) -> Result<R, TaskError>) -> Self {
        Self { feed, read, outcomes: Outcomes::new(), taken: 0 }
    }

    /// No item of its own failed, but what is to come.
    fn fail<T>(&self, source: TaskError) -> Option<Result<T, MapError>> {
        Some(Err(MapError { item: self.taken, source }))
    }
}

impl<I: Iterator, R> Iterator for ImapUnordered<'_, I, R> {
    type Item = Result<R, MapError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(outcome) = self.outcomes.take_here(self.read) {
            let item = self.outcomes.next_item() - 1;
            self.taken += 1;
            return Some(outcome.map_err(|source| MapError { item, source }));
        }
        match self.feed.check() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return self.fail(error),
        }
        loop {
            self.feed.top_up(self.taken, Need::Any);
            if let Some((item, outcome)) = self.outcomes.take_any(&self.feed.call, self.read) {
                let item = item.unwrap_or(self.taken);
                self.taken += 1;
                return Some(outcome.map_err(|source| MapError { item, source }));
            }
            match self.feed.next(self.taken) {
                Next::Outcome => {
                    if let Err(error) = self.feed.wait(Need::Any) {
                        return self.fail(error);
                    }
                }
                Next::Items => {}
                Next::Refused(source) => {
                    let item = self.feed.handed_in;
                    return Some(Err(MapError { item, source }));
                }
                Next::Over => return None,
            }
        }
    }
}

impl<I: Iterator, R> fmt::Debug for ImapUnordered<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered").field("handed_in", &self.feed.handed_in).finish_non_exhaustive()
    }
}
