//! Links against replies cut at every byte, and against bytes that no honest worker sends.

use std::os::fd::AsFd;
use std::sync::Arc;

use poolctl_engine::{Config, Effect, End, EndCause, Engine, Event};
use poolctl_protocol::{Frame, Kind, Ring};
use poolctl_sys::{clock, pipe, transfer};
use poolctl_types::{ItemRange, WorkerId};

use super::{Form, FrameLink, Link, Payloads, Peer, Streams, TextLink, Wants, reading_end};
use crate::block::Block;
use crate::channel::Outbox;
use crate::config::{Detail, Framing};
use crate::desk::{Delivery, Desk};
use crate::report::{Attempt, Notice, Report, Sink};
use crate::results::Results;
use crate::spill::Spill;

/// Everything a sink is told, as text.
#[derive(Default)]
struct Told(Vec<String>);

impl Sink for Told {
    fn run(&mut self, items: ItemRange, results: Results<'_>) {
        self.0.push(format!("{}+{} {:?}", items.first, items.count, String::from_utf8_lossy(results.bytes)));
    }

    fn settled(&mut self, report: Report) {
        let out = report.attempt.out.to_vec().unwrap();
        self.0.push(format!("{} {:?} {:?}", report.item, report.outcome, String::from_utf8_lossy(&out)));
    }

    fn notice(&mut self, notice: Notice) {
        if !matches!(notice, Notice::Greeted { .. }) {
            self.0.push(format!("{notice:?}"));
        }
    }
}

/// A link, what is at its other end, and a desk with two items for it.
struct Bench {
    link: Link,
    desk: Desk,
    told: Told,
    theirs: std::os::fd::OwnedFd,
    claim: Option<std::os::fd::OwnedFd>,
}

const WORKER: WorkerId = WorkerId { slot: poolctl_types::Slot(0), generation: poolctl_types::Generation(0) };
const PEER: Peer = Peer { worker: WORKER, pid: None };

impl Bench {
    fn over_frames() -> Self {
        let (ours, theirs) = pipe::stream_pair().unwrap();
        let wants = Wants { function: None, form: Payloads::Json };
        let (link, claim) = FrameLink::new(ours, wants, clock::now()).unwrap();
        Self::new(Link::Frames(link), theirs, Some(claim))
    }

    fn over_lines_of_json() -> Self {
        let (_their_in, our_out) = pipe::pair().unwrap();
        let (our_in, theirs) = pipe::pair().unwrap();
        let form = Form { framing: Framing::JsonLines, stdio: false, function: None };
        let outbox = Outbox::over_pipe(our_out).unwrap();
        let link = TextLink::new(outbox, reading_end(our_in).unwrap(), form, clock::now());
        Self::new(Link::Text(link), theirs, None)
    }

    fn new(link: Link, theirs: std::os::fd::OwnedFd, claim: Option<std::os::fd::OwnedFd>) -> Self {
        let now = clock::now();
        let spill = Arc::new(Spill::new(std::env::temp_dir()));
        let mut desk = Desk::new(Engine::new(Config::default(), now), spill, Detail::Bulk, now);
        let mut told = Told::default();
        let mut block = Block::new();
        block.push(b"1");
        block.push(b"2");
        let count = desk.store.push(block);
        desk.tell_plain(Event::Items(count), &mut told);
        desk.tell_plain(Event::EndOfInput, &mut told);
        desk.tell_plain(Event::Spawned(WORKER), &mut told);
        Self { link, desk, told, theirs, claim }
    }

    /// The worker says this, and the link hears it and hands out what the engine then wants handed out.
    fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        transfer::write(self.theirs.as_fd(), bytes).unwrap();
        self.hear()
    }

    fn hear(&mut self) -> Result<(), String> {
        let mut streams = Streams::default();
        let heard = self.link.receive(PEER, &mut streams, &mut self.desk, &mut self.told);
        while let Some(effect) = self.desk.effects.pop_front() {
            if let Effect::Dispatch { items, attempt, .. } = effect {
                self.link.dispatch(items, attempt, &self.desk);
            }
        }
        heard.map(|_| ()).map_err(|breach| breach.error.to_string())
    }

    /// The worker dies: everything it left is heard, then its end is told.
    fn die(mut self) -> Vec<String> {
        drop(std::mem::replace(&mut self.theirs, pipe::pair().unwrap().0));
        self.hear().unwrap();
        let claimed = self.link.last_claim(PEER, &mut Streams::default(), &mut self.desk, &mut self.told);
        let end = End { claimed, cause: EndCause::Ended };
        let event = Event::Exited { worker: WORKER, end };
        self.desk.tell(event, Delivery::Each(&mut |_| Attempt::default()), &mut self.told);
        self.told.0
    }

    /// Writes into the claim as the worker does.
    fn write_claim(&self, offset: u64, bytes: &[u8]) {
        transfer::write_at(self.claim.as_ref().unwrap().as_fd(), bytes, offset).unwrap();
    }
}

fn frame(kind: Kind, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::write(&mut bytes, kind, 0, id, b"", payload);
    bytes
}

/// One reply cut behind `cut` bytes is not delivered, a whole one is.
fn check_cut(mut bench: Bench, hello: &[u8], reply: &[u8], cut: usize) {
    bench.say(hello).unwrap();
    bench.say(&reply[..cut]).unwrap();
    let told = bench.die();

    if cut < reply.len() {
        assert_eq!(told, ["0 WorkerDied \"\""], "cut behind {cut} bytes");
    } else {
        // The second item was sent as soon as the first was answered, so it counts as begun.
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with('0') && told[0].contains("10"), "{told:?}");
        assert_eq!(told[1], "1 WorkerDied \"\"");
    }
}

#[test]
fn half_a_frame_is_never_delivered_wherever_it_is_cut() {
    let hello = frame(Kind::Hello, 0, br#"{"poolctl":1}"#);
    let reply = frame(Kind::Ok, 0, b"10");
    for cut in 0..=reply.len() {
        check_cut(Bench::over_frames(), &hello, &reply, cut);
    }
}

#[test]
fn half_a_line_is_never_delivered_wherever_it_is_cut() {
    let hello = b"{\"poolctl\":1}\n";
    let reply = b"{\"id\":0,\"ok\":10}\n";
    for cut in 0..=reply.len() {
        check_cut(Bench::over_lines_of_json(), hello, reply, cut);
    }
}

#[test]
fn what_a_dead_worker_had_published_counts_and_only_its_claim_was_started() {
    let mut bench = Bench::over_frames();
    bench.say(&frame(Kind::Hello, 0, br#"{"poolctl":1,"caps":["claim","batch"]}"#)).unwrap();
    let reply = frame(Kind::Ok, 0, b"10");
    bench.write_claim(Ring::OFFSET, &reply);
    bench.write_claim(16, &(reply.len() as u64).to_le_bytes());
    bench.write_claim(0, &1_u64.to_le_bytes());

    let told = bench.die();

    assert_eq!(told[0], "0+1 \"10\\n\"");
    assert!(told.len() == 1 || told[1] == "1 WorkerDied \"\"", "{told:?}");
}

#[test]
fn a_ring_that_lies_ends_the_worker_and_delivers_nothing() {
    let reply = frame(Kind::Ok, 0, b"10");
    let lies: [(u64, &[u8]); 4] = [
        (u64::MAX, &reply),
        (Ring::DEFAULT_BYTES + 1, &reply),
        (reply.len() as u64 - 1, &reply),
        (reply.len() as u64, &[0xFF; 18]),
    ];
    for (published, ring) in lies {
        let mut bench = Bench::over_frames();
        bench.say(&frame(Kind::Hello, 0, br#"{"poolctl":1,"caps":["claim","batch"]}"#)).unwrap();
        bench.write_claim(Ring::OFFSET, ring);
        bench.write_claim(16, &published.to_le_bytes());

        let heard = bench.say(&frame(Kind::Published, 0, b""));

        assert!(heard.is_err(), "published {published}");
        assert_eq!(bench.told.0, Vec::<String>::new(), "published {published}");
    }
}

#[test]
fn answers_for_what_is_not_held_and_other_rubbish_are_refused() {
    let wrong: [&[u8]; 8] = [
        b"{\"id\":1,\"ok\":1}\n{\"id\":1,\"ok\":1}\n",
        b"{\"id\":7,\"ok\":1}\n",
        b"{\"id\":-1,\"ok\":1}\n",
        b"{\"id\":0,\"ok\":NaN}\n",
        b"{\"id\":0,\"id\":0,\"ok\":1}\n",
        b"hello there\n",
        b"\xFF\xFE\n",
        b"\n",
    ];
    for reply in wrong {
        let mut bench = Bench::over_lines_of_json();
        bench.say(b"{\"poolctl\":1}\n").unwrap();

        assert!(bench.say(reply).is_err(), "{}", String::from_utf8_lossy(reply));
        assert!(bench.told.0.iter().all(|told| !told.starts_with("7 ") && !told.contains("hello there")));
    }
}

#[test]
fn a_first_message_that_is_no_hello_is_refused() {
    let mut lines = Bench::over_lines_of_json();
    assert!(lines.say(b"{\"id\":0,\"ok\":1}\n").unwrap_err().contains("no hello"));
    let mut frames = Bench::over_frames();
    assert!(frames.say(&frame(Kind::Ok, 0, b"1")).unwrap_err().contains("no hello"));
    let mut versions = Bench::over_frames();
    let heard = versions.say(&frame(Kind::Hello, 0, br#"{"poolctl":2}"#));
    assert!(heard.unwrap_err().contains("version 2"));
}
