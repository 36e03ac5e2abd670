//! The host's end of a link: posts messages, drains records, believes nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::bell::{AWAKE, NO_ROOM, NOTHING_TO_DO, PRINTS_READ, Ringer, say_asleep};
use crate::claim::{self, Claim};
use crate::page::{
    BEGUN, BELL, CONSUMED, DRAINED, FLAGS, HOST_READS, HOST_SLEEPS, HostPage, POSTED, PUBLISHED, SPIN_NS,
    STARTED_NS, TIMED, WORKER_SLEEPS, WorkerPage,
};
use crate::reading;
use crate::ring::{ALIGN, Impossible, RingReader, RingWriter};
use crate::segment::Segment;

/// The host's end of the rings of one worker life.
///
/// Nothing here blocks, and nothing but [`HostEnd::publish`] and [`HostEnd::drain`] makes a system call, and those only
/// where the worker says that it sleeps.
#[derive(Debug)]
pub struct HostEnd {
    tasks: Segment<HostPage>,
    results: Segment<WorkerPage>,
    writer: RingWriter,
    reader: RingReader,
    ringer: Ringer,
}

/// How far a worker has published: what [`HostEnd::take`] takes.
#[derive(Debug)]
#[must_use]
pub struct News(u64);

impl News {
    /// Whether there is nothing.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

/// The descriptors of a link's segments, for its worker alone.
#[derive(Debug)]
pub struct WorkerFds {
    /// The worker can map it for reading, and nobody can write it but through the host's mapping.
    pub tasks: OwnedFd,
    /// The worker maps it for reading and writing.
    pub results: OwnedFd,
}

/// A number of the worker that cannot be. The worker is broken or hostile; nothing more it says is worth reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lie {
    /// It published backwards, or more than the ring holds, or part of a word.
    #[error("the worker published up to byte {claimed}, which is no record's end between {least} and {most}")]
    Published {
        /// Up to where it says it published.
        claimed: u64,
        /// Up to where the host has drained.
        least: u64,
        /// What the ring holds beyond that.
        most: u64,
    },
    /// It consumed backwards, or more than was posted, or part of a word.
    #[error("the worker consumed up to byte {claimed}, which is no message's end between {least} and {most}")]
    Consumed {
        /// Up to where it says it consumed.
        claimed: u64,
        /// Up to where it said so before.
        least: u64,
        /// Up to where the host has posted.
        most: u64,
    },
}

impl HostEnd {
    /// A new link with rings of these lengths in bytes, each a power of two and a multiple of the page size. All of its
    /// memory is taken at once.
    ///
    /// # Errors
    /// `InvalidInput` for other lengths; no memory or descriptors left.
    pub fn new(tasks_ring: usize, results_ring: usize) -> io::Result<(HostEnd, WorkerFds)> {
        let (tasks, tasks_fd) = Segment::<HostPage>::create(tasks_ring)?;
        let (results, results_fd) = Segment::<WorkerPage>::create(results_ring)?;
        let end = Self {
            tasks,
            results,
            writer: RingWriter::new(tasks_ring as u64),
            reader: RingReader::new(results_ring as u64),
            ringer: Ringer::default(),
        };
        Ok((end, WorkerFds { tasks: tasks_fd, results: results_fd }))
    }

    /// How many bytes can be posted now; looks how far the worker is.
    ///
    /// # Errors
    /// [`Lie::Consumed`].
    #[inline]
    pub fn room(&mut self) -> Result<usize, Lie> {
        self.refresh()?;
        #[expect(clippy::cast_possible_truncation, reason = "at most the ring, which is in memory")]
        let room = self.writer.room() as usize;
        Ok(room)
    }

    /// Copies `parts`, one behind another, into the task ring as one message, padded to a multiple of 8 bytes. The worker
    /// sees it after the next [`HostEnd::publish`]. Answers `false`, and changes nothing, where there is no room, or none
    /// can be made out because the worker lies ([`HostEnd::room`] says so). No bytes are no message.
    #[inline]
    pub fn post(&mut self, parts: &[&[u8]]) -> bool {
        let bytes = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if bytes > self.tasks.ring() {
            return false;
        }
        let padded = (bytes as u64).next_multiple_of(ALIGN);
        if padded > self.writer.room() && (self.refresh().is_err() || padded > self.writer.room()) {
            return false;
        }
        let mut to = self.tasks.ring_at(self.writer.at());
        for part in parts {
            // SAFETY: all parts together fit into the room, which is at most the ring, all of which follows the position
            // it begins at. Only this process can write the memory (it is sealed), only `&mut self` does, and the worker
            // reads what was posted and not consumed, which the room does not reach into; so it cannot overlap `part`,
            // a reference to memory that nobody writes.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), to.as_ptr(), part.len()) };
            // SAFETY: as above: at most at the end of the room.
            to = unsafe { to.add(part.len()) };
        }
        self.writer.stage(padded);
        true
    }

    /// Lets the worker see all that was posted, and wakes it if it sleeps.
    #[inline]
    pub fn publish(&mut self) {
        self.writer.publish(self.tasks.word(POSTED));
        self.ring_bell(NOTHING_TO_DO);
    }

    /// Whether the worker has published something since the last [`HostEnd::drain`]: one load.
    #[inline]
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.reader.has_news(self.results.word(PUBLISHED))
    }

    /// What the worker has published since the last [`HostEnd::drain`]: at most the result ring.
    ///
    /// # Errors
    /// [`Lie::Published`].
    #[inline]
    pub fn news(&self) -> Result<News, Lie> {
        let waiting = self.reader.waiting(self.results.word(PUBLISHED));
        let lie = |Impossible { claimed, least, most }| Lie::Published { claimed, least, most };
        waiting.map(News).map_err(lie)
    }

    /// Appends `news` to `into`, a multiple of 8 bytes, and gives the worker the room back. After a worker's death this is
    /// what is left of it.
    #[inline]
    pub fn take(&mut self, News(bytes): News, into: &mut Vec<u8>) {
        if bytes > 0 {
            #[expect(clippy::cast_possible_truncation, reason = "at most the ring, which is in memory")]
            self.results.copy_out(self.reader.at(), bytes as usize, into);
            self.reader.take(bytes);
            self.reader.release(self.tasks.word(DRAINED));
            self.ring_bell(NO_ROOM);
        }
    }

    /// Takes all news there are.
    ///
    /// # Errors
    /// [`Lie::Published`]; nothing is appended then.
    #[inline]
    pub fn drain(&mut self, into: &mut Vec<u8>) -> Result<(), Lie> {
        let news = self.news()?;
        self.take(news, into);
        Ok(())
    }

    /// Says that what the worker has printed is read now, and which item it is of, if the worker waits for prints to be
    /// read before it begins the next. [`HostEnd::end_reading`] follows.
    #[inline]
    #[must_use]
    pub fn begin_reading(&self) -> Claim {
        reading::begin(self.tasks.word(HOST_READS));
        self.claim()
    }

    /// Says that it has been read.
    #[inline]
    pub fn end_reading(&mut self) {
        reading::end(self.tasks.word(HOST_READS));
        self.ring_bell(PRINTS_READ);
    }

    /// Which item the worker says it is at.
    #[inline]
    #[must_use]
    pub fn claim(&self) -> Claim {
        claim::read(self.results.word(BEGUN), self.results.word(STARTED_NS))
    }

    /// Says that the host is going to sleep: from now on the worker kicks after publishing. Ask [`HostEnd::has_news`]
    /// once more after this, and sleep only if there are none.
    #[inline]
    pub fn sleep(&self) {
        say_asleep(self.tasks.word(HOST_SLEEPS));
    }

    /// Says that the host is awake.
    #[inline]
    pub fn awake(&self) {
        self.tasks.word(HOST_SLEEPS).store(AWAKE, Ordering::Relaxed);
    }

    /// Whether the worker shall time each item.
    pub fn set_timed(&self, timed: bool) {
        let flags = if timed { TIMED } else { 0 };
        self.tasks.word(FLAGS).store(flags, Ordering::Relaxed);
    }

    /// For how long the worker shall look for a message before it sleeps (4 s at most).
    pub fn set_spin(&self, spin: Duration) {
        let nanos = u32::try_from(spin.as_nanos()).unwrap_or(u32::MAX);
        self.tasks.word(SPIN_NS).store(nanos, Ordering::Relaxed);
    }

    #[inline]
    fn refresh(&mut self) -> Result<(), Lie> {
        let seen = self.writer.refresh(self.results.word(CONSUMED));
        seen.map_err(|Impossible { claimed, least, most }| Lie::Consumed { claimed, least, most })
    }

    #[inline]
    fn ring_bell(&mut self, reason: u32) {
        self.ringer.ring(self.tasks.word(BELL), self.results.word(WORKER_SLEEPS), reason);
    }
}
