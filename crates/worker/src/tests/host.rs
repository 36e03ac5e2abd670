//! The host that the tests play, and the tasks that its workers run.

use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use poolctl_macros::task;
use poolctl_protocol::{
    Encoding, FLAG_PARCEL, FLAG_SLICE, Frame, Hello, Kind, MAX_BODY_BYTES, MessageHeader, MessageKind,
    Record, RecordKind, RemoteError, ends_bytes,
};
use poolctl_shm::HostEnd;
use poolctl_sys::{ancillary, memfd, pipe};
use poolctl_types::Slot;

use crate::control::{Control, Gone};
use crate::link::Prints;
use crate::{Level, Task, current, entries, log, progress, serve, set_state, with_state};

/// No test takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// The tasks of these tests have names of their own, since all of a program's are in one list.
#[task(crate = crate, name = "life.double")]
pub(super) fn double(number: i64) -> i64 {
    number * 2
}

#[task(crate = crate, name = "life.refuse")]
pub(super) fn refuse(number: i64) -> Result<i64, String> {
    if number < 0 { Err(format!("{number} is negative")) } else { Ok(number) }
}

#[task(crate = crate, name = "life.panic_at_seven")]
pub(super) fn panic_at_seven(number: i64) -> i64 {
    assert!(number != 7, "seven: {}", number);
    number
}

#[task(crate = crate, name = "life.talk")]
pub(super) fn talk(words: &str) -> String {
    log(Level::Warn, words);
    progress(0.5, "half way");
    tracing::info!(words, count = 2, "said");
    let current = current().expect("in a task");
    format!("{}.{}.{}", current.slot, current.item, current.attempt)
}

#[task(crate = crate, name = "life.repeat")]
pub(super) fn repeat(text: String, times: usize) -> String {
    text.repeat(times)
}

#[task(crate = crate, name = "life.flip")]
pub(super) fn flip(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

#[task(crate = crate, name = "life.raise")]
pub(super) fn raise(by: u64) -> Result<u64, crate::StateError> {
    with_state(|total: &mut u64| {
        *total += by;
        *total
    })
}

#[task(crate = crate, name = "life.prepare")]
pub(super) fn prepare(from: u64) -> Result<(), String> {
    // No item runs: there is nothing to be in the middle of.
    progress(0.1, "");
    if from > 1000 {
        return Err("too much".to_owned());
    }
    set_state(from);
    Ok(())
}

/// What the worker said, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Ok(Vec<u8>),
    Err(RemoteError),
    Parcel(u64, u64),
    Other(RecordKind, Vec<u8>),
}

/// A host's end of a link, and a worker in a thread.
pub(super) struct Host {
    pub(super) ring: HostEnd,
    pub(super) hello: Hello,
    socket: UnixStream,
    worker: Option<JoinHandle<Result<(), Gone>>>,
    said: VecDeque<Said>,
    /// How long each item took, where that was measured.
    pub(super) nanos: Vec<u64>,
    /// Segments that were granted, with how many bytes were asked for.
    pub(super) granted: Vec<(OwnedFd, u64)>,
    /// What every need is answered with instead.
    pub(super) refusal: Option<&'static str>,
    next: u64,
    /// How often the worker has kicked.
    pub(super) kicks: usize,
}

/// The bytes of arguments.
pub(super) fn bytes_of<K: Task>(_: K, args: &K::Args) -> Vec<u8> {
    let mut encoder = crate::Encoder::new();
    K::encode_args(args, &mut encoder).expect("they travel");
    assert_eq!(encoder.parcel_bytes(), 0, "for arguments in place");
    encoder.main().to_vec()
}

/// The result in these bytes.
pub(super) fn result_of<K: Task>(_: K, bytes: &[u8]) -> K::Output {
    K::decode_output(&mut crate::Decoder::new(bytes)).expect("a result")
}

impl Host {
    /// A worker with rings of so many bytes.
    pub(super) fn with_rings(bytes: usize) -> Self {
        let (ours, theirs) = pipe::stream_pair().expect("sockets can be had");
        let socket = UnixStream::from(ours);
        socket.set_nonblocking(false).expect("it is ours");
        socket.set_read_timeout(Some(DEADLINE)).expect("it is ours");
        let worker = thread::spawn(move || {
            serve::run(Control::new(theirs)?, entries().collect(), Slot(3), Prints::Loose)
        });
        let (ring, segments) = HostEnd::new(bytes, bytes).expect("there is memory");
        let hello = Hello { version: 0, ..Hello::parse(br#"{"poolctl":1}"#).expect("a hello") };
        let mut host = Self {
            ring,
            hello,
            socket,
            worker: Some(worker),
            said: VecDeque::new(),
            nanos: Vec::new(),
            granted: Vec::new(),
            refusal: None,
            next: 0,
            kicks: 0,
        };
        host.hear();
        host.send(Kind::Segments, 2, &[segments.tasks, segments.results]);
        host
    }

    pub(super) fn new() -> Self {
        Self::with_rings(256 << 10)
    }

    /// Sends a frame with descriptors.
    pub(super) fn send(&self, kind: Kind, id: u64, descriptors: &[OwnedFd]) {
        let mut frame = Vec::new();
        Frame::write(&mut frame, kind, 0, id, b"", b"");
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        ancillary::send(self.socket.as_fd(), &frame, &descriptors).expect("the worker is there");
    }

    /// A header for a task's message.
    pub(super) fn header<K: Task>(&self, _: K, kind: MessageKind, encoding: Encoding) -> MessageHeader {
        let place = self.hello.functions.iter().position(|name| name == K::NAME).expect("it is offered");
        MessageHeader {
            payload: 0,
            kind,
            encoding,
            attachments: 0,
            function: u32::try_from(place).expect("few"),
            count: 0,
            first: self.next,
            attempt: 2,
            flags: 0,
            parcel: 0,
        }
    }

    /// Posts items for a task, in binary.
    pub(super) fn post<K: Task>(&mut self, task: K, items: &[K::Args]) {
        let items: Vec<Vec<u8>> = items.iter().map(|item| bytes_of(task, item)).collect();
        let header = self.header(task, MessageKind::Chunk, Encoding::Binary);
        self.post_message(header, &items);
    }

    /// Posts items for a task, in JSON.
    pub(super) fn post_json<K: Task>(&mut self, task: K, items: &[&str]) {
        let items: Vec<Vec<u8>> = items.iter().map(|item| item.as_bytes().to_vec()).collect();
        let header = self.header(task, MessageKind::Chunk, Encoding::Json);
        self.post_message(header, &items);
    }

    /// Posts a message with these items.
    pub(super) fn post_message(&mut self, mut header: MessageHeader, items: &[Vec<u8>]) {
        let mut payload = Vec::new();
        let mut end = 0;
        if header.flags & FLAG_PARCEL == 0 {
            for item in items {
                end += u32::try_from(item.len() + 1).expect("short");
                payload.extend_from_slice(&end.to_le_bytes());
            }
            header.count = u32::try_from(items.len()).expect("few");
            payload.resize(ends_bytes(header.count), 0);
            for item in items {
                payload.extend_from_slice(item);
                payload.push(b'\n');
            }
        }
        header.payload = u32::try_from(payload.len()).expect("short");
        self.next += u64::from(header.count);
        assert!(self.ring.post(&[&header.to_bytes(), &payload]), "there is room");
        self.ring.publish();
    }

    /// Posts one item that lies in a parcel.
    pub(super) fn post_parcel<K: Task>(&mut self, task: K, item: &[u8]) {
        let parcel = memfd::with_contents("test", item).expect("there is memory");
        self.send(Kind::Attachments, 1, &[parcel]);
        let header = self.header(task, MessageKind::Chunk, Encoding::Binary);
        let parcel = item.len() as u64;
        self.post_message(
            MessageHeader { attachments: 1, count: 1, flags: FLAG_PARCEL, parcel, ..header },
            &[],
        );
    }

    /// Posts a piece of a slice.
    pub(super) fn post_slice<K: Task>(&mut self, task: K, segments: &[OwnedFd], start: u64, len: u64) {
        self.send(Kind::Attachments, segments.len() as u64, segments);
        let header = self.header(task, MessageKind::Chunk, Encoding::Binary);
        let attachments = u16::try_from(segments.len()).expect("few");
        let item = [start.to_le_bytes(), len.to_le_bytes()].concat();
        self.post_message(MessageHeader { attachments, flags: FLAG_SLICE, ..header }, &[item]);
    }

    /// The next thing the worker says. Sleeps until it is kicked, as hosts do.
    pub(super) fn next(&mut self) -> Said {
        loop {
            if let Some(said) = self.said.pop_front() {
                return said;
            }
            self.ring.sleep();
            if !self.ring.has_news() {
                self.hear();
            }
            self.ring.awake();
            self.drain();
        }
    }

    /// The next result, which is a plain one.
    pub(super) fn next_of<K: Task>(&mut self, task: K) -> K::Output {
        match self.next() {
            Said::Ok(bytes) => result_of(task, &bytes),
            other => panic!("no plain result: {other:?}"),
        }
    }

    pub(super) fn next_text(&mut self) -> String {
        match self.next() {
            Said::Ok(bytes) => String::from_utf8(bytes).expect("JSON is text"),
            other => panic!("no plain result: {other:?}"),
        }
    }

    pub(super) fn next_error(&mut self) -> RemoteError {
        match self.next() {
            Said::Err(error) => error,
            other => panic!("no error: {other:?}"),
        }
    }

    fn drain(&mut self) {
        let mut records = Vec::new();
        self.ring.drain(&mut records).expect("the worker does not lie");
        let mut rest = &records[..];
        while !rest.is_empty() {
            let record = Record::parse(rest).expect("a record");
            self.nanos.extend(record.nanos);
            let word = |at: usize| u64::from_le_bytes(record.payload[at..at + 8].try_into().expect("eight"));
            self.said.push_back(match record.kind {
                RecordKind::Ok => Said::Ok(record.payload.to_vec()),
                RecordKind::Err => Said::Err(RemoteError::parse(record.payload).expect("an error")),
                RecordKind::OkParcel => Said::Parcel(word(0), word(8)),
                kind => Said::Other(kind, record.payload.to_vec()),
            });
            rest = &rest[record.bytes..];
        }
    }

    /// Waits for a frame and acts on it.
    fn hear(&mut self) {
        let mut bytes = Vec::new();
        let frame = loop {
            let mut byte = [0; 1];
            let got = self.socket.read(&mut byte).expect("the worker says something in time");
            assert!(got == 1, "the worker goes on");
            bytes.push(byte[0]);
            if let Some(frame) = Frame::parse(&bytes, MAX_BODY_BYTES).expect("frames") {
                break frame;
            }
        };
        match frame.header.kind {
            Kind::Hello => self.hello = Hello::parse(frame.payload).expect("a hello"),
            Kind::Published => self.kicks += 1,
            Kind::Need => self.grant(frame.header.id),
            kind => panic!("{kind:?} from a worker"),
        }
    }

    fn grant(&mut self, bytes: u64) {
        if let Some(refusal) = self.refusal {
            let mut frame = Vec::new();
            Frame::write(&mut frame, Kind::Grant, 0, 0, b"", refusal.as_bytes());
            ancillary::send(self.socket.as_fd(), &frame, &[]).expect("the worker is there");
            return;
        }
        let segment = memfd::sealed("test", bytes).expect("there is memory");
        self.send(Kind::Grant, bytes, &[segment.try_clone().expect("descriptors")]);
        self.granted.push((segment, bytes));
    }

    /// Says that nothing follows, and gives what the worker said since, and how it ended.
    pub(super) fn finish(
        mut self,
        header: MessageHeader,
        items: &[Vec<u8>],
    ) -> (Vec<Said>, Result<(), Gone>) {
        self.post_message(header, items);
        let worker = self.worker.take().expect("it ends once");
        let ended = worker.join().expect("it does not panic");
        self.drain();
        (self.said.into_iter().collect(), ended)
    }

    /// The same without an exit function.
    pub(super) fn end(self) {
        let header = self.header(double, MessageKind::Finish, Encoding::Binary);
        let function = poolctl_protocol::NO_FUNCTION;
        let (said, ended) = self.finish(MessageHeader { function, ..header }, &[]);
        assert_eq!(said, []);
        ended.expect("it ends in good order");
    }

    /// Goes away without a word.
    pub(super) fn vanish(mut self) -> JoinHandle<Result<(), Gone>> {
        self.worker.take().expect("it ends once")
    }
}
