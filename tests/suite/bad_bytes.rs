//! Bytes that are no message: refused, shown, the worker replaced; the other items never notice.

use poolctl_testkit::Sandbox;

use crate::peer::numbers;
use crate::zoo::{self, ITEM, WORKERS, expect_all_but_one};

/// Puts `bytes` in place of the reply to item 7; asserts that it alone fails, with `words` in its error.
fn refused(framing: &str, bytes: &[u8], words: &[&str]) {
    for workers in WORKERS {
        let sandbox = Sandbox::new();
        sandbox.write("bytes", bytes);

        let finished =
            zoo::map(&sandbox, framing, workers, "at=taken how=say:bytes").arg("--grace=100ms").run();

        expect_all_but_one(finished).expect_words(words);
    }
}

#[test]
fn a_line_that_is_no_message_is_shown_with_the_way_out() {
    let hint = "print to stdout, not to fd 4";
    refused("jsonl", b"debug: here I am\n", &["debug: here I am", hint]);
    refused("jsonl", b"\n", &[hint]);
    refused("jsonl", b"[1,2]\n", &["[1,2]"]);
    refused("jsonl", b"{\"id\":ID,\"ok\":7\n", &["\"ok\":7"]);
    refused("jsonl", b"{\"id\":ID,\"ok\":7} trailing\n", &["trailing"]);
    refused("jsonl", b"\xff\xfe\x00\x01\n", &["\\x"]);
    refused("jsonl", b"{\"id\":ID,\"ok\":\"\xff\"}\n", &["UTF-8"]);
    refused("jsonl", b"{\"id\":ID,\"ok\":\"a\0b\"}\n", &["\\"]);
}

#[test]
fn an_envelope_that_says_nothing_or_too_much_is_refused() {
    refused("jsonl", b"{\"id\":ID}\n", &["ok", "err"]);
    refused("jsonl", b"{\"ok\":7}\n", &["id"]);
    refused("jsonl", b"{\"id\":ID,\"ok\":7,\"err\":{\"type\":\"E\",\"msg\":\"m\"}}\n", &["more than one"]);
    refused("jsonl", b"{\"id\":ID,\"id\":3,\"ok\":7}\n", &["id"]);
    refused("jsonl", b"{\"id\":-1,\"ok\":7}\n", &["-1"]);
    refused("jsonl", b"{\"id\":18446744073709551616,\"ok\":7}\n", &["18446744073709551616"]);
    refused("jsonl", b"{\"id\":1e3,\"ok\":7}\n", &["1e3"]);
    refused("jsonl", b"{\"id\":ID,\"ok\":NaN}\n", &["NaN"]);
}

#[test]
fn a_value_passes_as_it_is_whatever_it_is() {
    for value in ["18446744073709551616", "1e400", "\"\\ud800\"", "{\"a\":1,\"a\":2}", "-0.0", "\"\\u0000\""]
    {
        let sandbox = Sandbox::new();
        sandbox.write("bytes", format!("{{\"id\":ID,\"ok\":{value}}}\n"));

        let finished = zoo::map(&sandbox, "jsonl", "1", "at=taken how=say:bytes").run();

        let expected = format!("{}{value}\n{}", numbers(1, ITEM - 1), numbers(ITEM + 1, 20));
        finished.expect_code(0).expect_stdout(expected);
    }
}

#[test]
fn a_value_nested_a_hundred_thousand_deep_breaks_nothing() {
    for (framing, head) in [("jsonl", "{\"id\":ID,\"ok\":"), ("jsonl", "{\"id\":ID,\"extra\":")] {
        let sandbox = Sandbox::new();
        sandbox.write("bytes", format!("{head}{}{}}}\n", "[".repeat(100_000), "]".repeat(100_000)));

        let finished = zoo::map(&sandbox, framing, "1", "at=taken how=say:bytes").arg("--grace=100ms").run();

        assert!([Some(0), Some(1)].contains(&finished.code()), "{finished}");
        let others = finished.lines().iter().filter(|line| line.len() < 3).count();
        assert_eq!(others, 19, "{finished}");
    }
}

#[test]
fn a_line_without_end_is_refused_at_the_limit() {
    refused("jsonl", &vec![b'x'; 70 * 1024 * 1024], &["67108864"]);
}

/// What the bad worker replaces by the id of the item in hand.
const ITEM_ID: u64 = u64::from_le_bytes(*b"IDIDIDID");

/// A frame with any header.
fn frame(length: u32, kind: u8, flags: u8, meta: u16, id: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(meta.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn a_frame_that_is_none_is_refused_before_anything_is_allocated() {
    refused("frame", &frame(u32::MAX, 2, 0, 0, ITEM_ID, b"7"), &["67108864"]);
    refused("frame", &frame(1, 200, 0, 0, ITEM_ID, b"7"), &["kind"]);
    refused("frame", &frame(1, 2, 0, 9, ITEM_ID, b"7"), &["meta"]);
    refused("frame", &frame(1, 1, 0, 0, ITEM_ID, b"7"), &["kind"]);
    refused("frame", &frame(1, 2, 0, 0, u64::MAX, b"7"), &[]);
    refused("frame", b"print('hello world, this is no frame at all')\n", &["fd 4"]);
}

#[test]
fn a_result_in_a_frame_must_be_json() {
    refused("frame", &frame(4, 2, 0, 0, ITEM_ID, b"nope"), &["nope"]);
    refused("frame", &frame(0, 2, 0, 0, ITEM_ID, b""), &["JSON"]);
    refused("frame", &frame(2, 2, 0, 0, ITEM_ID, b"\xff\xff"), &["UTF-8"]);
    refused("frame", &frame(3, 2, 0, 0, ITEM_ID, b"7 7"), &["7 7"]);
}

#[test]
fn an_error_in_a_frame_must_say_what_it_is() {
    refused("frame", &frame(4, 3, 0, 0, ITEM_ID, b"oops"), &["oops"]);
    refused("frame", &frame(27, 3, 0, 0, ITEM_ID, b"{\"type\":\"E\",\"msg\":\"no way\"}"), &["no way"]);
}
