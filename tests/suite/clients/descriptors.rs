//! Descriptors over a socket: what is announced and not sent, sent and not announced, or not what it should be.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use poolctl_testkit::{Sandbox, descriptors, wait_until};
use serde_json::json;

use super::{Client, DEADLINE, Service, frame, kind};

/// A memfd with this content, and these seals.
fn memfd(content: &[u8], seals: SealFlag) -> OwnedFd {
    let memfd = memfd_create(c"test", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).expect("a memfd");
    let mut file = File::from(memfd);
    file.write_all(content).expect("memory is left");
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("it can be sealed");
    file.into()
}

fn all_seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW
}

/// Sends bytes with descriptors.
fn send(client: &Client, bytes: &[u8], files: &[&OwnedFd]) {
    let numbers: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let sent =
        sendmsg::<()>(client.stream.as_raw_fd(), &[IoSlice::new(bytes)], &rights, MsgFlags::empty(), None);
    assert_eq!(sent.expect("the server reads"), bytes.len());
}

fn submit(pool: u64) -> Vec<u8> {
    frame(kind::SUBMIT, 1, 5, json!({ "pool": pool }).to_string().as_bytes(), b"")
}

#[test]
fn a_memfd_that_is_missing_unsealed_or_uncalled_for_ends_the_connection() {
    let sandbox = Sandbox::new();
    let mut service = Service::start(&sandbox);
    // Its worker is there from the first task on.
    service.expect_undisturbed();
    let before = descriptors(service.running.pid()).len();
    let sealed = memfd(b"item", all_seals());
    let plain = frame(kind::PING, 0, 5, b"", b"");
    let two = [&sealed, &sealed];

    let cases: [(&str, Vec<u8>, &[&OwnedFd], &str); 6] = [
        ("announced and not sent", submit(1), &[], "without the memfd"),
        ("unsealed", submit(1), &[&memfd(b"item", SealFlag::empty())], "sealed"),
        ("shrinks", submit(1), &[&memfd(b"item", SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW)], "sealed"),
        ("grows", submit(1), &[&memfd(b"item", SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK)], "sealed"),
        ("no memfd", submit(1), &[&File::open("/dev/null").expect("it is there").into()], "sealed"),
        ("not announced", plain.clone(), &[&sealed], "no frame announces"),
    ];
    for (what, bytes, files, word) in cases {
        let mut client = Client::connect(&sandbox);
        client.attach("double");
        send(&client, &bytes, files);
        let message = client.expect_dismissal();
        assert!(message.contains(word), "{what}: {message}");
        service.expect_undisturbed();
    }
    // One too many: the frame is answered first.
    let mut client = Client::connect(&sandbox);
    client.attach("double");
    send(&client, &submit(1), &two);
    assert_eq!((client.reply().id, client.expect_dismissal().contains("no frame announces")), (5, true));
    // Very many: what cannot be taken in ends the connection.
    let mut client = Client::connect(&sandbox);
    for _ in 0..100 {
        // The server may have closed the connection at any of them.
        let numbers = [sealed.as_raw_fd(); 200];
        let rights = [ControlMessage::ScmRights(&numbers)];
        let bytes = [IoSlice::new(&plain[..1])];
        if sendmsg::<()>(client.stream.as_raw_fd(), &bytes, &rights, MsgFlags::MSG_NOSIGNAL, None).is_err() {
            break;
        }
    }
    while client.next().is_some() {}
    drop(client);
    wait_until(DEADLINE, "no descriptor of those is left", || {
        descriptors(service.running.pid()).len() == before
    });
    service.end();
}

#[test]
fn a_pool_that_cannot_read_a_memfd_refuses_it_and_the_connection_goes_on() {
    let sandbox = Sandbox::new();
    let (serve, mut client) = Client::serve(&sandbox);
    let sealed = memfd(b"item", all_seals());
    for target in [
        json!({ "kind": "lines", "argv": ["cat"] }),
        json!({ "kind": "command", "argv": ["echo", "got"] }),
        json!({ "kind": "native", "function": "square" }),
    ] {
        let pool = client.open(&json!({ "target": target, "workers": 1 }));

        send(&client, &submit(pool), &[&sealed]);

        let reply = client.reply();
        assert_eq!((reply.id, reply.code().as_str()), (5, "bad argument"), "{target}: {}", reply.text());
    }
    drop(client);
    serve.wait().expect_code(0);
}

#[test]
fn memfds_are_dropped_by_whom_they_were_not_meant_for() {
    let sandbox = Sandbox::new();
    let (serve, mut client) = Client::serve(&sandbox);
    let sealed = memfd(b"item", all_seals());
    client.ask(kind::STATS, 1, "", "");
    let before = descriptors(serve.pid()).len();

    for id in 0..200 {
        send(&client, &frame(kind::STATS, 1, id, b"", b""), &[&sealed]);
        assert_eq!(client.reply().id, id);
    }

    assert_eq!(descriptors(serve.pid()).len(), before);
    drop(client);
    serve.wait().expect_code(0);
}
