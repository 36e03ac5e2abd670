//! What the items of a worker print, kept until each is answered; what belongs to no held item is the worker's.

use std::collections::BTreeMap;

use poolctl_protocol::Stream;
use poolctl_types::Item;

use super::Peer;
use crate::capture::{push_tail, tail_output};
use crate::held::Held;
use crate::output::Output;
use crate::report::{Notice, Sink};

/// The prints of the items that a worker holds, the tail of each stream of each.
#[derive(Debug, Default)]
pub(super) struct Prints {
    items: BTreeMap<Item, Both>,
}

#[derive(Debug, Default)]
struct Both {
    stdout: (Vec<u8>, u64),
    stderr: (Vec<u8>, u64),
}

impl Prints {
    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Keeps what `item` printed, if it is held; else the worker is said to have printed it.
    pub(super) fn keep(
        &mut self,
        item: Option<Item>,
        stream: Stream,
        bytes: &[u8],
        held: &Held,
        peer: Peer,
        sink: &mut dyn Sink,
    ) {
        let Some(item) = item.filter(|item| held.contains(*item)) else {
            sink.notice(Notice::WorkerOutput { worker: peer.worker, stream, bytes: bytes.to_vec() });
            return;
        };
        let both = self.items.entry(item).or_default();
        let (kept, dropped) = match stream {
            Stream::Stdout => &mut both.stdout,
            Stream::Stderr => &mut both.stderr,
        };
        push_tail(kept, bytes, dropped);
    }

    /// What `item` printed, stdout and stderr.
    pub(super) fn take(&mut self, item: Item) -> (Output, Output) {
        let Some(mut both) = self.items.remove(&item) else { return Default::default() };
        (
            tail_output(&mut both.stdout.0, &mut both.stdout.1),
            tail_output(&mut both.stderr.0, &mut both.stderr.1),
        )
    }
}
