//! Items that go wrong, and hurt no other.

use poolctl_protocol::{Encoding, MessageHeader, MessageKind, NO_FUNCTION, Record, RecordKind, RemoteError};
use poolctl_shm::{HostEnd, WorkerEnd};
use poolctl_sys::pipe;

use crate::control::Control;
use crate::link::{Link, Prints};

use super::host::{Host, double, panic_at_seven, refuse, repeat};

#[test]
fn an_error_is_one_item_s_own() {
    let mut host = Host::new();

    host.post(refuse, &[1, -1, 2]);

    assert_eq!(host.next_of(refuse), 1);
    assert_eq!(host.next_error().msg, "-1 is negative");
    assert_eq!(host.next_of(refuse), 2);
    host.end();
}

#[test]
fn a_panic_is_told_with_its_place_and_the_others_go_on() {
    let mut host = Host::new();

    host.post(panic_at_seven, &[6, 7, 7, 8]);
    host.post_json(panic_at_seven, &["7", "9"]);

    assert_eq!(host.next_of(panic_at_seven), 6);
    for _ in 0..2 {
        let error = host.next_error();
        assert_eq!((error.type_name.as_str(), error.msg.as_str()), ("panic", "seven: 7"));
        let trace = error.trace.unwrap();
        assert!(trace.starts_with("at crates/worker/src/tests/host.rs:"), "{trace}");
    }
    assert_eq!(host.next_of(panic_at_seven), 8);
    assert_eq!(host.next_error().msg, "seven: 7");
    assert_eq!(host.next_text(), "9");
    host.end();
}

#[test]
fn arguments_that_are_none_are_told_with_function_and_signature() {
    let mut host = Host::new();
    let header = host.header(double, MessageKind::Chunk, Encoding::Binary);

    host.post_message(header, &[b"short".to_vec(), 4_i64.to_le_bytes().to_vec()]);
    host.post_json(double, &["[1]"]);

    let short = host.next_error();
    assert!(short.msg.starts_with("`life.double`, fn(i64) -> i64, cannot take this: "), "{}", short.msg);
    assert_eq!(short.retry, Some(false));
    assert_eq!(host.next_of(double), 8);
    assert!(host.next_error().msg.contains("invalid type: sequence"));
    host.end();
}

#[test]
fn a_function_that_is_not_there_fails_each_of_its_items() {
    let mut host = Host::new();
    let header = host.header(double, MessageKind::Chunk, Encoding::Binary);

    host.post_message(MessageHeader { function: NO_FUNCTION, ..header }, &[vec![], vec![]]);
    host.post(double, &[5]);

    let errors = [host.next_error(), host.next_error()].map(|error| error.type_name);
    assert_eq!(errors, ["NoSuchFunction", "NoSuchFunction"]);
    assert_eq!(host.next_of(double), 10);
    assert_eq!(host.ring.claim().begun, 3);
    host.end();
}

#[test]
fn an_endless_message_is_shortened_to_what_fits() {
    let mut host = Host::new();
    let text = "\u{1}".repeat(60_000);
    let header = host.header(double, MessageKind::Chunk, Encoding::Json);

    host.post_message(header, &[serde_json::to_vec(&text).unwrap()[..60_000].to_vec()]);
    host.post_json(double, &[&format!("\"{}\"", "é".repeat(25_000))]);

    host.next_error();
    let error = host.next_error();
    assert!(error.msg.contains("bytes left out") && error.msg.len() < 17_000, "{}", error.msg.len());
    host.end();
}

#[test]
fn an_error_that_its_escapes_blow_up_loses_its_trace() {
    let (_socket, theirs) = pipe::stream_pair().unwrap();
    let (mut ring, segments) = HostEnd::new(256 << 10, 256 << 10).unwrap();
    let end = WorkerEnd::attach(segments.tasks, segments.results).unwrap();
    let link = Link::new(end, Control::new(theirs).unwrap(), Prints::Loose);
    let escaped = |count| "\u{1}".repeat(count);
    let error = RemoteError {
        trace: Some(escaped(40_000)),
        msg: escaped(10_000),
        type_name: String::new(),
        retry: None,
        more: None,
    };

    link.publish_error(RecordKind::Err, None, error.clone());

    let mut records = Vec::new();
    ring.drain(&mut records).unwrap();
    let told = RemoteError::parse(Record::parse(&records).unwrap().payload).unwrap();
    assert_eq!(told, RemoteError { trace: None, ..error });
}

#[test]
fn a_result_for_which_there_is_no_memory_fails_its_item_alone() {
    let mut host = Host::new();
    host.refusal = Some("no memory left");

    host.post(repeat, &[("x".to_owned(), 100_000), ("x".to_owned(), 3)]);

    assert_eq!(host.next_error().msg, "no memory left");
    assert_eq!(host.next_of(repeat), "xxx");
    host.end();
}
