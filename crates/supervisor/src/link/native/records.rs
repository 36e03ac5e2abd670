//! Reading what a native worker published. Plain results of neighbours go to the desk as one run, where they stand.

use std::time::Duration;

use poolctl_engine::{Answer, Event};
use poolctl_protocol::{Encoding, Level, Record, RecordKind, RemoteError, check_value};
use poolctl_types::{ItemRange, Moment};

use super::{Breach, NativeLink, Peer, Stage};
use crate::config::Detail;
use crate::desk::{Delivery, Desk};
use crate::output::{Held, Lodged, Output};
use crate::report::{Attempt, BadReply, ExitResult, NestedOutcome, Notice, Sink, TaskError};
use crate::results::{Form, Results};

impl NativeLink {
    /// Tells what these records say.
    pub(super) fn take_records(
        &mut self,
        records: &[u8],
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let mut at = 0;
        while at < records.len() {
            let record = Record::parse(&records[at..]).map_err(BadReply::from)?;
            let is_plain = record.kind == RecordKind::Ok && record.nanos.is_none();
            if is_plain && desk.detail == Detail::Bulk && self.prints.is_empty() {
                at += self.take_run(&records[at..], peer, desk, sink)?;
            } else {
                self.take_record(&record, peer, desk, sink)?;
                at += record.bytes;
            }
        }
        Ok(())
    }

    /// Takes plain results as long as they follow one another; says how many bytes that were.
    fn take_run(
        &mut self,
        records: &[u8],
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<usize, Breach> {
        let items = self.held.front(u64::from(u32::MAX)).ok_or_else(too_many)?;
        let is_json = self.native.encoding == Encoding::Json;
        self.lines.clear();
        let (mut at, mut count) = (0, 0);
        while count < items.count && at < records.len() {
            let record = Record::parse(&records[at..]).map_err(BadReply::from)?;
            if record.kind != RecordKind::Ok || record.nanos.is_some() {
                break;
            }
            if is_json {
                check_value(record.payload).map_err(BadReply::from)?;
                self.lines.extend_from_slice(record.payload);
                self.lines.push(b'\n');
            }
            at += record.bytes;
            count += 1;
        }
        self.answer_for(ItemRange::new(items.first, count), desk.now);
        let results = match self.native.encoding {
            Encoding::Json => Results { bytes: &self.lines, form: Form::Lines },
            Encoding::Binary => Results { bytes: &records[..at], form: Form::Records },
        };
        let items = ItemRange::new(items.first, count);
        let event = Event::Finished { worker: peer.worker, count };
        desk.tell(event, Delivery::Run { worker: peer.worker, items, results }, sink);
        Ok(at)
    }

    fn take_record(
        &mut self,
        record: &Record<'_>,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        match (record.kind, self.stage) {
            (RecordKind::Ok, Stage::Serving) => {
                if self.native.encoding == Encoding::Json {
                    check_value(record.payload).map_err(BadReply::from)?;
                }
                self.answer(record, Answer::Ok, record.payload.to_vec().into(), None, peer, desk, sink)
            }
            (RecordKind::OkParcel, Stage::Serving) => {
                let out = self.lodged(record.payload)?;
                self.answer(record, Answer::Ok, out, None, peer, desk, sink)
            }
            (RecordKind::Err, Stage::Serving) => {
                let error = self.error_of(record.payload, desk)?;
                let answer = if error.retry == Some(false) { Answer::FailedForGood } else { Answer::Failed };
                let error = Some(TaskError::Remote(error));
                self.answer(record, answer, Output::default(), error, peer, desk, sink)
            }
            (RecordKind::Log, _) => {
                let (level, text) = record.payload.split_first().ok_or_else(senseless)?;
                let level =
                    [Level::Debug, Level::Info, Level::Warn, Level::Error][usize::from(*level).min(3)];
                let text = String::from_utf8_lossy(text).into_owned();
                sink.notice(Notice::Log { worker: peer.worker, item: self.held.oldest(), level, text });
                Ok(())
            }
            (RecordKind::Progress, Stage::Serving) => {
                let (fraction, note) = record.payload.split_first_chunk::<8>().ok_or_else(senseless)?;
                let fraction =
                    Some(f64::from_le_bytes(*fraction)).filter(|fraction| (0.0..=1.0).contains(fraction));
                let item = self.held.oldest().ok_or_else(too_many)?;
                let note = (!note.is_empty()).then(|| String::from_utf8_lossy(note).into_owned());
                sink.notice(Notice::Progress { item, fraction: fraction.ok_or_else(senseless)?, note });
                Ok(())
            }
            (RecordKind::Initialized, Stage::Initializing) => {
                self.serve(peer, desk, sink);
                Ok(())
            }
            (RecordKind::InitializerFailed, Stage::Initializing) => {
                let error = RemoteError::parse(record.payload).map_err(BadReply::from)?;
                Err(Breach { item: None, error: TaskError::Refused { code: 126, error } })
            }
            (RecordKind::Exit, Stage::Serving) => {
                desk.exits.push(ExitResult { worker: peer.worker, result: Ok(record.payload.to_vec()) });
                Ok(())
            }
            (RecordKind::ExitFailed, Stage::Serving) => {
                let error = RemoteError::parse(record.payload).map_err(BadReply::from)?;
                desk.exits.push(ExitResult { worker: peer.worker, result: Err(error) });
                Ok(())
            }
            (RecordKind::Nested, Stage::Serving) => self.nested(record.payload, peer, sink),
            (RecordKind::Waits, Stage::Serving) => self.waits(record.payload, peer, desk, sink),
            (RecordKind::Forgets, Stage::Serving) => {
                let id = u64::from_le_bytes(*record.payload.first_chunk::<8>().ok_or_else(senseless)?);
                if self.native.may_nest {
                    sink.notice(Notice::NestedForget { worker: peer.worker, id });
                }
                Ok(())
            }
            (RecordKind::GoesOn, Stage::Serving) => {
                desk.tell_plain(Event::GoesOn(peer.worker), sink);
                Ok(())
            }
            (RecordKind::Bye, Stage::Serving) => {
                desk.tell_plain(Event::Retire(peer.worker), sink);
                Ok(())
            }
            _ => Err(senseless()),
        }
    }

    /// The item in hand submits another one.
    fn nested(&mut self, payload: &[u8], peer: Peer, sink: &mut dyn Sink) -> Result<(), Breach> {
        let (id, rest) = payload.split_first_chunk::<8>().ok_or_else(senseless)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(senseless)?;
        let (name, item) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or_else(senseless)?;
        let function = str::from_utf8(name).map_err(|_| senseless())?.into();
        let id = u64::from_le_bytes(*id);
        if self.native.may_nest {
            let worker = peer.worker;
            sink.notice(Notice::Nested { worker, id, function, payload: item.to_vec() });
        } else {
            let msg = "an item cannot submit others to this pool".to_owned();
            let type_name = "NotNestable".to_owned();
            let error = RemoteError { type_name, msg, trace: None, retry: Some(false), more: None };
            self.outcomes.push_back((id, NestedOutcome::Err(error)));
        }
        Ok(())
    }

    /// The item in hand waits for one that it submitted; what the worker holds besides goes elsewhere.
    fn waits(
        &mut self,
        payload: &[u8],
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let (id, rest) = payload.split_first_chunk::<8>().ok_or_else(senseless)?;
        let returned = u32::from_le_bytes(*rest.first_chunk::<4>().ok_or_else(senseless)?);
        let posted = self.held.count().saturating_sub(self.unposted());
        if u64::from(returned) >= posted {
            return Err(senseless());
        }
        let gone = self.held.take_behind_front(returned);
        self.with_descriptors.retain(|(item, _)| !gone.iter().any(|items| items.contains(*item)));
        // What waits for room behind it goes elsewhere too: the worker gets nothing for now.
        let unposted: u32 = self.queue.drain(..).map(|waiting| waiting.items.count).sum();
        self.held.take_behind_front(unposted);
        let event = Event::Waits { worker: peer.worker, returned: returned + unposted };
        desk.tell_plain(event, sink);
        if self.native.may_nest {
            sink.notice(Notice::NestedWait { worker: peer.worker, id: u64::from_le_bytes(*id) });
        }
        Ok(())
    }

    /// How many items wait for room in the ring.
    fn unposted(&self) -> u64 {
        self.queue.iter().map(|waiting| u64::from(waiting.items.count)).sum()
    }

    /// The oldest item has its answer.
    #[expect(clippy::too_many_arguments, reason = "what belongs to an answer, and whom to tell")]
    fn answer(
        &mut self,
        record: &Record<'_>,
        answer: Answer,
        out: Output,
        error: Option<TaskError>,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let item = self.held.oldest().ok_or_else(too_many)?;
        self.answer_for(ItemRange::one(item), desk.now);
        let wall = record.nanos.map(Duration::from_nanos);
        if let Some(wall) = wall {
            desk.observer.ran(item, peer.worker, wall);
        }
        let nanos = record.nanos.unwrap_or_default();
        let started = wall.map(|_| Moment(desk.now.0.saturating_sub(nanos)));
        let (stdout, stderr) = self.prints.take(item);
        let (worker, pid) = (Some(peer.worker), peer.pid);
        let known = Attempt { worker, pid, out, error, stdout, stderr, wall, started, ..Attempt::default() };
        let mut known = Some(known);
        let event = Event::Answered { worker: peer.worker, item, answer };
        desk.tell(event, Delivery::Each(&mut |_| known.take().unwrap_or_default()), sink);
        Ok(())
    }

    /// These, the oldest items, are answered: nothing is kept for them any more.
    fn answer_for(&mut self, items: ItemRange, now: Moment) {
        self.held.pop(items.count);
        self.answered += u64::from(items.count);
        self.answered_at = now;
        self.granted = None;
        while self.with_descriptors.front().is_some_and(|(item, _)| items.contains(*item)) {
            self.with_descriptors.pop_front();
        }
    }

    /// The result that the worker has put into the segment granted to it.
    fn lodged(&mut self, payload: &[u8]) -> Result<Output, Breach> {
        let parcel = self.granted.take().ok_or_else(too_many)?;
        let (main, rest) = payload.split_first_chunk::<8>().ok_or_else(senseless)?;
        let whole = rest.first_chunk::<8>().ok_or_else(senseless)?;
        let (main, whole) = (u64::from_le_bytes(*main), u64::from_le_bytes(*whole));
        if main > whole || whole > parcel.bytes() {
            return Err(senseless());
        }
        let held = if self.native.parcels.are_many() {
            let mut bytes = vec![0; usize::try_from(whole).map_err(|_| senseless())?];
            parcel.read_at(&mut bytes, 0).map_err(BadReply::from)?;
            Held::Memory(bytes)
        } else {
            Held::Parcel(parcel)
        };
        let lodged = Lodged { held, main, whole };
        if self.native.encoding == Encoding::Binary {
            return Ok(Output::lodged(lodged));
        }
        let mut text = vec![0; usize::try_from(whole).map_err(|_| senseless())?];
        lodged.read_at(&mut text, 0).map_err(BadReply::from)?;
        check_value(&text).map_err(BadReply::from)?;
        Ok(text.into())
    }

    /// What the worker says went wrong; why it was not even called, if its function is not there.
    fn error_of(&mut self, payload: &[u8], desk: &Desk) -> Result<RemoteError, Breach> {
        let error = RemoteError::parse(payload).map_err(BadReply::from)?;
        let item = self.held.oldest().ok_or_else(too_many)?;
        let (block, ..) = desk.store.part(ItemRange::one(item));
        match block.function.as_ref().map(|name| self.functions.find_again(name)) {
            Some(Err(missing)) => {
                let type_name = "NoSuchFunction".to_owned();
                Ok(RemoteError {
                    type_name,
                    msg: missing.to_string(),
                    trace: None,
                    retry: Some(false),
                    more: None,
                })
            }
            Some(Ok(_)) | None => Ok(error),
        }
    }
}

/// An answer, and nothing that it answers.
fn too_many() -> Breach {
    BadReply::Uncalled.into()
}

/// A record that says nothing, or nothing that is due.
fn senseless() -> Breach {
    BadReply::Senseless.into()
}
