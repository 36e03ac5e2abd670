//! Holds the client protocol to the files of `tests/golden/client`; `tests/python/test_golden.py` does it to Python, and the
//! black-box tests play the exchanges against a real server.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use poolctl_protocol::client::{
    Attach, CancelMeta, ClientHello, Credit, ErrorBody, ItemsMeta, JsonError, KeyMeta, NO_REQUEST, NameMeta,
    Opened, PoolMeta, ResultMeta, ServerHello, TaskMeta, parse_json, to_json,
};
use poolctl_protocol::{
    FLAG_IN_MEMFD, FLAG_JSON_LINES, Frame, Kind, MAX_BODY_BYTES, RemoteError, take_sized,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn bytes_of(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "golden", name].iter().collect();
    std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The entries of one list in the manifest, each with its file's name and bytes.
fn entries(list: &str) -> Vec<(String, Vec<u8>, Value)> {
    let manifest: Value = serde_json::from_slice(&bytes_of("manifest.json")).expect("a manifest");
    let entries = manifest[list].as_array().expect("a list").clone();
    let with_bytes = |entry: Value| {
        let file = entry["file"].as_str().expect("a file").to_owned();
        (file.clone(), bytes_of(&file), entry)
    };
    entries.into_iter().map(with_bytes).collect()
}

fn frame_of<'a>(file: &str, bytes: &'a [u8]) -> Frame<'a> {
    Frame::parse(bytes, MAX_BODY_BYTES).expect(file).expect(file)
}

/// Reads JSON, and writes it again; says where it then differs, or why it cannot be read.
fn reread<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<Option<(String, String)>, JsonError> {
    let value: T = parse_json(bytes, "what stands there")?;
    let written = to_json(&value);
    let (was, is): (Value, Value) = (
        serde_json::from_slice(if bytes.is_empty() { b"{}" } else { bytes }).expect("it was read"),
        serde_json::from_slice(&written).expect("it was written"),
    );
    // What a reader fills in by itself needs not stand there.
    let fills = |key: &String| matches!(key.as_str(), "client" | "queued" | "pools" | "caps");
    let differs = match (&was, &is) {
        (Value::Object(was), Value::Object(is)) => {
            was.iter().any(|(key, value)| is.get(key) != Some(value))
                || is.keys().any(|key| !was.contains_key(key) && !fills(key))
        }
        _ => true,
    };
    Ok(differs.then(|| (was.to_string(), is.to_string())))
}

/// What is wrong with a frame, if anything is.
fn reading(frame: &Frame<'_>, is_from_client: bool) -> Result<Option<(String, String)>, JsonError> {
    let (meta, payload) = (frame.meta, frame.payload);
    match (frame.header.kind, is_from_client) {
        (Kind::Hello, true) => reread::<ClientHello>(payload),
        (Kind::Hello, false) => reread::<ServerHello>(payload),
        (Kind::Attach, true) => reread::<Attach>(payload),
        (Kind::Define | Kind::Release, true) => reread::<KeyMeta>(meta),
        (Kind::Submit | Kind::Batch | Kind::Map, true) => reread::<TaskMeta>(meta),
        (Kind::Items, true) => reread::<ItemsMeta>(meta),
        (Kind::Withdraw, true) => reread::<CancelMeta>(meta),
        (Kind::Scale | Kind::Stats | Kind::Close | Kind::Terminate, true) => reread::<PoolMeta>(meta),
        (Kind::Lock | Kind::Unlock | Kind::Owner | Kind::Object, true) => reread::<NameMeta>(meta),
        (Kind::Credit, false) => reread::<Credit>(payload),
        (Kind::Error, false) => reread::<ErrorBody>(payload),
        (Kind::Result | Kind::Batch, false) if !meta.is_empty() && meta.starts_with(b"{\"bytes\"") => {
            Ok(None)
        }
        (Kind::Result | Kind::Batch, false) => reread::<ResultMeta>(meta),
        (Kind::Open | Kind::End | Kind::Reload | Kind::Ping, true) => Ok(None),
        (Kind::Event | Kind::Log | Kind::Progress, false) => Ok(None),
        (kind, _) => panic!("nobody sends {kind:?}"),
    }
}

#[test]
fn frames_are_read_and_written_as_the_files_say() {
    let frames = entries("client_frames");
    assert!(frames.len() > 50);
    for (file, bytes, entry) in frames {
        let frame = frame_of(&file, &bytes);

        let header = frame.header;
        assert_eq!(Some(u64::from(header.kind as u8)), entry["kind"].as_u64(), "{file}");
        assert_eq!(Some(u64::from(header.flags)), entry["flags"].as_u64(), "{file}");
        assert_eq!(Some(header.id), entry["id"].as_u64(), "{file}");
        assert_eq!(Some(frame.meta), entry["meta"].as_str().map(str::as_bytes), "{file}");
        assert_eq!(Some(frame.payload), entry["payload"].as_str().map(str::as_bytes), "{file}");
        let mut written = Vec::new();
        Frame::write(&mut written, header.kind, header.flags, header.id, frame.meta, frame.payload);
        assert_eq!(written, bytes, "{file}");
        let differs =
            reading(&frame, entry["from"] == "client").unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(differs, None, "{file}: before and after");
    }
}

#[test]
fn batches_have_as_many_items_as_they_say() {
    for (file, bytes, _) in entries("client_frames") {
        let frame = frame_of(&file, &bytes);
        if !matches!(frame.header.kind, Kind::Batch | Kind::Items) {
            continue;
        }
        let said = serde_json::from_slice::<Value>(frame.meta).expect(&file)["n"].as_u64();
        let count = if frame.header.flags & FLAG_JSON_LINES == 0 {
            let mut rest = frame.payload;
            let count = std::iter::from_fn(|| take_sized(&mut rest)).count();
            assert!(rest.is_empty(), "{file}");
            count
        } else {
            frame.payload.split_inclusive(|byte| *byte == b'\n').count()
        };
        assert_eq!(said, Some(count as u64), "{file}");
    }
}

#[test]
fn results_of_tasks_that_are_not_ok_carry_an_error() {
    let mut outcomes = Vec::new();
    for (file, bytes, _) in entries("client_frames") {
        let frame = frame_of(&file, &bytes);
        let kind = frame.header.kind;
        if kind == Kind::Result
            && let Some(outcome) =
                serde_json::from_slice::<Value>(frame.meta).unwrap_or_default()["outcome"].as_str()
        {
            assert!(!RemoteError::parse(frame.payload).expect(&file).type_name.is_empty(), "{file}");
            outcomes.push(outcome.to_owned());
        }
        let is_in_memfd = frame.header.flags & FLAG_IN_MEMFD != 0;
        assert!(!is_in_memfd || frame.payload.is_empty(), "{file}");
        if file.contains("opened") {
            assert_eq!(reread::<Opened>(frame.payload).expect(&file), None);
        }
        assert!(frame.header.id <= 1 << 63 || frame.header.id == NO_REQUEST, "{file}");
    }
    outcomes.sort();
    outcomes.dedup();
    assert_eq!(outcomes, ["cancelled", "died", "failed", "quarantined", "refused", "timed out"]);
}

#[test]
fn what_a_request_must_not_say_is_refused_in_words() {
    for (file, bytes, entry) in entries("refused_client_frames") {
        let frame = frame_of(&file, &bytes);

        let error = reading(&frame, true).expect_err(&file).to_string();

        assert!(error.contains(entry["error"].as_str().expect("words")), "{file}: {error}");
        assert!(!error.chars().any(char::is_control), "{file}: {error}");
    }
}

#[test]
fn exchanges_are_whole_frames() {
    let manifest: Value = serde_json::from_slice(&bytes_of("manifest.json")).expect("a manifest");
    for session in manifest["client_sessions"].as_array().expect("a list") {
        let name = session["name"].as_str().expect("a name");
        let replies = bytes_of(&format!("{name}.replies"));
        let mut rest = &replies[..];
        while !rest.is_empty() {
            let frame = frame_of(name, rest);
            let differs = reading(&frame, frame.header.kind == Kind::Ping)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(differs, None, "{name}");
            rest = &rest[frame.frame_len()..];
        }
    }
}
