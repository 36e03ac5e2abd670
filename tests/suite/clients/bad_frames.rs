//! Bytes that are no frames, and frames out of place: a typed error, the end of that connection, and nobody else notices.

use std::net::Shutdown;

use poolctl_testkit::{Random, Sandbox, seed};
use serde_json::json;

use super::{Client, HELLO, Service, frame, header, kind, sized};

/// How many exchanges are broken at random.
const ROUNDS: u64 = 300;

/// Sends `bytes` on a connection of its own, behind a hello; asserts that it ends with a `bad frame` whose message has `words`.
#[track_caller]
fn refused(sandbox: &Sandbox, service: &mut Service, bytes: &[u8], words: &[&str]) {
    let mut client = Client::connect(sandbox);
    client.write(bytes);

    let message = client.expect_dismissal();

    for word in words {
        assert!(message.contains(word), "`{message}` lacks `{word}`");
    }
    service.expect_undisturbed();
}

#[test]
fn a_header_that_is_none_ends_the_connection_before_anything_is_allocated() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    let before = poolctl_testkit::status_kib(service.running.pid(), "VmPeak").expect("it runs");

    refused(&sandbox, &mut service, &header(u32::MAX, kind::SUBMIT, 0, 0, 1), &["4294967295", "67108864"]);
    refused(
        &sandbox,
        &mut service,
        &header(i32::MIN.cast_unsigned(), kind::SUBMIT, 0, 0, 1),
        &["2147483648"],
    );
    refused(&sandbox, &mut service, &header((64 << 20) + 1, kind::SUBMIT, 0, 0, 1), &["67108865"]);
    refused(&sandbox, &mut service, &header(0, 6, 0, 0, 1), &["unknown kind of frame 6"]);
    refused(&sandbox, &mut service, &header(0, 255, 0, 0, 1), &["unknown kind of frame 255"]);
    refused(&sandbox, &mut service, &header(0, kind::STATS, 0x84, 0, 1), &["flags 0x84"]);
    refused(&sandbox, &mut service, &header(3, kind::STATS, 0, 4, 1), &["4 bytes of meta in a body of 3"]);
    refused(&sandbox, &mut service, b"GET / HTTP/1.1\r\n\r\n", &["GET / HTTP"]);
    refused(&sandbox, &mut service, &frame(kind::STATS, 0, (1 << 63) + 1, b"", b""), &["too large"]);
    let mut behind = frame(kind::PING, 0, 1, b"", b"");
    behind.extend([0x41; 16]);
    refused(&sandbox, &mut service, &behind, &["flags 0x41", "AAAA"]);

    let after = poolctl_testkit::status_kib(service.running.pid(), "VmPeak").expect("it runs");
    assert!(after < before + (32 << 10), "{before} KiB before, {after} KiB after");
    service.end();
}

#[test]
fn a_frame_that_only_a_server_sends_ends_the_connection() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    for kind in
        [1, 2, 3, 4, 5, 7, 9, 12, 14, 15, 16, 17, kind::CREDIT, kind::RESULT, kind::EVENT, kind::ERROR]
    {
        refused(&sandbox, &mut service, &frame(kind, 0, 1, b"", b""), &["only a server sends"]);
    }
    service.end();
}

#[test]
fn nothing_is_done_before_a_hello_that_can_be_understood() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    let hello = |text: &str| frame(kind::HELLO, 0, 0, b"", text.as_bytes());
    let attach = frame(kind::ATTACH, 0, 1, b"", br#"{"name":"double"}"#);
    for (first, word) in [
        (attach.clone(), "no hello"),
        (frame(kind::STATS, 0, 1, b"", b""), "no hello"),
        (hello(r#"{"poolctl":2}"#), "version 2"),
        (hello(r#"{"poolctl":18446744073709551616}"#), "hello"),
        (hello(r#"{"poolctl":"1"}"#), "hello"),
        (hello(r#"{"poolctl":1,"poolctl":1}"#), "duplicate"),
        (hello(r#"{"poolctl":NaN}"#), "hello"),
        (hello("{}"), "poolctl"),
        (hello(""), "poolctl"),
        (hello("\u{0}"), "hello"),
        (frame(kind::HELLO, 0, 0, b"", b"{\"poolctl\":1,\"client\":\"\xff\"}"), "hello"),
        (frame(kind::HELLO, 0, 0, b"", br#"{"poolctl":1,"client":"\ud800"}"#), "hex escape"),
        (hello(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), "hello"),
    ] {
        let mut client = Client::strange(&sandbox);
        client.try_write(&[first, attach.clone()].concat());
        assert_eq!(client.next().map(|hello| hello.kind), Some(kind::HELLO));
        let message = client.expect_dismissal();
        assert!(message.contains(word), "`{message}` lacks `{word}`");
        service.expect_undisturbed();
    }
    refused(&sandbox, &mut service, &hello(HELLO), &["second hello"]);
    service.end();
}

/// A valid exchange over the pools of the service: what a client might say in a short life.
fn exchange() -> Vec<Vec<u8>> {
    let pool = json!({ "pool": 1 }).to_string();
    let (pool, two) = (pool.as_bytes(), br#"{"pool":1,"n":2}"#);
    vec![
        frame(kind::HELLO, 0, 0, b"", HELLO.as_bytes()),
        frame(kind::ATTACH, 0, 1, b"", br#"{"name":"double"}"#),
        frame(kind::SUBMIT, 0, 2, pool, b"item"),
        frame(kind::BATCH, 0, 3, two, &sized(&[b"one", b"two"])),
        frame(kind::BATCH, 2, 5, two, b"\"x\"\n\"y\"\n"),
        frame(kind::MAP, 0, 7, br#"{"pool":1,"unordered":true}"#, b""),
        frame(kind::ITEMS, 0, 7, br#"{"n":1}"#, &sized(&[b"three"])),
        frame(kind::END, 0, 7, b"", b""),
        frame(kind::CANCEL, 0, 8, br#"{"task":7,"n":3,"queued":true}"#, b""),
        frame(kind::DEFINE, 0, 0, br#"{"key":"k"}"#, b"constant"),
        frame(kind::RELEASE, 0, 0, br#"{"key":"k"}"#, b""),
        frame(kind::STATS, 0, 9, pool, b""),
        frame(kind::LOCK, 0, 10, br#"{"name":"db","timeout_ms":5}"#, b""),
        frame(kind::OWNER, 0, 11, br#"{"name":"db"}"#, b""),
        frame(kind::UNLOCK, 0, 12, br#"{"name":"db"}"#, b""),
        frame(kind::PING, 0, 13, b"", b""),
        frame(kind::CLOSE, 0, 14, pool, b""),
    ]
}

/// Where the kind is in a frame.
const KIND_AT: usize = 4;

/// Says `bytes` and nothing more, and listens until the end.
fn say(sandbox: &Sandbox, bytes: &[u8]) {
    let mut client = Client::strange(sandbox);
    client.try_write(bytes);
    // An error says that the server has ended the connection by itself.
    client.stream.shutdown(Shutdown::Write).ok();
    while client.next().is_some() {}
}

#[test]
fn an_exchange_cut_at_any_byte_ends_with_its_connection() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let whole = exchange().concat();
    for length in 0..whole.len() {
        say(&sandbox, &whole[..length]);
    }
    service.end_with_pool_at_rest();
}

#[test]
fn an_exchange_with_flipped_bits_disturbs_nobody() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let mut random = Random::new(seed());
    let whole = exchange().concat();
    let end = exchange().iter().position(|frame| frame[KIND_AT] == kind::END).expect("it ends its map");
    let end_kind_at = exchange()[..end].concat().len() + KIND_AT;
    for _ in 0..ROUNDS {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(bytes.len() as u64)).expect("below a length");
            // With one other bit the end of a map, which names no pool, closes the service, as it may.
            if at != end_kind_at {
                bytes[at] ^= 1 << random.below(8);
            }
        }
        say(&sandbox, &bytes);
    }
    service.end_with_pool_at_rest();
}

#[test]
fn frames_in_any_order_with_any_ids_and_flags_disturb_nobody() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let mut random = Random::new(seed());
    let mut frames = exchange();
    // Cut short before one that is empty, it closes no pool but the service, as it may.
    frames.pop();
    for _ in 0..ROUNDS {
        let mut bytes = frames[0].clone();
        for _ in 0..random.below(12) {
            let mut frame = random.choose(&frames[1..]).expect("frames").clone();
            match random.below(4) {
                0 => frame[8] = u8::try_from(random.below(20)).expect("below 20"),
                1 => frame[5] = u8::try_from(random.below(4)).expect("below 4"),
                2 => {
                    frame.truncate(usize::try_from(random.below(frame.len() as u64)).expect("below a length"))
                }
                _ => {}
            }
            bytes.extend(frame);
        }
        say(&sandbox, &bytes);
    }
    service.end_with_pool_at_rest();
}
