//! Outcomes in the order of the items.

use std::fmt;

use poolctl_supervisor::host::Need;

use super::feed::{Feed, Next};
use crate::outcomes::Outcomes;
use crate::raw::Raw;
use crate::task_error::TaskError;

/// The outcomes of [`Pool::imap`](crate::Pool::imap), in the order of the items.
pub struct Imap<'a, I: Iterator, R> {
    feed: Feed<'a, I>,
    read: fn(Raw<'_>) -> Result<R, TaskError>,
    outcomes: Outcomes,
}

impl<'a, I: Iterator, R> Imap<'a, I, R> {
    pub(crate) fn new(feed: Feed<'a, I>, read: fn(Raw<'_>) -> Result<R, TaskError>) -> Self {
        Self { feed, read, outcomes: Outcomes::new() }
    }
}

impl<I: Iterator, R> Iterator for Imap<'_, I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(outcome) = self.outcomes.take_here(self.read) {
            return Some(outcome);
        }
        match self.feed.check() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(error)),
        }
        loop {
            let taken = self.outcomes.next_item();
            let need = Need::Next(taken);
            self.feed.top_up(taken, need);
            if let Some(outcome) = self.outcomes.take(&self.feed.call, self.read) {
                return Some(outcome);
            }
            match self.feed.next(taken) {
                Next::Outcome => {
                    if let Err(error) = self.feed.wait(need) {
                        return Some(Err(error));
                    }
                }
                Next::Items => {}
                Next::Refused(error) => return Some(Err(error)),
                Next::Over => return None,
            }
        }
    }
}

impl<I: Iterator, R> fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("handed_in", &self.feed.handed_in).finish_non_exhaustive()
    }
}
