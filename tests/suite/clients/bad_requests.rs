//! Requests that cannot be carried out: each gets one typed error, and its connection goes on.

use poolctl_testkit::{DEADLINE, Sandbox};
use serde_json::json;

use super::{Client, Reply, Service, frame, kind, sized};

const ID: u64 = 77;

/// A connection with the pool `double`, whose number stands for POOL in what is sent.
struct Caller {
    client: Client,
    pool: u64,
    id: u64,
}

impl Caller {
    #[track_caller]
    fn new(sandbox: &Sandbox, pool: &str) -> Self {
        let mut client = Client::connect(sandbox);
        let pool = client.attach(pool);
        Self { client, pool, id: 1000 }
    }

    fn filled(&self, text: &str) -> String {
        text.replace("POOL", &self.pool.to_string())
    }

    /// Sends a frame, and asserts that it is refused with this code and word; then that a good task is still done.
    #[track_caller]
    fn refused(&mut self, kind: u8, meta: &str, payload: impl AsRef<[u8]>, code: &str, word: &str) {
        self.refused_with(kind, 0, self.filled(meta).as_bytes(), payload.as_ref(), code, word);
    }

    #[track_caller]
    fn refused_with(&mut self, kind: u8, flags: u8, meta: &[u8], payload: &[u8], code: &str, word: &str) {
        self.client.write(&frame(kind, flags, ID, meta, payload));
        let reply = self.client.reply();
        self.expect_error(&reply, code, word);
    }

    #[track_caller]
    fn expect_error(&mut self, reply: &Reply, code: &str, word: &str) {
        let text = reply.text();
        assert_eq!((reply.code().as_str(), reply.id), (code, ID), "{text}");
        assert!(text.contains(word), "{text} lacks {word}");
        assert!(text.len() < 8192, "an error of {} bytes", text.len());
        self.id += 1;
        let (pool, id) = (self.pool, self.id);
        self.client.apply(pool, id, "1");
    }
}

#[test]
fn meta_and_payloads_that_say_nothing_are_told_to_their_sender() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    let mut caller = Caller::new(&sandbox, "double");
    let bad = "bad argument";

    for kind in [kind::SUBMIT, kind::BATCH, kind::MAP] {
        caller.refused(kind, "", "x", bad, "pool");
        caller.refused(kind, "[]", "x", bad, "meta");
        caller.refused(kind, r#"{"pool":NaN}"#, "x", bad, "meta");
        caller.refused(kind, r#"{"pool":-1}"#, "x", bad, "-1");
        caller.refused(kind, r#"{"pool":18446744073709551616}"#, "x", bad, "meta");
        caller.refused(kind, r#"{"pool":POOL,"pool":POOL}"#, "x", bad, "duplicate");
        caller.refused(kind, r#"{"pool":POOL,"kee":"k"}"#, "x", bad, "kee");
        caller.refused(kind, r#"{"pool":POOL,"key":"\ud800"}"#, "x", bad, "hex escape");
        caller.refused(kind, "{\"pool\":POOL} trailing", "x", bad, "trailing");
        caller.refused(kind, "{\"pool\":POOL,\"key\":\"a\u{0}b\"}", "x", bad, "control");
        caller.refused_with(kind, 0, b"{\"pool\":1,\"key\":\"\xff\"}", b"x", bad, "meta");
        caller.refused_with(kind, 0, "[".repeat(65_535).as_bytes(), b"x", bad, "meta");
        caller.refused(kind, r#"{"pool":999,"n":1}"#, sized(&[b"x"]), "no such pool", "999");
        caller.refused(kind, r#"{"pool":POOL,"n":1,"key":"k"}"#, sized(&[b"x"]), bad, "`k`");
    }
    caller.refused(kind::ATTACH, "", "", bad, "name");
    caller.refused(kind::ATTACH, "", "{", bad, "attach");
    caller.refused(
        kind::ATTACH,
        "",
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        bad,
        "attach",
    );
    caller.refused(kind::ATTACH, "", format!("{{\"{}\":1}}", "k".repeat(1 << 20)), bad, "unknown field");
    service.expect_undisturbed();
    drop(caller);
    service.end();
}

#[test]
fn a_pool_that_cannot_be_is_not_opened() {
    let sandbox = Sandbox::new();
    let (serve, mut client) = Client::serve(&sandbox);
    let lines = |more: &str| format!(r#"{{"target":{{"kind":"lines","argv":["cat"]}}{more}}}"#);
    for (spec, code, word) in [
        ("", "bad argument", "target"),
        ("{}", "bad argument", "target"),
        ("null", "bad argument", "pool"),
        (r#"{"target":{"kind":"worm","argv":["cat"]}}"#, "bad argument", "worm"),
        (r#"{"target":{"kind":"lines"}}"#, "bad argument", "argv"),
        (r#"{"target":{"kind":"lines","argv":["cat"],"agrv":1}}"#, "bad argument", "agrv"),
        (r#"{"target":{"kind":"lines","argv":["cat"],"argv":["cat"]}}"#, "bad argument", "duplicate"),
        (&lines(r#","workers":0"#), "bad argument", "zero"),
        (&lines(r#","workers":-1"#), "bad argument", "-1"),
        (&lines(r#","workers":4294967296"#), "bad argument", "4294967296"),
        (&lines(r#","workers":65537"#), "cannot start", "65537"),
        (&lines(r#","workers":1,"workers":2"#), "bad argument", "duplicate"),
        (&lines(r#","timeout_ms":1e400"#), "bad argument", "number"),
        (&lines(r#","env":{"A=B":"x"}"#), "cannot start", "A=B"),
        (&lines(r#","env":{"A":"\u0000"}"#), "cannot start", "A"),
        (&lines(r#","on_worker_death":"shrug""#), "bad argument", "shrug"),
        (&lines(r#","colour":"red""#), "bad argument", "colour"),
        (r#"{"target":{"kind":"lines","argv":[]}}"#, "cannot start", "no program"),
        (r#"{"target":{"kind":"command","argv":[]}}"#, "cannot start", "no program"),
        (r#"{"target":{"kind":"worker","argv":["no-such-program"]}}"#, "cannot start", "no-such-program"),
        (r#"{"target":{"kind":"objects","setup":"k"}}"#, "cannot start", "`k`"),
    ] {
        let reply = client.ask(kind::OPEN, ID, "", spec);
        assert_eq!(reply.code(), code, "{spec}: {}", reply.text());
        assert!(reply.text().contains(word), "{spec}: {}", reply.text());
    }
    let pool = client.open(&json!({ "target": { "kind": "lines", "argv": ["cat"] }, "workers": 1 }));
    assert_eq!(client.apply(pool, 1, "all is well"), "all is well");
    drop(client);
    serve.wait().expect_code(0);
}

#[test]
fn a_batch_that_lies_about_its_items_is_refused_whole() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let mut caller = Caller::new(&sandbox, "double");
    let (two, bad) = (sized(&[b"a", b"b"]), "bad argument");

    caller.refused(kind::BATCH, r#"{"pool":POOL}"#, &two, bad, "`n`");
    caller.refused(kind::BATCH, r#"{"pool":POOL,"n":0}"#, "", bad, "without items");
    caller.refused(kind::BATCH, r#"{"pool":POOL,"n":1}"#, &two, bad, "2 items, not 1");
    caller.refused(kind::BATCH, r#"{"pool":POOL,"n":3}"#, &two, bad, "2 items, not 3");
    caller.refused(kind::BATCH, r#"{"pool":POOL,"n":4294967295}"#, &two, bad, "4294967295");
    caller.refused(kind::BATCH, r#"{"pool":POOL,"n":4294967296}"#, &two, bad, "4294967296");
    caller.refused(
        kind::BATCH,
        r#"{"pool":POOL,"n":2}"#,
        [&two[..], b"zz"].concat(),
        bad,
        "2 bytes are left",
    );
    caller.refused(kind::BATCH, r#"{"pool":POOL,"n":2}"#, &two[..9], bad, "left");
    caller.refused(kind::BATCH, r#"{"pool":POOL,"n":1}"#, [0xFF; 8], bad, "left");
    let meta = caller.filled(r#"{"pool":POOL,"n":1}"#);
    caller.refused_with(kind::BATCH, 2, meta.as_bytes(), b"a\nb\n", bad, "2 items, not 1");
    caller.refused(kind::BATCH, r#"{"pool":POOL,"n":1}"#, sized(&[b"a\nb"]), bad, "one line");
    caller.refused(kind::SUBMIT, r#"{"pool":POOL}"#, "a\nb", bad, "one line");
    drop(caller);
    service.end();
}

#[test]
fn an_item_that_is_no_json_is_refused_where_json_is_wanted() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let mut caller = Caller::new(&sandbox, "json");
    for item in ["", "NaN", "Infinity", "{", "[1,]", "'x'", "1 2", "\u{0}", "\"a\nb\"", "01"] {
        caller.refused(kind::SUBMIT, r#"{"pool":POOL}"#, item, "bad argument", "");
    }
    let meta = caller.filled(r#"{"pool":POOL}"#);
    caller.refused_with(kind::SUBMIT, 0, meta.as_bytes(), b"\"\xff\"", "bad argument", "UTF-8");
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_eq!(caller.client.ask(kind::SUBMIT, ID, &meta, deep).outcome(), "failed", "JSON, but no number");
    assert_eq!(caller.client.ask(kind::SUBMIT, ID, &meta, "18446744073709551616").outcome(), "failed");
    assert_eq!(
        caller.client.ask(kind::SUBMIT, ID, &meta, "\n 5\r\n").text(),
        "25",
        "JSON may have line ends"
    );
    drop(caller);
    service.end();
}

#[test]
fn more_than_there_is_credit_for_is_refused_and_does_not_count() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let mut caller = Caller::new(&sandbox, "double");
    let credit = caller.client.news.iter().find(|news| news.kind == kind::CREDIT).expect("credit").json();
    let items = usize::try_from(credit["items"].as_u64().expect("a number")).expect("64 bit");

    let many = vec![&b"x"[..]; items + 1];
    let meta = format!(r#"{{"pool":POOL,"n":{}}}"#, items + 1);
    caller.refused(kind::BATCH, &meta, sized(&many), "over limit", "credit");
    // The task above and the one that asked whether all is well left this much.
    let meta = caller.filled(&format!(r#"{{"pool":POOL,"n":{}}}"#, items - 1));
    caller.client.send(kind::BATCH, 10_000, &meta, sized(&many[..items - 1]));
    for _ in 0..items - 1 {
        assert_eq!(caller.client.reply().text(), "xx");
    }
    let most = usize::try_from(credit["bytes"].as_u64().expect("a number")).expect("64 bit");
    let meta = caller.filled(r#"{"pool":POOL}"#);
    let large = "y".repeat(most + 1);
    caller.client.write(
        &[
            frame(kind::SUBMIT, 0, 1, meta.as_bytes(), large.as_bytes()),
            frame(kind::SUBMIT, 0, ID, meta.as_bytes(), large.as_bytes()),
        ]
        .concat(),
    );
    // One item may go beyond the bytes, or it could never be sent; the next may not.
    let (mut first, mut second) = (caller.client.reply(), caller.client.reply());
    if first.id == ID {
        std::mem::swap(&mut first, &mut second);
    }
    assert_eq!((first.id, first.kind), (1, kind::RESULT));
    caller.expect_error(&second, "over limit", "credit");
    drop(caller);
    service.end();
}

#[test]
fn maps_that_are_not_there_take_nothing() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let mut caller = Caller::new(&sandbox, "double");
    let none = "no such task";

    caller.refused(kind::ITEMS, r#"{"n":1}"#, sized(&[b"x"]), none, "77");
    caller.refused(kind::END, "", "", none, "77");
    let map = caller.filled(r#"{"pool":POOL}"#);
    caller.client.send(kind::MAP, ID, &map, "");
    caller.refused(kind::MAP, &map, "", "bad argument", "already");
    caller.refused(kind::ITEMS, r#"{"n":2}"#, sized(&[b"x"]), "bad argument", "1 items, not 2");
    caller.refused(kind::ITEMS, "", sized(&[b"x"]), "bad argument", "`n`");
    caller.client.send(kind::ITEMS, ID, r#"{"n":1}"#, sized(&[b"x"]));
    assert_eq!(caller.client.reply().meta["index"], 0);
    assert_eq!(caller.client.ask(kind::END, ID, "", "").json(), json!({ "items": 1, "ok": 1 }));
    caller.refused(kind::ITEMS, r#"{"n":1}"#, sized(&[b"x"]), none, "77");
    caller.refused(kind::END, "", "", none, "77");
    let cancelled = caller.client.ask(kind::CANCEL, ID, r#"{"task":77,"n":18446744073709551615}"#, "");
    assert_eq!(cancelled.json(), json!({ "cancelled": 0 }), "what is not there cannot be cancelled");
    caller.refused(kind::CANCEL, r#"{"task":-1}"#, "", "bad argument", "-1");
    caller.refused(kind::CANCEL, "", "", "bad argument", "task");
    drop(caller);
    service.end();
}

#[test]
fn names_may_be_anything_short_without_nul() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let mut caller = Caller::new(&sandbox, "double");
    let named = |name: &str| json!({ "name": name }).to_string();
    let long = "n".repeat(10_000);

    for name in ["", "a\0b", &long] {
        caller.refused(kind::LOCK, &named(name), "", "bad argument", "1024 bytes");
        caller.refused(
            kind::OBJECT,
            &json!({ "name": name, "bytes": 1 }).to_string(),
            "",
            "bad argument",
            "1024 bytes",
        );
        caller.refused(kind::DEFINE, &json!({ "key": name }).to_string(), "", "bad argument", "1024 bytes");
    }
    for name in ["/", "..", "../../etc/passwd", "a/b", "\u{202e}x", "{}"] {
        assert_eq!(
            caller.client.ask(kind::LOCK, ID, &named(name), "").json(),
            json!({ "owner_died": false })
        );
        caller.refused(kind::LOCK, &named(name), "", "bad argument", "already");
        let owner = caller.client.ask(kind::OWNER, ID, &named(name), "").json();
        assert_eq!(owner["owner"]["pid"], std::process::id());
        assert_eq!(caller.client.ask(kind::UNLOCK, ID, &named(name), "").json(), json!({}));
        caller.refused(kind::UNLOCK, &named(name), "", "not permitted", "does not have");
        caller.refused(kind::ATTACH, "", named(name), "no such pool", "double");
        caller.refused(kind::RELEASE, &json!({ "key": name }).to_string(), "", "bad argument", "not defined");
    }
    caller.refused(kind::ATTACH, "", named("a\0b"), "no such pool", "a\\\\u{0}b");
    caller.refused(kind::ATTACH, "", named(&"\u{1}".repeat(1 << 20)), "no such pool", "");
    // No file has come of any of them.
    assert!(sandbox.left().iter().all(|left| !left.contains("passwd")), "{:?}", sandbox.left());
    drop(caller);
    service.end();
}

#[test]
fn objects_that_cannot_be_are_refused_and_locks_wait_no_longer_than_they_should() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    let mut caller = Caller::new(&sandbox, "double");

    for bytes in ["0", "18446744073709551615", "9223372036854775808"] {
        caller.refused(kind::OBJECT, &format!(r#"{{"name":"o","bytes":{bytes}}}"#), "", "over limit", "");
    }
    caller.refused(kind::OBJECT, r#"{"name":"o","bytes":18446744073709551616}"#, "", "bad argument", "");
    caller.refused(kind::OBJECT, r#"{"name":"o"}"#, "", "over limit", "no such object");
    caller.refused(kind::SCALE, r#"{"pool":POOL,"workers":0}"#, "", "bad argument", "workers");
    caller.refused(kind::SCALE, r#"{"pool":POOL,"workers":65537}"#, "", "bad argument", "workers");
    caller.refused(kind::SCALE, r#"{"workers":1}"#, "", "bad argument", "pool");
    caller.refused(kind::SCALE, r#"{"pool":99,"workers":1}"#, "", "no such pool", "99");
    caller.refused(kind::STATS, r#"{"pool":99}"#, "", "no such pool", "99");
    caller.refused(kind::STATS, r#"{"pool":99,"when":"idle"}"#, "", "no such pool", "99");
    caller.refused(kind::STATS, r#"{"pool":POOL,"when":"never"}"#, "", "bad argument", "never");
    for kind in [kind::CLOSE, kind::TERMINATE] {
        caller.refused(kind, r#"{"pool":99}"#, "", "no such pool", "99");
    }
    assert_eq!(
        service.steady.ask(kind::LOCK, 900, r#"{"name":"db"}"#, "").json(),
        json!({ "owner_died": false })
    );
    caller.refused(kind::LOCK, r#"{"name":"db","timeout_ms":0}"#, "", "over limit", "not free in time");
    caller.refused(kind::LOCK, r#"{"name":"db","timeout_ms":20}"#, "", "over limit", "not free in time");
    caller.client.send(kind::LOCK, ID, r#"{"name":"db","timeout_ms":18446744073709551615}"#, "");
    assert_eq!(service.steady.ask(kind::UNLOCK, 901, r#"{"name":"db"}"#, "").json(), json!({}));
    assert_eq!(caller.client.reply().json(), json!({ "owner_died": false }), "within {DEADLINE:?}");
    service.steady.send(kind::LOCK, 902, r#"{"name":"db"}"#, "");
    drop(caller);
    assert_eq!(service.steady.reply().json(), json!({ "owner_died": true }));
    service.end();
}
