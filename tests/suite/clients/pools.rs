//! What a well-behaved client is promised: replies, outcomes, credit, events, and what a pool says of itself.

use poolctl_testkit::{DEADLINE, Sandbox, python, wait_until};
use serde_json::{Value, json};

use super::{Client, Reply, kind, sized};

/// A worker that does what its item says.
const WORKER: &str = r#"
import json, os, time
requests, replies = open(3), open(4, "w", buffering=1)
print('{"poolctl":1}', file=replies)
for line in requests:
    task = json.loads(line)
    say = lambda **what: print(json.dumps({"id": task["id"], **what}), file=replies)
    if task["data"] == "note":
        say(progress=0.5, note="x" * 70000)
    if task["data"] == "log":
        print("printed", flush=True)
        print(json.dumps({"log": "logged", "level": "warn", "id": task["id"]}), file=replies)
    if task["data"] == "fail":
        say(err={"type": "ValueError", "msg": "no", "trace": "at line 1"})
        continue
    if task["data"] == "exit":
        os._exit(3)
    if task["data"] == "stay":
        time.sleep(1000)
    say(ok=task["data"])
"#;

/// A client, its server and a pool of one such worker.
struct Rig {
    sandbox: Sandbox,
    serve: poolctl_testkit::Running,
    client: Client,
    pool: u64,
}

impl Rig {
    #[track_caller]
    fn new(settings: &[(&str, Value)]) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("worker.py", WORKER);
        let (serve, mut client) = Client::serve(&sandbox);
        let pool = client.open(&Self::spec(settings));
        Self { sandbox, serve, client, pool }
    }

    fn spec(settings: &[(&str, Value)]) -> Value {
        let target = json!({ "kind": "worker", "argv": [python(), "worker.py"] });
        let mut spec = json!({ "target": target, "workers": 1, "grace_ms": 100 });
        for (name, value) in settings {
            spec[*name] = value.clone();
        }
        spec
    }

    #[track_caller]
    fn ask(&mut self, id: u64, what: &str) -> Reply {
        let meta = self.meta();
        self.client.ask(kind::SUBMIT, id, &meta, json!(what).to_string())
    }

    fn meta(&self) -> String {
        json!({ "pool": self.pool }).to_string()
    }

    fn end(self) {
        drop(self.client);
        self.serve.wait().expect_code(0);
        self.sandbox.expect_nothing_left();
    }
}

#[test]
fn every_outcome_is_told_with_what_is_known_of_it() {
    let mut rig = Rig::new(&[("timeout_ms", json!(300))]);

    let (ok, failed, died, timed_out) =
        (rig.ask(1, "x"), rig.ask(2, "fail"), rig.ask(3, "exit"), rig.ask(4, "stay"));

    assert_eq!((ok.outcome(), ok.meta.clone(), ok.text()), ("ok", json!({}), "\"x\"".to_owned()));
    assert_eq!(
        (failed.outcome(), &failed.meta["attempts"], &failed.meta["worker"]),
        ("failed", &json!(1), &json!("0.0"))
    );
    assert_eq!(failed.json(), json!({ "type": "ValueError", "msg": "no", "trace": "at line 1" }));
    assert_eq!((died.outcome(), &died.meta["exit"], &died.meta["signal"]), ("died", &json!(3), &Value::Null));
    assert_eq!((timed_out.outcome(), timed_out.json()["type"].clone()), ("timed out", json!("TimedOut")));
    assert_eq!(
        (timed_out.meta["signal"].clone(), timed_out.meta["worker"].clone()),
        (json!(15), json!("0.1"))
    );
    let stats = rig.client.stats(rig.pool);
    let figures =
        ["ok", "failed", "died", "timed_out", "cancelled", "queued", "running"].map(|key| stats[key].clone());
    assert_eq!(figures, [1, 1, 1, 1, 0, 0, 0].map(Value::from), "{stats}");
    rig.end();
}

#[test]
fn what_an_item_prints_and_logs_comes_before_its_result() {
    let mut rig = Rig::new(&[]);

    rig.ask(5, "log");

    let told: Vec<_> = rig.client.news.iter().filter(|news| news.kind == kind::LOG).collect();
    let logged = told.iter().find(|log| log.text() == "logged").expect("a line of the log");
    assert_eq!(
        (logged.id, &logged.meta["level"], &logged.meta["pool"]),
        (5, &json!("warn"), &json!(rig.pool))
    );
    let printed = told.iter().find(|log| log.text() == "printed\n").expect("what was printed");
    assert_eq!(
        (printed.id, &printed.meta["stream"], &printed.meta["pool"]),
        (5, &json!("stdout"), &json!(rig.pool))
    );
    rig.end();
}

#[test]
fn a_note_about_progress_that_is_too_long_is_cut() {
    let mut rig = Rig::new(&[]);

    let reply = rig.ask(5, "note");

    assert_eq!(reply.outcome(), "ok");
    let progress = rig.client.news.iter().find(|news| news.kind == kind::PROGRESS).expect("progress");
    let note = progress.meta["note"].as_str().expect("a note");
    assert!(note.len() < 65_536 && note.starts_with("xxx"), "{} bytes", note.len());
    assert_eq!((progress.id, &progress.meta["progress"]), (5, &json!(0.5)));
    rig.end();
}

#[test]
fn a_pool_that_broke_refuses_what_comes_and_can_be_closed() {
    let mut rig = Rig::new(&[("on_worker_death", json!("break"))]);
    let meta = json!({ "pool": rig.pool, "n": 3 }).to_string();
    let items: Vec<&[u8]> = vec![b"\"exit\"", b"1", b"2"];

    rig.client.send(kind::BATCH, 1, &meta, sized(&items));
    let mut outcomes: Vec<_> =
        (0..3).map(|_| rig.client.reply()).map(|reply| (reply.id, reply.outcome().to_owned())).collect();
    outcomes.sort();
    let refused = rig.ask(9, "x");

    assert_eq!(outcomes, [(1, "died".to_owned()), (2, "refused".to_owned()), (3, "refused".to_owned())]);
    assert_eq!((refused.outcome(), refused.json()["type"].clone()), ("refused", json!("BrokenPool")));
    assert_eq!(rig.client.stats(rig.pool)["state"], "broken");
    let idle = json!({ "pool": rig.pool, "when": "idle" }).to_string();
    assert_eq!(rig.client.ask(kind::STATS, 10, &idle, "").json()["pools"][0]["queued"], 0);
    let meta = rig.meta();
    assert_eq!(rig.client.ask(kind::CLOSE, 11, &meta, "").json(), json!({}));
    assert_eq!(rig.client.ask(kind::CLOSE, 12, &meta, "").code(), "no such pool");
    rig.end();
}

#[test]
fn a_pool_whose_workers_cannot_start_says_so_to_every_task() {
    let mut rig = Rig::new(&[]);
    let target = json!({ "kind": "worker", "argv": ["sh", "-c", "echo words >&2; exit 7"] });
    let pool = rig.client.open(&json!({ "target": target, "workers": 1, "start_timeout_ms": 5000 }));
    let meta = json!({ "pool": pool }).to_string();

    let first = rig.client.ask(kind::SUBMIT, 1, &meta, "1");
    let second = rig.client.ask(kind::SUBMIT, 2, &meta, "1");

    for reply in [first, second] {
        assert_eq!((reply.outcome(), reply.json()["type"].clone()), ("refused", json!("CannotStart")));
        assert!(reply.text().contains("exit code 7") || reply.text().contains("words"), "{}", reply.text());
    }
    assert_eq!(rig.client.stats(pool)["state"], "gave up");
    assert_eq!(rig.client.ask(kind::TERMINATE, 3, &meta, "").json(), json!({}));
    assert_eq!(rig.ask(4, "x").outcome(), "ok", "another pool does not notice");
    rig.end();
}

#[test]
fn pools_are_opened_and_closed_without_end() {
    let mut rig = Rig::new(&[]);
    for id in 0..1_100 {
        let pool =
            rig.client.open(&json!({ "target": { "kind": "command", "argv": ["true"] }, "workers": 1 }));
        let meta = json!({ "pool": pool }).to_string();
        assert_eq!(rig.client.ask(kind::CLOSE, id, &meta, "").json(), json!({}));
    }
    assert_eq!(rig.client.ask(kind::STATS, 1, "", "").json()["pools"].as_array().map(Vec::len), Some(1));
    rig.end();
}

#[test]
fn tasks_are_cancelled_whether_they_wait_or_run() {
    let mut rig = Rig::new(&[]);
    let meta = rig.meta();
    for id in 1..=4 {
        rig.client.send(kind::SUBMIT, id, &meta, if id == 1 { "\"stay\"" } else { "1" });
    }
    wait_until(DEADLINE, "the first one runs", || rig.client.stats(rig.pool)["running"] == 1);

    let queued = r#"{"task":1,"n":2,"queued":true}"#;
    rig.client.send(kind::CANCEL, 50, queued, "");
    let replies = [rig.client.reply(), rig.client.reply()]
        .map(|reply| (reply.id, reply.outcome().to_owned(), reply.text()));
    assert_eq!((replies[0].0, replies[0].1.as_str()), (2, "cancelled"), "it waited, and is told before");
    assert_eq!((replies[1].0, replies[1].2.as_str()), (50, r#"{"cancelled":1}"#));
    rig.client.send(kind::CANCEL, 51, r#"{"task":1}"#, "");
    let mut last: Vec<_> =
        (0..4).map(|_| rig.client.reply()).map(|reply| (reply.id, reply.outcome().to_owned())).collect();
    last.sort();

    let told = |id, outcome: &str| (id, outcome.to_owned());
    assert_eq!(last, [told(1, "cancelled"), told(3, "ok"), told(4, "ok"), told(51, "ok")]);
    rig.end();
}

#[test]
fn a_map_gives_its_results_in_order_and_a_cancelled_one_ends() {
    let mut rig = Rig::new(&[]);
    let meta = rig.meta();
    rig.client.send(kind::MAP, 5, &meta, "");
    rig.client.send(kind::ITEMS, 5, r#"{"n":3}"#, sized(&[b"1", b"\"fail\"", b"3"]));
    rig.client.send(kind::ITEMS, 5, r#"{"n":0}"#, "");
    rig.client.send(kind::END, 5, "", "");
    let results: Vec<_> = (0..4).map(|_| rig.client.reply()).collect();
    let told: Vec<_> = results.iter().map(|reply| (reply.meta["index"].as_u64(), reply.outcome())).collect();
    assert_eq!(told, [(Some(0), "ok"), (Some(1), "failed"), (Some(2), "ok"), (None, "ok")]);
    assert_eq!(results[3].json(), json!({ "items": 3, "ok": 2 }));

    rig.client.send(kind::MAP, 6, &meta, "");
    rig.client.send(kind::ITEMS, 6, r#"{"n":3}"#, sized(&[b"\"stay\"", b"2", b"3"]));
    wait_until(DEADLINE, "the first one runs", || rig.client.stats(rig.pool)["running"] == 1);
    rig.client.send(kind::CANCEL, 50, r#"{"task":6}"#, "");
    let mut results: Vec<_> = (0..5).map(|_| rig.client.reply()).collect();
    results.sort_by_key(|reply| (reply.id, reply.meta["index"].as_u64().unwrap_or(u64::MAX)));
    let told: Vec<_> = results.iter().map(|reply| (reply.id, reply.outcome())).collect();
    assert_eq!(told, [(6, "cancelled"), (6, "cancelled"), (6, "cancelled"), (6, "ok"), (50, "ok")]);
    assert_eq!(
        (results[3].json(), results[4].json()),
        (json!({ "items": 3, "ok": 0 }), json!({ "cancelled": 3 }))
    );
    rig.end();
}

#[test]
fn credit_grows_as_results_are_told() {
    let mut rig = Rig::new(&[]);
    let pool =
        rig.client.open(&json!({ "target": { "kind": "native", "function": "square" }, "workers": 1 }));
    let grants = |client: &Client| -> Vec<u64> {
        let credits = client.news.iter().filter(|news| (news.kind, news.id) == (kind::CREDIT, pool));
        credits.filter_map(|credit| credit.json()["items"].as_u64()).collect()
    };
    let first = grants(&rig.client)[0];
    let meta = json!({ "pool": pool, "n": first }).to_string();
    let items = vec![&b"3"[..]; usize::try_from(first).expect("64 bit")];

    rig.client.send(kind::BATCH, 1, &meta, sized(&items));
    for id in 1..=first {
        let reply = rig.client.reply();
        assert_eq!((reply.id, reply.text().as_str()), (id, "9"));
    }

    // It is told in steps of a quarter.
    wait_credit(&mut rig.client, pool, first + first / 4 * 3);
    let grants = grants(&rig.client);
    assert!(grants.is_sorted() && grants.iter().all(|items| *items <= 2 * first), "{grants:?}");
    rig.end();
}

/// Waits for credit for at least so many items in all.
#[track_caller]
fn wait_credit(client: &mut Client, pool: u64, items: u64) {
    let is_it = |news: &Reply| {
        (news.kind, news.id) == (kind::CREDIT, pool) && news.json()["items"].as_u64() >= Some(items)
    };
    while !client.news.iter().any(is_it) {
        let news = client.next().expect("the connection goes on");
        client.news.push(news);
    }
}

#[test]
fn events_tell_who_comes_and_goes() {
    let mut rig = Rig::new(&[("max_tasks", json!(2))]);
    rig.ask(1, "x");
    rig.ask(2, "exit");
    rig.ask(3, "x");
    let meta = rig.meta();
    assert_eq!(rig.client.ask(kind::CLOSE, 4, &meta, "").json(), json!({}));

    let events = rig.client.events(rig.pool);
    let told: Vec<_> = events.iter().map(|event| format!("{} {}", event["event"], event["worker"])).collect();
    let expected = ["up 0.0", "down 0.0", "gone 0.0", "up 0.1", "gone 0.1"];
    assert_eq!(told.join(", ").replace('"', ""), expected.join(", "), "{events:?}");
    assert_eq!((&events[1]["exit"], &events[1]["signal"]), (&json!(3), &Value::Null));
    rig.end();
}

#[test]
fn the_service_is_for_its_client_to_end_and_has_no_configuration() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.client.ask(kind::RELOAD, 1, "", "").code(), "not permitted");
    assert_eq!(
        rig.client.ask(kind::SCALE, 2, &json!({ "pool": rig.pool, "workers": 3 }).to_string(), "").json(),
        json!({ "workers": 3 })
    );
    let meta = rig.meta();
    rig.client.send(kind::SUBMIT, 3, &meta, "\"stay\"");
    wait_until(DEADLINE, "it runs", || rig.client.stats(rig.pool)["running"] == 1);

    // Without a pool in its meta it closes the service: nothing new is taken in.
    rig.client.send(kind::CLOSE, 4, "", "");
    assert_eq!(rig.client.ask(kind::OPEN, 5, "", Rig::spec(&[]).to_string()).code(), "closed");
    assert_eq!(rig.client.ask(kind::SUBMIT, 6, &meta, "1").code(), "closed");
    rig.client.send(kind::CANCEL, 7, r#"{"task":3}"#, "");
    let mut last: Vec<_> =
        (0..3).map(|_| rig.client.reply()).map(|reply| (reply.id, reply.outcome().to_owned())).collect();
    last.sort();

    let told = |id, outcome: &str| (id, outcome.to_owned());
    assert_eq!(last, [told(3, "cancelled"), told(4, "ok"), told(7, "ok")]);
    assert_eq!(rig.client.end_or_reply(), None);
    rig.end();
}
