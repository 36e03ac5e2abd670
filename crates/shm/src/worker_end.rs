//! The worker's end of a link: takes messages, publishes records. It trusts its host.

use std::hint;
use std::os::fd::OwnedFd;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bell::{NO_ROOM, NOTHING_TO_DO, PRINTS_READ, must_kick, sleep_until};
use crate::claim;
use crate::page::{
    BEGUN, BELL, CONSUMED, DRAINED, FLAGS, HOST_READS, HOST_SLEEPS, HostPage, POSTED, PUBLISHED, SPIN_NS,
    STARTED_NS, TIMED, WORKER_SLEEPS, WorkerPage,
};
use crate::reading;
use crate::ring::{ALIGN, RingReader, RingWriter};
use crate::segment::{AttachError, Segment};

/// How many looks at a ring there are between two looks at the clock.
const LOOKS: u32 = 16;

/// Who spins for so long lets others run, and again after each four times as long.
const FIRST_YIELD: Duration = Duration::from_micros(1);

/// The worker's end of the rings of one worker life.
#[derive(Debug)]
pub struct WorkerEnd {
    tasks: Arc<Segment<HostPage>>,
    reader: RingReader,
    outbox: Outbox,
}

/// The half of a worker's end that records go into, so that it can be used while messages are being read.
#[derive(Debug)]
pub struct Outbox {
    tasks: Arc<Segment<HostPage>>,
    results: Segment<WorkerPage>,
    writer: RingWriter,
}

impl WorkerEnd {
    /// Attaches to the segments that a host sent, see [`crate::WorkerFds`]. Each pair is attached to once.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(tasks: OwnedFd, results: OwnedFd) -> Result<WorkerEnd, AttachError> {
        let tasks = Arc::new(Segment::<HostPage>::attach(tasks)?);
        let results = Segment::<WorkerPage>::attach(results)?;
        let reader = RingReader::new(tasks.ring() as u64);
        let writer = RingWriter::new(results.ring() as u64);
        Ok(Self { tasks: Arc::clone(&tasks), reader, outbox: Outbox { tasks, results, writer } })
    }

    /// Waits until something is posted: looks for as long as the host wishes, then sleeps. Publish first, and kick the
    /// host if it sleeps.
    pub fn wait(&mut self) {
        debug_assert!(self.outbox.writer.is_published(), "what is not published keeps the host waiting");
        let (tasks, reader) = (&self.tasks, &self.reader);
        let has_message = || reader.has_news(tasks.word(POSTED));
        if !self.outbox.spin(has_message) {
            let sleeps = self.outbox.results.word(WORKER_SLEEPS);
            sleep_until(self.tasks.word(BELL), sleeps, NOTHING_TO_DO, has_message);
        }
    }

    /// All that is posted and not consumed, message behind message, in one piece.
    ///
    /// # Panics
    /// If the host has posted more than fits, which it never does.
    #[inline]
    #[must_use]
    pub fn posted(&self) -> &[u8] {
        unread(&self.tasks, &self.reader)
    }

    /// [`WorkerEnd::posted`], and the way out for the records that answer it.
    ///
    /// # Panics
    /// As [`WorkerEnd::posted`].
    #[inline]
    pub fn split(&mut self) -> (&[u8], &mut Outbox) {
        (unread(&self.tasks, &self.reader), &mut self.outbox)
    }

    /// Has done with the first `bytes` of what is posted, and with their padding. The host sees that after the next
    /// [`WorkerEnd::publish`].
    ///
    /// # Panics
    /// If that is more than is posted.
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        let padded = (bytes as u64).next_multiple_of(ALIGN);
        assert!(padded <= self.posted().len() as u64, "consumed more than was posted");
        self.reader.take(padded);
    }

    /// [`Outbox::spare`].
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        self.outbox.spare()
    }

    /// [`Outbox::wait_for_spare`].
    pub fn wait_for_spare(&mut self, bytes: usize) {
        self.outbox.wait_for_spare(bytes);
    }

    /// [`Outbox::wait_until_drained`].
    pub fn wait_until_drained(&mut self) {
        self.outbox.wait_until_drained();
    }

    /// [`Outbox::wait_while_read`].
    #[inline]
    pub fn wait_while_read(&self) {
        self.outbox.wait_while_read();
    }

    /// [`Outbox::advance`].
    #[inline]
    pub fn advance(&mut self, bytes: usize) {
        self.outbox.advance(bytes);
    }

    /// Lets the host see all records so far, and all that was consumed.
    #[inline]
    pub fn publish(&mut self) {
        self.outbox.publish();
        self.reader.release(self.outbox.results.word(CONSUMED));
    }

    /// [`Outbox::begin`].
    #[inline]
    pub fn begin(&self, begun: u64, started_ns: Option<u64>) {
        self.outbox.begin(begun, started_ns);
    }

    /// [`Outbox::host_sleeps`].
    #[inline]
    #[must_use]
    pub fn host_sleeps(&self) -> bool {
        self.outbox.host_sleeps()
    }

    /// [`Outbox::is_timed`].
    #[inline]
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.outbox.is_timed()
    }
}

impl Outbox {
    /// The free room of the result ring, in one piece. There may be more by now than is given out, and it may be none;
    /// see [`Outbox::wait_for_spare`].
    ///
    /// # Panics
    /// If the host has drained more than was published, which it never does.
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        // The host's word is looked at only when it matters, since it costs a cache line's way from there to here.
        if self.writer.room() < self.results.ring() as u64 / 2 {
            self.refresh();
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most the ring, which is in memory")]
        let room = self.writer.room() as usize;
        let start = self.results.ring_at(self.writer.at());
        // SAFETY: at most the whole ring, all of which follows the position it begins at; mapped read-write for as long
        // as `&mut self`, and initialized, as all memory of a file is. Nobody else writes there: the host has it mapped
        // for reading, and reads only what was published and not drained, which the room does not reach into; its second
        // copy in this mapping is reached through `&mut self` alone, too, and a room never has a byte twice.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), room) }
    }

    /// Waits until there is room for `bytes`. Publishes what there is, so that the host can drain it; before that, call
    /// [`Outbox::publish`] and kick the host if it sleeps, or nobody will.
    ///
    /// # Panics
    /// If `bytes` is more than the ring.
    pub fn wait_for_spare(&mut self, bytes: usize) {
        assert!(bytes <= self.results.ring(), "never is there room for more than the ring");
        let needed = (bytes as u64).next_multiple_of(ALIGN);
        self.refresh();
        if self.writer.room() >= needed {
            return;
        }
        self.publish();
        let Self { tasks, results, writer } = self;
        sleep_until(tasks.word(BELL), results.word(WORKER_SLEEPS), NO_ROOM, || {
            writer.refresh(tasks.word(DRAINED)).expect("the host drains what is published");
            writer.room() >= needed
        });
    }

    /// Waits until the host has drained all that was published. As with [`Outbox::wait_for_spare`], publish and kick first.
    pub fn wait_until_drained(&mut self) {
        self.wait_for_spare(self.results.ring());
    }

    /// Behind [`Outbox::begin`]: waits while the host reads what was printed before, so that it takes nothing of the item
    /// that begins for the last one's. It costs a full fence.
    #[inline]
    pub fn wait_while_read(&self) {
        let host_reads = self.tasks.word(HOST_READS);
        if reading::must_wait(host_reads) {
            let sleeps = self.results.word(WORKER_SLEEPS);
            sleep_until(self.tasks.word(BELL), sleeps, PRINTS_READ, || reading::is_over(host_reads));
        }
    }

    /// Makes the first `bytes` of [`Outbox::spare`] (and their padding to a multiple of 8, which is for the caller to
    /// write) a record. The host sees it after the next publish.
    ///
    /// # Panics
    /// If there is not so much room.
    #[inline]
    pub fn advance(&mut self, bytes: usize) {
        let padded = (bytes as u64).next_multiple_of(ALIGN);
        assert!(padded <= self.writer.room(), "a record longer than the room");
        self.writer.stage(padded);
    }

    /// Lets the host see all records so far. What was consumed stays private.
    #[inline]
    pub fn publish(&mut self) {
        self.writer.publish(self.results.word(PUBLISHED));
    }

    /// Says that the worker begins another item, its `begun`th, at `started_ns` on the monotonic clock where items are
    /// timed. Once this returns, whatever the worker does counts as done by that item.
    #[inline]
    pub fn begin(&self, begun: u64, started_ns: Option<u64>) {
        claim::begin(self.results.word(BEGUN), self.results.word(STARTED_NS), begun, started_ns);
    }

    /// Whether the host sleeps and must be kicked. To be asked after a publish; it costs a full fence.
    #[inline]
    #[must_use]
    pub fn host_sleeps(&self) -> bool {
        must_kick(self.tasks.word(HOST_SLEEPS))
    }

    /// Whether the host wishes each item to be timed.
    #[inline]
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.tasks.word(FLAGS).load(Ordering::Relaxed) & TIMED != 0
    }

    /// Looks for `is_over` for as long as the host wishes, and says whether it came.
    fn spin(&self, is_over: impl Fn() -> bool) -> bool {
        if is_over() {
            return true;
        }
        let nanos = self.tasks.word(SPIN_NS).load(Ordering::Relaxed);
        if nanos == 0 {
            return false;
        }
        let (begun, spin) = (Instant::now(), Duration::from_nanos(nanos.into()));
        let mut next = FIRST_YIELD;
        loop {
            for _ in 0..LOOKS {
                hint::spin_loop();
                if is_over() {
                    return true;
                }
            }
            let spun = begun.elapsed();
            if spun >= spin {
                return false;
            }
            if spun >= next {
                // The host may be on this same processor, and waits for it.
                std::thread::yield_now();
                next = spun * 4;
            }
        }
    }

    #[inline]
    fn refresh(&mut self) {
        self.writer.refresh(self.tasks.word(DRAINED)).expect("the host drains what is published");
    }
}

/// What is posted and not consumed.
#[inline]
fn unread<'a>(tasks: &'a Segment<HostPage>, reader: &RingReader) -> &'a [u8] {
    let waiting = reader.waiting(tasks.word(POSTED)).expect("the host posts what fits");
    #[expect(clippy::cast_possible_truncation, reason = "at most the ring, which is in memory")]
    let waiting = waiting as usize;
    // SAFETY: at most the whole ring, all of which follows the position it begins at; mapped for as long as `tasks`, and
    // initialized, as all memory of a file is. The host alone can write there (this mapping is for reading, and the file
    // is sealed), and it writes no byte that was posted until the worker shows that it has consumed it, which takes a
    // mutable borrow of the `WorkerEnd` that the slice is borrowed from.
    unsafe { slice::from_raw_parts(tasks.ring_at(reader.at()).as_ptr(), waiting) }
}
