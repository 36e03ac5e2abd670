//! Sending items and constants over frames.
//!
//! A constant goes to a worker before the first item that needs it, and is released when nobody here keeps it any more:
//! so it travels once per worker however many items name it. What comes with a descriptor goes in a frame of its own.

use std::sync::{Arc, Weak};

use poolctl_protocol::{FLAG_IN_MEMFD, Frame, Kind, write_batch_head, write_raw_batch};
use poolctl_types::{Item, ItemRange};

use super::FrameLink;
use crate::block::{Attachment, Block};
use crate::constant::{Constant, Content};
use crate::desk::Desk;

/// How many payload bytes one batch frame takes at most; a single larger item goes alone.
const BATCH_BYTES: usize = 1 << 20;

/// How payloads are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payloads {
    /// JSON texts.
    Json,
    /// Bytes of any kind.
    Raw,
}

/// The constants that the worker at the other end has.
#[derive(Debug, Default)]
pub(super) struct Constants {
    known: Vec<(Arc<str>, Weak<Constant>)>,
}

impl FrameLink {
    /// Sends what the worker needs before its hello.
    pub(crate) fn set_up(&mut self, setup: &Arc<Constant>) {
        self.send_constant("setup", setup.content());
        // If the worker is gone already, its pidfd tells.
        self.outbox.flush().ok();
    }

    pub(crate) fn dispatch(&mut self, items: ItemRange, desk: &Desk) {
        if self.held.count() == 0 {
            (self.heard, self.answered) = (desk.now, desk.now);
        }
        self.held.push(items);
        let is_batched = self.caps.is_some_and(|caps| caps.batch);
        match self.wants.form {
            Payloads::Raw => self.send_raw(items, desk),
            Payloads::Json if is_batched => self.write_batches(items, desk),
            Payloads::Json => {
                let meta = self.task_meta();
                for item in items.iter() {
                    Frame::write(self.outbox.bytes(), Kind::Task, 0, item.0, &meta, desk.store.item(item));
                }
            }
        }
        self.flush_at(desk.now);
    }

    fn task_meta(&self) -> Vec<u8> {
        match &self.wants.function {
            Some(function) => {
                serde_json::to_vec(&serde_json::json!({ "fn": function, "enc": "json" })).unwrap_or_default()
            }
            None => b"{\"enc\":\"json\"}".to_vec(),
        }
    }

    /// Sends items as batches of at most [`BATCH_BYTES`], unless one item alone is larger.
    fn write_batches(&mut self, items: ItemRange, desk: &Desk) {
        let total: usize = desk.store.slices(items).map(<[u8]>::len).sum();
        if total <= BATCH_BYTES || items.count == 1 {
            write_batch_head(self.outbox.bytes(), items.first.0, items.count, total);
            for slice in desk.store.slices(items) {
                self.outbox.bytes().extend_from_slice(slice);
            }
            return;
        }
        let half = items.count / 2;
        self.write_batches(ItemRange::new(items.first, half), desk);
        self.write_batches(ItemRange::new(items.first.plus(u64::from(half)), items.count - half), desk);
    }

    /// Sends items of any bytes, in batches of those that need the same constant.
    fn send_raw(&mut self, items: ItemRange, desk: &Desk) {
        self.forget_constants();
        let mut rest = items;
        while rest.count > 0 {
            let (block, index, in_block) = desk.store.part(rest);
            if let Some(constant) = &block.constant {
                self.provide(constant);
            }
            let count = match block.next_attachment(index) {
                Some(0) => {
                    self.send_in_memfd(rest.first, block, index);
                    1
                }
                Some(before) => self.write_raw(rest.first, block, index, in_block.min(before)),
                None => self.write_raw(rest.first, block, index, in_block),
            };
            rest = ItemRange::new(rest.first.plus(u64::from(count)), rest.count - count);
        }
    }

    /// Writes one batch of at most so many items, and says how many it has.
    fn write_raw(&mut self, first: Item, block: &Block, index: usize, most: u32) -> u32 {
        let most = most as usize;
        let mut bytes = 0;
        let fits = (0..most).take_while(|at| {
            bytes += block.item(index + at).len();
            bytes <= BATCH_BYTES
        });
        let count = fits.count().max(1);
        let meta = match &block.constant {
            Some(constant) => format!("{{\"n\":{count},\"key\":\"{}\"}}", constant.key()),
            None => format!("{{\"n\":{count}}}"),
        };
        let items = (index..index + count).map(|at| block.item(at));
        write_raw_batch(self.outbox.bytes(), Kind::Batch, first.0, meta.as_bytes(), items);
        u32::try_from(count).expect("no more than there were")
    }

    /// Sends an item that lies in a file in memory.
    fn send_in_memfd(&mut self, item: Item, block: &Block, index: usize) {
        let meta = match &block.constant {
            Some(constant) => format!("{{\"key\":\"{}\"}}", constant.key()),
            None => String::new(),
        };
        let mut frame = Vec::new();
        Frame::write(&mut frame, Kind::Task, FLAG_IN_MEMFD, item.0, meta.as_bytes(), b"");
        self.send_with(frame, block.attachments(index).to_vec());
    }

    /// Makes sure that the worker has the constant.
    fn provide(&mut self, constant: &Arc<Constant>) {
        let is_same = |known: &Weak<Constant>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(constant));
        if self.constants.known.iter().any(|(_, known)| is_same(known)) {
            return;
        }
        self.constants.known.push((Arc::clone(constant.key()), Arc::downgrade(constant)));
        let key = Arc::clone(constant.key());
        self.send_constant(&key, constant.content());
    }

    fn send_constant(&mut self, key: &str, content: &Content) {
        let meta = key_meta(key);
        match content {
            Content::Bytes(bytes) => {
                Frame::write(self.outbox.bytes(), Kind::Define, 0, 0, &meta, bytes);
            }
            Content::Memfd(memfd) => {
                let mut frame = Vec::new();
                Frame::write(&mut frame, Kind::Define, FLAG_IN_MEMFD, 0, &meta, b"");
                self.send_with(frame, vec![Attachment::File(Arc::clone(memfd))]);
            }
        }
    }

    /// Lets the worker forget the constants that nobody here keeps any more.
    pub(crate) fn forget_constants(&mut self) {
        let Self { constants, outbox, .. } = self;
        constants.known.retain(|(key, constant)| {
            let is_kept = constant.strong_count() > 0;
            if !is_kept {
                Frame::write(outbox.bytes(), Kind::Release, 0, 0, &key_meta(key), b"");
            }
            is_kept
        });
    }

    pub(super) fn send_with(&mut self, frame: Vec<u8>, descriptors: Vec<Attachment>) {
        if let Err(error) = self.outbox.send_with(frame, descriptors) {
            // It is told as closed when the next flush fails, or as dead.
            tracing::debug!(%error, "cannot send to a worker");
        }
    }
}

/// The meta of a frame about a constant. Keys are ours, and need no escapes.
fn key_meta(key: &str) -> Vec<u8> {
    format!("{{\"key\":\"{key}\"}}").into_bytes()
}
