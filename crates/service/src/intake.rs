//! What clients have sent to a pool and its supervisor does not have yet.
//!
//! The supervisor takes items in the order in which it gets them, so it is given few ahead, and each client's in turn:
//! who floods waits behind itself alone.

use std::collections::VecDeque;

use poolctl_supervisor::Block;

use crate::ledger::{ClientId, Place};

/// Items that wait, by client.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// In the order of their turns; none is empty.
    queues: VecDeque<Queue>,
    items: u64,
}

#[derive(Debug)]
struct Queue {
    client: ClientId,
    parts: VecDeque<Part>,
}

/// Items that came together.
#[derive(Debug)]
struct Part {
    place: Place,
    block: Block,
    /// How many of them were taken.
    taken: usize,
}

impl Intake {
    /// Adds items behind the others of their client.
    pub(crate) fn push(&mut self, place: Place, block: Block) {
        self.items += block.len() as u64;
        let part = Part { place, block, taken: 0 };
        match self.queues.iter_mut().find(|queue| queue.client == place.client) {
            Some(queue) => queue.parts.push_back(part),
            None => self.queues.push_back(Queue { client: place.client, parts: VecDeque::from([part]) }),
        }
    }

    /// How many items wait.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// Takes up to `most` items of the next client whose turn it is and that `may`; it is the last in turn then.
    pub(crate) fn take(&mut self, most: usize, may: impl Fn(ClientId) -> bool) -> Option<(Place, Block)> {
        let at = self.queues.iter().position(|queue| may(queue.client))?;
        let mut queue = self.queues.remove(at)?;
        let part = queue.parts.front_mut()?;
        let left = part.block.len() - part.taken;
        let count = left.min(most.max(1));
        let place = part.place.plus(part.taken as u64);
        let block = if count == part.block.len() {
            std::mem::take(&mut part.block)
        } else {
            part.block.copy_of(part.taken, count)
        };
        part.taken += count;
        if count == left {
            queue.parts.pop_front();
        }
        if !queue.parts.is_empty() {
            self.queues.push_back(queue);
        }
        self.items -= count as u64;
        Some((place, block))
    }

    /// Takes away what a client does not want any more: those of `count` requests from `id` on, or of the map `id`. Says which
    /// they were, in parts that belong together.
    pub(crate) fn withdraw(&mut self, client: ClientId, id: u64, count: u64) -> Vec<(Place, u64)> {
        let mut gone = Vec::new();
        let Some(queue) = self.queues.iter_mut().find(|queue| queue.client == client) else { return gone };
        let mut kept = VecDeque::new();
        for part in queue.parts.drain(..) {
            let from = part.place.plus(part.taken as u64);
            let left = part.block.len() - part.taken;
            let (begin, end) = match from.index {
                Some(_) if from.id == id => (0, left),
                Some(_) => (0, 0),
                None => {
                    let offset =
                        |to: u64| usize::try_from(to.saturating_sub(from.id)).unwrap_or(left).min(left);
                    (offset(id), offset(id.saturating_add(count)))
                }
            };
            if begin >= end {
                kept.push_back(part);
                continue;
            }
            gone.push((from.plus(begin as u64), (end - begin) as u64));
            for (start, stop) in [(0, begin), (end, left)] {
                if start < stop {
                    let block = part.block.copy_of(part.taken + start, stop - start);
                    kept.push_back(Part { place: from.plus(start as u64), block, taken: 0 });
                }
            }
        }
        queue.parts = kept;
        self.items -= gone.iter().map(|(_, count)| count).sum::<u64>();
        self.queues.retain(|queue| !queue.parts.is_empty());
        gone
    }

    /// Takes away all that a client has sent; says which items they were.
    pub(crate) fn withdraw_all(&mut self, client: ClientId) -> Vec<(Place, u64)> {
        let Some(at) = self.queues.iter().position(|queue| queue.client == client) else { return Vec::new() };
        let queue = self.queues.remove(at).map(|queue| queue.parts).unwrap_or_default();
        let part = |part: Part| (part.place.plus(part.taken as u64), (part.block.len() - part.taken) as u64);
        let gone: Vec<_> = queue.into_iter().map(part).collect();
        self.items -= gone.iter().map(|(_, count)| count).sum::<u64>();
        gone
    }

    /// The clients that have something here.
    pub(crate) fn clients(&self) -> Vec<ClientId> {
        self.queues.iter().map(|queue| queue.client).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(client: u64, id: u64) -> Place {
        Place { client: ClientId(client), id, index: None }
    }

    fn block(items: &[&str]) -> Block {
        let mut block = Block::new();
        items.iter().for_each(|item| block.push(item.as_bytes()));
        block
    }

    fn texts(block: &Block) -> Vec<String> {
        (0..block.len()).map(|at| String::from_utf8_lossy(block.item(at)).into_owned()).collect()
    }

    #[test]
    fn clients_take_turns_whatever_they_have_sent() {
        let mut intake = Intake::default();
        intake.push(tasks(1, 10), block(&["a", "b", "c"]));
        intake.push(tasks(2, 20), block(&["x"]));

        let mut taken = Vec::new();
        while let Some((place, block)) = intake.take(2, |_| true) {
            taken.push((place, texts(&block)));
        }

        let expected = [
            (tasks(1, 10), vec!["a".to_owned(), "b".to_owned()]),
            (tasks(2, 20), vec!["x".to_owned()]),
            (tasks(1, 12), vec!["c".to_owned()]),
        ];
        assert_eq!(taken, expected);
        assert_eq!(intake.items(), 0);
    }

    #[test]
    fn who_may_not_now_keeps_its_turn() {
        let mut intake = Intake::default();
        intake.push(tasks(1, 10), block(&["a"]));
        intake.push(tasks(2, 20), block(&["x"]));

        assert_eq!(
            intake.take(9, |client| client == ClientId(2)).map(|(place, _)| place),
            Some(tasks(2, 20))
        );
        assert_eq!(intake.take(9, |_| false).map(|(place, _)| place), None);
        assert_eq!(intake.take(9, |_| true).map(|(place, _)| place), Some(tasks(1, 10)));
    }

    #[test]
    fn what_is_withdrawn_from_the_middle_leaves_the_rest() {
        let mut intake = Intake::default();
        intake.push(tasks(1, 10), block(&["a", "b", "c", "d"]));

        assert_eq!(intake.withdraw(ClientId(1), 11, 2), [(tasks(1, 11), 2)]);

        assert_eq!(intake.items(), 2);
        let left: Vec<_> = std::iter::from_fn(|| intake.take(9, |_| true)).collect();
        let left: Vec<_> = left.iter().map(|(place, block)| (place.id, texts(block))).collect();
        assert_eq!(left, [(10, vec!["a".to_owned()]), (13, vec!["d".to_owned()])]);
    }
}
