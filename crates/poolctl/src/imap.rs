//! Lazy in and lazy out: items are taken as their outcomes are wanted.

use std::fmt;
use std::sync::Arc;

use poolctl_supervisor::host::{Call, Handle, Intent, Need};

use crate::block::Batch;
use crate::map::CancelOnDrop;
use crate::outcomes::Outcomes;
use crate::raw::Raw;
use crate::task_error::TaskError;

/// The outcomes of [`Pool::imap`](crate::Pool::imap), in the order of the items.
pub struct Imap<'a, I: Iterator, R> {
    handle: &'a Handle,
    /// Adds an item to those to be handed in.
    write: fn(&I::Item, &mut Batch) -> Result<(), TaskError>,
    /// Reads a result.
    read: fn(Raw<'_>) -> Result<R, TaskError>,
    call: Arc<Call>,
    outcomes: Outcomes,
    /// `None` when there are no more.
    items: Option<I>,
    batch: Batch,
    /// Items that were handed in.
    handed_in: u64,
    /// Why the next item was not handed in: that is its outcome, and no further one is taken before it is yielded.
    refused: Option<TaskError>,
    window: u64,
    /// Nothing more can come, as was told.
    is_over: bool,
}

impl<'a, I: Iterator, R> Imap<'a, I, R> {
    /// Nothing is taken before it is wanted. `batch` is empty.
    pub(crate) fn new(
        handle: &'a Handle,
        items: I,
        batch: Batch,
        write: fn(&I::Item, &mut Batch) -> Result<(), TaskError>,
        read: fn(Raw<'_>) -> Result<R, TaskError>,
        window: u64,
    ) -> Self {
        Self {
            handle,
            write,
            read,
            call: Call::new(),
            outcomes: Outcomes::new(),
            items: Some(items),
            batch,
            handed_in: 0,
            refused: None,
            window: window.max(1),
            is_over: false,
        }
    }

    /// Items that were handed in and whose outcome was not yielded.
    fn ahead(&self) -> u64 {
        self.handed_in - self.outcomes.next_item()
    }

    /// The last that is yielded.
    fn end(&mut self, error: TaskError) -> Option<Result<R, TaskError>> {
        self.is_over = true;
        Some(Err(error))
    }

    /// Hands the batch in. Refused, it and all further items come to nothing.
    fn hand_in(&mut self) {
        let block = self.batch.take();
        let count = block.len() as u64;
        match self.handle.submit(&self.call, block, Intent::Leave) {
            Ok(()) => self.handed_in += count,
            Err(why) => {
                self.refused = Some(why.into());
                self.items = None;
            }
        }
    }

    /// Takes items until the window is full, or an outcome is there and it was tried for a while.
    fn refill(&mut self) {
        let mut pending = 0;
        while self.ahead() + pending < self.window && self.refused.is_none() {
            let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                self.items = None;
                break;
            };
            if let Err(error) = (self.write)(&item, &mut self.batch) {
                self.hand_in();
                self.refused.get_or_insert(error);
                return;
            }
            pending += 1;
            if self.batch.is_due() {
                self.hand_in();
                pending = 0;
                if self.call.is_met(Need::Next(self.outcomes.next_item())) {
                    return;
                }
            }
        }
        self.hand_in();
    }
}

impl<I: Iterator, R> Iterator for Imap<'_, I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        if let Err(why) = self.handle.check_fork() {
            return self.end(why.into());
        }
        loop {
            if self.items.is_some() && self.refused.is_none() && self.ahead() <= self.window / 2 {
                self.refill();
            }
            if let Some(outcome) = self.outcomes.take(&self.call, self.read) {
                return Some(outcome);
            }
            if self.ahead() == 0 {
                if let Some(error) = self.refused.take() {
                    return Some(Err(error));
                }
                self.items.as_ref()?;
                continue;
            }
            match self.handle.wait(&self.call, Need::Next(self.outcomes.next_item()), None) {
                Ok(true) => {}
                Ok(false) => return self.end(TaskError::PoolBroken),
                Err(why) => return self.end(why.into()),
            }
        }
    }
}

impl<I: Iterator, R> Drop for Imap<'_, I, R> {
    fn drop(&mut self) {
        drop(CancelOnDrop { handle: self.handle, call: &self.call });
    }
}

impl<I: Iterator, R> fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("handed_in", &self.handed_in).finish_non_exhaustive()
    }
}
