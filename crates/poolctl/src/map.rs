//! Handing in many items and gathering their results, in the order of the items.

use std::sync::Arc;

use poolctl_supervisor::host::{Call, Handle, Intent, Need};

use crate::block::Batch;
use crate::outcomes::Gathered;
use crate::raw::Raw;
use crate::task_error::{MapError, TaskError};

/// Runs every item and returns their results. Items are taken as there is room for them, and results are read as they
/// come, so that neither waits in memory for the others.
///
/// # Errors
/// The first item, in the order of the items, that has no result; told when all have ended. Or the first that cannot be
/// handed in; those before it are cancelled then.
pub(crate) fn map<I, R>(
    handle: &Handle,
    items: impl Iterator<Item = I>,
    mut batch: Batch<'_>,
    write: impl Fn(&I, &mut Batch<'_>) -> Result<(), TaskError>,
    read: impl Fn(Raw<'_>) -> Result<R, TaskError>,
) -> Result<Vec<R>, MapError> {
    let call = Call::new();
    let cancel = CancelOnDrop { handle, call: &call };
    let mut gathered = Gathered::expecting(items.size_hint().0);
    let mut count = 0;
    let mut handed_in = 0;
    for item in items {
        write(&item, &mut batch).map_err(|source| MapError { item: count, source })?;
        count += 1;
        if batch.is_due() {
            let fail = |why| MapError { item: handed_in, source: TaskError::from(why) };
            let intent = batch.intent();
            handle.submit(&call, batch.take(), intent).map_err(fail)?;
            if intent == Intent::Wait {
                handle.turn().map_err(fail)?;
            }
            handed_in = count;
            gathered.gather(&call, handed_in, &read);
        }
    }
    let fail = |why| MapError { item: handed_in, source: TaskError::from(why) };
    handle.submit(&call, batch.take(), Intent::Wait).map_err(fail)?;
    gathered.gather(&call, count, &read);
    while gathered.next_item() < count {
        let next = gathered.next_item();
        let fail = |source| MapError { item: next, source };
        match handle.wait_between(&call, Need::Next(next)) {
            Ok(true) => gathered.gather(&call, count, &read),
            Ok(false) => return Err(fail(TaskError::PoolBroken)),
            Err(why) => return Err(fail(why.into())),
        }
    }
    drop(cancel);
    gathered.finish()
}

/// Cancels what is left of a call when its caller returns early or panics.
#[derive(Debug)]
pub(crate) struct CancelOnDrop<'a> {
    pub(crate) handle: &'a Handle,
    pub(crate) call: &'a Arc<Call>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        // In a forked copy nothing of ours runs.
        self.handle.cancel(self.call).unwrap_or_default();
    }
}
