//! Items that go well.

use poolctl_protocol::{Encoding, MessageKind, RecordKind};

use super::host::{Host, Said, double, refuse, repeat, talk};
use crate::travel::OUT_OF_BAND_BYTES;

#[test]
fn the_hello_says_what_is_offered() {
    let host = Host::new();

    let hello = &host.hello;

    assert!(hello.caps.claim);
    assert_eq!(hello.native, Some(poolctl_shm::LAYOUT));
    let place = hello.functions.iter().position(|name| name == "life.double").unwrap();
    assert_eq!(hello.signatures[place], "fn(i64) -> i64");
    assert_eq!(
        hello.docs[place],
        "The tasks of these tests have names of their own, since all of a program's are in one list."
    );
    host.end();
}

#[test]
fn items_are_answered_in_order_in_either_encoding() {
    let mut host = Host::new();

    host.post(double, &[1, -2, 3]);
    host.post_json(double, &["4", " 5 "]);
    host.post(double, &[6]);

    assert_eq!([1, 2, 3].map(|_| host.next_of(double)), [2, -4, 6]);
    assert_eq!([1, 2].map(|_| host.next_text()), ["8", "10"]);
    assert_eq!(host.next_of(double), 12);
    assert_eq!(host.ring.claim().begun, 6);
    host.end();
}

#[test]
fn a_sleeping_host_is_kicked_and_one_awake_is_not() {
    let mut host = Host::new();
    for number in 0..100 {
        host.post(double, &[number]);
        assert_eq!(host.next_of(double), number * 2);
    }
    let kicks = host.kicks;
    host.ring.awake();

    host.post(double, &[7]);
    while !host.ring.has_news() {
        std::thread::yield_now();
    }

    assert_eq!(host.next_of(double), 14);
    assert!(kicks <= 200, "{kicks}");
    assert_eq!(host.kicks, kicks);
    host.end();
}

#[test]
fn more_results_than_the_ring_holds_wait_for_room() {
    let mut host = Host::with_rings(16 << 10);
    let items = vec![("x".to_owned(), 1000); 100];

    host.post(repeat, &items);

    for _ in 0..100 {
        assert_eq!(host.next_of(repeat).len(), 1000);
    }
    host.end();
}

#[test]
fn a_sleeping_host_is_kicked_when_it_must_make_room() {
    let mut host = Host::with_rings(16 << 10);
    let items = vec![("x".to_owned(), 9000); 4];

    for _ in 0..100 {
        host.ring.sleep();
        host.post(repeat, &items);
        for _ in &items {
            assert_eq!(host.next_of(repeat).len(), 9000);
        }
    }

    host.end();
}

#[test]
fn results_just_around_the_border_to_a_parcel_arrive() {
    let mut host = Host::new();
    // A text has 8 bytes of length before it.
    let lengths = [OUT_OF_BAND_BYTES - 9, OUT_OF_BAND_BYTES - 8, OUT_OF_BAND_BYTES - 7];

    for length in lengths {
        host.post(repeat, &[("x".to_owned(), length)]);
    }

    assert_eq!(host.next_of(repeat).len(), lengths[0]);
    assert_eq!(host.next_of(repeat).len(), lengths[1]);
    let whole = OUT_OF_BAND_BYTES as u64 + 1;
    assert_eq!(host.next(), Said::Parcel(whole, whole));
    host.end();
}

#[test]
fn what_a_task_says_stands_before_its_result() {
    let mut host = Host::new();

    host.post(talk, &["hello".to_owned(), "there".to_owned()]);

    let said: Vec<Said> = (0..8).map(|_| host.next()).collect();
    let spoken = |words: &str, result: &str| {
        let logged = [&[2], words.as_bytes()].concat();
        let half = [&0.5_f64.to_le_bytes(), &b"half way"[..]].concat();
        let traced = [&[1], format!("said words={words:?} count=2").as_bytes()].concat();
        let result = super::host::bytes_of(repeat, &(result.to_owned(), 0));
        [
            Said::Other(RecordKind::Log, logged),
            Said::Other(RecordKind::Progress, half),
            Said::Other(RecordKind::Log, traced),
            Said::Ok(result[..result.len() - 8].to_vec()),
        ]
    };
    assert_eq!(said[..4], spoken("hello", "3.0.2"));
    assert_eq!(said[4..], spoken("there", "3.1.2"));
    host.end();
}

#[test]
fn items_are_timed_where_the_host_wishes() {
    let mut host = Host::new();
    host.ring.set_timed(true);

    host.post(refuse, &[1, -1, 2]);

    assert_eq!(host.next_of(refuse), 1);
    host.next_error();
    assert_eq!(host.next_of(refuse), 2);
    assert_eq!(host.nanos.len(), 3);
    assert!(host.ring.claim().started_ns > 0);
    host.end();
}

#[test]
fn a_message_without_items_is_answered_by_nothing() {
    let mut host = Host::new();
    let header = host.header(double, MessageKind::Chunk, Encoding::Binary);

    host.post_message(header, &[]);
    host.post(double, &[5]);

    assert_eq!(host.next_of(double), 10);
    host.end();
}
