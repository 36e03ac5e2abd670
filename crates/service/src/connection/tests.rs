//! The client against a server that says what a test has written down.

use std::io::{Read, Write};
use std::thread::{self, JoinHandle};

use poolctl_protocol::{Frame, HEADER_BYTES, Header, MAX_BODY_BYTES, push_sized};
use poolctl_sys::waker::Waker;
use serde_json::{Value, json};

use super::*;

/// One frame of the client, as the server sees it.
#[derive(Debug)]
struct Seen {
    kind: Kind,
    id: u64,
    meta: Value,
    payload: Vec<u8>,
}

/// The server's end.
struct Server(UnixStream);

impl Server {
    fn next(&mut self) -> Seen {
        let mut head = [0; HEADER_BYTES];
        self.0.read_exact(&mut head).unwrap();
        let header = Header::parse(&head, MAX_BODY_BYTES).unwrap().unwrap();
        let mut body = vec![0; header.body_len as usize];
        self.0.read_exact(&mut body).unwrap();
        let payload = body.split_off(usize::from(header.meta_len));
        let meta = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Seen { kind: header.kind, id: header.id, meta, payload }
    }

    fn say(&mut self, kind: Kind, id: u64, meta: &str, payload: &[u8]) {
        let mut bytes = Vec::new();
        Frame::write(&mut bytes, kind, 0, id, meta.as_bytes(), payload);
        self.0.write_all(&bytes).unwrap();
    }
}

/// A connection to a server that does this after the hellos.
fn with_server(script: impl FnOnce(&mut Server) + Send + 'static) -> (Connection, JoinHandle<()>) {
    let (near, far) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || {
        let mut server = Server(far);
        assert_eq!(server.next().kind, Kind::Hello);
        let hello = json!({"poolctl": 1, "server": "test", "limits": {"body": 1 << 26}, "pools": ["a"]});
        server.say(Kind::Hello, 0, "", hello.to_string().as_bytes());
        script(&mut server);
    });
    (Connection::over(near, "test").unwrap(), server)
}

fn attached(server: &mut Server, credit: &str) {
    let attach = server.next();
    assert_eq!((attach.kind, &attach.payload[..]), (Kind::Attach, &b"{\"name\":\"a\"}"[..]));
    server.say(Kind::Result, attach.id, "{}", br#"{"pool":7,"workers":2,"kind":"python"}"#);
    server.say(Kind::Credit, 7, "", credit.as_bytes());
}

#[test]
fn a_request_gets_its_reply_whatever_comes_before_it() {
    let (mut connection, server) = with_server(|server| {
        let stats = server.next();
        server.say(Kind::Event, 7, "", br#"{"event":"up","worker":"0.1"}"#);
        server.say(Kind::Result, stats.id + 100, "", b"{}");
        server.say(Kind::Result, stats.id, "", br#"{"pools":[{"pool":7,"name":"a","queued":3,"new":1}]}"#);
        let reload = server.next();
        server.say(Kind::Error, reload.id, "", br#"{"code":"bad argument","msg":"poold.toml:1:1: no"}"#);
    });

    let stats = connection.stats(None).unwrap();
    let refused = connection.reload().unwrap_err();

    assert_eq!((stats.pools[0].name.as_deref(), stats.pools[0].queued), (Some("a"), 3));
    assert_eq!(refused.to_string(), "poold.toml:1:1: no");
    server.join().unwrap();
}

#[test]
fn a_server_that_goes_is_told_as_lost() {
    let (mut connection, server) = with_server(|server| {
        server.next();
    });

    assert!(matches!(connection.stats(None), Err(RequestError::Lost)));
    server.join().unwrap();
}

#[test]
fn items_go_out_as_credit_allows_and_results_come_in_meanwhile() {
    let (mut connection, server) = with_server(|server| {
        attached(server, r#"{"items":2,"bytes":100}"#);
        let map = server.next();
        assert_eq!((map.kind, &map.meta), (Kind::Map, &json!({"pool": 7})));
        let items = server.next();
        let mut expected = Vec::new();
        push_sized(&mut expected, b"1");
        push_sized(&mut expected, b"2");
        assert_eq!((items.kind, items.id, &items.payload), (Kind::Items, map.id, &expected));
        assert_eq!(items.meta, json!({"n": 2}));
        server.say(Kind::Result, map.id, r#"{"index":0}"#, b"one");
        server.say(Kind::Credit, 7, "", br#"{"items":3,"bytes":100}"#);
        let third = server.next();
        assert_eq!((third.kind, third.meta), (Kind::Items, json!({"n": 1})));
        assert_eq!(server.next().kind, Kind::End);
        server.say(Kind::Result, map.id, r#"{"index":1,"outcome":"failed"}"#, br#"{"type":"E","msg":"no"}"#);
        server.say(Kind::Result, map.id, r#"{"index":2}"#, b"three");
        server.say(Kind::Result, map.id, "", br#"{"items":3,"ok":2}"#);
    });
    let pool = connection.attach("a").unwrap();
    let waker = Waker::new().unwrap();
    let mut mapping = connection.map(&pool, Order::OfItems).unwrap();
    let items: [&[u8]; 3] = [b"1", b"2", b"3"];
    let (mut sent, mut heard) = (0, Vec::new());

    while mapping.over().is_none() {
        if sent < items.len() {
            sent += mapping.push(&items[sent..]).unwrap();
            if sent == items.len() {
                mapping.end();
            }
        }
        let mut tell = |arrival: Arrival<'_>| match arrival {
            Arrival::Ok { index, result, .. } => heard.push((index, result.to_vec())),
            Arrival::Ended { index, error, .. } => heard.push((index, error.to_vec())),
            Arrival::Log { .. } => {}
        };
        mapping.turn(Reading::On, None, &waker, &mut tell).unwrap();
    }

    assert_eq!(mapping.over(), Some(MapEnd { items: 3, ok: 2 }));
    let expected: [(u64, &[u8]); 3] = [(0, b"one"), (1, br#"{"type":"E","msg":"no"}"#), (2, b"three")];
    assert_eq!(heard, expected.map(|(index, bytes)| (index, bytes.to_vec())));
    server.join().unwrap();
}

#[test]
fn an_item_that_never_fits_is_refused_and_not_waited_for() {
    let (mut connection, server) = with_server(|server| attached(server, r#"{"items":2,"bytes":10}"#));
    let pool = connection.attach("a").unwrap();
    // The credit comes behind the reply, and is taken notice of with whatever comes next.
    assert!(matches!(connection.stats(None), Err(RequestError::Lost)));
    let mut mapping = connection.map(&pool, Order::OfItems).unwrap();

    let refused = mapping.push(&[&[b'x'; 11]]).unwrap_err();

    assert!(matches!(refused, RequestError::ItemTooLong { bytes: 11, most: 10 }));
    server.join().unwrap();
}
