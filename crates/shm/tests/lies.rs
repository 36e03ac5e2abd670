//! A worker that writes whatever it likes into everything it can write: the host answers [`Lie`], or drains no more than
//! a ring holds, and goes on.
#![expect(clippy::unwrap_used, reason = "what a test cannot get, it fails without")]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use poolctl_shm::{HostEnd, Lie, WorkerEnd, WorkerFds};
use poolctl_sys::mapping::Mapping;
use poolctl_sys::{memfd, transfer};

const RING: u64 = 16384;
const PAGE: usize = 4096;

/// Where the words of the worker's page lie.
const PUBLISHED: usize = 0;
const CONSUMED: usize = 128;
const WORDS: [usize; 5] = [PUBLISHED, CONSUMED, 256, 264, 384];

/// The worker's segment as a hostile worker has it.
struct Hostile {
    mapping: Mapping,
}

impl Hostile {
    fn write(&self, at: usize, value: u64) {
        assert!(at.is_multiple_of(8) && at + 8 <= self.mapping.len());
        // SAFETY: in bounds and aligned by the assertion, mapped for as long as `&self`; an atomic, whoever else looks.
        let word = unsafe { AtomicU64::from_ptr(self.mapping.as_ptr().as_ptr().wrapping_add(at).cast()) };
        word.store(value, Ordering::SeqCst);
    }
}

fn host_and_hostile() -> (HostEnd, Hostile, WorkerFds) {
    let ring = usize::try_from(RING).unwrap();
    let (host, fds) = HostEnd::new(ring, ring).unwrap();
    let mapping = Mapping::read_write(fds.results.as_fd(), PAGE + ring).unwrap();
    (host, Hostile { mapping }, fds)
}

/// Numbers at every edge, and random ones from `seed` on (xorshift).
fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
    let edges = [0, 1, 7, 8, 9, RING - 8, RING, RING + 1, RING + 8, 2 * RING, 1 << 32, 1 << 63, !7, u64::MAX];
    let random = std::iter::repeat_with(move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // Half of them near what is possible.
        if seed.is_multiple_of(2) { seed } else { seed >> 20 & (4 * RING - 1) }
    });
    edges.into_iter().chain(random)
}

#[test]
fn impossible_positions_are_lies_and_take_nothing() {
    let (mut host, hostile, _fds) = host_and_hostile();
    assert!(host.post(&[&[1; 64]]));
    host.publish();
    let mut bytes = Vec::new();

    for claimed in [8 * RING, RING + 8, 4, 1 << 63, u64::MAX] {
        hostile.write(PUBLISHED, claimed);
        let lie = Lie::Published { claimed, least: 0, most: RING };
        assert_eq!((host.drain(&mut bytes), bytes.len()), (Err(lie), 0));
    }
    for claimed in [72, 3, u64::MAX] {
        hostile.write(CONSUMED, claimed);
        assert_eq!(host.room(), Err(Lie::Consumed { claimed, least: 0, most: 64 }));
        assert!(!host.post(&[&[1; 16384]]), "no room by a lie");
    }

    hostile.write(PUBLISHED, 16);
    hostile.write(CONSUMED, 64);
    assert_eq!(host.drain(&mut bytes), Ok(()));
    assert_eq!((bytes.len(), host.room()), (16, Ok(16384)));
    hostile.write(PUBLISHED, 8);
    hostile.write(CONSUMED, 56);
    assert_eq!(host.drain(&mut bytes), Err(Lie::Published { claimed: 8, least: 16, most: 16 + RING }));
    assert_eq!(host.room(), Err(Lie::Consumed { claimed: 56, least: 64, most: 64 }));
}

#[test]
fn a_message_that_is_posted_and_not_published_cannot_be_consumed() {
    let (mut host, hostile, _fds) = host_and_hostile();
    assert!(host.post(&[&[1; 64]]));

    hostile.write(CONSUMED, 64);

    assert_eq!(host.room(), Err(Lie::Consumed { claimed: 64, least: 0, most: 0 }));
}

#[test]
fn any_words_are_answered_with_a_lie_or_with_a_ring_of_bytes_at_most() {
    let (mut host, hostile, _fds) = host_and_hostile();
    let (mut lies, mut bytes) = (0_u32, Vec::new());

    for (round, number) in numbers(88_172_645_463_325_252).take(200_000).enumerate() {
        hostile.write(WORDS[round % WORDS.len()], number);
        host.post(&[&number.to_le_bytes(), &[0; 24]]);
        host.publish();
        bytes.clear();
        lies += u32::from(host.drain(&mut bytes).is_err());
        assert!(bytes.len() as u64 <= RING && bytes.len().is_multiple_of(8));
        match host.room() {
            Ok(room) => assert!(room as u64 <= RING),
            Err(_) => lies += 1,
        }
        let _: bool = host.has_news();
        let _: u64 = host.claim().begun;
    }

    assert!(lies > 10_000, "{lies}");
}

#[test]
fn words_and_bytes_that_change_all_the_time_do_no_harm() {
    let (mut host, hostile, _fds) = host_and_hostile();
    let stop = Arc::new(AtomicBool::new(false));
    let scribbler = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let ring = usize::try_from(RING).unwrap();
            for (round, number) in numbers(1).enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                hostile.write(WORDS[round % WORDS.len()], number);
                hostile.write(PAGE + round * 8 % ring, number);
            }
        }
    });

    let (mut rounds, mut lies, mut bytes) = (0, 0, Vec::new());
    let begun = Instant::now();
    // At least until the other thread has had its turn.
    while rounds < 200_000 || lies == 0 {
        rounds += 1;
        bytes.clear();
        lies += u32::from(host.drain(&mut bytes).is_err());
        assert!(bytes.len() as u64 <= RING);
        let _: Result<usize, Lie> = host.room();
        host.post(&[b"message"]);
        host.publish();
        assert!(begun.elapsed() < Duration::from_secs(30), "no lie in {rounds} rounds");
    }
    stop.store(true, Ordering::Relaxed);

    scribbler.join().unwrap();
}

/// What a worker may not do, for it would end its host.
#[test]
fn a_worker_can_neither_shorten_a_segment_nor_write_the_hosts() {
    let (_host, _hostile, WorkerFds { tasks, results }) = host_and_hostile();
    let shorten = |fd: &OwnedFd| std::fs::File::from(fd.try_clone().unwrap()).set_len(0);
    let ring = usize::try_from(RING).unwrap();

    assert!(shorten(&tasks).is_err() && shorten(&results).is_err());
    assert!(Mapping::read_write(tasks.as_fd(), PAGE + ring).is_err());
    assert!(transfer::write_all_at(tasks.as_fd(), b"x", 0).is_err());
    assert!(transfer::punch_hole(tasks.as_fd(), 0, 4096).is_err());
    assert!(memfd::seal_future_write(results.as_fd()).is_err());
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&tasks));
    let reopened = std::fs::File::options().read(true).write(true).open(path);
    assert!(reopened.is_err() || Mapping::read_write(reopened.unwrap().as_fd(), PAGE).is_err());
}

#[test]
fn holes_in_the_results_are_zeroes() {
    let (mut host, fds) = HostEnd::new(16384, 16384).unwrap();
    let holes = fds.results.try_clone().unwrap();
    let mut worker = WorkerEnd::attach(fds.tasks, fds.results).unwrap();
    worker.spare().fill(7);
    worker.advance(16384);
    worker.publish();

    transfer::punch_hole(holes.as_fd(), 8192, 4096).unwrap();

    let mut bytes = Vec::new();
    host.drain(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 16384);
    assert_eq!(bytes.iter().filter(|byte| **byte == 0).count(), 4096);
}
