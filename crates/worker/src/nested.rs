//! Items that the item in hand submits to its own pool, and waits for.
//!
//! # Steps
//! 1. The item is published; the host queues it like any other.
//! 2. To wait for it, the worker gives back what it holds and has not begun, says for what it waits, and reads messages
//!    until the outcome is among them. Items that reach it meanwhile are given back too.
//! 3. The outcome is a result, an error, or the item itself: still queued, it is the waiting worker's own to run. So
//!    whoever waits waits for something that runs, and a pool of any size gets on.
//!
//! # If a side dies
//! With the worker its item dies, and the host cancels what that had submitted. A worker that runs a nested item is
//! replaced like any other, and the outcome tells of it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use poolctl_protocol::{MessageHeader, MessageKind, NestedStatus, RecordKind, RemoteError};

use crate::control::Gone;
use crate::failure::passing;
use crate::journal;
use crate::link::{Link, MAX_INLINE_BYTES};

/// How many nested items a worker may have without an outcome.
const MAX_OPEN: usize = 1024;

/// What became of a nested item.
#[derive(Debug)]
pub enum Outcome {
    /// Its encoded result.
    Ok(Vec<u8>),
    /// Its result lies in a segment: so many main bytes, then the buffers.
    Parcel {
        /// What holds it.
        segment: OwnedFd,
        /// How many main bytes there are.
        main: u64,
    },
    /// It failed.
    Err(RemoteError),
    /// Nobody has begun it: it is the caller's to run.
    Yours,
}

/// The state of a worker's nested items.
#[derive(Debug, Default)]
pub(crate) struct Nests {
    /// How many were ever submitted.
    submitted: Cell<u64>,
    /// How many have no outcome here.
    open: Cell<usize>,
    /// Outcomes that came while another one was waited for.
    outcomes: RefCell<HashMap<u64, Outcome>>,
    /// Items of the message at work that were not begun.
    behind: Cell<u32>,
    /// Those are given back.
    is_given_back: Cell<bool>,
    /// What must be done once the item in hand is done: the host has said that nothing follows.
    last: RefCell<Option<(MessageHeader, Vec<u8>)>>,
}

impl Nests {
    /// So many items of the message at work are behind the one in hand.
    #[inline]
    pub(crate) fn set_behind(&self, behind: u32) {
        self.behind.set(behind);
    }

    /// Whether the items behind the one in hand are not this worker's any more.
    #[inline]
    pub(crate) fn take_given_back(&self) -> bool {
        self.is_given_back.get() && self.is_given_back.replace(false)
    }

    /// The last message, if it came while an item waited.
    pub(crate) fn take_last(&self) -> Option<(MessageHeader, Vec<u8>)> {
        self.last.take()
    }

    fn give_back(&self) -> u32 {
        self.is_given_back.set(true);
        self.behind.take()
    }
}

/// Whether the calling thread runs an item of a worker, so that it may submit others.
#[must_use]
pub fn is_possible() -> bool {
    crate::current::current().is_some() && journal::link().is_some()
}

/// Submits an item to the pool that the calling thread's item belongs to, and says under which number. `None`: it cannot
/// travel that way, and is the caller's to run; so it is outside of a worker, of a large item, and when very many are open.
#[must_use]
pub fn submit(function: &str, main: &[u8]) -> Option<u64> {
    let link = journal::link().filter(|_| is_possible())?;
    let nests = &link.nests;
    let name = u16::try_from(function.len()).ok()?;
    if main.len() + function.len() > MAX_INLINE_BYTES || nests.open.get() >= MAX_OPEN {
        return None;
    }
    let id = nests.submitted.get();
    nests.submitted.set(id + 1);
    nests.open.set(nests.open.get() + 1);
    let record = [&id.to_le_bytes()[..], &name.to_le_bytes(), function.as_bytes(), main].concat();
    link.publish(RecordKind::Nested, None, &record);
    link.kick_if_asleep();
    Some(id)
}

/// Waits for the outcome of an item that was submitted.
#[must_use]
pub fn wait(id: u64) -> Outcome {
    let Some(link) = journal::link() else { return Outcome::Yours };
    let outcome = match link.nests.outcomes.borrow_mut().remove(&id) {
        Some(outcome) => outcome,
        None => match listen(&link, id) {
            Ok(outcome) => outcome,
            Err(gone) => Outcome::Err(passing("HostGone", gone.to_string())),
        },
    };
    link.nests.open.set(link.nests.open.get().saturating_sub(1));
    outcome
}

/// The outcome of an item that was submitted is not wanted. It is run all the same.
pub fn forget(id: u64) {
    let Some(link) = journal::link() else { return };
    link.nests.open.set(link.nests.open.get().saturating_sub(1));
    if link.nests.outcomes.borrow_mut().remove(&id).is_none() {
        link.publish(RecordKind::Forgets, None, &id.to_le_bytes());
        link.kick_if_asleep();
    }
}

fn listen(link: &Rc<Link>, id: u64) -> Result<Outcome, Gone> {
    let nests = &link.nests;
    let say_waits = |returned: u32| {
        let record = [&id.to_le_bytes()[..], &returned.to_le_bytes()].concat();
        link.publish(RecordKind::Waits, None, &record);
        link.kick_if_asleep();
    };
    say_waits(nests.give_back());
    let mut payload = Vec::new();
    loop {
        let header = link.next_message(&mut payload)?;
        match header.kind {
            MessageKind::Outcome => {
                let outcome = read(link, &header, &payload)?;
                if header.first == id {
                    link.publish(RecordKind::GoesOn, None, b"");
                    link.kick_if_asleep();
                    return Ok(outcome);
                }
                nests.outcomes.borrow_mut().insert(header.first, outcome);
            }
            MessageKind::Chunk => {
                drop(link.attachments(header.attachments)?);
                say_waits(header.count);
            }
            MessageKind::Finish | MessageKind::Initialize => {
                nests.last.replace(Some((header, std::mem::take(&mut payload))));
            }
        }
    }
}

fn read(link: &Link, header: &MessageHeader, payload: &[u8]) -> Result<Outcome, Gone> {
    let (status, content) = payload.split_first_chunk::<8>().ok_or(Gone::NoMessage)?;
    let status = NestedStatus::from_byte(status[0]).ok_or(Gone::NoMessage)?;
    Ok(match status {
        NestedStatus::Ok => Outcome::Ok(content.to_vec()),
        NestedStatus::Yours => Outcome::Yours,
        NestedStatus::Err => Outcome::Err(RemoteError::parse(content).map_err(|_| Gone::NoMessage)?),
        NestedStatus::OkParcel => {
            let main = u64::from_le_bytes(*content.first_chunk::<8>().ok_or(Gone::NoMessage)?);
            let segment = link.attachments(header.attachments)?.pop().ok_or(Gone::NoMessage)?;
            Outcome::Parcel { segment, main }
        }
    })
}
