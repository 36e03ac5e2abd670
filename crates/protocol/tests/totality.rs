//! Any bytes give a value or a typed error, never a panic, and what is written reads back.
#![forbid(unsafe_code)]

use poolctl_protocol::{
    Bye, Excerpt, Frame, HEADER_BYTES, Header, Hello, Kind, LogMeta, ProgressMeta, RemoteError, Reply,
    ReplyMeta, check_value, jsonl, parse_count, tsv,
};
use proptest::prelude::*;

/// Bytes that come near to being a message: real ones with a few bytes changed, and rubbish.
fn nearly_messages() -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<&[u8]> = vec![
        br#"{"poolctl":1,"caps":["cancel","mux:8","ahead:64"],"functions":["f"]}"#,
        br#"{"id":17,"ok":{"a":[1,2.5e3,"\u00e9\ud83d\ude00"],"b":null}}"#,
        br#"{"id":17,"err":{"type":"E","msg":"m","trace":"t","retry":false}}"#,
        br#"{"id":17,"progress":0.5,"note":"n"}"#,
        br#"{"log":"text","level":"warn","id":17}"#,
        br#"{"bye":"cannot start","code":126,"err":{"msg":"m"}}"#,
        br#"{"stream":"stdout","ns":17,"n":3}"#,
        b"17\tok\ta\\tb\\\\",
        b"17\terr\tno",
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let changed = (prop::sample::select(seeds), changes, any::<prop::sample::Index>()).prop_map(
        |(seed, changes, cut)| {
            let mut bytes = seed.to_vec();
            changes.iter().for_each(|(at, byte)| bytes[at.index(seed.len())] = *byte);
            if cut.index(3) == 0 {
                bytes.truncate(cut.index(seed.len()));
            }
            bytes
        },
    );
    prop_oneof![3 => changed, 1 => prop::collection::vec(any::<u8>(), 0..400)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn any_line_gives_a_reply_or_an_error_that_can_be_shown(line in nearly_messages()) {
        for reply in [jsonl::parse_reply(&line), tsv::parse_reply(&line)] {
            match reply {
                Ok(Reply::Ok { value, .. }) => prop_assert!(check_value(value.replace('\r', " ").as_bytes()).is_ok()),
                Ok(_) => {}
                Err(error) => {
                    prop_assert!(!error.to_string().chars().any(char::is_control));
                    prop_assert!(!error.hint().is_empty());
                }
            }
        }
    }

    #[test]
    fn any_payload_or_meta_gives_a_value_or_an_error(bytes in nearly_messages()) {
        let shown = [
            Hello::parse(&bytes).err().map(|error| error.to_string()),
            Bye::parse(&bytes).err().map(|error| error.to_string()),
            RemoteError::parse(&bytes).err().map(|error| error.to_string()),
            ReplyMeta::parse(&bytes).err().map(|error| error.to_string()),
            LogMeta::parse(&bytes).err().map(|error| error.to_string()),
            ProgressMeta::parse(&bytes).err().map(|error| error.to_string()),
            parse_count(&bytes).err().map(|error| error.to_string()),
            check_value(&bytes).err().map(|error| error.to_string()),
        ];

        prop_assert!(shown.iter().flatten().all(|text| !text.chars().any(char::is_control)));
    }

    #[test]
    fn any_bytes_give_a_frame_or_nothing_yet_or_an_error(bytes: Vec<u8>, limit in 0_usize..100_000) {
        if let Ok(Some(frame)) = Frame::parse(&bytes, limit) {
            prop_assert!(frame.frame_len() <= bytes.len());
            prop_assert!(frame.meta.len() + frame.payload.len() <= limit);
        }
    }

    #[test]
    fn any_header_reads_back_or_is_refused(bytes: [u8; HEADER_BYTES]) {
        match Header::parse(&bytes, usize::MAX) {
            Ok(header) => prop_assert_eq!(header.expect("16 bytes are a header").to_bytes(), bytes),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn frames_in_a_row_read_back(
        frames in prop::collection::vec(
            (0..Kind::ALL.len(), 0_u8..4, any::<u64>(), any::<Vec<u8>>(), any::<Vec<u8>>()), 0..5),
        behind: [u8; 9],
    ) {
        let mut bytes = Vec::new();
        for (kind, flags, id, meta, payload) in &frames {
            Frame::write(&mut bytes, Kind::ALL[*kind], *flags, *id, meta, payload);
        }
        bytes.extend_from_slice(&behind);

        let mut rest = &bytes[..];
        for (kind, flags, id, meta, payload) in &frames {
            let frame = Frame::parse(rest, 1 << 20).expect("a frame").expect("whole");
            prop_assert_eq!((frame.header.kind, frame.header.flags, frame.header.id), (Kind::ALL[*kind], *flags, *id));
            prop_assert_eq!((frame.meta, frame.payload), (&meta[..], &payload[..]));
            rest = &rest[frame.frame_len()..];
        }
        prop_assert_eq!(rest, behind);
    }

    #[test]
    fn any_text_survives_tsv_there_and_back(id: u64, text: String) {
        let data = serde_json::to_vec(&text).expect("a string is JSON");
        let mut line = Vec::new();

        tsv::write_task(&mut line, id, &data);

        let line = String::from_utf8(line).expect("JSON is UTF-8");
        let (head, escaped) = line.strip_suffix('\n').expect("a line").split_once('\t').expect("a tab");
        prop_assert_eq!(head, id.to_string());
        prop_assert!(!escaped.contains(['\t', '\n', '\r']));
        let reply = format!("{id}\tok\t{escaped}");
        let value = serde_json::to_string(&text).expect("a string is JSON");
        let echoed = tsv::parse_reply(reply.as_bytes()).expect("a reply");
        prop_assert_eq!(echoed, Reply::Ok { id, value: value.into() });
    }
}

#[test]
fn a_hostile_length_costs_nothing() {
    let head = [0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

    let error = Frame::parse(&head, 64 << 20).expect_err("refused");

    assert!(error.to_string().contains(Excerpt::of(&head).as_str()));
}
