//! Many connections: those who hang, read nothing, or vanish do not disturb the others.

use std::thread;

use poolctl_testkit::{DEADLINE, Sandbox, descriptors, wait_until};
use serde_json::json;

use super::{Client, HELLO, Service, frame, kind, sized};

#[test]
fn a_thousand_connections_opened_and_dropped_leave_nothing() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    // Its worker is there from the first task on.
    service.expect_undisturbed();
    let before = descriptors(service.running.pid()).len();
    let hello = frame(kind::HELLO, 0, 0, b"", HELLO.as_bytes());
    let attach = frame(kind::ATTACH, 0, 1, b"", br#"{"name":"double"}"#);
    let task = frame(kind::SUBMIT, 0, 2, json!({ "pool": service.double }).to_string().as_bytes(), b"x");
    let lives = [vec![], hello[..9].to_vec(), hello.clone(), [hello, attach, task].concat()];

    for round in 0..1000 {
        let mut client = Client::strange(&sandbox);
        client.try_write(&lives[round % lives.len()]);
        drop(client);
        if round % 100 == 0 {
            service.expect_undisturbed();
        }
    }

    wait_until(DEADLINE, "their descriptors are closed", || {
        descriptors(service.running.pid()).len() == before
    });
    service.end_with_pool_at_rest();
}

#[test]
fn hundreds_at_once_are_served_and_forgotten() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    // Its worker is there from the first task on.
    service.expect_undisturbed();
    let before = descriptors(service.running.pid()).len();

    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(&sandbox)).collect();
    for client in &mut clients {
        let pool = client.attach("double");
        client.send(kind::SUBMIT, 7, &json!({ "pool": pool }).to_string(), "a");
    }
    for client in &mut clients {
        assert_eq!(client.reply().text(), "aa");
    }
    drop(clients);

    wait_until(DEADLINE, "their descriptors are closed", || {
        descriptors(service.running.pid()).len() == before
    });
    service.expect_undisturbed();
    service.end_with_pool_at_rest();
}

#[test]
fn half_a_request_hangs_nobody_but_its_sender() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    let whole = frame(kind::SUBMIT, 0, 5, json!({ "pool": service.double }).to_string().as_bytes(), b"item");
    let mut hanging: Vec<Client> = Vec::new();
    for length in [1, 15, 16, 20, whole.len() - 1] {
        let mut client = Client::connect(&sandbox);
        client.attach("double");
        client.write(&whole[..length]);
        hanging.push(client);
    }
    let mut silent: Vec<Client> = (0..5).map(|_| Client::strange(&sandbox)).collect();

    for _ in 0..20 {
        service.expect_undisturbed();
    }

    // It was not forgotten either.
    let mut last = hanging.pop().expect("five of them");
    last.write(&whole[whole.len() - 1..]);
    assert_eq!(last.reply().text(), "itemitem");
    silent.iter_mut().for_each(Client::greet);
    drop((hanging, last, silent));
    service.end_with_pool_at_rest();
}

#[test]
fn who_reads_nothing_is_given_no_more_and_the_others_are() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    let large = service.steady.attach("large");
    let mut deaf = Client::connect(&sandbox);
    deaf.attach("large");
    let meta = json!({ "pool": large, "n": 40 }).to_string();
    deaf.send(kind::BATCH, 100, &meta, sized(&[&b"x"[..]; 40]));

    // Results of a few items wait for it, and the others are not run.
    wait_until(DEADLINE, "its items rest", || {
        let stats = service.steady.stats(large);
        stats["running"] == 0 && stats["ok"].as_u64().is_some_and(|ok| ok > 3)
    });
    for id in 0..3 {
        let reply = service.steady.ask(kind::SUBMIT, id, &json!({ "pool": large }).to_string(), "y");
        assert_eq!(reply.payload.len(), 1_000_000);
    }
    service.expect_undisturbed();

    let left = service.steady.stats(large)["queued"].as_u64();
    assert!(left.is_some_and(|left| left > 0), "others were run meanwhile, and its own not: {left:?}");

    // Once it reads, it gets all of them.
    for id in 100..140 {
        let reply = deaf.reply();
        assert_eq!((reply.id, reply.payload.len()), (id, 1_000_000));
    }
    drop(deaf);
    service.end_with_pool_at_rest();
}

#[test]
fn who_asks_and_never_reads_is_not_listened_to_for_ever() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    let mut deaf = Client::connect(&sandbox);
    let asked = frame(kind::STATS, 0, 1, b"", b"").repeat(1000);
    deaf.stream.set_nonblocking(true).expect("a socket of ours");

    // The server stops reading, so that at last nothing more can be written.
    let mut written = 0;
    wait_until(DEADLINE, "the server has stopped reading", || {
        use std::io::{ErrorKind, Write};
        loop {
            match deaf.stream.write(&asked) {
                Ok(sent) => written += sent,
                Err(error) => return error.kind() == ErrorKind::WouldBlock && written > 1 << 16,
            }
        }
    });
    for _ in 0..10 {
        service.expect_undisturbed();
    }

    drop(deaf);
    service.end_with_pool_at_rest();
}

#[test]
fn what_a_vanished_client_had_queued_and_running_is_dropped_and_stopped() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    sandbox.fifo("gate-1");
    sandbox.fifo("gate-2");
    let gate = service.steady.attach("gate");
    let mut gone = Client::connect(&sandbox);
    gone.attach("gate");
    let meta = json!({ "pool": gate, "n": 100 }).to_string();
    gone.send(kind::BATCH, 100, &meta, sized(&[&b"1"[..]; 100]));
    gone.send(kind::MAP, 300, &json!({ "pool": gate }).to_string(), "");
    gone.send(kind::ITEMS, 300, r#"{"n":2}"#, sized(&[b"1", b"1"]));
    gone.ask(kind::LOCK, 400, r#"{"name":"gone"}"#, "");
    wait_until(DEADLINE, "one of its items runs", || service.steady.stats(gate)["running"] == 1);
    service.steady.send(kind::LOCK, 600, r#"{"name":"gone"}"#, "");

    drop(gone);

    assert_eq!(service.steady.reply().json(), json!({ "owner_died": true }));
    let idle = json!({ "pool": gate, "when": "idle" }).to_string();
    let stats = service.steady.ask(kind::STATS, 601, &idle, "").json()["pools"][0].clone();
    assert_eq!(
        (&stats["cancelled"], &stats["ok"], &stats["clients"]),
        (&json!(102), &json!(0), &json!(1)),
        "{stats}"
    );
    // The pool works on.
    let task = json!({ "pool": gate }).to_string();
    service.steady.send(kind::SUBMIT, 602, &task, "2");
    sandbox.release("gate-2");
    assert_eq!(service.steady.reply().text(), "2\n");
    service.end();
}

#[test]
fn two_clients_with_the_same_ids_and_names_get_each_their_own() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let path = sandbox.run_directory().join("poolctl/poold.sock");
    let life = |name: String, path: std::path::PathBuf| {
        move || {
            let mut client = Client::at(&path);
            client.greet();
            let pool = client.attach("double");
            for id in 0..200 {
                assert_eq!(
                    client.apply(pool, id, &format!("{name}{id}.")),
                    format!("{name}{id}.{name}{id}.")
                );
            }
        }
    };

    let lives: Vec<_> = ["a", "b", "c"].map(|name| thread::spawn(life(name.to_owned(), path.clone()))).into();

    lives.into_iter().for_each(|life| life.join().expect("each got its own"));
    service.end_with_pool_at_rest();
}

#[test]
fn a_pool_that_a_client_has_opened_is_not_there_for_others() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    let mut owner = Client::connect(&sandbox);
    let spec = json!({ "target": { "kind": "lines", "argv": ["cat"] }, "workers": 1 });
    let pool = owner.open(&spec);
    assert_eq!(owner.apply(pool, 1, "mine"), "mine");

    let meta = json!({ "pool": pool }).to_string();
    let (scale, idle) = (json!({ "pool": pool, "workers": 9 }), json!({ "pool": pool, "when": "idle" }));
    for (kind, meta) in [
        (kind::SUBMIT, &meta),
        (kind::MAP, &meta),
        (kind::SCALE, &scale.to_string()),
        (kind::STATS, &meta),
        (kind::STATS, &idle.to_string()),
        (kind::CLOSE, &meta),
        (kind::TERMINATE, &meta),
    ] {
        assert_eq!(service.steady.ask(kind, 700, meta, "").code(), "no such pool", "kind {kind}");
    }
    assert_eq!(service.steady.ask(kind::CANCEL, 701, r#"{"task":1}"#, "").json(), json!({ "cancelled": 0 }));
    let all = service.steady.ask(kind::STATS, 702, "", "").json();
    let numbers: Vec<_> = all["pools"].as_array().expect("a list").iter().map(|pool| &pool["pool"]).collect();
    assert!(!numbers.contains(&&json!(pool)), "{all}");
    assert_eq!(owner.apply(pool, 2, "still mine"), "still mine");
    drop(owner);
    service.end_with_pool_at_rest();
}

#[test]
fn a_service_may_keep_to_its_own_pools() {
    let sandbox = Sandbox::new();
    sandbox.write("poold.toml", "[service]\nmay_open = false\n");
    let running = sandbox.poold(["--config", "poold.toml"]).start();
    running.wait_stderr(" serves ");
    let mut client = Client::connect(&sandbox);

    let refused = client.ask(kind::OPEN, 1, "", r#"{"target":{"kind":"lines","argv":["cat"]}}"#);

    assert_eq!(refused.code(), "not permitted");
    drop(client);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait().expect_code(0);
}

#[test]
fn an_id_that_is_used_twice_is_answered_twice() {
    let sandbox = Sandbox::new();
    let service = Service::start(&sandbox);
    let mut client = Client::connect(&sandbox);
    let meta = json!({ "pool": client.attach("double") }).to_string();
    client.send(kind::SUBMIT, 5, &meta, "one");
    client.send(kind::SUBMIT, 5, &meta, "two");

    let replies = [client.reply(), client.reply()].map(|reply| (reply.id, reply.text()));

    assert_eq!(replies, [(5, "oneone".to_owned()), (5, "twotwo".to_owned())]);
    drop(client);
    service.end();
}

#[test]
fn without_descriptors_for_more_clients_the_service_waits_quietly_until_some_go() {
    let sandbox = Sandbox::new();
    sandbox.write("poold.toml", super::POOLS);
    let running = sandbox.poold(["--config", "poold.toml"]).after_shell("ulimit -n 64").start();
    running.wait_stderr(" serves ");
    let mut first = Client::connect(&sandbox);
    let pool = first.attach("double");
    assert_eq!(first.apply(pool, 1, "a"), "aa");

    let mut many: Vec<Client> = (0..80).map(|_| Client::strange(&sandbox)).collect();
    running.wait_stderr("cannot accept a client");
    for id in 0..200 {
        assert_eq!(first.apply(pool, id, "a"), "aa");
    }
    let complaints = running.wait_stderr("cannot accept").matches("cannot accept").count();
    assert!(complaints < 50, "{complaints} complaints: it looks again and again");

    // As they go the others come in.
    let last = many.split_off(60);
    drop(many);
    for mut client in last {
        client.greet();
    }
    drop(first);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait().expect_code(0);
}
