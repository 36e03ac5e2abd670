//! Items that the item in a worker's hands submits to its own pool, over frames.
//!
//! The worker numbers them. It submits one (34), waits for it (18) or does not want it any more (39), and goes on (19). While
//! it waits it gives back what it holds and has not begun, `n` of them; also what reaches it meanwhile. It is told of each it
//! waits for (64): the result, the error, or that it is its own to run, since nobody has begun it.

use poolctl_engine::Event;
use poolctl_protocol::client::{ItemsMeta, parse_json};
use poolctl_protocol::{FLAG_IN_MEMFD, Frame, Kind, RemoteError};

use super::{Breach, FrameLink};
use crate::desk::Desk;
use crate::link::Peer;
use crate::output::Output;
use crate::report::{BadReply, NestedOutcome, Notice, Sink};

/// The longest result that is told in a frame.
const LONGEST: u64 = poolctl_protocol::MAX_BODY_BYTES as u64 - 1024;

impl FrameLink {
    /// Takes what a worker says of items that it submits.
    pub(super) fn take_nested(
        &mut self,
        frame: &Frame<'_>,
        peer: Peer,
        desk: &mut Desk,
        sink: &mut dyn Sink,
    ) -> Result<(), Breach> {
        let (worker, id) = (peer.worker, frame.header.id);
        // What was published before belongs to the time before.
        self.drain(peer, desk, sink)?;
        match frame.header.kind {
            Kind::Submit => {
                let payload = frame.payload.to_vec();
                sink.notice(Notice::Nested { worker, id, function: "".into(), payload });
            }
            Kind::Withdraw => sink.notice(Notice::NestedForget { worker, id }),
            Kind::Waits => {
                let ItemsMeta { n } =
                    parse_json(frame.meta, "what a worker waits for").map_err(BadReply::from)?;
                if u64::from(n) >= self.held.count() {
                    return Err(BadReply::GivesBack { given: n, held: self.held.count() }.into());
                }
                self.held.take_behind_front(n);
                desk.tell_plain(Event::Waits { worker, returned: n }, sink);
                sink.notice(Notice::NestedWait { worker, id });
            }
            _ => desk.tell_plain(Event::GoesOn(worker), sink),
        }
        Ok(())
    }

    /// Tells the item in hand what became of one that it submitted.
    pub(crate) fn tell_nested(&mut self, id: u64, outcome: NestedOutcome, desk: &Desk) {
        match outcome {
            NestedOutcome::Yours => self.answer_nested(id, "yours", b""),
            NestedOutcome::Err(error) => self.answer_nested_error(id, &error),
            NestedOutcome::Ok(output) => self.answer_nested_ok(id, output),
        }
        self.flush_at(desk.now);
    }

    fn answer_nested_ok(&mut self, id: u64, mut output: Output) {
        if let Some(memfd) = output.take_memfd() {
            let mut frame = Vec::new();
            Frame::write(&mut frame, Kind::Result, FLAG_IN_MEMFD, id, &status("ok"), b"");
            self.send_with(frame, vec![crate::block::Attachment::File(std::sync::Arc::new(memfd))]);
            return;
        }
        let lost = |msg: String| RemoteError {
            type_name: "LostResult".to_owned(),
            msg,
            trace: None,
            retry: None,
            more: None,
        };
        match output.to_vec() {
            Ok(bytes) if output.len() <= LONGEST => self.answer_nested(id, "ok", &bytes),
            Ok(bytes) => {
                let error =
                    lost(format!("the result has {} bytes, and a frame at most {LONGEST}", bytes.len()));
                self.answer_nested_error(id, &error);
            }
            Err(error) => self.answer_nested_error(id, &lost(error.to_string())),
        }
    }

    fn answer_nested_error(&mut self, id: u64, error: &RemoteError) {
        let json = serde_json::to_vec(error).unwrap_or_default();
        self.answer_nested(id, "failed", &json);
    }

    fn answer_nested(&mut self, id: u64, how: &str, payload: &[u8]) {
        Frame::write(self.outbox.bytes(), Kind::Result, 0, id, &status(how), payload);
    }
}

/// The meta of what a worker is told: `ok`, `failed` or `yours`.
fn status(how: &str) -> Vec<u8> {
    format!("{{\"nested\":\"{how}\"}}").into_bytes()
}
