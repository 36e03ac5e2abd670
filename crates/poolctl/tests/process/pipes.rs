//! Pipes, both ends here.

use std::sync::mpsc::channel as told;
use std::thread;
use std::time::Duration;

use poolctl::{PipeError, Sender, channel, pipe};
use poolctl_testkit::{DEADLINE, descriptors, wait_until};

/// Tells that it is encoded by failing at it.
struct Unwilling;

impl serde::Serialize for Unwilling {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not this one"))
    }
}

/// Bytes that are received only if they are text.
#[derive(Debug)]
struct Text(Vec<u8>);

impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into_bytes()))
    }
}

pub(crate) fn values_go_both_ways() {
    let (near, far) = pipe::<(u8, Option<String>), Vec<f64>>().expect("descriptors are left");

    near.send((1, Some("one".to_owned()))).expect("it is open");
    near.send((2, None)).expect("it is open");
    far.send(vec![0.5, -1.0]).expect("it is open");

    assert_eq!(far.recv().expect("it was sent"), (1, Some("one".to_owned())));
    assert_eq!(far.recv().expect("it was sent"), (2, None));
    assert_eq!(near.recv().expect("it was sent"), [0.5, -1.0]);
}

pub(crate) fn values_go_one_way_and_end() {
    let (sender, receiver) = channel::<u32>().expect("descriptors are left");

    let sending = thread::spawn(move || {
        for number in 0..1000 {
            sender.send(number).expect("it is open");
        }
    });

    let received: Result<Vec<u32>, PipeError> = receiver.iter().collect();
    assert_eq!(received.expect("all are numbers"), (0..1000).collect::<Vec<_>>());
    assert!(matches!(receiver.recv(), Err(PipeError::Closed)));
    sending.join().expect("it does not panic");
}

pub(crate) fn a_receive_may_be_limited() {
    let (sender, receiver) = channel::<u32>().expect("descriptors are left");

    assert_eq!(receiver.try_recv().expect("it is open"), None);
    assert_eq!(receiver.recv_timeout(Duration::from_millis(1)).expect("it is open"), None);
    sender.send(7).expect("it is open");
    assert_eq!(receiver.recv_timeout(DEADLINE).expect("it is open"), Some(7));
    sender.close();
    assert!(matches!(receiver.try_recv(), Err(PipeError::Closed)));
}

pub(crate) fn a_full_pipe_gives_back_and_blocks() {
    let (sender, receiver) = channel::<u64>().expect("descriptors are left");
    let mut sent = 0;

    while sender.try_send(sent).expect("it is open").is_none() {
        sent += 1;
    }

    assert!((50..5000).contains(&sent), "{sent} fit");
    assert_eq!(sender.send_timeout(sent, Duration::from_millis(1)).expect("it is open"), Some(sent));
    let (done, is_done) = told();
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(sent).expect("it is open");
            done.send(()).expect("the test waits");
        });
        assert!(is_done.recv_timeout(Duration::from_millis(20)).is_err(), "the pipe is full");
        for number in 0..=sent {
            assert_eq!(receiver.recv().expect("it was sent"), number);
        }
        is_done.recv_timeout(DEADLINE).expect("there is room");
    });
}

pub(crate) fn few_large_messages_are_on_their_way() {
    let (sender, receiver) = channel::<Vec<u8>>().expect("descriptors are left");
    let mut sent = 0_u8;

    while sender.try_send(vec![sent; 1 << 20]).expect("it is open").is_none() {
        sent += 1;
    }

    assert!((1..10).contains(&sent), "{sent} fit");
    for number in 0..sent {
        assert_eq!(receiver.recv().expect("it was sent"), vec![number; 1 << 20]);
    }
}

pub(crate) fn what_was_sent_before_the_end_arrives() {
    let (near, far) = pipe::<u32, u32>().expect("descriptors are left");
    near.send(1).expect("it is open");
    far.send(2).expect("it is open");
    far.send(3).expect("it is open");

    // It has not received what it was sent, which resets the connection.
    drop(far);

    assert_eq!(near.recv().expect("it was sent before"), 2);
    assert_eq!(near.recv().expect("it was sent before"), 3);
    assert!(matches!(near.recv(), Err(PipeError::Closed)));
    assert!(matches!(near.send(4), Err(PipeError::Closed)));
}

pub(crate) fn the_end_is_not_told_before_what_was_sent() {
    let (near, far) = pipe::<u32, u32>().expect("descriptors are left");
    near.send(1).expect("it is open");
    far.send(2).expect("it is open");

    drop(far);

    // As above, for receives that do not wait.
    assert_eq!(near.try_recv().expect("it was sent before"), Some(2));
    assert!(matches!(near.try_recv(), Err(PipeError::Closed)));
}

pub(crate) fn a_wrong_type_spoils_one_message() {
    let (near, far) = pipe::<Text, u8>().expect("descriptors are left");

    near.send(Text(vec![0xff])).expect("it is open");
    near.send(Text(b"fine".to_vec())).expect("it is open");

    let spoilt = far.recv();
    assert!(matches!(spoilt, Err(PipeError::Decode(_))), "{spoilt:?}");
    assert_eq!(far.recv().expect("it is text").0, b"fine");
}

pub(crate) fn an_end_travels_in_a_message() {
    let (carry, carried) = channel::<Vec<Sender<u32>>>().expect("descriptors are left");
    let (sender, receiver) = channel::<u32>().expect("descriptors are left");

    carry.send(vec![sender.try_clone().expect("descriptors are left"), sender]).expect("it is open");
    let senders = carried.recv().expect("it was sent");

    for (number, sender) in (0..).zip(&senders) {
        sender.send(number).expect("it is open");
    }
    drop(senders);
    let received: Result<Vec<u32>, PipeError> = receiver.iter().collect();
    assert_eq!(received.expect("all are numbers"), [0, 1]);
}

pub(crate) fn ends_travel_in_a_large_message() {
    let (carry, carried) = channel::<(Vec<u8>, Sender<u32>)>().expect("descriptors are left");
    let (sender, receiver) = channel::<u32>().expect("descriptors are left");

    carry.send((vec![7; 1 << 20], sender)).expect("it is open");
    let (bytes, sender) = carried.recv().expect("it was sent");
    sender.send(1).expect("it is open");

    assert_eq!(bytes, vec![7; 1 << 20]);
    assert_eq!(receiver.recv().expect("it was sent"), 1);
}

pub(crate) fn too_many_handles_are_refused() {
    let (carry, carried) = channel::<Vec<Sender<u8>>>().expect("descriptors are left");
    let (sender, receiver) = channel::<u8>().expect("descriptors are left");
    let copies =
        |count: usize| (0..count).map(|_| sender.try_clone().expect("descriptors are left")).collect();

    carry.send(copies(253)).expect("as many as fit");
    let refused = carry.send(copies(254));

    assert!(matches!(refused, Err(PipeError::TooManyHandles { count: 254, .. })), "{refused:?}");
    assert_eq!(carried.recv().expect("it was sent").len(), 253);
    drop(receiver);
}

pub(crate) fn an_end_is_not_written_elsewhere() {
    let (sender, receiver) = channel::<u8>().expect("descriptors are left");
    let (refusing, _kept) = channel::<Unwilling>().expect("descriptors are left");

    let written = serde_json::to_string(&receiver);
    let read = serde_json::from_str::<Sender<u8>>("0");
    let refused = refusing.send(Unwilling);

    assert!(written.is_err_and(|error| error.to_string().contains("native task")));
    assert!(read.is_err_and(|error| error.to_string().contains("native task")));
    assert!(matches!(refused, Err(PipeError::Encode(_))));
    sender.send(1).expect("it is unharmed");
    assert_eq!(receiver.recv().expect("it was sent"), 1);
}

pub(crate) fn pipes_leave_no_descriptors() {
    let host = std::process::id();
    let open = descriptors(host).len();

    for _ in 0..100 {
        let (near, far) = pipe::<Vec<u8>, Sender<u8>>().expect("descriptors are left");
        let (sender, receiver) = channel().expect("descriptors are left");
        near.send(vec![1; 100_000]).expect("it is open");
        far.send(sender).expect("it is open");
        drop((near, receiver));
        assert_eq!(far.recv().expect("it was sent").len(), 100_000);
    }

    wait_until(DEADLINE, "no descriptor is left", || descriptors(host).len() <= open);
}
