//! How a life begins and ends.

use poolctl_protocol::{Encoding, MessageKind, RecordKind, RemoteError};

use super::host::{Host, Said, bytes_of, double, panic_at_seven, prepare, raise, repeat};
use crate::control::Gone;

fn initialized(from: u64) -> (Host, Said) {
    let mut host = Host::new();
    let header = host.header(prepare, MessageKind::Initialize, Encoding::Binary);
    host.post_message(header, &[bytes_of(prepare, &from)]);
    let said = host.next();
    (host, said)
}

#[test]
fn what_the_initializer_sets_is_there_for_items_and_the_exit_function() {
    let (mut host, said) = initialized(10);

    host.post(raise, &[1, 2]);

    assert_eq!(said, Said::Other(RecordKind::Initialized, vec![]));
    assert_eq!([host.next_of(raise), host.next_of(raise)], [11, 13]);
    let header = host.header(raise, MessageKind::Finish, Encoding::Binary);
    let (said, ended) = host.finish(header, &[bytes_of(raise, &7)]);
    assert_eq!(said, [Said::Other(RecordKind::Exit, 20_u64.to_le_bytes().to_vec())]);
    ended.unwrap();
}

#[test]
fn an_initializer_that_fails_says_why() {
    let (host, said) = initialized(2000);

    let Said::Other(RecordKind::InitializerFailed, error) = said else { panic!("{said:?}") };
    assert_eq!(RemoteError::parse(&error).unwrap().msg, "too much");
    host.end();
}

#[test]
fn an_exit_function_that_fails_or_gives_too_much_says_so() {
    let host = Host::new();
    let header = host.header(panic_at_seven, MessageKind::Finish, Encoding::Json);
    let (panicked, _) = host.finish(header, &[b"7".to_vec()]);
    let host = Host::new();
    let header = host.header(repeat, MessageKind::Finish, Encoding::Binary);
    let (too_much, _) = host.finish(header, &[bytes_of(repeat, &("x".to_owned(), 100_000))]);

    for (said, expected) in [(panicked, "seven: 7"), (too_much, "the result has 100008 bytes")] {
        let [Said::Other(RecordKind::ExitFailed, error)] = &said[..] else { panic!("{said:?}") };
        assert!(RemoteError::parse(error).unwrap().msg.starts_with(expected), "{error:?}");
    }
}

#[test]
fn a_worker_whose_host_vanishes_before_it_has_its_segments_ends() {
    let (ours, theirs) = poolctl_sys::pipe::stream_pair().unwrap();
    let worker = std::thread::spawn(move || {
        let control = crate::control::Control::new(theirs).unwrap();
        crate::serve::run(
            control,
            crate::entries().collect(),
            poolctl_types::Slot(0),
            crate::link::Prints::Loose,
        )
    });

    drop(ours);

    assert!(matches!(worker.join().unwrap(), Err(Gone::Closed | Gone::Socket { .. })));
}

#[test]
fn a_worker_whose_host_vanishes_while_it_needs_a_segment_ends() {
    let mut host = Host::new();
    host.post(double, &[1]);
    assert_eq!(host.next_of(double), 2);
    let header = host.header(double, MessageKind::Chunk, Encoding::Binary);
    // Descriptors are announced that never come.
    host.post_message(poolctl_protocol::MessageHeader { attachments: 1, ..header }, &[vec![]]);

    let worker = host.vanish();

    assert!(matches!(worker.join().unwrap(), Err(Gone::Closed | Gone::Socket { .. })));
}

#[test]
fn two_tasks_of_one_name_keep_a_worker_from_starting() {
    let entry = crate::entries().find(|entry| entry.name == "life.double").unwrap();

    let alone = crate::serve::refuse_twins(&[entry]);
    let twins = crate::serve::refuse_twins(&[entry, entry]).unwrap_err();

    assert!(alone.is_ok());
    assert!(
        twins.msg.starts_with("two tasks are called `life.double`: fn(i64) -> i64 and "),
        "{}",
        twins.msg
    );
}
