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
    stdout: Tail,
    stderr: Tail,
}

/// What was printed last on one stream of an item.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    dropped: u64,
    /// By which way its last line came, if that is not finished.
    open: Option<Way>,
}

/// By which way something printed came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The worker told it in a message of its own.
    Told,
    /// It was written to the descriptor.
    Raw,
}

impl Prints {
    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Keeps what `item` printed, if it is held; else the worker is said to have printed it.
    #[expect(clippy::too_many_arguments, reason = "who, what and where to, each once")]
    pub(super) fn keep(
        &mut self,
        item: Option<Item>,
        stream: Stream,
        way: Way,
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
        match stream {
            Stream::Stdout => both.stdout.add(way, bytes),
            Stream::Stderr => both.stderr.add(way, bytes),
        }
    }

    /// What `item` printed, stdout and stderr.
    pub(super) fn take(&mut self, item: Item) -> (Output, Output) {
        let Both { mut stdout, mut stderr } = self.items.remove(&item).unwrap_or_default();
        (
            tail_output(&mut stdout.bytes, &mut stdout.dropped),
            tail_output(&mut stderr.bytes, &mut stderr.dropped),
        )
    }
}

impl Tail {
    /// Adds bytes behind the others, but whole lines before a line that the other way has not finished.
    fn add(&mut self, way: Way, bytes: &[u8]) {
        let is_whole = bytes.ends_with(b"\n");
        if is_whole && self.open.is_some_and(|open| open != way) {
            let start = memchr::memrchr(b'\n', &self.bytes).map_or(0, |end| end + 1);
            let unfinished = self.bytes.split_off(start);
            push_tail(&mut self.bytes, bytes, &mut self.dropped);
            push_tail(&mut self.bytes, &unfinished, &mut self.dropped);
            return;
        }
        push_tail(&mut self.bytes, bytes, &mut self.dropped);
        self.open = (!is_whole).then_some(way);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(parts: &[(Way, &str)], together: &str) {
        let mut tail = Tail::default();
        parts.iter().for_each(|(way, text)| tail.add(*way, text.as_bytes()));
        assert_eq!(String::from_utf8_lossy(&tail.bytes), together);
    }

    #[test]
    fn lines_that_come_in_parts_are_not_torn_by_what_comes_the_other_way() {
        use Way::{Raw, Told};
        expect(&[(Told, "printed 20"), (Raw, "raw 20\n"), (Told, "\n")], "raw 20\nprinted 20\n");
        expect(&[(Raw, "a\nb"), (Told, "c\n"), (Told, "d\n"), (Raw, "e\n")], "a\nc\nd\nbe\n");
        expect(&[(Raw, "in "), (Raw, "parts\n"), (Told, "c\n")], "in parts\nc\n");
        expect(&[(Raw, "two"), (Told, "unfinished"), (Told, "\n")], "twounfinished\n");
    }
}
