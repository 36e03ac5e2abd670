//! The workers that live, by slot: what the loop knows of each process.

use poolctl_sys::pidfd::Pidfd;
use poolctl_types::{Item, Moment, WorkerId};

use crate::link::{Link, NativeLink, Peer, Streams};
use crate::report::TaskError;

/// One process, from the request to start it until it is settled.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) worker: WorkerId,
    /// Once it runs.
    pub(crate) pid: Option<u32>,
    /// Once it runs, if there was a descriptor left for it.
    pub(crate) pidfd: Option<Pidfd>,
    pub(crate) work: Work,
    pub(crate) streams: Streams,
    /// Where it says hello if it turns out to be a native worker; until its hello has come some way.
    pub(crate) control: Option<Box<NativeLink>>,
    /// What it did wrong; nothing more is believed of it.
    pub(crate) fault: Option<TaskError>,
    /// Whether it has said hello (or needs none).
    pub(crate) greeted: bool,
    /// Whether its end was asked for.
    pub(crate) dismissed: bool,
    /// Whether the poller watches for room to write.
    pub(crate) writing: bool,
    /// When its memory was looked at last.
    pub(crate) weighed: Moment,
}

/// What a process is there for.
#[derive(Debug)]
pub(crate) enum Work {
    /// One item.
    Command {
        /// Which.
        item: Item,
        /// When it began, once it has.
        started: Option<Moment>,
    },
    /// Many items, over a link.
    Warm(Box<Link>),
}

impl Life {
    pub(crate) fn new(worker: WorkerId, work: Work, streams: Streams, now: Moment) -> Self {
        Self {
            worker,
            pid: None,
            pidfd: None,
            work,
            streams,
            control: None,
            fault: None,
            greeted: false,
            dismissed: false,
            writing: false,
            weighed: now,
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer { worker: self.worker, pid: self.pid }
    }

    /// When it wants to be looked after though nothing came.
    pub(crate) fn look_at(&self) -> Option<Moment> {
        match &self.work {
            Work::Warm(link) if self.fault.is_none() => link.look_at(),
            _ => None,
        }
    }
}

/// The lives, at most one per slot.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    slots: Vec<Option<Box<Life>>>,
}

impl Lives {
    /// Adds a life; the one before it in that slot is over.
    pub(crate) fn insert(&mut self, life: Life) {
        let index = life.worker.slot.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(Box::new(life));
    }

    /// The life of this worker, if it is this one that lives there.
    pub(crate) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Life> {
        let life = self.slots.get_mut(worker.slot.index())?.as_deref_mut()?;
        (life.worker == worker).then_some(life)
    }

    /// Takes the life of this worker out.
    pub(crate) fn remove(&mut self, worker: WorkerId) -> Option<Box<Life>> {
        let slot = self.slots.get_mut(worker.slot.index())?;
        slot.take_if(|life| life.worker == worker)
    }

    /// The life that a token of the poller means.
    pub(crate) fn by_token(&mut self, token: Token) -> Option<&mut Life> {
        let life = self.slots.get_mut(token.slot as usize)?.as_deref_mut()?;
        (Token::of(life.worker, token.channel) == token).then_some(life)
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The life in this slot.
    pub(crate) fn in_slot(&mut self, slot: usize) -> Option<&mut Life> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// Every life.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Life> {
        self.slots.iter().flatten().map(Box::as_ref)
    }
}

/// Which descriptor of which worker is ready, as the poller's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    slot: u32,
    generation: u32,
    pub(crate) channel: Channel,
}

/// Which descriptor of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Reply,
    Input,
    Stdout,
    Stderr,
    Pidfd,
    Control,
}

const CHANNELS: [Channel; 6] =
    [Channel::Reply, Channel::Input, Channel::Stdout, Channel::Stderr, Channel::Pidfd, Channel::Control];

/// How many bits of a token hold the generation: enough that an old one is not met again within one wait.
const GENERATION_BITS: u32 = 24;

impl Token {
    pub(crate) fn of(worker: WorkerId, channel: Channel) -> Self {
        let generation = worker.generation.0 & ((1 << GENERATION_BITS) - 1);
        Self {
            slot: worker.slot.0,
            generation: u32::try_from(generation).expect("masked to 24 bits"),
            channel,
        }
    }

    pub(crate) fn number(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.generation) << 8 | self.channel as u64
    }

    /// The token with this number; `None` for the numbers of the loop itself.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        let channel = CHANNELS.get(usize::try_from(number & 0xFF).ok()?)?;
        let slot = u32::try_from(number >> 32).ok().filter(|slot| *slot != u32::MAX)?;
        let generation = u32::try_from(number >> 8 & ((1 << GENERATION_BITS) - 1)).ok()?;
        Some(Self { slot, generation, channel: *channel })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_poller_and_an_older_life_has_another() {
        for channel in CHANNELS {
            let token = Token::of(WorkerId::new(70_000, 12), channel);
            assert_eq!(Token::from_number(token.number()), Some(token));
            assert_ne!(Token::of(WorkerId::new(70_000, 11), channel), token);
        }
        assert_eq!(Token::from_number(u64::MAX), None);
    }
}
