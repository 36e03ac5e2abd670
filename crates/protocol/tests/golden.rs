//! Holds the codec to the files of `tests/golden/`, byte for byte; `tests/python/test_golden.py` does it to Python.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use poolctl_protocol::{
    Bye, Claim, FLAG_JSON_LINES, Frame, Hello, Kind, MAX_BODY_BYTES, RemoteError, Reply, check_value, jsonl,
    parse_count, tsv, write_batch,
};
use serde_json::{Value, json};

fn path_of(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "golden", name].iter().collect()
}

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(path_of(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The entries of one list in the manifest, each with its file's name and bytes.
fn entries(list: &str) -> Vec<(String, Vec<u8>, Value)> {
    let manifest: Value = serde_json::from_slice(&bytes_of("manifest.json")).expect("a manifest");
    let entries = manifest[list].as_array().expect("a list").clone();
    assert!(!entries.is_empty(), "{list}");
    let with_bytes = |entry: Value| {
        let file = entry["file"].as_str().expect("a file").to_owned();
        (file.clone(), bytes_of(&file), entry)
    };
    entries.into_iter().map(with_bytes).collect()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_else(|| panic!("{key} in {entry}"))
}

fn number(entry: &Value, key: &str) -> u64 {
    entry[key].as_u64().unwrap_or_else(|| panic!("{key} in {entry}"))
}

#[test]
fn frames_are_read_and_written_as_the_files_say() {
    for (file, bytes, entry) in entries("frames") {
        let frame = Frame::parse(&bytes, MAX_BODY_BYTES).expect(&file).expect(&file);

        assert_eq!(u64::from(frame.header.kind as u8), number(&entry, "kind"), "{file}");
        assert_eq!(u64::from(frame.header.flags), number(&entry, "flags"), "{file}");
        assert_eq!(frame.header.id, number(&entry, "id"), "{file}");
        assert_eq!(frame.meta, text(&entry, "meta").as_bytes(), "{file}");
        assert_eq!(frame.payload, text(&entry, "payload").as_bytes(), "{file}");
        let mut written = Vec::new();
        let header = frame.header;
        Frame::write(&mut written, header.kind, header.flags, header.id, frame.meta, frame.payload);
        assert_eq!(written, bytes, "{file}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_not_there_yet() {
    for (file, bytes, _) in entries("frames") {
        for length in 0..bytes.len() {
            assert_eq!(Frame::parse(&bytes[..length], MAX_BODY_BYTES), Ok(None), "{file} cut to {length}");
        }
    }
}

#[test]
fn what_the_frames_carry_can_be_read() {
    for (file, bytes, _) in entries("frames") {
        let frame = Frame::parse(&bytes, MAX_BODY_BYTES).expect(&file).expect(&file);

        match frame.header.kind {
            Kind::Hello => assert!(Hello::parse(frame.payload).expect(&file).caps.claim),
            Kind::Err => assert_eq!(RemoteError::parse(frame.payload).expect(&file).retry, Some(false)),
            Kind::Bye => assert!(!Bye::parse(frame.payload).expect(&file).reason.is_empty()),
            Kind::Ok => assert!(check_value(frame.payload).is_ok(), "{file}"),
            Kind::Batch => assert_eq!(parse_count(frame.meta).expect(&file), 3),
            _ => {}
        }
    }
}

#[test]
fn bad_frames_are_refused_by_their_header_alone() {
    for (file, bytes, entry) in entries("refused_frames") {
        let error = Frame::parse(&bytes[..16], MAX_BODY_BYTES).expect_err(&file).to_string();

        assert!(error.starts_with(text(&entry, "error")), "{file}: {error}");
    }
}

#[test]
fn requests_are_written_as_the_files_say() {
    for (file, bytes, entry) in entries("requests") {
        let id = number(&entry, "id");
        let mut written = Vec::new();

        if file.ends_with(".tsv") {
            tsv::write_task(&mut written, id, text(&entry, "data").as_bytes());
        } else if entry["cancel"] == true {
            jsonl::write_cancel(&mut written, id);
        } else {
            let data = text(&entry, "data").as_bytes();
            let attempt = entry["attempt"].as_u64().map(|attempt| u32::try_from(attempt).expect("small"));
            let (function, deadline_ms) = (entry["fn"].as_str(), entry["deadline_ms"].as_u64());
            jsonl::Task { id, data, function, deadline_ms, attempt }.write(&mut written);
        }

        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&bytes), "{file}");
    }
}

fn parse_line<'a>(file: &str, bytes: &'a [u8]) -> Result<Reply<'a>, jsonl::ReplyError> {
    let line = bytes.strip_suffix(b"\n").expect("a line ends with LF");
    if file.ends_with(".tsv") { tsv::parse_reply(line) } else { jsonl::parse_reply(line) }
}

/// A reply in the words of the manifest.
fn described(reply: &Reply<'_>) -> Value {
    match reply {
        Reply::Hello(hello) => json!({
            "hello": hello.version, "cancel": hello.caps.cancel, "mux": hello.caps.mux,
            "ahead": hello.caps.ahead, "shm": hello.caps.shm, "functions": hello.functions,
        }),
        Reply::Ok { id, value } if value.len() > 1000 => json!({ "id": id, "ok_len": value.len() }),
        Reply::Ok { id, value } => json!({ "id": id, "ok": value }),
        Reply::Err { id, error } => json!({ "id": id, "err": error }),
        Reply::Progress { id, fraction, note } => json!({ "id": id, "progress": fraction, "note": note }),
        Reply::Log { id, level, text } => json!({ "id": id, "log": text, "level": format!("{level:?}") }),
        Reply::Bye(bye) => json!({ "bye": bye.reason, "code": bye.code, "err": bye.error }),
    }
}

#[test]
fn replies_are_read_as_the_files_say() {
    for (file, bytes, entry) in entries("replies") {
        let reply = parse_line(&file, &bytes).unwrap_or_else(|error| panic!("{file}: {error:?}"));

        assert_eq!(described(&reply), entry["reads"], "{file}");
    }
}

#[test]
fn bad_replies_are_refused_with_their_beginning() {
    for (file, bytes, entry) in entries("refused_replies") {
        let error = parse_line(&file, &bytes).expect_err(&file).to_string();

        assert!(error.starts_with(text(&entry, "error")), "{file}: {error}");
        assert!(error.contains('`') && error.len() < 1000, "{file}: {error}");
    }
}

#[test]
fn claims_are_read_as_the_files_say() {
    for (file, bytes, entry) in entries("claims") {
        let claim = Claim::parse(bytes.first_chunk().expect("three words"));

        let (started_ns, published) = (number(&entry, "started_ns"), number(&entry, "published"));
        assert_eq!(claim, Claim { claimed: entry["claimed"].as_u64(), started_ns, published }, "{file}");
    }
}

#[test]
fn the_exchanges_with_the_python_worker_are_what_this_crate_writes_and_reads() {
    let manifest: Value = serde_json::from_slice(&bytes_of("manifest.json")).expect("a manifest");
    for session in manifest["sessions"].as_array().expect("a list") {
        let (name, first) = (text(session, "name"), number(session, "first"));
        let items: Vec<&str> =
            session["items"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
        let mut request = Vec::new();
        write_batch(&mut request, first, u32::try_from(items.len()).expect("few"), lines.as_bytes());
        assert_eq!(request, bytes_of(&format!("{name}.request")), "{name}");

        let hello = bytes_of(&format!("{name}.hello"));
        let frame = Frame::parse(&hello, MAX_BODY_BYTES).expect(name).expect(name);
        assert!(Hello::parse(frame.payload).expect(name).caps.batch);

        let ring = bytes_of(&format!("{name}.ring"));
        let mut rest = &ring[..];
        for (id, wanted) in (first..).zip(session["replies"].as_array().expect("a list")) {
            let frame = Frame::parse(rest, MAX_BODY_BYTES).expect(name).expect(name);
            assert_eq!(frame.header.id, id);
            assert_eq!(u64::from(frame.header.kind as u8), number(wanted, "kind"));
            assert_eq!(frame.payload, text(wanted, "payload").as_bytes());
            assert!(check_value(frame.payload).is_ok());
            rest = &rest[frame.frame_len()..];
        }
        assert!(rest.is_empty(), "{name}");
    }
    assert_eq!(FLAG_JSON_LINES, 2);
}
