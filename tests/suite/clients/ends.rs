//! Clients, servers and workers that are shot: nothing of them lives on, and nothing is lost that need not be.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poolctl_testkit::{DEADLINE, Random, Running, Sandbox, pass, python, seed, wait_until};
use serde_json::{Value, json};

use super::{Client, kind, sized};

/// Leaves a child and a grandchild in a session of its own, tells its pid, then works on for ever.
const COMMAND: &str =
    "sleep 1000 & (setsid sh -c 'sleep 1000 & exec sleep 1000' > /dev/null 2>&1 &); sleep 1000";

/// A program that starts `poolctl serve`, gives it work without end, and says so.
const CLIENT: &str = r#"
import json, os, struct, subprocess, sys
serve = subprocess.Popen([sys.argv[1], "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def send(kind, ident, meta, payload):
    serve.stdin.write(struct.pack("<IBBHQ", len(meta) + len(payload), kind, 0, len(meta), ident) + meta + payload)
    serve.stdin.flush()
send(0, 0, b"", b'{"poolctl":1}')
target = {"kind": "command", "argv": ["sh", "-c", sys.argv[2], "sh", "{}"]}
send(32, 1, b"", json.dumps({"target": target, "workers": 3}).encode())
for ident in range(2, 200):
    send(34, ident, b'{"pool":1}', b"x")
if len(sys.argv) > 3 and os.fork() == 0:
    # A copy that outlives its parent, and keeps every descriptor open.
    print("forked", os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
print("serve", serve.pid, flush=True)
while True:
    os.read(serve.stdout.fileno(), 65536)
"#;

fn start_client(sandbox: &Sandbox, further: &[&str]) -> Running {
    sandbox.write("client.py", CLIENT);
    let poolctl = poolctl_testkit::poolctl_binary();
    let client = sandbox.peer(python()).arg("client.py").arg(poolctl).arg(COMMAND).args(further).open_input();
    let client = client.start();
    client.wait_stdout("the pid of serve", |bytes| String::from_utf8_lossy(bytes).contains("serve "));
    client
}

#[test]
fn a_client_that_is_shot_under_load_takes_everything_with_it() {
    let mut random = Random::new(seed());
    for _ in 0..10 {
        let sandbox = Sandbox::new();
        let client = start_client(&sandbox, &[]);

        pass(Duration::from_micros(random.below(80_000)));
        client.kill();

        sandbox.expect_nothing_left();
    }
}

#[test]
fn a_forked_copy_of_the_client_keeps_nothing_alive() {
    let sandbox = Sandbox::new();
    let client = start_client(&sandbox, &["fork"]);
    let said =
        client.wait_stdout("both pids", |bytes| bytes.iter().filter(|byte| **byte == b'\n').count() == 2);
    let said = String::from_utf8_lossy(&said).into_owned();
    let forked = said.lines().find_map(|line| line.strip_prefix("forked ")).expect("its pid").to_owned();

    let pid = Pid::from_raw(i32::try_from(client.pid()).expect("a pid fits"));
    kill(pid, Signal::SIGKILL).expect("not reaped yet");

    let lives = |left: &poolctl_testkit::Process| left.pid.to_string() != forked;
    wait_until(DEADLINE, "only the forked copy is left", || !sandbox.processes().iter().any(lives));
    assert_eq!(sandbox.processes().len(), 1, "the copy itself lives, with the descriptors");
    // The end of its own input lets the copy go.
    drop(client);
    sandbox.expect_nothing_left();
}

#[test]
fn serve_that_is_shot_leaves_nothing_and_its_client_sees_the_end() {
    let mut random = Random::new(seed());
    for _ in 0..10 {
        let sandbox = Sandbox::new();
        let (serve, mut client) = Client::serve(&sandbox);
        let target = json!({ "kind": "command", "argv": ["sh", "-c", COMMAND, "sh"] });
        let pool = client.open(&json!({ "target": target, "workers": 3 }));
        client.send(kind::BATCH, 10, &json!({ "pool": pool, "n": 5 }).to_string(), sized(&[&b"x"[..]; 5]));

        pass(Duration::from_micros(random.below(60_000)));
        serve.kill();

        sandbox.expect_nothing_left();
        while let Some(reply) = client.next() {
            assert_ne!(reply.kind, kind::RESULT, "{reply:?}");
        }
    }
}

#[test]
fn the_end_of_its_input_ends_serve_and_what_runs() {
    let sandbox = Sandbox::new();
    let (serve, mut client) = Client::serve(&sandbox);
    let target = json!({ "kind": "command", "argv": ["sh", "-c", COMMAND, "sh"] });
    let pool = client.open(&json!({ "target": target, "workers": 2 }));
    client.send(kind::BATCH, 10, &json!({ "pool": pool, "n": 5 }).to_string(), sized(&[&b"x"[..]; 5]));
    wait_until(DEADLINE, "two run", || client.stats(pool)["running"] == 2);

    drop(client);

    serve.wait().expect_code(0);
    sandbox.expect_nothing_left();
}

/// Waits at its first item until it is shot, and answers all others.
const WORKER: &str = r#"
import json, os, sys, time
requests, replies = open(3), open(4, "w", buffering=1)
print('{"poolctl":1}', file=replies)
for line in requests:
    task = json.loads(line)
    while task["data"] == "stay":
        open("staying", "w").close()
        time.sleep(1000)
    print(json.dumps({"id": task["id"], "ok": task["data"]}), file=replies)
"#;

#[test]
fn a_worker_that_is_shot_takes_its_task_and_no_other() {
    let sandbox = Sandbox::new();
    sandbox.write("worker.py", WORKER);
    let (serve, mut client) = Client::serve(&sandbox);
    let target = json!({ "kind": "worker", "argv": [python(), "worker.py"] });
    let pool = client.open(&json!({ "target": target, "workers": 2 }));
    let meta = json!({ "pool": pool }).to_string();
    for id in 0..50 {
        client.send(kind::SUBMIT, id, &meta, if id == 7 { "\"stay\"".to_owned() } else { id.to_string() });
    }
    let others: Vec<_> = (0..49).map(|_| client.reply()).collect();
    wait_until(DEADLINE, "it stays", || sandbox.path("staying").exists());
    let now = client.stats(pool)["now"].clone();
    assert_eq!((&now[0]["task"], now.as_array().map(Vec::len)), (&json!(7), Some(1)), "{now}");
    let victim = now[0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");

    kill(Pid::from_raw(victim), Signal::SIGKILL).expect("it lives");

    let died = client.reply();
    assert_eq!((died.id, died.outcome()), (7, "died"));
    let told = |key: &str| died.meta[key].clone();
    assert_eq!(
        (told("signal"), told("pid"), told("attempts")),
        (json!(9), json!(victim), json!(1)),
        "{died:?}"
    );
    assert_eq!(died.json()["type"], "WorkerDied");
    for reply in others {
        assert_eq!((reply.outcome(), reply.text()), ("ok", reply.id.to_string()));
    }
    let down: Vec<Value> = client.events(pool).into_iter().filter(|event| event["event"] == "down").collect();
    assert_eq!((down.len(), &down[0]["signal"], &down[0]["pid"]), (1, &json!(9), &json!(victim)), "{down:?}");
    assert_eq!(client.apply(pool, 100, "1"), "1", "the pool goes on");
    drop(client);
    serve.wait().expect_code(0);
}

#[test]
fn what_was_not_read_yet_is_told_before_the_end() {
    let sandbox = Sandbox::new();
    let (serve, mut client) = Client::serve(&sandbox);
    let target = json!({ "kind": "command", "argv": ["sh", "-c", "head -c 1000000 /dev/zero", "sh"] });
    let pool = client.open(&json!({ "target": target, "workers": 2 }));
    client.send(kind::BATCH, 10, &json!({ "pool": pool, "n": 3 }).to_string(), sized(&[&b"x"[..]; 3]));
    // Without a pool in its meta it closes the service.
    client.send(kind::CLOSE, 99, "", "");
    wait_until(DEADLINE, "all workers are gone", || {
        poolctl_testkit::children(serve.pid()).is_empty() && sandbox.processes().len() == 1
    });

    let mut lengths: Vec<_> = (0..3).map(|_| client.reply().payload.len()).collect();
    lengths.push(client.reply().payload.len());

    assert_eq!(lengths, [1_000_000, 1_000_000, 1_000_000, 2]);
    assert_eq!(client.end_or_reply(), None);
    serve.wait().expect_code(0);
}

#[test]
fn what_is_no_stream_is_refused_in_words() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let file = || std::fs::File::open(sandbox.path("file")).expect("it was just written");

    for serve in [sandbox.poolctl(["serve"]), sandbox.poolctl(["serve"]).input_file(file())] {
        serve.run().expect_code(2).expect_words(&["pipes and sockets only", "docs/protocol.md"]);
    }
    let bad = sandbox.poolctl(["serve"]).input("what is this, and why?\n").run().expect_code(0);
    assert!(bad.text().contains("what is this") && bad.text().contains("bad frame"), "{bad}");
}

#[test]
fn a_parent_outside_of_the_namespace_is_no_obstacle() {
    let sandbox = Sandbox::new();
    if !sandbox.peer("unshare").args(["--pid", "--fork", "true"]).run().status.success() {
        return crate::peer::skipped("no namespace of pids can be made here");
    }

    let serve = sandbox.peer("unshare").args(["--pid", "--fork"]).arg(poolctl_testkit::poolctl_binary());
    let finished = serve.arg("serve").input("").run();

    assert!(finished.expect_quiet().text().contains("\"poolctl\":1"));
}
