//! Taking items from an iterator and handing them in, no further ahead than the window.

use std::sync::Arc;

use poolctl_supervisor::host::{Call, Handle, Intent, Need};

use crate::block::Batch;
use crate::map::CancelOnDrop;
use crate::task_error::TaskError;

/// How many bytes of results may wait to be yielded, as far as the mean of those before tells.
const RESULT_BYTES: u64 = 64 << 20;

/// So many items are taken ahead before it is known how large a result is, and however large they are.
const FIRST_AHEAD: u64 = 64;
const LEAST_AHEAD: u64 = 8;

/// How an item is added to those to be handed in.
pub(crate) type Write<I> = fn(&I, &mut Batch<'_>) -> Result<(), TaskError>;

/// The items of an iteration, and how many of them are under way. Dropping it cancels those.
#[derive(Debug)]
pub(crate) struct Feed<'a, I: Iterator> {
    pub(super) handle: &'a Handle,
    pub(super) call: Arc<Call>,
    /// `None` when there are no more.
    items: Option<I>,
    write: Write<I::Item>,
    batch: Batch<'a>,
    /// Items that were handed in.
    pub(super) handed_in: u64,
    /// Why the next item was not handed in: that is its outcome, and no further one is taken before it is yielded.
    refused: Option<TaskError>,
    window: u64,
    /// Nothing more can come, as was told; or an item's own code has panicked.
    is_over: bool,
}

/// What the outcomes of an iteration are waiting for.
pub(super) enum Next {
    /// An item that was handed in.
    Outcome,
    /// Further items, which are there.
    Items,
    /// Nothing: the item that would come next was refused.
    Refused(TaskError),
    /// Nothing: there are no more.
    Over,
}

impl<'a, I: Iterator> Feed<'a, I> {
    /// Nothing is taken before it is wanted. `batch` is empty.
    pub(crate) fn new(
        handle: &'a Handle,
        call: Arc<Call>,
        items: I,
        batch: Batch<'a>,
        write: Write<I::Item>,
        window: u64,
    ) -> Self {
        let window = window.max(1);
        Self {
            handle,
            call,
            items: Some(items),
            write,
            batch,
            handed_in: 0,
            refused: None,
            window,
            is_over: false,
        }
    }

    /// Whether an item may be yielded.
    ///
    /// # Errors
    /// This is a forked copy of the pool's process: it is over.
    pub(super) fn check(&mut self) -> Result<bool, TaskError> {
        if self.is_over {
            return Ok(false);
        }
        if let Err(why) = self.handle.check_fork() {
            self.is_over = true;
            return Err(why.into());
        }
        Ok(true)
    }

    /// Takes further items if it is time to, `taken` outcomes having been taken out. `need` is the next outcome.
    pub(super) fn top_up(&mut self, taken: u64, need: Need) {
        if self.items.is_some() && self.refused.is_none() && self.handed_in - taken <= self.ahead() / 2 {
            // Until this has returned: what unwinds out of it leaves half an item behind.
            self.is_over = true;
            self.refill(taken, need);
            self.is_over = false;
        }
    }

    /// What to wait for, `taken` outcomes having been taken out and no other one being there.
    pub(super) fn next(&mut self, taken: u64) -> Next {
        if self.handed_in > taken {
            return Next::Outcome;
        }
        match self.refused.take() {
            Some(error) => Next::Refused(error),
            None if self.items.is_none() => Next::Over,
            None => Next::Items,
        }
    }

    /// Waits for an outcome.
    ///
    /// # Errors
    /// It will never come: it is over.
    pub(super) fn wait(&mut self, need: Need) -> Result<(), TaskError> {
        let error = match self.handle.wait_between(&self.call, need) {
            Ok(true) => return Ok(()),
            Ok(false) => TaskError::PoolBroken,
            Err(why) => why.into(),
        };
        self.is_over = true;
        Err(error)
    }

    /// How many items may be under way or wait to be yielded: the window, or fewer where results are large.
    fn ahead(&self) -> u64 {
        let ahead = match self.call.mean_result_bytes() {
            None => FIRST_AHEAD,
            Some(mean) => (RESULT_BYTES / mean.max(1)).max(LEAST_AHEAD),
        };
        ahead.min(self.window)
    }

    /// Takes items until enough are under way, or an outcome is there and it was tried for a while.
    fn refill(&mut self, taken: u64, need: Need) {
        let mut pending = 0;
        let ahead = self.ahead();
        while self.handed_in - taken + pending < ahead && self.refused.is_none() {
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
                if self.call.is_met(need) {
                    return;
                }
            }
        }
        self.hand_in();
    }

    /// Hands the batch in. Refused, it and all further items come to nothing.
    fn hand_in(&mut self) {
        let (intent, block) = (self.batch.intent(), self.batch.take());
        let count = block.len() as u64;
        let submitted = self.handle.submit(&self.call, block, intent);
        let turned = submitted.and_then(|()| match intent {
            // Workers are to have something while further items are taken.
            Intent::Wait if count > 0 => self.handle.turn(),
            Intent::Wait | Intent::Leave => Ok(()),
        });
        match turned {
            Ok(()) => self.handed_in += count,
            Err(why) => {
                self.refused = Some(why.into());
                self.items = None;
            }
        }
    }
}

impl<I: Iterator> Drop for Feed<'_, I> {
    fn drop(&mut self) {
        drop(CancelOnDrop { handle: self.handle, call: &self.call });
    }
}
