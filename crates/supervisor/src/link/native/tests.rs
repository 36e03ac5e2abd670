//! The link to a native worker against a worker's end of the rings, played by the test: honest, dying, and lying.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use poolctl_engine::{Config, Effect, End, EndCause, Engine, Event};
use poolctl_protocol::{
    Encoding, Frame, Kind, MESSAGE_HEADER_BYTES, MessageHeader, RecordKind, ends_bytes, push_record,
};
use poolctl_shm::WorkerEnd;
use poolctl_sys::{ancillary, clock, pipe, transfer};
use poolctl_types::{Generation, ItemRange, Slot, WorkerId};

use super::{Manner, NativeLink, Peer, Streams};
use crate::block::Block;
use crate::config::{Detail, Native};
use crate::desk::{Delivery, Desk};
use crate::report::{Attempt, Notice, Report, Sink};
use crate::results::Results;
use crate::spill::Spill;

const WORKER: WorkerId = WorkerId { slot: Slot(0), generation: Generation(0) };
const PEER: Peer = Peer { worker: WORKER, pid: None };
const HELLO: &str =
    r#"{"poolctl":1,"caps":["claim"],"native":2,"functions":["echo"],"signatures":["fn(u8) -> u8"]}"#;

/// Everything a sink is told, as text.
#[derive(Default)]
struct Told(Vec<String>);

impl Sink for Told {
    fn run(&mut self, items: ItemRange, results: Results<'_>) {
        let mut rest = results;
        for item in items.iter() {
            let (first, behind) = rest.split(1);
            self.0.push(format!("{item} ok {:?}", String::from_utf8_lossy(first.only())));
            rest = behind;
        }
    }

    fn settled(&mut self, report: Report) {
        let out = report.attempt.out.to_vec().unwrap();
        let error = report.attempt.error.map(|error| format!(" {error}")).unwrap_or_default();
        let what = format!("{} {:?} {}{error}", report.item, report.outcome, out.len());
        self.0.push(what);
    }

    fn notice(&mut self, notice: Notice) {
        if !matches!(notice, Notice::Greeted { .. }) {
            self.0.push(format!("{notice:?}"));
        }
    }
}

/// A link, the worker's end of it, and a desk with items for it.
struct Bench {
    link: NativeLink,
    desk: Desk,
    told: Told,
    socket: OwnedFd,
    end: Option<WorkerEnd>,
}

impl Bench {
    fn new(items: &[&[u8]], encoding: Encoding, function: Option<&str>) -> Self {
        let (ours, socket) = pipe::stream_pair().unwrap();
        let now = clock::now();
        let native = Arc::new(Native { encoding, ..Native::default() });
        let manner = Manner { timed: false, may_spin: false };
        let link = NativeLink::new(ours, PEER.worker, native, manner, now).unwrap();
        let spill = Arc::new(Spill::new(std::env::temp_dir()));
        let mut desk = Desk::new(Engine::new(Config::default(), now), spill, Detail::Bulk, now);
        let mut told = Told::default();
        let mut block = Block { function: function.map(Arc::from), ..Block::default() };
        items.iter().for_each(|item| block.push(item));
        let count = desk.store.push(block);
        desk.tell_plain(Event::Items(count), &mut told);
        desk.tell_plain(Event::EndOfInput, &mut told);
        desk.tell_plain(Event::Spawned(WORKER), &mut told);
        Self { link, desk, told, socket, end: None }
    }

    /// A worker that has said hello and got its segments.
    fn greeted(items: &[&[u8]], encoding: Encoding, function: Option<&str>) -> Self {
        let mut bench = Self::new(items, encoding, function);
        bench.say(Kind::Hello, 0, HELLO).unwrap();
        let (kind, _, mut segments) = bench.receive();
        assert_eq!((kind, segments.len()), (Kind::Segments, 2));
        let results = segments.pop().unwrap();
        bench.end = Some(WorkerEnd::attach(segments.pop().unwrap(), results).unwrap());
        bench
    }

    /// The worker says this on the socket, and the link hears it.
    fn say(&mut self, kind: Kind, id: u64, payload: &str) -> Result<(), String> {
        let mut bytes = Vec::new();
        Frame::write(&mut bytes, kind, 0, id, b"", payload.as_bytes());
        transfer::write(self.socket.as_fd(), &bytes).unwrap();
        self.hear()
    }

    fn hear(&mut self) -> Result<(), String> {
        let heard = self.link.read(PEER, &mut Streams::default(), &mut self.desk, &mut self.told);
        while let Some(effect) = self.desk.effects.pop_front() {
            if let Effect::Dispatch { items, attempt, .. } = effect {
                self.link.dispatch(items, attempt, &self.desk);
            }
        }
        heard.map(|_| ()).map_err(|breach| breach.error.to_string())
    }

    /// What the worker receives on the socket.
    fn receive(&self) -> (Kind, u64, Vec<OwnedFd>) {
        let mut bytes = [0; 512];
        let mut descriptors = Vec::new();
        let got = ancillary::receive(self.socket.as_fd(), &mut bytes, &mut descriptors).unwrap();
        let frame = Frame::parse(&bytes[..got], 512).unwrap().unwrap();
        (frame.header.kind, frame.header.id, descriptors)
    }

    fn end(&mut self) -> &mut WorkerEnd {
        self.end.as_mut().unwrap()
    }

    /// The next message, and the items in it.
    fn message(&mut self) -> (MessageHeader, Vec<Vec<u8>>) {
        let posted = self.end().posted();
        let header = MessageHeader::parse(posted.first_chunk::<MESSAGE_HEADER_BYTES>().unwrap()).unwrap();
        let whole = MESSAGE_HEADER_BYTES + header.payload as usize;
        let payload = &posted[MESSAGE_HEADER_BYTES..whole];
        let mut items = Vec::new();
        if header.payload > 0 {
            let (table, bytes) = payload.split_at(ends_bytes(header.count));
            let mut start = 0;
            for end in table.chunks_exact(4).take(header.count as usize) {
                let end = u32::from_le_bytes(end.try_into().unwrap()) as usize;
                items.push(bytes[start..end - 1].to_vec());
                start = end;
            }
        }
        self.end().consume(whole);
        (header, items)
    }

    fn publish(&mut self, kind: RecordKind, payload: &[u8]) {
        let mut record = Vec::new();
        push_record(kind, None, payload, &mut record);
        self.publish_bytes(&record);
    }

    fn publish_bytes(&mut self, bytes: &[u8]) {
        let end = self.end();
        end.spare()[..bytes.len()].copy_from_slice(bytes);
        end.advance(bytes.len());
        end.publish();
    }

    /// The worker dies: everything it left is heard, then its end is told.
    fn die(mut self) -> Vec<String> {
        drop(std::mem::replace(&mut self.socket, pipe::pair().unwrap().0));
        self.hear().unwrap();
        let claimed = self.link.last_claim(PEER, &mut Streams::default(), &mut self.desk, &mut self.told);
        let end = End { claimed, cause: EndCause::Ended };
        let event = Event::Exited { worker: WORKER, end };
        self.desk.tell(event, Delivery::Each(&mut |_| Attempt::default()), &mut self.told);
        self.told.0
    }
}

#[test]
fn items_are_posted_and_their_results_told_in_order() {
    let mut bench = Bench::greeted(&[b"a\nb", b"", b"ccc"], Encoding::Binary, None);

    let (header, items) = bench.message();
    assert_eq!((header.first, header.function, header.attempt), (0, 0, 1));
    assert_eq!(items, [b"a\nb".to_vec()]);
    bench.end().begin(1, None);
    bench.publish(RecordKind::Ok, b"A");
    bench.hear().unwrap();
    assert_eq!(bench.message().1, [b"".to_vec()]);
    assert_eq!(bench.message().1, [b"ccc".to_vec()]);
    bench.end().begin(3, None);
    bench.publish(RecordKind::Ok, b"");
    bench.publish(RecordKind::Ok, b"C\nC");
    bench.hear().unwrap();

    assert_eq!(bench.told.0, [r#"0 ok "A""#, r#"1 ok """#, r#"2 ok "C\nC""#]);
}

#[test]
fn results_in_json_are_told_as_lines_and_must_be_json() {
    let mut bench = Bench::greeted(&[b"1", b"2"], Encoding::Json, None);
    bench.publish(RecordKind::Ok, b"[1]");
    bench.hear().unwrap();
    assert_eq!(bench.told.0, [r#"0 ok "[1]""#]);

    bench.publish(RecordKind::Ok, b"1\n2");

    assert!(bench.hear().unwrap_err().contains("not on one line"));
}

#[test]
fn what_was_published_counts_and_the_item_begun_and_not_answered_was_started() {
    let mut bench = Bench::greeted(&[b"1", b"2", b"3"], Encoding::Binary, None);
    bench.publish(RecordKind::Ok, b"x");
    bench.hear().unwrap();
    bench.end().begin(3, None);
    bench.publish(RecordKind::Ok, b"y");

    let told = bench.die();

    assert_eq!(told, [r#"0 ok "x""#, r#"1 ok "y""#, "2 WorkerDied 0"]);
}

#[test]
fn an_item_that_was_posted_and_not_begun_goes_elsewhere_in_silence() {
    let mut bench = Bench::greeted(&[b"1", b"2"], Encoding::Binary, None);
    bench.end().begin(1, None);
    bench.publish(RecordKind::Ok, b"x");

    assert_eq!(bench.die(), [r#"0 ok "x""#]);
}

#[test]
fn a_worker_that_answers_too_often_or_publishes_nonsense_is_found_out() {
    let mut bench = Bench::greeted(&[b"1"], Encoding::Binary, None);
    bench.publish(RecordKind::Ok, b"x");
    bench.publish(RecordKind::Ok, b"y");
    assert!(bench.hear().unwrap_err().contains("an answer to an item that it was not given"));

    for nonsense in
        [[0xFF; 8], [200, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 99, 0, 0, 0], [0, 0, 0, 0, 4, 0, 0, 0]]
    {
        let mut bench = Bench::greeted(&[b"1"], Encoding::Binary, None);
        bench.publish_bytes(&nonsense);
        assert!(bench.hear().is_err(), "{nonsense:?}");
    }
}

#[test]
fn large_items_and_large_results_go_by_descriptor() {
    let item = vec![7_u8; 300_000];
    let mut bench = Bench::greeted(&[&item], Encoding::Binary, None);

    let (header, _) = bench.message();
    assert_eq!((header.attachments, header.parcel), (1, 300_000));
    let (kind, count, descriptors) = bench.receive();
    assert_eq!((kind, count, descriptors.len()), (Kind::Attachments, 1, 1));
    let mut received = vec![0; 300_000];
    transfer::read_exactly_at(descriptors[0].as_fd(), &mut received, 0).unwrap();
    assert_eq!(received, item);
    assert!(transfer::write_at(descriptors[0].as_fd(), b"x", 0).is_err(), "it is for reading alone");

    bench.say(Kind::Need, 200_000, "").unwrap();
    let (kind, room, descriptors) = bench.receive();
    assert!(kind == Kind::Grant && room >= 200_000);
    transfer::write_all_at(descriptors[0].as_fd(), &[9; 200_000], 0).unwrap();
    let sizes = [100_000_u64.to_le_bytes(), 200_000_u64.to_le_bytes()].concat();
    bench.publish(RecordKind::OkParcel, &sizes);
    bench.hear().unwrap();

    assert_eq!(bench.told.0, ["0 Ok 200000"]);
}

#[test]
fn a_result_larger_than_its_segment_is_a_lie() {
    let mut bench = Bench::greeted(&[b"1"], Encoding::Binary, None);
    bench.say(Kind::Need, 100, "").unwrap();
    assert_eq!(
        bench.say(Kind::Need, 100, "").unwrap_err().split(':').next(),
        Some("the worker broke the protocol")
    );

    let mut bench = Bench::greeted(&[b"1"], Encoding::Binary, None);
    bench.say(Kind::Need, 100, "").unwrap();
    bench.publish(RecordKind::OkParcel, &[0_u64.to_le_bytes(), (1_u64 << 40).to_le_bytes()].concat());
    assert!(bench.hear().is_err());
}

#[test]
fn a_worker_of_another_layout_and_one_that_is_none_are_refused_at_once() {
    let mut bench = Bench::new(&[b"1"], Encoding::Binary, None);
    let error = bench.say(Kind::Hello, 0, r#"{"poolctl":1,"native":99}"#).unwrap_err();
    assert!(error.contains("layout 99") && error.contains("layout 2"), "{error}");

    let mut bench = Bench::new(&[b"1"], Encoding::Binary, None);
    let error = bench.say(Kind::Hello, 0, r#"{"poolctl":1}"#).unwrap_err();
    assert!(error.contains("not built with poolctl"), "{error}");
}

#[test]
fn a_function_that_is_not_offered_or_is_another_fails_its_items_for_good() {
    for (function, expected) in [
        ("ecco", "the worker has no function `ecco`; it offers echo"),
        ("echo\0fn(i8) -> i8", "the worker's `echo` is `fn(u8) -> u8`, this program's is `fn(i8) -> i8`"),
    ] {
        let mut bench = Bench::greeted(&[b"1"], Encoding::Binary, Some(function));
        assert_eq!(bench.message().0.function, u32::MAX);
        bench.publish(RecordKind::Err, br#"{"type":"NoSuchFunction","msg":"?"}"#);
        bench.hear().unwrap();

        assert!(
            bench.told.0[0].starts_with("0 Failed") && bench.told.0[0].contains(expected),
            "{:?}",
            bench.told.0
        );
    }
}

#[test]
fn at_the_end_everything_is_posted_before_the_worker_is_told() {
    let items: Vec<_> = (0..64).map(|_| vec![1_u8; 60_000]).collect();
    let items: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
    let mut bench = Bench::greeted(&items, Encoding::Binary, None);
    let mut answered = 0;
    bench.link.finish();
    loop {
        let (header, posted) = bench.message();
        if header.kind == poolctl_protocol::MessageKind::Finish {
            break;
        }
        for _ in posted {
            answered += 1;
            bench.end().begin(answered, None);
            bench.publish(RecordKind::Ok, b"x");
        }
        bench.hear().unwrap();
        bench.link.finish();
    }

    assert_eq!(answered, bench.told.0.len() as u64);
    bench.publish(RecordKind::Exit, b"bye");
    bench.hear().unwrap();
    assert_eq!(bench.desk.exits[0].result, Ok(b"bye".to_vec()));
}
