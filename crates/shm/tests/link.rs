//! Both ends of a link in one process: what one puts in comes out at the other, whatever the lengths.
#![expect(clippy::unwrap_used, reason = "what a test cannot get, it fails without")]

use std::env;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::{Duration, Instant};

use poolctl_shm::{AttachError, HostEnd, Lie, RING_BYTES, WorkerEnd};
use poolctl_sys::inherited;
use poolctl_sys::spawn::{Command, Spawner};
use poolctl_types::Exit;

const RING: usize = 65536;
/// How long an echo of a million items may take on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(60);

fn link() -> (HostEnd, WorkerEnd) {
    let (host, fds) = HostEnd::new(RING, RING).unwrap();
    (host, WorkerEnd::attach(fds.tasks, fds.results).unwrap())
}

/// The worker's side of "one record": `bytes` as they are.
fn record(worker: &mut WorkerEnd, bytes: &[u8]) {
    worker.spare()[..bytes.len()].copy_from_slice(bytes);
    worker.advance(bytes.len());
}

fn drained(host: &mut HostEnd) -> Vec<u8> {
    let mut bytes = Vec::new();
    host.drain(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_message_is_seen_once_published_and_stands_in_one_piece() {
    let (mut host, mut worker) = link();

    assert!(host.post(&[b"ab", b"", b"cde"]));
    assert_eq!(worker.posted(), b"");
    host.publish();
    assert!(host.post(&[b"later"]));

    worker.wait();
    assert_eq!(worker.posted(), b"abcde\0\0\0");
    worker.consume(5);
    assert_eq!(worker.posted(), b"");
}

#[test]
fn a_record_is_seen_once_published() {
    let (mut host, mut worker) = link();

    record(&mut worker, b"12345678");
    assert!(!host.has_news());
    worker.publish();
    record(&mut worker, b"87654321");

    assert!(host.has_news());
    assert_eq!(drained(&mut host), b"12345678");
    assert!(!host.has_news());
    worker.publish();
    assert_eq!(drained(&mut host), b"87654321");
    assert_eq!(drained(&mut host), b"");
}

#[test]
fn a_full_ring_takes_nothing_and_loses_nothing() {
    let (mut host, mut worker) = link();
    assert!(host.post(&[&[1; RING - 8]]));
    host.publish();

    assert!(!host.post(&[&[2; 9]]));
    assert!(!host.post(&[&[2; RING + 1]]));
    assert_eq!(host.room(), Ok(8));
    assert!(host.post(&[&[3; 8]]));
    assert_eq!(host.room(), Ok(0));
    assert!(!host.post(&[&[4; 1]]));
    host.publish();

    let mut expected = vec![1; RING - 8];
    expected.extend([3; 8]);
    assert!(worker.posted() == expected, "the first message and the one that fitted");
    worker.consume(RING);
    assert_eq!(host.room(), Ok(0), "not before it is published");
    worker.publish();
    assert_eq!(host.room(), Ok(RING));
    assert!(host.post(&[&[5; RING]]));
}

#[test]
fn a_full_result_ring_has_no_room_until_it_is_drained() {
    let (mut host, mut worker) = link();
    record(&mut worker, &[7; RING]);

    assert_eq!(worker.spare(), b"");
    worker.publish();
    assert!(drained(&mut host) == [7; RING]);

    assert_eq!(worker.spare().len(), RING);
}

#[test]
fn messages_and_records_go_round_the_end_of_the_ring() {
    let (mut host, mut worker) = link();
    let mut expected = 0_u64;

    for round in 0..2000_usize {
        let len = 8 * (round * 37 % 500 + 1);
        let message: Vec<u8> = (0..len / 8).flat_map(|word| (round * 1000 + word).to_le_bytes()).collect();
        let (front, back) = message.split_at(round % len);
        assert!(host.post(&[front, back]));
        host.publish();
        worker.wait();

        let (posted, outbox) = worker.split();
        outbox.spare()[..len].copy_from_slice(posted);
        outbox.advance(len);
        worker.consume(len);
        worker.publish();

        assert!(drained(&mut host) == message, "round {round}");
        expected += len as u64;
    }

    assert!(expected > 10 * RING as u64);
    assert_eq!(host.room(), Ok(RING));
}

#[test]
fn consuming_and_advancing_round_up_to_words() {
    let (mut host, mut worker) = link();
    assert!(host.post(&[b"abc"]) && host.post(&[b"defghijkl"]));
    host.publish();

    worker.consume(3);
    assert_eq!(&worker.posted()[..9], b"defghijkl");
    worker.consume(9);
    worker.spare()[..8].copy_from_slice(b"abc\0\0\0\0\0");
    worker.advance(3);
    worker.publish();

    assert_eq!(drained(&mut host), b"abc\0\0\0\0\0");
    assert_eq!(host.room(), Ok(RING));
}

#[test]
fn a_claim_is_seen_at_once_and_wishes_too() {
    let (host, worker) = link();

    worker.begin(3, None);
    assert_eq!((host.claim().begun, host.claim().started_ns), (3, 0));
    worker.begin(4, Some(99));
    assert_eq!((host.claim().begun, host.claim().started_ns), (4, 99));

    assert!(!worker.is_timed());
    host.set_timed(true);
    assert!(worker.is_timed());
    assert!(!worker.host_sleeps());
    host.sleep();
    assert!(worker.host_sleeps());
    host.awake();
    assert!(!worker.host_sleeps());
}

/// Echoes messages of 8 bytes until one is 0.
fn echo(mut worker: WorkerEnd) {
    loop {
        worker.wait();
        let (posted, outbox) = worker.split();
        let mut done = 0;
        for item in posted.chunks_exact(8) {
            if outbox.spare().is_empty() {
                outbox.publish();
                outbox.wait_for_spare(8);
            }
            outbox.spare()[..8].copy_from_slice(item);
            outbox.advance(8);
            done += 8;
            if item == [0; 8] {
                worker.consume(done);
                worker.publish();
                return;
            }
        }
        worker.consume(done);
        worker.publish();
    }
}

/// Sends 1 to `count` and then 0 through an echo in another thread, `ahead` at a time at most.
fn echo_all(count: u64, ahead: u64, spin: Duration) {
    let (mut host, worker) = link();
    host.set_spin(spin);
    let thread = thread::spawn(|| echo(worker));
    send_and_receive(&mut host, count, ahead);
    thread.join().unwrap();
    assert_eq!(host.room(), Ok(RING));
}

/// The host's side of an echo.
fn send_and_receive(host: &mut HostEnd, count: u64, ahead: u64) {
    let begun = Instant::now();
    let (mut sent, mut received) = (0_u64, 0);
    let mut bytes = Vec::new();

    while received <= count {
        while sent <= count && sent - received < ahead && {
            let number = if sent == count { 0 } else { sent + 1 };
            host.post(&[&number.to_le_bytes()])
        } {
            sent += 1;
        }
        host.publish();
        host.drain(&mut bytes).unwrap();
        for item in bytes.drain(..).as_slice().chunks_exact(8) {
            received += 1;
            let expected = if received > count { 0 } else { received };
            assert_eq!(item, expected.to_le_bytes());
        }
        assert!(begun.elapsed() < DEADLINE, "{received} of {sent} came back");
        thread::yield_now();
    }
    assert_eq!(received, count + 1);
}

#[test]
#[ignore = "not a test, but the other process of those that follow"]
fn the_other_process() {
    // Nothing is inherited where somebody runs all that is ignored.
    if let (Ok(tasks), Ok(results)) = (inherited::take(3), inherited::take(4)) {
        echo(WorkerEnd::attach(tasks, results).unwrap());
    }
}

/// [`echo_all`] in another process.
fn echo_all_elsewhere(count: u64, ahead: u64) {
    let (mut host, fds) = HostEnd::new(RING, RING).unwrap();
    let program = CString::new(env::current_exe().unwrap().as_os_str().as_bytes()).unwrap();
    let child = Spawner::new().unwrap().spawn(&Command {
        path: &program,
        argv: &[&program, c"--ignored", c"--exact", c"the_other_process"],
        env: &[],
        cwd: None,
        fds: &[(fds.tasks.as_fd(), 3), (fds.results.as_fd(), 4)],
        nice: None,
        open_files: None,
        die_with_parent: true,
    });
    let child = child.unwrap();

    send_and_receive(&mut host, count, ahead);

    assert!(child.wait_for_end(Some(DEADLINE)).unwrap());
    assert_eq!(child.peek_exit().unwrap().map(|(exit, _)| exit), Some(Exit::Code(0)));
    assert!(child.reap().unwrap());
    assert_eq!(host.room(), Ok(RING));
}

#[test]
fn an_echo_in_another_process_loses_no_wake_up() {
    echo_all_elsewhere(20_000, 1);
}

#[test]
fn an_echo_in_another_process_with_full_rings_loses_no_item() {
    echo_all_elsewhere(1_000_000, u64::MAX);
}

#[test]
fn an_echo_one_by_one_loses_no_wake_up() {
    echo_all(20_000, 1, Duration::ZERO);
}

#[test]
fn an_echo_with_full_rings_loses_no_item_and_no_wake_up() {
    echo_all(1_000_000, u64::MAX, Duration::ZERO);
}

#[test]
fn an_echo_that_looks_before_it_sleeps_loses_nothing() {
    echo_all(200_000, 3, Duration::from_micros(5));
}

#[test]
fn a_worker_without_room_is_woken_when_there_is_some() {
    let (mut host, mut worker) = link();
    record(&mut worker, &[1; RING]);
    worker.publish();
    let thread = thread::spawn(move || {
        worker.wait_for_spare(RING / 2);
        record(&mut worker, &[2; RING / 2]);
        worker.publish();
    });

    let begun = Instant::now();
    let mut bytes = Vec::new();
    while bytes.len() < RING + RING / 2 {
        assert!(begun.elapsed() < DEADLINE, "{} bytes came", bytes.len());
        host.drain(&mut bytes).unwrap();
        thread::yield_now();
    }

    thread.join().unwrap();
    assert!(bytes[..RING] == [1; RING]);
    assert!(bytes[RING..] == [2; RING / 2]);
}

#[test]
fn rings_of_odd_lengths_are_refused() {
    for bytes in [0, 1, 4095, 4097, 3 * 4096, usize::MAX] {
        assert!(HostEnd::new(bytes, RING).is_err(), "{bytes}");
        assert!(HostEnd::new(RING, bytes).is_err(), "{bytes}");
    }
    assert!(HostEnd::new(RING_BYTES, 2 * RING_BYTES).is_ok());
}

#[test]
fn what_is_no_segment_is_not_attached_to() {
    let (_host, fds) = HostEnd::new(RING, RING).unwrap();
    let odd = || poolctl_sys::memfd::sealed("test", 12345).unwrap();
    let (read_end, _write_end) = poolctl_sys::pipe::pair().unwrap();

    let wrong_size = WorkerEnd::attach(fds.tasks.try_clone().unwrap(), odd()).unwrap_err();
    let wrong_kind = WorkerEnd::attach(read_end, odd()).unwrap_err();
    let wrong_way = WorkerEnd::attach(fds.results, fds.tasks).unwrap_err();

    assert!(matches!(wrong_size, AttachError::Size { bytes: 12345 }));
    assert!(matches!(wrong_kind, AttachError::Size { bytes: 0 }));
    assert!(matches!(wrong_way, AttachError::Map { .. }), "the task segment cannot be mapped for writing");
}

#[test]
fn a_lie_names_its_numbers() {
    let lie = Lie::Published { claimed: 9, least: 1, most: 8 };

    let text = "the worker published up to byte 9, which is no record's end between 1 and 8";
    assert_eq!(lie.to_string(), text);
}
