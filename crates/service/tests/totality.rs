//! Whatever bytes a client sends, the server answers with frames, ends the connection, and goes on: no panic, no hang.
//!
//! The server runs in a thread of the test and has no pools, so that no process is started. What clients do to pools is
//! tested from outside, in `tests/suite/clients`.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use poolctl_protocol::client::{ErrorBody, NO_REQUEST, parse_json};
use poolctl_protocol::{Frame, Kind, MAX_BODY_BYTES};
use poolctl_service::{Server, Setup};
use proptest::prelude::*;

const DEADLINE: Duration = Duration::from_secs(30);

fn setup() -> Setup {
    Setup {
        keeper: PathBuf::from("/nonexistent"),
        stock_worker: None,
        run_id: "totality".to_owned(),
        may_open: false,
        shm_limit: Some(1 << 20),
        max_clients: 1,
        drain_timeout: None,
        reload: None,
    }
}

/// Says `bytes` to a server of its own; gives what it answers until it has ended.
fn said(bytes: &[u8]) -> Vec<u8> {
    let (near, far) = UnixStream::pair().expect("descriptors are left");
    let mut server = Server::new(setup()).expect("descriptors are left");
    server.serve_one(OwnedFd::from(far), None).expect("a socket can be served");
    let serving = thread::spawn(move || server.run());
    near.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    near.set_write_timeout(Some(DEADLINE)).expect("a deadline");
    let mut writer = near.try_clone().expect("descriptors are left");
    match writer.write_all(bytes) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
        Err(error) => panic!("the server does not read: {error}"),
    }
    writer.shutdown(Shutdown::Write).ok();
    let mut answered = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match (&near).read(&mut piece) {
            Ok(0) => break,
            Ok(got) => answered.extend_from_slice(&piece[..got]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server does not end: {error}"),
        }
    }
    serving.join().expect("the server does not panic").expect("nor fail");
    answered
}

fn frames_of(bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut rest = bytes;
    let mut frames = Vec::new();
    while let Some(frame) = Frame::parse(rest, MAX_BODY_BYTES).expect("a server sends frames") {
        rest = &rest[frame.frame_len()..];
        frames.push(frame);
    }
    frames
}

/// Meta and payloads as they might be, and others.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"",
        b"{}",
        br#"{"pool":1}"#,
        br#"{"pool":1,"n":2}"#,
        br#"{"pool":0,"key":"k"}"#,
        br#"{"n":1}"#,
        br#"{"n":4294967295}"#,
        br#"{"key":"k"}"#,
        br#"{"task":7,"n":18446744073709551615,"queued":true}"#,
        br#"{"task":18446744073709551615}"#,
        br#"{"pool":1,"workers":4294967295}"#,
        br#"{"pool":1,"when":"idle"}"#,
        br#"{"name":"db","timeout_ms":1}"#,
        br#"{"name":"db"}"#,
        br#"{"name":"grid","bytes":4096}"#,
        br#"{"name":"grid","bytes":18446744073709551615}"#,
        br#"{"name":"\u0000"}"#,
        br#"{"poolctl":1}"#,
        br#"{"target":{"kind":"lines","argv":["cat"]}}"#,
        b"\x01\0\0\0x",
        b"\xff\xff\xff\xff",
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    let changed = (prop::sample::select(known), changes).prop_map(|(text, changes)| {
        let mut text = text.to_vec();
        for (at, byte) in changes.iter().filter(|_| !text.is_empty()).collect::<Vec<_>>() {
            let at = at.index(text.len());
            text[at] = *byte;
        }
        text
    });
    prop_oneof![8 => changed, 1 => prop::collection::vec(any::<u8>(), 0..100)]
}

/// A frame of any kind, whose flags are mostly none.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let ids = prop_oneof![4 => 0_u64..4, 1 => any::<u64>()];
    let flags = prop_oneof![8 => Just(0_u8), 1 => any::<u8>()];
    (0..Kind::ALL.len(), flags, ids, texts(), texts()).prop_map(|(kind, flags, id, meta, payload)| {
        let mut bytes = Vec::new();
        Frame::write(&mut bytes, Kind::ALL[kind], flags, id, &meta, &payload);
        bytes
    })
}

/// A frame that a client may send, so that the connection goes on.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let kinds = [8, 10, 11, 13, 32, 33, 34, 35, 36, 38, 39, 40, 41, 42, 43, 44, 45, 48];
    (prop::sample::select(kinds.to_vec()), 0_u64..4, texts(), texts()).prop_map(
        |(kind, id, meta, payload)| {
            let kind = Kind::from_byte(kind).expect("a kind");
            let mut bytes = Vec::new();
            Frame::write(&mut bytes, kind, 0, id, &meta, &payload);
            bytes
        },
    )
}

fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::write(&mut bytes, Kind::Hello, 0, 0, b"", br#"{"poolctl":1}"#);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn any_requests_are_answered_and_the_connection_goes_on(requests in prop::collection::vec(request(), 0..12)) {
        let mut bytes = [hello(), requests.concat()].concat();
        Frame::write(&mut bytes, Kind::Ping, 0, 4242, b"", b"");

        let answered = said(&bytes);

        let frames = frames_of(&answered);
        prop_assert_eq!(frames[0].header.kind, Kind::Hello);
        // Nothing of it ends the connection, so the last frame is reached.
        prop_assert_eq!(frames.iter().filter(|frame| frame.header.id == 4242).count(), 1);
        for frame in frames.iter().filter(|frame| frame.header.kind == Kind::Error) {
            let error = parse_json::<ErrorBody>(frame.payload, "an error");
            prop_assert!(error.is_ok_and(|error| !error.msg.is_empty()));
        }
    }

    #[test]
    fn any_frames_are_answered_with_frames(frames in prop::collection::vec(frame(), 0..8), has_hello: bool) {
        let bytes = if has_hello { [hello(), frames.concat()].concat() } else { frames.concat() };

        let answered = said(&bytes);

        let frames = frames_of(&answered);
        prop_assert_eq!(frames[0].header.kind, Kind::Hello);
        // After the word that the stream cannot be read on there is none.
        let last = frames.iter().position(|frame| frame.header.id == NO_REQUEST);
        prop_assert!(last.is_none_or(|last| last + 1 == frames.len()));
    }

    #[test]
    fn any_bytes_end_with_their_connection(bytes in prop::collection::vec(any::<u8>(), 0..300), has_hello: bool) {
        let bytes = if has_hello { [hello(), bytes].concat() } else { bytes };

        let answered = said(&bytes);

        prop_assert!(!frames_of(&answered).is_empty());
    }
}
